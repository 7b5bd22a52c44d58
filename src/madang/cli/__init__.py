"""The command line: `madang serve`, `demo`, `token`, `tail`, `db`, `search`,
`settings`, `bench`.

One file for each command; this one names them. May import anything, and imports what is heavy
inside the command that needs it, so that `madang --help` answers at once. Never holds a rule of
the product: a command reads its options, calls one thing and prints.
"""

from __future__ import annotations

from typing import Annotated

import typer

from madang import __version__
from madang.cli.bench import bench
from madang.cli.db import db
from madang.cli.demo import demo
from madang.cli.help import Command, Group
from madang.cli.search import search
from madang.cli.serve import serve
from madang.cli.settings import settings
from madang.cli.tail import tail
from madang.cli.token import token

__all__ = ["app"]

app = typer.Typer(
    name="madang",
    cls=Group,
    help="Madang (마당), a messaging server that loses nothing.",
    epilog="New here? Run: madang demo",
    no_args_is_help=True,
    add_completion=False,  # two options that would stand above every command
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,  # a local may be a secret
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"madang {__version__}")
        raise typer.Exit


@app.callback()
def _madang(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


for each in (serve, demo, token, tail, settings):
    app.command(cls=Command)(each)
app.add_typer(db, name="db")
app.add_typer(search, name="search")
app.command(
    cls=Command,
    hidden=True,  # works in a checkout only, and `make help` shows it there
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(bench)
