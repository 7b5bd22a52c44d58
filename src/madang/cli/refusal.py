"""How a command says no: one sentence on stderr and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from madang.settings import Settings, SettingsError

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
    """What is wrong with a setting, or with a directory that one names, ends the command with the
    sentence that says so."""
    try:
        yield
    except SettingsError as error:
        refuse(str(error))
    except OSError as error:
        refuse(_of(error))


def require_known_database(settings: Settings) -> None:
    """End the command where the database is of a kind that Madang does not speak to."""
    from madang.store.address import is_postgresql

    url = settings.database_url
    if not url.startswith("sqlite:") and not is_postgresql(url):
        kind = url.partition(":")[0]
        refuse(
            f"DATABASE_URL names a database of the kind {kind!r}; "
            "it must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE."
        )


@contextmanager
def database_errors_as_sentences() -> Iterator[None]:
    """A database that cannot be opened, or is not ours, ends the command with a sentence."""
    from sqlalchemy.exc import DBAPIError

    from madang.store.errors import DatabaseUnusable

    try:
        yield
    except DatabaseUnusable as error:
        refuse(str(error))
    except DBAPIError as error:
        refuse(f"The database cannot be used: {error.orig}.")
    except OSError as error:
        refuse(_of(error))


def _of(error: OSError) -> str:
    why = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {why}." if error.filename else f"{why}."
