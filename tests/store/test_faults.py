"""Full disks, read-only files, killed processes, and what deletion leaves behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from madang.model.nouns import Event
from madang.protocol.errors import Unavailable
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.store.conftest import SteppedClock
from tests.store.writes import Create, Edit, React, Send

ROOM = "room-1"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def url(sqlite_url: str) -> str:
    """These are about SQLite's files; PostgreSQL's faults are in `test_postgresql_faults`."""
    return sqlite_url


async def _refused(send: Callable[[], Awaitable[Any]], most: int) -> int:
    """How many went through until one was refused as unavailable."""
    for count in range(most):
        try:
            await send()
        except Unavailable:
            return count
    raise AssertionError("nothing was refused")


async def test_a_full_disk_refuses_writes_and_recovers(
    store: SqliteStore, writer: GroupWriter, delivered: list[Event]
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    room = 0

    @event.listens_for(store.engines[0], "begin")
    def _limit(connection: Any) -> None:
        # The disk ends a few pages on, as SQLite itself sees it (SQLITE_FULL).
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + room}")

    long = "x" * 3000
    sent = await _refused(lambda: writer.write(Send(ROOM, "ann", long)), 50)
    before = await store.head("default")

    with pytest.raises(Unavailable):
        await writer.write(Send(ROOM, "ann", long))
    page = await store.messages("default", ROOM, "ann", limit=100)
    assert page is not None
    assert len(page.items) == sent
    assert await store.head("default") == before == delivered[-1].cursor

    room = 1_000_000
    message = await writer.write(Send(ROOM, "ann", long))
    assert message.seq == sent + 2
    assert [e.seq for e in delivered] == list(range(1, sent + 3))


async def test_a_read_only_database_refuses_writes_and_recovers(
    store: SqliteStore, writer: GroupWriter
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    await store.save_last_seen("default", {"ann": 1})
    read_only = 1

    @event.listens_for(store.engines[0], "begin")
    def _lock(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {read_only}")

    with pytest.raises(Unavailable):
        await writer.write(Send(ROOM, "ann"))
    with pytest.raises(Unavailable):
        await store.save_last_seen("default", {"ann": 2})
    assert [e.type for e in await store.events_of_org("default", 0, None, 9)] == [
        "conversation.created"
    ]
    read_only = 0
    assert (await writer.write(Send(ROOM, "ann"))).seq == 2
    assert await store.last_seen("default", ["ann"]) == {"ann": 1}


async def test_an_ack_is_answered_only_when_it_is_on_disk(store: SqliteStore) -> None:
    read_only = 1

    @event.listens_for(store.engines[0], "begin")
    def _lock(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA query_only = {read_only}")

    async def ack(cursor: int) -> list[Any]:
        acks = (store.save_ack("default", f"user-{n}", "phone", cursor, 1) for n in range(5))
        return await asyncio.gather(*acks, return_exceptions=True)

    assert [type(answer) for answer in await ack(7)] == [Unavailable] * 5
    read_only = 0
    assert await ack(5) == [None] * 5
    # What was refused is its caller's to repeat, and does not come back later.
    assert [await store.acked_cursor("default", f"user-{n}", "phone") for n in range(5)] == [5] * 5


async def test_a_lock_of_another_process_is_unavailable(
    url: str, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madang.store.sqlite.BUSY_SECONDS", 0.05)
    store, other = SqliteStore(url, clock), SqliteStore(url, clock)
    writer = GroupWriter(store, clock, lambda batch: None)
    await writer.write(Create(ROOM, ["ann"]))
    with (
        other.engines[0].connect() as connection,
        connection.begin(),
        pytest.raises(Unavailable),
    ):
        await writer.write(Send(ROOM, "ann"))
    assert (await writer.write(Send(ROOM, "ann"))).seq == 2
    await store.close()
    await other.close()


async def test_a_deleted_text_is_nowhere_in_the_files(
    url: str, store: SqliteStore, writer: GroupWriter, clock: SteppedClock
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    # One that fits into a page and one that fills pages of its own.
    secrets = [f"short-secret-{'s' * 20}", f"long-secret-{'l' * 9000}"]
    for secret in secrets:
        message = await writer.write(Send(ROOM, "ann", secret))
        await writer.write(React(message.id, "ben", "👍"))
        await writer.write(Edit(message.id, "ann", f"edited {secret}"))
        deleted = await writer.write(Edit(message.id, "ann", "", delete=True))
        assert deleted.content == ""
        assert deleted.reactions == {}
        assert await store.message("default", message.id, "ben") == deleted
    for found in await store.events_for_user("default", "ben", 0, None, 100):
        assert found.message is None or found.message.content == ""
    await store.close()

    path = Path(url.removeprefix("sqlite:///"))
    for file in path.parent.glob(f"{path.name}*"):
        assert b"secret" not in file.read_bytes(), file.name


@pytest.mark.slow
async def test_kill_in_mid_commit_loses_nothing_that_was_acked(url: str) -> None:
    clock = SteppedClock()
    store = SqliteStore(url, clock)
    writer = GroupWriter(store, clock, lambda batch: None)
    await writer.write(Create(ROOM, ["ann"]))
    acked: list[str] = []
    for attempt in range(5):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.store.crash_child", url, ROOM, str(attempt)),
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        assert child.stdout is not None
        wanted = 500 + 137 * attempt
        lines = [await child.stdout.readline() for _ in range(wanted)]
        child.kill()
        rest = await child.stdout.read()
        await child.wait()
        complete = [line for line in [*lines, *rest.splitlines(True)] if line.endswith(b"\n")]
        assert len(complete) >= wanted
        acked += [line.decode().strip() for line in complete]

    log: list[Event] = []
    while page := await store.events_of_conversation(
        "default", ROOM, log[-1].seq if log else 0, None, 1000
    ):
        log += page
    assert [e.seq for e in log] == list(range(1, len(log) + 1))
    assert [e.cursor for e in log] == sorted({e.cursor for e in log})
    kept = [e.message.content for e in log if e.message]
    assert len(kept) == len(set(kept))
    known = set(kept)
    order = {content: n for n, content in enumerate(kept)}
    assert [content for content in acked if content not in known] == []
    assert [order[content] for content in acked] == sorted(order[content] for content in acked)
    assert (await writer.write(Send(ROOM, "ann"))).seq == len(log) + 1
    await store.close()


async def test_readers_never_see_a_cursor_before_the_ones_below_it(
    store: SqliteStore, writer: GroupWriter
) -> None:
    rooms = [f"room-{n}" for n in range(5)]
    for room in rooms:
        await writer.write(Create(room, ["ann"]))
    start = await store.head("default")
    writing = True
    seen: list[list[Event]] = [[] for _ in range(3)]

    async def tail(into: list[Event]) -> None:
        after = start
        while True:
            last_look = not writing
            page = await store.events_for_user("default", "ann", after, None, 50)
            into += page
            if page:
                after = page[-1].cursor
            elif last_look:
                return

    async def write() -> None:
        nonlocal writing
        for n in range(30):
            await asyncio.gather(*(writer.write(Send(rooms[n % 5], "ann")) for _ in range(20)))
        writing = False

    await asyncio.gather(write(), *(tail(into) for into in seen))
    log = await store.events_of_org("default", start, None, 1000)
    assert len(log) == 600
    assert seen == [log, log, log]


async def test_the_write_ahead_log_is_kept_short_while_writing(
    url: str, store: SqliteStore, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madang.store.sqlite.CHECKPOINT_EVENTS", 100)
    path = Path(url.removeprefix("sqlite:///"))
    log = path.with_name(f"{path.name}-wal")
    await writer.write(Create(ROOM, ["ann"]))
    for _ in range(100):
        await asyncio.gather(*(writer.write(Send(ROOM, "ann", "x" * 2000)) for _ in range(20)))
    # What was written is in the file, and the log was begun anew many times.
    assert path.stat().st_size > 3_500_000
    assert log.stat().st_size < 3_500_000
