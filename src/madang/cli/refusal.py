"""How a command says no: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from madang.settings import SettingsError

UNUSABLE = 2
"""Exit code for something the caller has to change: an option, a setting, a database."""
FAILED = 1
"""Exit code for something that went wrong on the way."""


def refuse(sentence: str, code: int = UNUSABLE) -> NoReturn:
    """Print `sentence` to stderr and end the command with `code`."""
    typer.secho(sentence, fg="red", err=True)
    raise typer.Exit(code)


@contextmanager
def settings_errors_as_sentences() -> Iterator[None]:
    """What is wrong with a setting ends the command with the sentence that says so."""
    try:
        yield
    except SettingsError as error:
        refuse(str(error))
