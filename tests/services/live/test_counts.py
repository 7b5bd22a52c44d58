"""Counts are told at most ten times a second a room, and the last one always."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest

from madang.model.live import Room, Seat, private_to
from madang.model.nouns import Batch, Event, Message
from madang.services.live.counts import INTERVAL, LEFT_ALONE, CountTeller, TellCounts
from madang.services.live.questions import Vote
from madang.services.live.rooms import EraseRoom
from madang.store.opening import open_store
from madang.store.writer import GroupWriter
from madang.testing.clock import JumpingClock
from tests.services.live.conftest import ORG, Hall, shown
from tests.store.conftest import AnyStore


class Node:
    """A store's user with timers that fire when the clock jumps."""

    def __init__(self, url: str, clock: JumpingClock, log: list[Event]) -> None:
        self.store = open_store(url, clock)
        self.log = log
        self.writer = GroupWriter(self.store, clock, self._commit)
        self.teller = CountTeller(self.writer, clock)

    def _commit(self, batch: Batch) -> None:
        self.log.extend(batch.events)

    async def vote(self, seat: Seat, message: Message, up: bool = True) -> None:
        voted = await self.writer.write(
            Vote(ORG, seat.conversation_id, seat.participant_id, message.id, up)
        )
        self.teller.at(ORG, seat.conversation_id, voted.tell_at)

    async def close(self) -> None:
        self.teller.close()
        await self.writer.close()
        await self.store.close()


@pytest.fixture
def jumping() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def log() -> list[Event]:
    return []


@pytest.fixture
async def nodes(
    url: str, jumping: JumpingClock, log: list[Event]
) -> AsyncIterator[tuple[Node, Node]]:
    both = (Node(url, jumping, log), Node(url, jumping, log))
    yield both
    for node in both:
        await node.close()


class _Times:
    """`SteppedClock`, as far as `Hall` wants one."""

    def __init__(self, clock: JumpingClock) -> None:
        self._clock = clock

    @property
    def time(self) -> int:
        return self._clock.now()


@pytest.fixture
def hall(nodes: tuple[Node, Node], jumping: JumpingClock, log: list[Event]) -> Hall:
    return Hall(nodes[0].store, nodes[0].writer, _Times(jumping), log)  # type: ignore[arg-type]


async def _pass(nodes: tuple[Node, Node], clock: JumpingClock, seconds: float) -> None:
    """Let time pass in small steps, and what it brings be written."""
    for _ in range(round(seconds / 0.01)):
        clock.jump(0.01)
        for node in nodes:
            await node.writer.settle()


def _changes(log: list[Event]) -> list[Event]:
    return [event for event in log if event.type == "question.changed"]


async def test_ten_a_second_and_the_last_one_always(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock, log: list[Event]
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    room = await hall.open()
    seats = [await hall.seat(room) for _ in range(20)]
    questions = [await hall.ask(seats[0], str(n)) for n in range(5)]
    for _ in range(60):
        # Votes on two nodes.
        await dice.choice(nodes).vote(
            dice.choice(seats), dice.choice(questions), dice.random() < 0.8
        )
        await _pass(nodes, jumping, dice.choice((0.0, 0.01, 0.03)))
    await _pass(nodes, jumping, 1.0)
    changes = _changes(log)
    times = [event.created_at for event in changes]
    assert min(b - a for a, b in itertools.pairwise(times)) >= INTERVAL
    told = {event.message.id: shown(event)["votes"] for event in changes if event.message}
    for question in questions:
        votes = (await hall.metadata(room, question))["votes"]
        assert told.get(question.id, 0) == votes
    assert (await hall.now(room)).untold == ()
    assert jumping.waiting == 0


async def test_the_longest_waiting_is_told_first(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock, log: list[Event]
) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    questions = [await hall.ask(seat, str(n)) for n in range(4)]
    for number in (2, 0, 3, 1, 0):
        await nodes[0].vote(seat, questions[number])
    assert jumping.waiting == 1
    await _pass(nodes, jumping, 0.5)
    assert [e.message.content for e in _changes(log) if e.message] == ["2", "0", "3", "1"]


async def test_what_a_node_that_died_left_is_told_by_another(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock, log: list[Event]
) -> None:
    room, quiet = await hall.open(), await hall.open()
    died, other = nodes
    seats = [await hall.seat(room) for _ in range(3)]
    question = await hall.ask(seats[0])
    await hall.vote(await hall.seat(quiet), await hall.ask(await hall.seat(quiet)))
    for seat in seats:
        await died.vote(seat, question)
    died.teller.close()
    await other.teller.sweep(other.store.live)
    assert jumping.waiting == 0
    jumping.jump((LEFT_ALONE + 1) / 1_000_000)
    await other.teller.sweep(other.store.live)
    assert jumping.waiting == 1
    await _pass(nodes, jumping, 0.05)
    last = _changes(log)[-1]
    assert (last.conversation_id, shown(last)["votes"]) == (room.id, 3)
    jumping.jump(10)
    assert await other.store.live.due_counts(jumping.now()) == []


async def test_telling_early_late_or_of_nothing(hall: Hall, jumping: JumpingClock) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    await hall.vote(seat, question)
    early = await hall.vote(seat, question, up=False)
    tell = TellCounts(ORG, room.id)
    told = await hall.writer.write(tell)
    assert (told.event, told.tell_at) == (None, early.tell_at)
    # A change of state tells the count with it.
    await hall.state(room, question, "live")
    jumping.jump(1)
    told = await hall.writer.write(tell)
    assert (told.event, told.tell_at) == (None, None)
    await hall.vote(seat, question)
    await hall.vote(seat, question, up=False)
    await hall.writer.write(EraseRoom(ORG, room.id, room.host_id))
    assert await hall.writer.write(tell) == told
    assert await hall.store.live.due_counts(jumping.now() + 10 * LEFT_ALONE) == []


async def test_a_clock_ahead_holds_nothing_up(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock, url: str
) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    ahead = Node(url, JumpingClock(jumping.now() + 3600 * 1_000_000), [])
    await ahead.vote(seat, question)
    await ahead.close()
    jumping.jump(1)
    voted = await hall.vote(seat, question, up=False)
    assert voted.tell_at is not None
    assert voted.tell_at - jumping.now() <= INTERVAL


async def test_counts_of_hidden_questions_stay_hidden(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock, log: list[Event]
) -> None:
    room: Room = await hall.open(questions_visible="host")
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    await nodes[0].vote(seat, question)
    await nodes[0].vote(seat, question, up=False)
    await _pass(nodes, jumping, 0.2)
    changes = _changes(log)
    assert len(changes) == 2
    assert {private_to(event) for event in changes} == {seat.participant_id}


async def test_a_store_that_is_away_leaves_it_to_the_sweep(
    hall: Hall, nodes: tuple[Node, Node], jumping: JumpingClock
) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    node = Node.__new__(Node)
    closed = GroupWriter(nodes[0].store, jumping, lambda batch: None)
    await closed.close()
    node.teller = CountTeller(closed, jumping)
    await hall.vote(seat, question)
    left = await hall.vote(seat, question, up=False)
    node.teller.at(ORG, room.id, left.tell_at)
    jumping.jump(0.2)
    assert jumping.waiting == 0
    due: AnyStore = nodes[1].store
    assert await due.live.due_counts(jumping.now()) == [(ORG, room.id)]
