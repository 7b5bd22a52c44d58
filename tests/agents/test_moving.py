"""Agents outside that come back: their runs wait for them, and move to where they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from madang.agents.moving import MOVE
from madang.agents.protocol import Step
from madang.agents.running import Running
from madang.bus.memory import MemoryBus, MemoryEnd
from madang.compose import Madang
from madang.model.nouns import Message
from madang.model.runs import Run, lease_name
from madang.ports.bus import Bus
from madang.protocol.errors import Conflict, Unavailable
from madang.services.approvals import AnswerApproval, AskApproval
from madang.services.asking import RunLimits
from madang.services.runs import EndRun, StartOutside
from madang.settings import Settings
from madang.surfaces.agents.commands import StreamChunk, StreamStart
from madang.surfaces.agents.outside import Outside
from madang.testing import JumpingClock
from tests.agents.outside import end, everywhere, opened, say
from tests.agents.watching import ORG, Viewer, seat_of, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


class End:
    """A node's end of a bus, whose questions can be lost: asked, and never answered."""

    def __init__(self, end: MemoryEnd) -> None:
        self._end = end
        self.loses_answers = False
        self.gives_no_lease = False
        self.asks = 0

    async def ask(self, node: str, topic: str, content: Any, seconds: float) -> Any:
        self.asks += topic == MOVE
        answer = await self._end.ask(node, topic, content, seconds)
        if self.loses_answers:
            raise Unavailable
        return answer

    async def acquire(self, name: str, seconds: float) -> bool:
        if self.gives_no_lease:
            raise Unavailable
        return await self._end.acquire(name, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)


@dataclass
class Nodes:
    """Three of them on one bus, the time by which leases run out, and one session."""

    apps: list[Madang]
    ends: list[End]
    leases: JumpingClock
    room: str

    @property
    def here(self) -> Madang:
        return self.apps[0]

    @property
    def there(self) -> Madang:
        return self.apps[1]

    async def begin(self) -> tuple[Message, Running]:
        """A run of an agent outside, on the first node."""
        write = StartOutside(ORG, self.room, "bot-7", metadata={"model": "m"})
        message, _ = await self.here.writer.write(write)
        return message, self.here.agents.runner.adopt(message)

    async def watch(self) -> list[Viewer]:
        """A viewer on each."""
        return [await watch(app, self.room) for app in self.apps]

    async def run(self, message_id: str) -> tuple[Run, Message]:
        run = await self.there.store.run(ORG, message_id, "ann")
        message = await self.there.store.message(ORG, message_id, "ann")
        assert run is not None and message is not None
        return run, message


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    leases = JumpingClock()
    bus = MemoryBus(leases)
    ends = [End(bus.end()) for _ in range(3)]
    made = []
    for its_end in ends:
        settings = Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0)
        made.append(Madang(settings, bus=cast(Bus, its_end)))
        await made[-1].start()
    yield Nodes(made, ends, leases, await opened(made))
    for node in made:
        await node.stop()


async def took(app: Madang, message: Message) -> Running:
    async with asyncio.timeout(PATIENCE):
        running = await app.agents.runner.moving.take(message)
    assert running is not None
    return running


async def test_it_goes_on_on_another_node_and_nobody_notices(nodes: Nodes) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    viewers = await nodes.watch()
    message, running = await nodes.begin()
    app, text = nodes.here, ""
    for move in range(6):
        for number in range(rng.randrange(1, 30)):
            word = f"{move}.{number}안🌊 "
            text += word
            say(app, running, word)
            if rng.random() < 0.3:
                step = Step(f"s{rng.randrange(4)}", content=word, output=number)
                app.agents.runner.step(running, step)
            await turns(rng.randrange(3))
        chunks, said, told = running.chunks, running.said, running.speech.told
        app = rng.choice([other for other in nodes.apps if other is not app])
        running = await took(app, message)
        assert (running.chunks, running.length, running.said) == (chunks, len(text), said)
        assert running.speech.told == told
        owner = await nodes.here.bus.owner(lease_name(message.id))
        assert owner == app.bus.node
        assert [len(other.agents.runner) for other in nodes.apps if other is not app] == [0, 0]
        viewers += await nodes.watch()
    running.tokens = 7
    await end(app, running)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, text)
    run, kept = await nodes.run(message.id)
    assert (kept.content, run.status, run.tokens_used) == (text, "complete", 7)
    assert kept.metadata["model"] == "m"
    assert kept.metadata["first_token_ms"] < 60_000
    for viewer in viewers:
        for step in kept.metadata.get("steps", ()):
            found = viewer.steps[step["step_id"]]
            assert {name: found[name] for name in step} == step
    assert run.ends[-1] == len(text) and list(run.ends) == sorted(run.ends)


async def test_what_is_known_of_it_moves_with_it(nodes: Nodes) -> None:
    """Its times, half a character, what it has asked people: also what they answer meanwhile."""
    viewers = await nodes.watch()
    message, running = await nodes.begin()
    say(nodes.here, running, "wave \ud83c")
    running.begun -= 100
    running.spoke -= 10
    running.waited = 5.0
    running.tokens = 3
    for request in ("r1", "r2"):
        nodes.here.agents.runner.people.ask_outside(running, request)
        await nodes.here.writer.write(AskApproval(ORG, message.id, "bot-7", request, "May I?"))
    running.waits_since -= 20
    await nodes.apps[2].writer.write(AnswerApproval(ORG, message.id, "r1", "ann", "approve"))
    running.unanswered.add("r1")  # It did not hear of it.
    moved = await took(nodes.there, message)
    now = nodes.there.clock.monotonic()
    assert (moved.unanswered, moved.tokens, moved.waited) == ({"r2"}, 3, 5.0)
    for then, seconds in ((moved.begun, 100), (moved.spoke, 10), (moved.waits_since, 20)):
        assert seconds <= now - then < seconds + PATIENCE
    say(nodes.there, moved, "\udf0a!")
    await end(nodes.there, moved)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, "wave 🌊!")


async def test_where_its_answer_is_lost_it_goes_on_from_the_disk(nodes: Nodes) -> None:
    """Its node writes all of it before it lets go."""
    viewers = await nodes.watch()
    message, running = await nodes.begin()
    say(nodes.here, running, "said ", "and not checked ")
    nodes.here.agents.runner.step(running, Step("s", name="look", content="thought"))
    await turns()
    nodes.ends[1].loses_answers = True
    moved = await took(nodes.there, message)
    assert moved.length == len("said and not checked ")
    nodes.there.agents.runner.step(moved, Step("s", status="complete", content=" more"))
    say(nodes.there, moved, "more")
    await end(nodes.there, moved)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, "said and not checked more")
    for viewer in viewers:
        assert viewer.steps["s"]["content"] == "thought more"
        assert viewer.steps["s"]["status"] == "complete"


async def test_one_that_cannot_be_taken_now_can_be_taken_later(nodes: Nodes) -> None:
    """The bus went away when its node had let go of it."""
    viewers = await nodes.watch()
    message, running = await nodes.begin()
    say(nodes.here, running, "one ")
    nodes.ends[1].gives_no_lease = True
    with pytest.raises(Unavailable):
        await took(nodes.there, message)
    nodes.ends[1].gives_no_lease = False
    moved = await took(nodes.there, message)
    say(nodes.there, moved, "two")
    await end(nodes.there, moved)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, "one two")


async def test_an_agent_that_cannot_go_on_now_is_told_so_and_tries_again(nodes: Nodes) -> None:
    message, running = await nodes.begin()
    say(nodes.here, running, "one ")
    there = nodes.there
    outside = Outside(
        there.agents.runner,
        there.delivery,
        there.store,
        there.writer,
        there.clock,
        RunLimits(),
        start=there.admission.start,
        count=lambda _: None,
        give_back=lambda _: None,
        max_content=1_000,
    )
    told = Viewer()
    seat = await seat_of(there, told, nodes.room, "bot-7")
    assert await there.agents.seats.enter(seat, lambda *_: None)

    def tries(first: int) -> None:
        start = StreamStart(type="stream_start", id=first, message_id=message.id)
        chunk = StreamChunk(
            type="stream_chunk", id=first + 1, message_id=message.id, content="two", offset=4
        )
        outside.start(seat, start)
        outside.chunk(seat, chunk)

    def answers() -> dict[Any, str]:
        frames = [frame for frame in told.told() if "reply_to" in frame]
        return {frame["reply_to"]: frame.get("code", frame["type"]) for frame in frames}

    nodes.ends[1].gives_no_lease = True
    tries(1)
    await eventually(lambda: answers() == {1: "UNAVAILABLE", 2: "NOT_FOUND"}, PATIENCE)
    nodes.ends[1].gives_no_lease = False
    tries(3)
    await eventually(lambda: answers().get(3) == "stream_started", PATIENCE)
    await eventually(lambda: told.text == "one two", PATIENCE)
    assert answers()[4] == "stream_taken"


async def test_of_two_that_take_it_one_has_it(nodes: Nodes) -> None:
    """The one that is last; the other had it for a moment."""
    viewers = await nodes.watch()
    message, running = await nodes.begin()
    text = ""
    for turn in range(10):
        say(owner_of(nodes, message), running, f"{turn} ")
        text += f"{turn} "
        others = [app for app in nodes.apps if app is not owner_of(nodes, message)]
        async with asyncio.timeout(PATIENCE):
            taken = await asyncio.gather(
                *(other.agents.runner.moving.take(message) for other in others),
                return_exceptions=True,
            )
        assert all(isinstance(one, Running | Conflict) for one in taken)
        found = owner_of(nodes, message).agents.runner.get(message.id)
        assert found is not None and found in taken
        running = found
        assert (running.chunks, running.length) == (turn + 1, len(text))
        assert await nodes.here.bus.owner(lease_name(message.id)) == (
            owner_of(nodes, message).bus.node
        )
    await end(owner_of(nodes, message), running)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, text)


def owner_of(nodes: Nodes, message: Message) -> Madang:
    """The one node that has it."""
    (owner,) = (app for app in nodes.apps if app.agents.runner.get(message.id))
    return owner


async def test_two_that_take_it_on_one_node_both_have_it(nodes: Nodes) -> None:
    """Which of them goes on with it is for those who asked."""
    message, _ = await nodes.begin()
    moving = nodes.there.agents.runner.moving
    async with asyncio.timeout(PATIENCE):
        first, second = await asyncio.gather(moving.take(message), moving.take(message))
    assert first is second is nodes.there.agents.runner.get(message.id)
    assert nodes.ends[1].asks == 1


async def test_one_that_is_over_is_nobodys(nodes: Nodes) -> None:
    message, running = await nodes.begin()
    say(nodes.here, running, "all of it")
    await end(nodes.here, running)
    async with asyncio.timeout(PATIENCE):
        assert await nodes.there.agents.runner.moving.take(message) is None
    assert await nodes.here.bus.owner(lease_name(message.id)) is None
    # Ended by somebody else while its node goes on with it.
    message, running = await nodes.begin()
    await nodes.apps[2].writer.write(EndRun(ORG, message.id, "cancelled"))
    async with asyncio.timeout(PATIENCE):
        assert await nodes.there.agents.runner.moving.take(message) is None
    assert await nodes.here.bus.owner(lease_name(message.id)) is None


async def test_a_node_that_goes_away_leaves_it(nodes: Nodes) -> None:
    viewers = (await nodes.watch())[1:]
    message, running = await nodes.begin()
    say(nodes.here, running, "one ", "two ")
    await turns()
    await nodes.here.stop()
    moved = await took(nodes.there, message)
    assert moved.length == len("one two ")
    say(nodes.there, moved, "three")
    await end(nodes.there, moved)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    assert everywhere(viewers, "one two three")
    run, _ = await nodes.run(message.id)
    assert run.status == "complete"


# Waiting.


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
async def waiting(tmp_path: Path, clock: JumpingClock) -> AsyncIterator[tuple[Madang, Running]]:
    """A node of its own, with a run whose agent is gone."""
    settings = Settings(dev=True, data_dir=tmp_path, run_grace_seconds=30)
    made = Madang(settings, clock=clock)
    await made.start()
    room = await opened([made])
    message, _ = await made.writer.write(StartOutside(ORG, room, "bot-7"))
    running = made.agents.runner.adopt(message)
    made.agents.runner.say(running, "so far")
    made.agents.runner.moving.wait_for(running)
    yield made, running
    await stopped(made, clock)


async def test_an_agent_is_waited_for_so_long(
    waiting: tuple[Madang, Running], clock: JumpingClock
) -> None:
    app, running = waiting
    clock.jump(29.9)
    assert running.end is None
    app.agents.runner.moving.is_back(running)
    clock.jump(20)
    assert running.end is None
    app.agents.runner.say(running, "!")
    app.agents.runner.moving.wait_for(running)
    app.agents.runner.moving.wait_for(running)
    clock.jump(29.9)
    assert running.end is None
    clock.jump(0.2)
    assert running.end == "interrupted"
    await asyncio.wait_for(running.done, PATIENCE)
    kept = await app.store.message(ORG, running.message_id, "ann")
    assert kept is not None
    assert (kept.content, kept.metadata["status"]) == ("so far!", "interrupted")
    assert kept.metadata["latency_ms"] == 49_900  # Until it said its last word.
