"""A store on a database of its own, with a clock that stands still until it is moved.

A test that takes `store` runs on every database; one about SQLite's own ways takes `sqlite_url`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from madang.clock import SystemClock
from madang.model.nouns import Batch, Event
from madang.store import migrate
from madang.store.opening import open_store
from madang.store.postgresql import PostgresStore
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.postgres import Postgres

AnyStore = SqliteStore | PostgresStore


class SteppedClock(SystemClock):
    """Stands at `time` (microseconds) until a test moves it; and at `seconds`, where it says so."""

    def __init__(self) -> None:
        self.time = 1_700_000_000_000_000
        self.seconds: float | None = None

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return super().monotonic() if self.seconds is None else self.seconds


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path / 'madang.db'}"
    migrate.upgrade(found)
    return found


@pytest.fixture
def postgresql_urls(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """(the owner's, a server's)"""
    urls = postgres.fresh_database()
    yield urls
    postgres.drop(urls[0])


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """What a server is given, for each database."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgresql_urls")[1])


@pytest.fixture
def execute(request: pytest.FixtureRequest, url: str) -> Callable[[str], None]:
    """Runs SQL on the database as somebody who may do everything."""
    if url.startswith("sqlite:"):
        path = url.removeprefix("sqlite:///")

        def on_sqlite(sql: str) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(sql)

        return on_sqlite
    server: Postgres = request.getfixturevalue("postgres")

    def on_postgresql(sql: str) -> None:
        server.execute(sql, database=url.rpartition("/")[2])

    return on_postgresql


@pytest.fixture
async def store(url: str, clock: SteppedClock) -> AsyncIterator[AnyStore]:
    opened = open_store(url, clock)
    yield opened
    await opened.close()


@pytest.fixture
def delivered() -> list[Event]:
    """Every committed event, in the order in which it was handed to delivery."""
    return []


@pytest.fixture
async def writer(
    store: AnyStore, clock: SteppedClock, delivered: list[Event]
) -> AsyncIterator[GroupWriter]:
    def on_commit(batch: Batch) -> None:
        delivered.extend(batch.events)

    opened = GroupWriter(store, clock, on_commit)
    yield opened
    await opened.close()


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Every statement that runs on the engine in the meantime."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def on_disk(sqlite_url: str, text: bytes) -> bool:
    """Whether it stands anywhere in the database's files: the file itself, the log beside it."""
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    return any(text in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
