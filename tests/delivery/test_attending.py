"""Coming and going, told once for all nodes, whichever of them is killed."""

from __future__ import annotations

import asyncio
from typing import Any

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.delivery.attending import Attending, Place
from madang.ports.bus import NO_ORG
from madang.testing.clock import JumpingClock
from tests.bus.conftest import Ends, ends, redis_ends  # noqa: F401 - fixtures
from tests.conftest import eventually

ANN, BOB = Place("org", "s1", "ann"), Place('o"rg', "s1", "bob:*")


class Node:
    """A node's part, and what it was given to tell."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.told: list[tuple[Place, bool]] = []
        self.attending = Attending(bus, lambda place, here: self.told.append((place, here)))

    def changed(self, place: Place, here: bool) -> None:
        self.attending.changed(place, here)

    async def settled(self) -> None:
        """Wait until all is shared."""
        await eventually(lambda: not self.attending._sharing)


def test_a_node_that_is_alone_tells_at_once() -> None:
    node = Node(MemoryBus(SystemClock()).end())
    for here in (True, True, False, False, True):
        node.changed(ANN, here)
    assert node.told == [(ANN, True), (ANN, False), (ANN, True)]


async def test_each_turn_is_told_by_one_of_them(ends: Ends) -> None:  # noqa: F811
    nodes = [Node((await ends.start())[0]) for _ in range(2)]
    one, other = nodes
    for node, place, here, told in (
        (one, ANN, True, (ANN, True)),
        (other, ANN, True, None),
        (other, BOB, True, (BOB, True)),
        (one, ANN, True, None),
        (one, ANN, False, None),
        (one, ANN, True, None),
        (other, ANN, False, None),
        (one, ANN, False, (ANN, False)),
        (other, BOB, False, (BOB, False)),
    ):
        before = [list(each.told) for each in nodes]
        node.changed(place, here)
        await node.settled()
        news = [each.told[len(was) :] for each, was in zip(nodes, before, strict=True)]
        assert news == [[told] if told is not None and each is node else [] for each in nodes]
    # They are no users of any org.
    assert await one.bus.online(NO_ORG) == {}
    assert await one.bus.online("org") == {}


async def test_who_comes_and_goes_meanwhile_was_never_here(ends: Ends) -> None:  # noqa: F811
    one, _ = [Node((await ends.start())[0]) for _ in range(2)]
    one.changed(BOB, True)
    one.changed(ANN, True)
    one.changed(ANN, False)
    await one.settled()
    assert one.told == [(BOB, True)]


async def test_of_a_node_that_is_gone_another_tells(redis_ends: Ends) -> None:  # noqa: F811
    # Its clock stands still: it renews nothing.
    gone = Node((await redis_ends.start(JumpingClock(), lease_seconds=0.5))[0])
    other = Node((await redis_ends.start())[0])
    for place in (ANN, BOB):
        gone.changed(place, True)
    await gone.settled()
    other.changed(ANN, True)
    await other.settled()
    async with asyncio.timeout(20):
        while not other.told:
            for turn in await other.bus.expired():
                other.attending.turned(turn)
    assert other.told == [(BOB, False)]
