"""Two nodes on one log and a bus that loses, repeats and swaps: every connection on both sees its
org's events in the order of their cursors, each once, with nothing left out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from madang.bus.memory import MemoryBus, MemoryEnd
from madang.clock import SystemClock
from madang.model.nouns import Event
from madang.ports.bus import Note
from madang.services.conversations import AddParticipants, RemoveParticipant
from madang.services.messages import DeleteMessage
from tests.conftest import eventually
from tests.delivery.conftest import Node
from tests.hub.recording import Recorder

MakeNode = Callable[..., Any]


class BadEnd(MemoryEnd):
    """An end that hears some parts of a commit not at all, twice or late.

    Args:
        loss: of parts that are lost; as many come twice, and as many too late.
    """

    def __init__(self, bus: MemoryBus, chance: random.Random, loss: float) -> None:
        super().__init__(bus)
        self.loss = loss
        self.lost = self.repeated = self.swapped = 0
        self._chance = chance
        self._later: list[Callable[[], None]] = []

    def hear_commit(
        self,
        told: Mapping[str, Sequence[Event]],
        users: Sequence[tuple[str, Event]],
        note: Note,
    ) -> None:
        listener = self._listener
        assert listener is not None
        parts: list[Callable[[], None]] = []
        for conversation_id, events in told.items():
            if conversation_id in self._conversations:
                parts.append(partial(listener.heard_events, note.org_id, events))
        for user_id, event in users:
            if (note.org_id, user_id) in self._users:
                parts.append(partial(listener.heard_events, note.org_id, [event]))
        parts.append(partial(listener.heard_note, note))
        for part in parts:
            self._hear(part)

    def _hear(self, part: Callable[[], None]) -> None:
        dice = self._chance.random()
        if dice < self.loss:
            self.lost += 1
            return
        if dice < 2 * self.loss:
            self.swapped += 1
            self._later.append(part)
            return
        part()
        if dice < 3 * self.loss:
            self.repeated += 1
            self._later.append(part)
        while self._later and self._chance.random() < 0.5:
            self._later.pop(self._chance.randrange(len(self._later)))()


class Told(MemoryEnd):
    """An end that hears only while it `hears`, and keeps what it heard."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.hears = True
        self.notes = True
        self.all: list[tuple[Any, Any, Note]] = []

    def hear_commit(
        self,
        told: Mapping[str, Sequence[Event]],
        users: Sequence[tuple[str, Event]],
        note: Note,
    ) -> None:
        self.all.append((told, users, note))
        if self.hears:
            super().hear_commit(told, users, note)

    def again(self) -> None:
        """Hear everything once more."""
        for told, users, note in list(self.all):
            super().hear_commit(told, users, note)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus(SystemClock())


def by_room(recorder: Recorder) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for frame in recorder.events():
        found.setdefault(frame["conversation_id"], []).append(frame["seq"])
    return found


async def told(recorder: Recorder, count: int) -> None:
    """Wait until a connection has had so many events."""
    await eventually(lambda: len(recorder.events()) >= count)


def in_order(recorder: Recorder) -> bool:
    """Whether the cursors only rise, over all conversations."""
    cursors = [frame["cursor"] for frame in recorder.events()]
    return cursors == sorted(set(cursors))


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

    try:
        await eventually(complete, 20)
    except TimeoutError:
        stand = [(by_room(recorder), recorder.floor, recorder.closings) for recorder in recorders]
        raise AssertionError(f"not healed: {expected}, {stand}, {_logs(nodes)}") from None


def _logs(nodes: list[Node]) -> list[Any]:
    return [
        (log.head, log.seen, log.until, log._entries, node.app.delivery._healing)
        for node in nodes
        for log in node.app.delivery._logs.values()
    ]


@pytest.mark.parametrize("loss", [0.01, 0.2, 1.0])
async def test_a_bad_bus_is_healed(make_node: MakeNode, bus: MemoryBus, loss: float) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    ends = [BadEnd(bus, chance, loss) for _ in range(2)]
    nodes: list[Node] = [await make_node(end) for end in ends]
    people = [f"p{n}" for n in range(6)]
    rooms = [await nodes[0].group(*people) for _ in range(4)]
    recorders = [await node.connect(user) for node in nodes for user in people]

    async def talk(node: Node, user: str) -> None:
        for number in range(40):
            await node.app.send(chance.choice(rooms), user, f"{user} {number}")

    await asyncio.gather(*(talk(node, user) for node in nodes for user in people[:3]))
    store = nodes[0].app.store
    expected = await store.last_seqs("default", rooms)
    await healed(nodes, recorders, expected)
    if loss == 0.2:
        assert sum(end.lost for end in ends)
        assert sum(end.repeated for end in ends)
        assert sum(end.swapped for end in ends)
    assert sum(expected.values()) == 4 + 240
    for recorder in recorders:
        assert in_order(recorder)
        # Everything after the place in the log at which the connection came.
        first = {room: await store.seq_at("default", room, recorder.floor) + 1 for room in rooms}
        assert by_room(recorder) == {
            room: list(range(first[room], last + 1)) for room, last in expected.items()
        }
    if loss >= 0.2:
        assert sum(node.app.delivery.gaps_healed for node in nodes)


async def test_a_good_bus_needs_no_reading(make_node: MakeNode, bus: MemoryBus) -> None:
    nodes: list[Node] = [await make_node(bus.end()) for _ in range(2)]
    room = await nodes[0].group("ann", "ben")
    ann, ben = await nodes[0].connect("ann"), await nodes[1].connect("ben")
    with nodes[1].statements() as statements:
        for number in range(20):
            await nodes[0].app.send(room, "ann", str(number))
        await told(ben, 20)
    assert statements == []
    await told(ann, 20)
    assert [node.app.delivery.gaps_healed for node in nodes] == [0, 0]


async def test_one_read_heals_a_gap_for_everybody(make_node: MakeNode, bus: MemoryBus) -> None:
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    people = [f"p{n}" for n in range(20)]
    rooms = [await one.group("ann", *people) for _ in range(10)]
    recorders = [await other.connect(user) for user in people]
    deaf.hears = False
    for room in rooms:
        await one.app.send(room, "ann", "lost")
    deaf.hears = True
    with other.statements() as statements:
        await one.app.send(rooms[0], "ann", "arrives")
        for recorder in recorders:
            await told(recorder, 11)
    assert len(statements) == 1
    assert all(map(in_order, recorders))


async def test_nothing_of_another_conversation_overtakes_what_was_lost(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    """The one cursor: who was told a later event of one room was told the earlier of the other."""
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    first, second = await one.group("ann", "ben"), await one.group("ann", "ben")
    ben = await other.connect("ben")
    deaf.hears = False
    await one.app.send(first, "ann", "lost")
    deaf.hears = True
    await one.app.send(second, "ann", "arrives")
    await told(ben, 2)
    assert [frame["conversation_id"] for frame in ben.events()] == [first, second]


async def test_own_commits_wait_for_those_of_others(make_node: MakeNode, bus: MemoryBus) -> None:
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    room = await one.group("ann", "ben")
    ben = await other.connect("ben")
    deaf.hears = False
    await one.app.send(room, "ann", "first")
    await other.app.send(room, "ben", "second")
    await told(ben, 2)
    assert [frame["data"]["content"] for frame in ben.events()] == ["first", "second"]


async def test_whom_an_unknown_conversation_takes_in_is_told(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    ben = await other.connect("ben")
    heard = await one.group("ann", "ben")
    await told(ben, 1)
    assert other.app.delivery.gaps_healed == 0
    deaf.hears = False
    lost = await one.group("ann", "ben")
    deaf.hears = True
    await one.app.send(lost, "ann", "hello")
    await told(ben, 3)
    assert [frame["conversation_id"] for frame in ben.events()] == [heard, lost, lost]


async def test_what_was_lost_last_is_found_by_the_head_check(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    room = await one.group("ann", "ben")
    ben = await other.connect("ben")
    await one.app.send(room, "ann", "arrives")
    await told(ben, 1)
    deaf.hears = False
    await one.app.send(room, "ann", "lost")
    assert by_room(ben) == {room: [2]}
    with other.statements() as statements:
        await other.app.delivery.check_heads()
    assert len(statements) == 1, "one query for all orgs"
    await healed([], [ben], {room: 3})
    assert by_room(ben) == {room: [2, 3]}


async def test_a_client_that_comes_with_a_later_cursor_gets_nothing_twice(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    """It was on a node that is further on than this one."""
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    room = await one.group("ann", "ben")
    ben, cho = await one.connect("ben"), await other.connect("ann")
    deaf.hears = False
    for text in ("one", "two", "three"):
        await one.app.send(room, "ann", text)
    await told(ben, 3)
    cursor = ben.events()[1]["cursor"]
    back = await other.connect("ben", hold=True)
    caught_up = await other.resume(back, cursor)
    assert caught_up.recovered
    await told(back, 1)
    await told(cho, 3)
    assert [frame["data"]["content"] for frame in back.events()] == ["three"]


async def test_what_another_node_deleted_is_told_to_nobody_who_comes_back(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    one: Node = await make_node(bus.end())
    deaf = Told(bus)
    other: Node = await make_node(deaf)
    room = await one.group("ann", "ben")
    ben = await other.connect("ben")
    sent = await one.app.send(room, "ann", "secret")
    await told(ben, 1)
    deaf.hears = False
    await one.app.writer.write(DeleteMessage("default", sent.id, "ann"))
    other.disconnect(ben)
    back = await other.connect("ben", hold=True)
    await other.resume(back, sent_before(ben))
    await told(back, 2)
    assert "secret" not in str(back.told())


def sent_before(recorder: Recorder) -> int:
    """A cursor just before the first event that was told."""
    return int(recorder.events()[0]["cursor"]) - 1


async def test_a_repeat_of_joining_lets_nobody_in_again(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    """`participant.joined` comes once more after its user was removed."""

    one: Node = await make_node(bus.end())
    heard = Told(bus)
    other: Node = await make_node(heard)
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
        heard.again()
        await one.app.send(room, "ann", "secret")
        heard.again()
        for recorder in staying:
            await told(recorder, 3)
        member = other.app.hub.members["default", "ben"]
        assert not other.app.hub.is_in(member, room)
        assert "secret" not in str(ben.told())
        other.disconnect(ben)


async def test_a_repeat_of_leaving_puts_nobody_out_again(
    make_node: MakeNode, bus: MemoryBus
) -> None:
    one: Node = await make_node(bus.end())
    heard = Told(bus)
    other: Node = await make_node(heard)
    room = await one.group("ann", "ben", "cho")
    ben, cho = await other.connect("ben"), await other.connect("cho")
    await one.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await one.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
    heard.again()
    await one.app.send(room, "ann", "hello")
    await told(ben, 3)
    await told(cho, 3)
    kinds = ["participant.left", "participant.joined", "message.new"]
    assert [frame["type"] for frame in ben.events()] == kinds
    assert [frame["type"] for frame in cho.events()] == kinds
