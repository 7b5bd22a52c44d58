"""The concrete backends, as the settings name them. Nothing else of a server knows which they
are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from madang.blobs.opening import open_blobs
from madang.blobs.thumbnails import Thumbnails
from madang.bus.memory import MemoryBus
from madang.clock import Clock
from madang.model.nouns import Batch
from madang.ports.blobs import Blobs
from madang.ports.bus import Bus
from madang.ports.search import SearchIndex
from madang.settings import Settings
from madang.store import migrate
from madang.store.address import is_postgresql
from madang.store.opening import check_postgresql, open_store
from madang.store.search import SqlSearchIndex
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter

if TYPE_CHECKING:
    from madang.store.postgresql import PostgresStore


@dataclass(frozen=True, slots=True)
class Backends:
    """What a node stands on."""

    bus: Bus
    store: SqliteStore | PostgresStore
    writer: GroupWriter
    index: SearchIndex
    blobs: Blobs
    thumbnails: Thumbnails


def open_backends(
    settings: Settings, clock: Clock, bus: Bus | None, committed: Callable[[Batch], None]
) -> Backends:
    """All of them; `committed` is told of every commit.

    Raises:
        DatabaseUnusable: the text is one sentence that says what to do.
    """
    bus = bus or _open_bus(settings, clock)
    _prepare_database(settings.database_url)
    store = open_store(settings.database_url, clock, settings.database_pool_size)
    return Backends(
        bus,
        store,
        GroupWriter(store, clock, committed),
        SqlSearchIndex(store, clock),
        open_blobs(settings),
        Thumbnails(clock),
    )


def _open_bus(settings: Settings, clock: Clock) -> Bus:
    if settings.redis_url is None:
        return MemoryBus(clock).end()
    from madang.bus.redis import RedisBus  # its driver, for who uses it

    return RedisBus(settings.redis_url, clock, settings.redis_prefix)


def _prepare_database(url: str) -> None:
    """A SQLite file is made and brought to this version by itself: there is nobody to ask.
    PostgreSQL is only looked at: its schema belongs to another role than the one that serves."""
    if is_postgresql(url):
        check_postgresql(url)
        return
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        migrate.check(url)
    except migrate.SchemaIsOld:
        migrate.upgrade(url)
