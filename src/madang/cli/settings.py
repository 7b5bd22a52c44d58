"""`madang settings`: what is in force and where it came from."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from madang.cli.refusal import settings_errors_as_sentences
from madang.settings import load, unknown_names
from madang.settings import markdown as settings_page


def settings(
    markdown: Annotated[
        bool, typer.Option("--markdown", metavar="", help="Print the documentation page instead.")
    ] = False,
) -> None:
    """Show every setting, its value and where the value came from."""
    if markdown:
        typer.echo(settings_page(), nl=False)
        return
    with settings_errors_as_sentences():
        sources = load().sources()
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", style="cyan", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for each in sources:
        style = "dim" if each.source == "default" else ""
        # Markup stays off in values: an address may hold brackets.
        table.add_row(each.row.name, _plain(each.value or "-", style), _plain(each.source, style))
    Console().print(table)
    for name in unknown_names():
        typer.secho(f"{name} is set, and no setting has that name.", fg="yellow", err=True)


def _plain(text: str, style: str) -> Text:
    return Text(text, style=style)
