"""Connections that are lost in the middle of a commit: no batch is lost, none is there twice."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Iterator, Sized
from functools import partial
from pathlib import Path

import pytest

from madang.clock import SystemClock
from madang.model.nouns import Batch
from madang.protocol.errors import Unavailable
from madang.store.postgresql import PostgresStore
from madang.store.writer import GroupWriter
from tests.conftest import eventually
from tests.postgres import APP, Postgres
from tests.store.proxy import Place, Proxy, proxied
from tests.store.writes import Create, Read, Send

ROOM = "room-1"
PLACES: tuple[Place, ...] = ("before", "after", "half open", "working")


@pytest.fixture
async def proxy(postgres: Postgres) -> AsyncIterator[Proxy]:
    async with proxied(postgres.port) as opened:
        yield opened


@pytest.fixture
async def store(
    postgres: Postgres, postgresql_urls: tuple[str, str], proxy: Proxy
) -> AsyncIterator[PostgresStore]:
    database = postgresql_urls[1].rpartition("/")[2]
    opened = PostgresStore(postgres.url(APP, database, proxy.port), SystemClock())
    yield opened
    await opened.close()


@pytest.fixture
def batches() -> list[Batch]:
    return []


@pytest.fixture
async def writer(store: PostgresStore, batches: list[Batch]) -> AsyncIterator[GroupWriter]:
    opened = GroupWriter(store, SystemClock(), batches.append)
    await opened.write(Create(ROOM, ["ann", "ben"]))
    yield opened
    await opened.close()


async def _is_whole(store: PostgresStore, batches: list[Batch], contents: list[str]) -> None:
    """Each of them is in the log once, in this order, and was delivered once."""
    log = await store.events_of_org("default", 0, None, 10_000)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert [event.message.content for event in log if event.message] == contents
    told = [event for batch in batches for event in batch.events]
    assert [event.cursor for event in told] == [event.cursor for event in log]
    assert [batch.after for batch in batches] == [0, *(batch.until for batch in batches[:-1])]


@pytest.mark.parametrize("place", PLACES)
async def test_a_commit_that_is_cut_off_happens_once(
    store: PostgresStore, writer: GroupWriter, batches: list[Batch], proxy: Proxy, place: Place
) -> None:
    proxy.cut_once(place)
    # Without a client_id: only the store itself can know whether it is there.
    async with asyncio.timeout(5):
        sent = await asyncio.gather(*(writer.write(Send(ROOM, "ann", str(n))) for n in range(5)))
    assert proxy.cuts == 1
    assert [message.seq for message in sent] == list(range(2, 7))
    await _is_whole(store, batches, [str(n) for n in range(5)])


@pytest.mark.parametrize("place", PLACES)
async def test_a_commit_without_events_that_is_cut_off(
    store: PostgresStore, writer: GroupWriter, batches: list[Batch], proxy: Proxy, place: Place
) -> None:
    message = await writer.write(Send(ROOM, "ann", "x"))
    await writer.write(Read(message.id, "ben"))
    proxy.cut_once(place)
    async with asyncio.timeout(5):
        await writer.write(Read(message.id, "ben"))
    assert proxy.cuts == 1
    assert len(batches) == 3


async def test_many_commits_with_many_cuts(
    store: PostgresStore, writer: GroupWriter, batches: list[Batch], proxy: Proxy
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    proxy.next_cut = lambda: dice.choice(PLACES) if dice.random() < 0.1 else None
    contents = []
    async with asyncio.timeout(50):
        for number in range(30):
            some = [f"{number}-{n}" for n in range(dice.randint(1, 8))]
            contents += some
            await asyncio.gather(*(writer.write(Send(ROOM, "ann", text)) for text in some))
    assert proxy.cuts
    proxy.next_cut = lambda: None
    await _is_whole(store, batches, contents)


async def test_a_database_that_is_away_is_unavailable_at_once_and_comes_back(
    store: PostgresStore, writer: GroupWriter, batches: list[Batch], proxy: Proxy
) -> None:
    await proxy.close()
    async with asyncio.timeout(1):
        for _ in range(3):
            with pytest.raises(Unavailable):
                await writer.write(Send(ROOM, "ann", "refused"))
            with pytest.raises(Unavailable):
                await store.messages("default", ROOM, "ann")
            with pytest.raises(Unavailable):
                await store.save_last_seen("default", {"ann": 1})
    await proxy.open()
    await writer.write(Send(ROOM, "ann", "back"))
    await _is_whole(store, batches, ["back"])


async def test_a_commit_that_nothing_is_known_of_is_unavailable_in_time(
    store: PostgresStore,
    writer: GroupWriter,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("madang.store.postgresql.SETTLE_SECONDS", 0.3)
    closing: list[asyncio.Future[None]] = []

    def cut_and_close() -> Place:
        closing.append(asyncio.ensure_future(proxy.close()))
        proxy.next_cut = lambda: None
        return "after"

    proxy.next_cut = cut_and_close
    send = Send(ROOM, "ann", "once", client_id="c")
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            await writer.write(send)
        await asyncio.gather(*closing)
        await proxy.open()
        again = await writer.write(send)
    log = await store.events_of_org("default", 0, None, 10)
    assert [event.message for event in log if event.message] == [again]


async def test_connections_that_the_server_ended_are_not_used(
    store: PostgresStore, writer: GroupWriter, batches: list[Batch], postgres: Postgres
) -> None:
    await asyncio.gather(*(store.head("default") for _ in range(20)))
    ended = postgres.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{APP}'"
    )
    assert len(ended) >= 10
    assert await store.head("default") == batches[-1].until
    await writer.write(Send(ROOM, "ann", "x"))
    await _is_whole(store, batches, ["x"])


@pytest.fixture
def mortal() -> Iterator[Postgres]:
    """A PostgreSQL of the test's own."""
    with tempfile.TemporaryDirectory(prefix="madang-postgres-") as directory:
        server = Postgres(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _are(some: Sized, wanted: int) -> bool:
    return len(some) >= wanted


async def test_a_crash_of_the_server_loses_nothing_that_was_acked(mortal: Postgres) -> None:
    store = PostgresStore(mortal.fresh_database()[1], SystemClock())
    batches: list[Batch] = []
    writer = GroupWriter(store, SystemClock(), batches.append)
    await writer.write(Create(ROOM, ["ann"]))
    acked: list[str] = []

    async def talk(name: str) -> None:
        number = 0
        while True:
            try:
                await writer.write(
                    Send(ROOM, "ann", f"{name}-{number}", client_id=f"{name}-{number}")
                )
            except Unavailable:
                if stopped:
                    return
                continue
            acked.append(f"{name}-{number}")
            number += 1

    stopped = False
    talking = [asyncio.create_task(talk(f"person-{n}")) for n in range(20)]
    for crash in range(1, 3):
        await eventually(partial(_are, acked, 300 * crash), 40)
        await asyncio.to_thread(mortal.stop)
        await asyncio.to_thread(mortal.start)
    await eventually(partial(_are, acked, 900), 40)
    stopped = True
    await asyncio.to_thread(mortal.stop)
    await asyncio.wait_for(asyncio.gather(*talking), 20)
    await asyncio.to_thread(mortal.start)
    log = await store.events_of_org("default", 0, None, 100_000)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    kept = [event.message.content for event in log if event.message]
    assert len(kept) == len(set(kept))
    assert set(acked) <= set(kept)
    await writer.close()
    await store.close()
