"""`madang search`: how far the search index is, and making it anew."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from madang.cli.db import Database, DataDir, ready_settings
from madang.cli.help import Command, Group
from madang.cli.refusal import FAILED, database_errors_as_sentences, refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from madang.services.search.rebuilding import RebuildProgress
    from madang.settings import Settings
    from madang.store.search import SqlSearchIndex

search = typer.Typer(
    cls=Group,
    help="Look after the search index: how far it is, making it anew.",
    no_args_is_help=True,
)

Org = Annotated[str | None, typer.Option(metavar="ORG", help="Only this org's.")]


@search.command(cls=Command)
def status(database: Database = None, data_dir: DataDir = None, org: Org = None) -> None:
    """Print how far each org's index has followed its log."""
    settings = ready_settings(database, data_dir)

    async def tell() -> None:
        async with _opened(settings) as index:
            for org_id, head in sorted((await index.orgs()).items()):
                if org in (None, org_id):
                    for line in await _lines(index, org_id, head):
                        typer.echo(line)

    _run(tell())


async def _lines(index: SqlSearchIndex, org_id: str, head: int) -> list[str]:
    found = await index.indexes(org_id)
    lines = []
    for one in found:
        seconds = max(0, head - one.cursor) / 1e6
        at = "up to date" if one.cursor >= head else f"{seconds:,.1f} s of the log behind"
        if one.cursor == 0:
            at = "not begun"
        lines.append(
            f"{org_id}: index {one.generation} {one.state}, {one.documents:,} messages, {at}"
        )
    return lines or [f"{org_id}: no index yet"]


@search.command(cls=Command)
def rebuild(database: Database = None, data_dir: DataDir = None, org: Org = None) -> None:
    """Make the search index anew out of the log, beside the one that serves.

    Servers may run meanwhile; searches are answered by the old index until the new one is
    complete. Needed only after an index was damaged, or where a new version says so.
    """
    from madang.clock import SystemClock
    from madang.services.search.rebuilding import GivenUp
    from madang.services.search.rebuilding import rebuild as make

    settings = ready_settings(database, data_dir)
    clock = SystemClock()

    async def make_all() -> None:
        async with _opened(settings) as index:
            for org_id in sorted(await index.orgs()):
                if org not in (None, org_id):
                    continue
                shown = _Shown()
                begun = clock.monotonic()
                try:
                    events = await make(index, clock, org_id, shown)
                except GivenUp:
                    refuse(f"{org_id}: somebody else is making this index anew.", FAILED)
                took = clock.monotonic() - begun
                typer.echo(f"{org_id}: made anew of {events:,} events in {took:,.1f} s")

    class _Shown:
        """Now and then a line of how far it is."""

        def __init__(self) -> None:
            self._next = clock.monotonic() + 2

        def __call__(self, progress: RebuildProgress) -> None:
            if clock.monotonic() >= self._next:
                self._next = clock.monotonic() + 2
                typer.echo(f"{progress.org_id}: {progress.events:,} events so far")

    _run(make_all())


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[SqlSearchIndex]:
    """The index of the database."""
    from madang.clock import SystemClock
    from madang.store.opening import open_store
    from madang.store.search import SqlSearchIndex

    clock = SystemClock()
    store = open_store(settings.database_url, clock)
    try:
        yield SqlSearchIndex(store, clock)
    finally:
        await store.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    from madang.protocol.errors import Unavailable

    with database_errors_as_sentences():
        try:
            asyncio.run(work)
        except Unavailable:
            refuse("The database cannot be used now: try again in a moment.", FAILED)
