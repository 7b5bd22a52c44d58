"""Presence over two nodes: people on either hear of each other as if there were one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from madang.bus.memory import MemoryBus
from madang.delivery.delivery import Delivery
from madang.delivery.members import Members
from madang.ports.bus import PresenceTold
from madang.store import migrate
from madang.store.sqlite import SqliteStore
from madang.testing.clock import JumpingClock
from tests.conftest import eventually
from tests.delivery.test_presence import GRACE, Room, told
from tests.hub.recording import Recorder


@pytest.fixture
async def rooms(tmp_path: Path) -> AsyncIterator[tuple[Room, Room]]:
    url = f"sqlite:///{tmp_path / 'madang.db'}"
    migrate.upgrade(url)
    clock = JumpingClock()
    store = SqliteStore(url, clock)
    bus = MemoryBus(clock)
    made = []
    for end in (bus.end(), bus.end()):
        room = Room(store, end, clock)
        delivery = Delivery(room.hub, store, end, Members(room.hub, store, end), clock)
        delivery.pass_on(room.presence)
        await end.start(delivery)
        await delivery.open_org("org")
        made.append(room)
    yield made[0], made[1]
    for room in made:
        await room.presence.close()
    await store.close()


async def hears(connection: Recorder, *expected: tuple[str, str]) -> None:
    await eventually(lambda: told(connection) == list(expected))


async def both_come(here: Room, there: Room) -> tuple[Recorder, Recorder]:
    """Ann here and Ben there, who has heard of her."""
    ben = there.come("ben")
    there.clock.jump(2)
    ann = here.come("ann")
    here.clock.jump(0.1)
    await hears(ben, ("user.online", "ann"))
    return ann, ben


async def test_coming_and_going_is_heard_on_the_other_node(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    ann, ben = await both_come(here, there)
    here.go(ann)
    here.clock.jump(GRACE - 1)
    here.clock.jump(2)
    await hears(ben, ("user.online", "ann"), ("user.offline", "ann"))


async def test_a_move_to_another_node_is_not_told(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    ben = there.come("ben")
    there.clock.jump(2)
    ann = here.come("ann")
    here.clock.jump(2)
    await hears(ben, ("user.online", "ann"))
    here.go(ann)
    here.clock.jump(1)
    back = there.come("ann")
    there.clock.jump(GRACE + 2)

    async def devices(room: Room) -> int:
        return (await room.presence.present("org", ["ann"]))["ann"].devices

    async def settled() -> bool:
        return [await devices(here), await devices(there)] == [1, 1]

    while not await settled():
        here.clock.jump(0.3)
    there.go(back)
    there.clock.jump(GRACE + 2)
    await hears(ben, ("user.online", "ann"), ("user.offline", "ann"))


async def test_the_best_device_of_all_nodes_wins(rooms: tuple[Room, Room]) -> None:
    here, there = rooms
    ben = there.come("ben")
    here.clock.jump(2)
    phone, desk = here.come("ann"), there.come("ann")
    here.clock.jump(2)
    await hears(ben, ("user.online", "ann"))
    here.presence.set(phone, "away")
    here.clock.jump(2)
    there.presence.set(desk, "away")
    there.clock.jump(2)
    await hears(ben, ("user.online", "ann"), ("user.away", "ann"))
    found = await here.presence.present("org", ["ann", "nobody"])
    assert {user: (one.status, one.devices) for user, one in found.items()} == {"ann": ("away", 2)}


async def test_the_last_turn_is_told_last(
    rooms: tuple[Room, Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann left one node and came to the other; of the two words the second came first."""
    here, there = rooms
    ann, ben = await both_come(here, there)
    words: list[tuple[str, Sequence[PresenceTold]]] = []
    bus = here.presence._bus
    tell = bus.tell_presence
    monkeypatch.setattr(bus, "tell_presence", lambda *word: words.append(word))
    here.go(ann)
    here.clock.jump(GRACE + 2)
    await eventually(lambda: len(words) == 1)
    there.come("ann")
    there.clock.jump(2)
    await hears(ben, ("user.online", "ann"), ("user.online", "ann"))
    tell(*words[0])
    await hears(ben, ("user.online", "ann"), ("user.online", "ann"))
