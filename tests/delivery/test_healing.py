"""Two nodes on one log and a bus that loses, repeats and swaps: every connection on both sees every
conversation's events in order, each once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from madang.bus.memory import MemoryBus
from madang.ports.store import Envelope
from madang.services.conversations import AddParticipants, RemoveParticipant
from tests.conftest import eventually
from tests.delivery.conftest import Node
from tests.hub.recording import Recorder

MakeNode = Callable[..., Any]


class BadBus(MemoryBus):
    """A bus with faults. What is kept back is published later, if at all.

    Args:
        loss: of envelopes that are lost; as many come twice, and as many too late.
    """

    def __init__(self, chance: random.Random, loss: float) -> None:
        super().__init__()
        self.loss = loss
        self.lost = self.repeated = self.swapped = 0
        self._chance = chance
        self._late: list[Envelope] = []

    def publish(self, envelope: Envelope) -> None:
        dice = self._chance.random()
        if dice < self.loss:
            self.lost += 1
            return
        if dice < 2 * self.loss:
            self.swapped += 1
            self._late.append(envelope)
            return
        super().publish(envelope)
        if dice < 3 * self.loss:
            self.repeated += 1
            self._late.append(envelope)
        while self._late and self._chance.random() < 0.5:
            super().publish(self._late.pop(self._chance.randrange(len(self._late))))


def by_room(recorder: Recorder) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for frame in recorder.events():
        found.setdefault(frame["conversation_id"], []).append(frame["seq"])
    return found


async def told(recorder: Recorder, count: int) -> None:
    """Wait until a connection has had so many events."""
    await eventually(lambda: len(recorder.events()) >= count)


async def healed(nodes: list[Node], recorders: list[Recorder], expected: dict[str, int]) -> None:
    """Wait until everybody has seen the last event of every room; the head check finds what was
    lost last."""
    for node in nodes:
        await node.app.delivery.check_heads()

    def complete() -> bool:
        return all(
            by_room(recorder).get(room, [0])[-1] >= last
            for recorder in recorders
            for room, last in expected.items()
        )

    await eventually(complete, 20)


async def test_a_bad_bus_is_healed(make_node: MakeNode) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    bus = BadBus(chance, 0.2)
    nodes: list[Node] = [await make_node(bus), await make_node(bus)]
    people = [f"p{n}" for n in range(6)]
    rooms = [await nodes[0].group(*people) for _ in range(4)]
    recorders = [await node.connect(user) for node in nodes for user in people]

    async def talk(node: Node, user: str) -> None:
        for number in range(40):
            await node.app.send(chance.choice(rooms), user, f"{user} {number}")

    await asyncio.gather(*(talk(node, user) for node in nodes for user in people[:3]))
    expected = await nodes[0].app.store.last_seqs(rooms)
    await healed(nodes, recorders, expected)
    assert bus.lost
    assert bus.repeated
    assert bus.swapped
    assert sum(expected.values()) == 4 + 240
    store = nodes[0].app.store
    for recorder in recorders:
        # Everything after the place in the log at which the connection came.
        first = {room: await store.seq_at("default", room, recorder.floor) + 1 for room in rooms}
        assert by_room(recorder) == {
            room: list(range(first[room], last + 1)) for room, last in expected.items()
        }
    assert sum(node.app.delivery.gaps_healed for node in nodes)


async def test_the_first_event_of_a_channel_may_be_lost_too(make_node: MakeNode) -> None:
    class LosesTwo(MemoryBus):
        lose = 0

        def publish(self, envelope: Envelope) -> None:
            if self.lose:
                self.lose -= 1
            else:
                super().publish(envelope)

    bus = LosesTwo()
    one: Node = await make_node(bus)
    other: Node = await make_node(bus)
    room = await one.group("ann", "ben")
    await one.app.send(room, "ann", "before")
    ben = await other.connect("ben")
    bus.lose = 2
    for text in ("lost", "lost too", "arrives"):
        await one.app.send(room, "ann", text)
    await healed([], [ben], {room: 5})
    assert by_room(ben) == {room: [3, 4, 5]}


async def test_what_was_lost_last_is_found_by_the_head_check(make_node: MakeNode) -> None:
    class LosesAll(MemoryBus):
        loses = False

        def publish(self, envelope: Envelope) -> None:
            if not self.loses:
                super().publish(envelope)

    bus = LosesAll()
    one: Node = await make_node(bus)
    other: Node = await make_node(bus)
    room = await one.group("ann", "ben")
    ben = await other.connect("ben")
    await one.app.send(room, "ann", "arrives")
    await told(ben, 1)
    bus.loses = True
    await one.app.send(room, "ann", "lost")
    assert by_room(ben) == {room: [2]}
    with other.statements() as statements:
        await other.app.delivery.check_heads()
    assert len(statements) == 1, "one query for all channels"
    await healed([], [ben], {room: 3})
    assert by_room(ben) == {room: [2, 3]}


async def test_a_repeated_envelope_lets_nobody_in_again(make_node: MakeNode) -> None:
    """`participant.joined` comes once more after its user was removed."""

    class Remembers(MemoryBus):
        def __init__(self) -> None:
            super().__init__()
            self.all: list[Envelope] = []

        def publish(self, envelope: Envelope) -> None:
            self.all.append(envelope)
            super().publish(envelope)

    bus = Remembers()
    one: Node = await make_node(bus)
    other: Node = await make_node(bus)
    for stays in ((), ("cho",)):
        # With somebody who stays the other node keeps the channel, without it forgets it.
        room = await one.group("ann", *stays)
        staying = [await other.connect(user) for user in stays]
        ben = await other.connect("ben")
        await one.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
        await one.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
        await told(ben, 2)
        kinds = [frame["type"] for frame in ben.events()]
        assert kinds == ["participant.joined", "participant.left"]
        for envelope in list(bus.all):
            MemoryBus.publish(bus, envelope)
        await one.app.send(room, "ann", "secret")
        for envelope in list(bus.all):
            MemoryBus.publish(bus, envelope)
        for recorder in staying:
            await told(recorder, 3)
        member = other.app.hub.members["default", "ben"]
        assert not other.app.hub.is_in(member, room)
        assert "secret" not in str(ben.told())
        other.disconnect(ben)


async def test_a_repeat_of_leaving_puts_nobody_out_again(make_node: MakeNode) -> None:
    bus = MemoryBus()
    seen: list[Envelope] = []
    stop = bus.listen("spy", seen.append)
    one: Node = await make_node(bus)
    other: Node = await make_node(bus)
    room = await one.group("ann", "ben", "cho")
    ben, cho = await other.connect("ben"), await other.connect("cho")
    await one.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await one.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
    for envelope in list(seen):
        bus.publish(envelope)
    stop()
    await one.app.send(room, "ann", "hello")
    await told(ben, 3)
    await told(cho, 3)
    kinds = ["participant.left", "participant.joined", "message.new"]
    assert [frame["type"] for frame in ben.events()] == kinds
    assert [frame["type"] for frame in cho.events()] == kinds
