"""A crowd's questions for a room reach the store ten times a second; a change is seen at once."""

from __future__ import annotations

import asyncio

import pytest

from madang.hub.hub import Hub, Member
from madang.metrics import Histogram
from madang.model.live import Room
from madang.model.nouns import Event
from madang.store.writer import GroupWriter
from madang.surfaces.live.crowds import CROWD, KEEP_SECONDS, CrowdedRooms
from madang.testing.clock import JumpingClock
from tests.hub.recording import Counter
from tests.services.live.conftest import Hall
from tests.store.conftest import (
    AnyStore,
    SteppedClock,
    clock,
    delivered,
    execute,
    postgresql_urls,
    sqlite_url,
    store,
    url,
    writer,
)

__all__ = [
    "clock",
    "delivered",
    "execute",
    "postgresql_urls",
    "sqlite_url",
    "store",
    "url",
    "writer",
]


class Crowd:
    """A room with so many people on this node."""

    def __init__(self, store: AnyStore, room: Room, people: int) -> None:
        self.reads: Histogram = store.read_seconds
        self.clock = JumpingClock()
        self.hub = Hub((Counter("a"), Counter("b")))
        self.rooms = CrowdedRooms(store.live, self.hub, self.clock)
        self.room = room
        for number in range(people):
            member = Member(room.org_id, f"p{number}", 0)
            self.hub.members[room.org_id, member.user_id] = member
            self.hub.join(member, room.id)

    async def titled(self) -> tuple[str, int]:
        """What the room is called, and how many reads that took."""
        before = self.reads.count
        found = await self.rooms.by_code(self.room.code)
        assert found is not None
        return found.title, self.reads.count - before


@pytest.fixture
def speaking(
    store: AnyStore, writer: GroupWriter, clock: SteppedClock, delivered: list[Event]
) -> Hall:
    return Hall(store, writer, clock, delivered)


async def test_the_store_is_asked_once_in_a_while(speaking: Hall, store: AnyStore) -> None:
    crowd = Crowd(store, await speaking.open(), CROWD)
    assert await crowd.titled() == ("A talk", 2)
    crowd.clock.jump(KEEP_SECONDS * 0.9)
    assert await crowd.titled() == ("A talk", 0)
    crowd.clock.jump(KEEP_SECONDS * 0.2)
    assert await crowd.titled() == ("A talk", 2)


async def test_of_a_few_nothing_is_kept(speaking: Hall, store: AnyStore) -> None:
    crowd = Crowd(store, await speaking.open(), CROWD - 1)
    for _ in range(3):
        assert await crowd.titled() == ("A talk", 2)
    # Those who were a crowd are none any more.
    crowd = Crowd(store, await speaking.open(), CROWD)
    await crowd.titled()
    crowd.hub.leave(crowd.hub.members[crowd.room.org_id, "p0"], crowd.room.id)
    assert await crowd.titled() == ("A talk", 2)


async def test_a_change_is_seen_at_once_also_by_a_read_that_it_overtook(
    speaking: Hall, store: AnyStore
) -> None:
    room = await speaking.open()
    crowd = Crowd(store, room, CROWD)
    await crowd.titled()
    await speaking.change(room, status="paused")
    (changed,) = speaking.told("room.changed")
    crowd.rooms.changed(changed)
    assert (await crowd.titled())[1] == 2
    assert (await crowd.titled())[1] == 0
    crowd.clock.jump(KEEP_SECONDS)
    reading = asyncio.ensure_future(crowd.titled())
    await asyncio.sleep(0)
    crowd.rooms.changed(changed)
    await reading
    assert (await crowd.titled())[1] == 2


async def test_what_is_not_there_is_asked_for_each_time(speaking: Hall, store: AnyStore) -> None:
    crowd = Crowd(store, await speaking.open(), CROWD)
    before = crowd.reads.count
    for _ in range(3):
        assert await crowd.rooms.by_code("222222") is None
    assert crowd.reads.count - before == 3
