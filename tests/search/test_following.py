"""The index behind the log: nothing missed, nothing doubled, whoever dies when; anew while serving;
and nothing left of what was deleted."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from madang.bus.memory import MemoryBus
from madang.model.nouns import Message
from madang.ports.search import Behind, LogPage, place_term, sender_term
from madang.services.live.questions import Ask
from madang.services.live.rooms import EraseRoom, OpenRoom
from madang.services.messages import AddReaction, ReadMessage
from madang.services.search.following import (
    ABANDONED_MICROSECONDS,
    SHARE,
    Follower,
    advance,
    entry_of,
    sweep,
)
from madang.services.search.rebuilding import GivenUp, RebuildProgress, rebuild
from madang.store import migrate
from madang.store.search import SqlSearchIndex
from madang.store.sql_store import Scope
from tests.search.conftest import ORG, Archive, MovingClock, archive_on
from tests.search.standing import should_stand, standing

CHILD = Path(__file__).with_name("child.py")
WORDS = ["회의록", "전체회의", "meeting", "内容", "plan", "はい", "budget", "👍", "Café", "점심"]


async def talk(archive: Archive, dice: random.Random, count: int, room: str = "") -> list[Message]:
    """Messages, some of which are edited or deleted at once."""
    room = room or await archive.room("ann", "bob")
    said = [("ann", " ".join(dice.choices(WORDS, k=6)) + f" n{n}") for n in range(count)]
    messages = await archive.say_many(room, said)
    for message in messages:
        if dice.random() < 0.1:
            await archive.delete(message)
        elif dice.random() < 0.1:
            await archive.edit(message, " ".join(dice.choices(WORDS, k=3)))
    return messages


async def is_right(archive: Archive) -> None:
    found, should = await standing(archive), await should_stand(archive.index)
    assert found.keys() == should.keys()
    assert found == should


def follow_and_die(url: str, steps: int) -> None:
    """A process that follows, and is killed when it has said so many times how far it is."""
    with subprocess.Popen([sys.executable, str(CHILD), url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(steps):
            assert process.stdout.readline() == b".\n"
        process.kill()


async def test_killed_at_any_point(archive: Archive, url: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    room = await archive.room("ann", "bob")
    killed_within = 0
    for _ in range(12):
        await talk(archive, dice, 60, room)
        # In a thread: a loop does not wait for what it reads.
        await asyncio.to_thread(follow_and_die, url, dice.randrange(1, 12))
        killed_within += bool(await archive.index.behind(10))
    print("killed within", killed_within)
    await archive.follower.look()
    await is_right(archive)
    assert len(await standing(archive)) > 500


async def test_two_who_both_follow(archive: Archive) -> None:
    """As two nodes without a bus between them would: the second finds the cursor moved."""
    dice = random.Random(7)
    room = await archive.room("ann", "bob")
    others = [
        Follower(archive.index, MemoryBus(archive.clock).end(), archive.clock) for _ in range(3)
    ]
    for _ in range(5):
        await asyncio.gather(talk(archive, dice, 50, room), *(each.look() for each in others))
    await archive.follower.look()
    await is_right(archive)


async def test_one_node_at_a_time(archive: Archive) -> None:
    bus = MemoryBus(archive.clock)
    first, second = (Follower(archive.index, bus.end(), archive.clock) for _ in range(2))
    room = await archive.room("ann")
    await archive.say("ann", room, "hello")
    assert await first.look() == 2
    await archive.say("ann", room, "again")
    assert await second.look() == 0
    assert await archive.found("ann", "again") == []
    assert await first.look() == 1
    assert await archive.found("ann", "again") == ["again"]


async def test_the_same_page_twice_changes_nothing(archive: Archive) -> None:
    await talk(archive, random.Random(3), 30)
    made = await archive.index.begin(ORG, "serving")
    assert (await advance(archive.index, archive.clock, ORG, made.generation, 0)).events > 0
    before = await standing(archive)
    # The cursor is not there any more: nothing happens.
    assert (await advance(archive.index, archive.clock, ORG, made.generation, 0)).events == 0
    assert await standing(archive) == before
    # And what is written again, as after a half of a page, stands there once.
    (index,) = await archive.index.indexes(ORG)
    page = await archive.index.log_page(ORG, 0, 1000)
    entries = [entry_of(said) for said in page.said]
    assert await archive.index.add(
        ORG, made.generation, index.cursor, index.cursor, entries, page.gone
    )
    assert await standing(archive) == before
    await is_right(archive)


async def test_reading_and_reacting_are_passed_over(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    message = await archive.say("ann", room, "hello")
    await archive.follower.look()
    await archive.writer.write(ReadMessage(ORG, message.id, "bob"))
    await archive.writer.write(AddReaction(ORG, message.id, "bob", "👍"))
    page = await archive.index.log_page(ORG, (await archive.index.indexes(ORG))[0].cursor, 10)
    assert (page.events, page.said, page.gone) == (2, [], [])
    assert await archive.follower.look() == 2
    assert not await archive.index.behind(10)


async def test_orgs_do_not_wait_for_each_other(archive: Archive) -> None:
    for org in ("default", "rival", "third"):
        room = await archive.room("ann", org=org)
        await archive.say("ann", room, f"hello {org}", org=org)
    await archive.follower.look()
    for org in ("default", "rival", "third"):
        assert await archive.found("ann", "hello", org=org) == [f"hello {org}"]


class Damaged(SqlSearchIndex):
    """One org's log cannot be read."""

    async def log_page(self, org_id: str, after: int, limit: int) -> LogPage:
        if org_id == "damaged":
            raise ValueError("the page is torn")
        return await super().log_page(org_id, after, limit)


async def test_what_is_wrong_with_one_org_keeps_no_other_waiting(archive: Archive) -> None:
    for org in ("damaged", "default"):
        room = await archive.room("ann", org=org)
        await archive.say("ann", room, "hello", org=org)
    damaged = Damaged(archive.store, archive.clock)
    follower = Follower(damaged, MemoryBus(archive.clock).end(), archive.clock)
    assert await follower.look() == 2
    assert await archive.found("ann", "hello") == ["hello"]
    assert [org.org_id for org in await archive.index.behind(10)] == ["damaged"]
    # Mended, it is followed.
    await archive.follower.look()
    assert await archive.found("ann", "hello", org="damaged") == ["hello"]


SECRET = "xylophonequartz 비밀번호누설 機密情報漏洩"


@pytest.mark.parametrize("how", ["deleted", "edited"])
async def test_nothing_is_left_of_what_was_deleted(archive: Archive, how: str) -> None:
    room = await archive.room("ann", "bob")
    await archive.say_many(room, [("ann", f"before {n}") for n in range(50)])
    message = await archive.say("ann", room, SECRET, files=("quartzofiles.pdf",))
    await archive.say_many(room, [("ann", f"after {n}") for n in range(50)])
    await archive.follower.look()
    assert len(await archive.found("bob", "xylophonequartz 비밀번호")) == 1

    if how == "deleted":
        await archive.delete(message)
    else:
        await archive.edit(message, "nothing to see")
    await archive.follower.look()
    kept = set().union(*(await standing(archive)).values())
    left = {"xylophonequartz", "비밀", "밀번", "누설", "機密", "漏洩"} & kept
    assert left == set()
    assert ("quartzofiles" in kept) == (how == "edited")
    assert (message.id in await standing(archive)) == (how == "edited")
    await is_right(archive)


async def test_nothing_is_left_of_an_erased_room(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    await archive.say_many(room, [("ann", f"before {n}") for n in range(50)])
    opened = await archive.writer.write(OpenRoom(ORG, "ann", "Hall", "ABC234", "k" * 64))
    hall, host = opened.room.id, opened.room.host_id
    for text in (SECRET, "another 비밀번호"):
        await archive.writer.write(Ask(ORG, hall, host, text))
        await archive.say("ann", room, "in between")
    await archive.follower.look()
    assert len(await archive.found(host, "비밀번호")) == 2
    await archive.writer.write(EraseRoom(ORG, hall, host))
    assert await archive.found(host, "비밀번호") == []
    await archive.say("ann", room, "afterwards")
    await archive.follower.look()
    kept = set().union(*(await standing(archive)).values())
    assert {"xylophonequartz", "비밀", place_term(hall), sender_term(host)} & kept == set()
    await is_right(archive)
    assert len(await archive.found("bob", "between")) == 2


async def test_no_byte_is_left_in_the_file(sqlite_url: str, clock: MovingClock) -> None:
    archive = archive_on(sqlite_url, clock)
    room = await archive.room("ann", "bob")
    message = await archive.say("ann", room, SECRET)
    await archive.say_many(room, [("ann", f"other {n}") for n in range(500)])
    await archive.follower.look()
    file = Path(sqlite_url.removeprefix("sqlite:///"))

    def holds(word: str) -> bool:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return word.encode() in file.read_bytes()

    assert holds("xylophonequartz")
    assert holds("비밀")
    await archive.delete(message)
    await archive.follower.look()
    for word in ("xylophonequartz", "xylophone", "비밀", "機密"):
        assert not holds(word), word
    await archive.writer.close()
    await archive.store.close()


# Anew.


async def test_made_anew_while_it_serves(archive: Archive) -> None:
    dice = random.Random(11)
    room = await archive.room("ann", "bob")
    steady = await archive.say("ann", room, "steadyword")
    await talk(archive, dice, 300, room)
    await archive.follower.look()
    (before,) = await archive.index.indexes(ORG)
    told: list[RebuildProgress] = []
    answers: list[int] = []
    making = asyncio.create_task(rebuild(archive.index, archive.clock, ORG, told.append))
    while not making.done():
        answers.append(len(await archive.results("bob", "steadyword")))
        await archive.say("ann", room, f"meanwhile {len(answers)}")
        await archive.follower.look()
    assert await making > 300
    assert set(answers) == {1}
    assert told[-1].cursor >= before.cursor
    await archive.follower.look()
    (after,) = await archive.index.indexes(ORG)
    assert after.generation > before.generation
    assert after.state == "serving"
    await is_right(archive)
    assert len(await archive.found("bob", "meanwhile")) == len(answers)
    # Deleted ones have no number in it.
    assert after.documents <= before.documents + len(answers)
    assert (await archive.results("bob", "steadyword"))[0].message.id == steady.id
    assert await rows_of(archive, before.generation) == 0


def _rows_of(connection: Connection, generation: int) -> int:
    found = 0
    for table in ("search_indexes", "search_blocks", "search_postings", "search_entries"):
        sql = f"SELECT count(*) FROM {table} WHERE generation = {generation}"
        found += int(connection.exec_driver_sql(sql).scalar_one())
    return found


async def rows_of(archive: Archive, generation: int) -> int:
    """Rows of every table."""
    return await archive.store.read(Scope(ORG), _rows_of, generation)


async def test_a_rebuild_that_died_leaves_nothing(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    secret = await archive.say("ann", room, SECRET)
    await archive.follower.look()
    made = await archive.index.begin(ORG, "building")
    await advance(archive.index, archive.clock, ORG, made.generation, 0)
    await archive.delete(secret)
    assert await archive.found("bob", "xylophonequartz") == []
    # Touched a moment ago, it is somebody's.
    await sweep(archive.index, archive.clock, ORG)
    assert await rows_of(archive, made.generation) > 0
    archive.clock.time += ABANDONED_MICROSECONDS + 1
    # Whoever follows looks for such once a minute, and when it begins.
    follower = Follower(archive.index, MemoryBus(archive.clock).end(), archive.clock)
    assert await archive.index.to_sweep(archive.clock.time) == [ORG]
    async with asyncio.timeout(20):
        while await rows_of(archive, made.generation):
            await follower.look()
    assert await archive.index.to_sweep(archive.clock.time) == []
    assert len(await archive.index.indexes(ORG)) == 1


class Endless(SqlSearchIndex):
    """Of a log that goes on for ever, so that a rebuild is not done with its first page."""

    async def orgs(self) -> dict[str, int]:
        return {ORG: 2**62}


async def test_of_two_rebuilds_the_second_goes_on(archive: Archive) -> None:
    await talk(archive, random.Random(2), 50)
    await archive.follower.look()
    second: list[asyncio.Task[int]] = []

    def other(progress: RebuildProgress) -> None:
        if not second:
            making = rebuild(archive.index, archive.clock, ORG, lambda _: None)
            second.append(asyncio.create_task(making))

    endless = Endless(archive.store, archive.clock)
    with pytest.raises(GivenUp):
        await rebuild(endless, archive.clock, ORG, other)
    assert await second[0] > 0
    await archive.follower.look()
    await is_right(archive)


async def test_where_the_log_was_given_a_new_epoch(sqlite_url: str, clock: MovingClock) -> None:
    """The head then lies beyond the last event, and the index comes to it all the same."""
    archive = archive_on(sqlite_url, clock)
    room = await archive.room("ann")
    await archive.say("ann", room, "hello")
    clock.time += 60_000_000
    await asyncio.to_thread(migrate.new_epoch, sqlite_url, clock.time)
    await archive.follower.look()
    assert await archive.index.behind(10) == []
    await archive.say("ann", room, "hello again")
    await archive.follower.look()
    assert len(await archive.found("ann", "hello")) == 2
    await archive.writer.close()
    await archive.store.close()


class Overheard(SqlSearchIndex):
    """Something more is said whenever a page was taken."""

    def __init__(self, archive: Archive, room: str) -> None:
        super().__init__(archive.store, archive.clock)
        self._archive, self._room = archive, room

    async def add(self, *arguments: Any, **named: Any) -> bool:
        done = await super().add(*arguments, **named)
        await self._archive.say("ann", self._room, "and another thing")
        return done


async def test_what_is_said_meanwhile_is_for_the_next_look(archive: Archive) -> None:
    """Else each message of a busy server would be a page, and a commit, of its own."""
    room = await archive.room("ann")
    await archive.say("ann", room, "hello")
    follower = Follower(Overheard(archive, room), MemoryBus(archive.clock).end(), archive.clock)
    assert await follower.look() == 2
    assert await follower.look() == 1


class Laborious(SqlSearchIndex):
    """It takes a minute to add a page, and a second to see whether there is one."""

    def __init__(self, archive: Archive, clock: Waiting) -> None:
        super().__init__(archive.store, archive.clock)
        self._waiting = clock

    async def behind(self, most: int) -> Sequence[Behind]:
        self._waiting.passed += 1
        return await super().behind(most)

    async def add(self, *arguments: Any, **named: Any) -> bool:
        self._waiting.passed += 60
        return await super().add(*arguments, **named)


class Waiting(MovingClock):
    """Notes how long a follower sleeps before its second look, and ends it there."""

    passed = 0.0
    slept: float | None = None

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.slept = seconds
            raise asyncio.CancelledError


async def test_it_rests_from_looking_and_not_from_the_work_it_found(archive: Archive) -> None:
    await archive.say("ann", await archive.room("ann"), "hello")
    clock = Waiting()
    follower = Follower(Laborious(archive, clock), MemoryBus(archive.clock).end(), clock)
    with pytest.raises(asyncio.CancelledError):
        await follower.run()
    assert clock.slept == 1 / SHARE - 1
    assert await archive.found("ann", "hello") == ["hello"]
