"""Coming and going, told once for all nodes, whichever of them is killed."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.delivery.attending import Attending, Place
from madang.hub.frame import Dialect, Form
from madang.ports.bus import NO_ORG, SignalTold
from madang.testing.clock import JumpingClock
from tests.bus.conftest import Ends, ends, redis_ends  # noqa: F401 - fixtures
from tests.conftest import eventually
from tests.delivery.conftest import Node as Whole

ANN, BOB = Place("org", "s1", "ann"), Place('o"rg', "s1", "bob:*")


class Node:
    """A node's part, and what it was given to tell."""

    def __init__(self, bus: Any) -> None:
        self.bus = bus
        self.told: list[tuple[Place, bool]] = []
        self.turns: list[int] = []
        self.attending = Attending(bus, self.tell)

    def tell(self, place: Place, here: bool, at: int) -> None:
        self.told.append((place, here))
        self.turns.append(at)

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
    # Which of one user's came last stands in them, whoever tells it.
    assert 0 < one.turns[0] < one.turns[1] and other.turns[0] < other.turns[1]
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


async def test_the_last_turn_is_told_last(node: Whole) -> None:
    """Bob left one node and came to the other; of the two words the second came first."""
    room = await node.group("ann", "bob")
    ann, bob = [await node.connect(user, form=Form.AGENT) for user in ("ann", "bob")]

    def hear(event: str, at: int, user: str = "bob") -> None:
        text = orjson.dumps({"event": event, "user_id": user})
        signal = SignalTold(room, text, user, dialect=Dialect.AGENT, at=at)
        node.app.delivery.heard_signals("default", [signal])

    def told() -> list[tuple[str, str]]:
        node.app.hub.flush()
        return [(one["event"], one["user_id"]) for one in ann.told() if "event" in one]

    hear("user_joined", 1)
    hear("user_joined", 6)
    hear("user_left", 5)
    hear("user_left", 2, "eve")  # Another one's turns.
    hear("user_left", 7)
    assert told() == [
        ("user_joined", "bob"),
        ("user_joined", "bob"),
        ("user_left", "eve"),
        ("user_left", "bob"),
    ]
    for _ in range(2):
        hear("user_said", 0)  # Not a turn.
    assert told()[4:] == [("user_said", "bob")] * 2
    assert [one.get("user_id") for one in bob.told() if "event" in one] == ["eve"]
