"""Answers while they are written: merged, and whole for every viewer, whatever the bus loses and
whenever somebody comes."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from madang.agents.protocol import AgentRun, Said, Step
from madang.bus.memory import MemoryBus, MemoryEnd
from madang.clock import SystemClock
from madang.compose import Madang
from madang.delivery.how_far import RUN_TEXT
from madang.model.nouns import Batch, Event
from madang.model.runs import own_agent
from madang.ports.bus import Bus, Note, RunTold
from madang.protocol.errors import NotFound
from madang.services.messages import DeleteMessage, SendMessage
from madang.services.sessions import CreateSession
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Typed, Viewer, ask, session, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


class Lossy:
    """An end of a bus that loses what it tells of runs, as `loses` says."""

    def __init__(self, end: MemoryEnd, loses: Callable[[RunTold], bool]) -> None:
        self._end = end
        self._loses = loses
        self.lost = 0
        self.dumb = False
        """Whether it tells of no commit either."""

    def tell_run(self, org_id: str, told: RunTold) -> None:
        if self._loses(told):
            self.lost += 1
        else:
            self._end.tell_run(org_id, told)

    def tell_commit(self, batch: Batch, named: Sequence[tuple[str, Event]]) -> None:
        if not self.dumb:
            self._end.tell_commit(batch, named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)


class Loaded(JumpingClock):
    """Of a node that has so much to do that its timers fire late."""

    late = 0.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        return super().call_later(seconds + self.late, callback)


@pytest.fixture
async def clock() -> Loaded:
    return Loaded()


@pytest.fixture
async def app(tmp_path: Path, clock: JumpingClock) -> AsyncIterator[Madang]:
    made = Madang(Settings(dev=True, data_dir=tmp_path), clock=clock)
    await made.start()
    yield made
    await stopped(made, clock)


async def test_the_first_word_goes_out_at_once_and_the_rest_in_25_frames_a_second(
    app: Madang, clock: JumpingClock
) -> None:
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    typed.type("one ")
    await eventually(lambda: viewer.text == "one ", PATIENCE)
    typed.type("two ", "three ")
    await turns()
    assert viewer.text == "one "  # Not a moment has passed.
    clock.jump(0.039)
    await turns()
    assert viewer.text == "one "
    clock.jump(0.002)
    await eventually(lambda: viewer.text == "one two three ")
    texts = await a_second_of_tokens(typed, viewer, clock)
    assert 20 <= len(texts) <= 26, "frames"
    typed.type(None)
    await eventually(lambda: viewer.ended)


async def a_second_of_tokens(typed: Typed, viewer: Viewer, clock: JumpingClock) -> list[str]:
    """A thousand of them, and the texts of the frames that tell of them."""
    before = len(viewer.chunks())
    for number in range(1000):
        typed.type(f"{number} ")
        await turns(4)
        clock.jump(0.001)
    await turns()
    clock.jump(0.05)
    await turns()
    texts = [chunk["content"] for chunk in viewer.chunks()[before:]]
    assert "".join(texts) == "".join(f"{number} " for number in range(1000))
    return texts


async def test_the_largest_frame_splits_what_is_told_and_does_not_pace_it(
    tmp_path: Path, clock: JumpingClock
) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path, stream_chunk_size=50), clock=clock)
    await app.start()
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    typed.type("one ")
    await eventually(lambda: viewer.text == "one ", PATIENCE)
    before = len(viewer.writes)
    texts = await a_second_of_tokens(typed, viewer, clock)
    assert len(texts) > 50 and max(map(len, texts)) <= 50
    assert 20 <= len(viewer.writes) - before <= 26, "as often as ever"
    await stopped(app, clock)


async def test_answers_beside_each_other_share_the_frames(app: Madang, clock: JumpingClock) -> None:
    async def two(run: AgentRun) -> AsyncIterator[Said]:
        for number in range(500):
            yield f"{number} "
            await app.clock.sleep(0.01)

    app.agent("typed")(two)
    opened = await app.writer.write(
        CreateSession(ORG, "ann", own_agent("typed"), when_busy="parallel")
    )
    room = opened.conversation.id
    viewer = await watch(app, room)
    runs = {await ask(app, room), await ask(app, room)}
    # Both have begun: the first word of each goes out at once.
    await eventually(lambda: {chunk["message_id"] for chunk in viewer.chunks()} == runs, PATIENCE)
    before = len(viewer.chunks())
    for _ in range(1000):
        clock.jump(0.001)
        await turns(4)
    told = len(viewer.chunks()) - before
    assert 20 <= told <= 30, "a second's frames of both together"


@pytest.mark.parametrize(("late", "least", "most"), [(0.0, 20, 27), (0.03, 3, 5), (0.5, 1, 3)])
async def test_a_node_that_is_late_tells_less_often_and_all_of_it(
    app: Madang, clock: Loaded, late: float, least: int, most: int
) -> None:
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    typed.type("begun ")
    await eventually(lambda: viewer.text == "begun ", PATIENCE)
    clock.late = late
    said = ["begun "]

    async def seconds(count: int) -> int:
        """How often something is told in so many seconds of a hundred tokens."""
        before = len(viewer.writes)
        for _ in range(count * 100):
            said.append(f"{len(said)} ")
            typed.type(said[-1])
            await turns(4)
            clock.jump(0.01)
        await turns()
        return sum(b"stream_chunk" in frames[0].text for frames in viewer.writes[before:])

    await seconds(4)
    assert 2 * least <= await seconds(2) <= 2 * most
    clock.late = 0.0
    await seconds(8)
    assert 40 <= await seconds(2) <= 54, "as often as before once it is not late any more"
    clock.jump(1)
    await turns()
    assert viewer.text == "".join(said)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Nodes on one database and one bus, of which the first loses what it is told to lose."""
    bus = MemoryBus(SystemClock())
    made: list[Madang] = []

    async def make(loses: Callable[[RunTold], bool]) -> list[Madang]:
        settings = Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0)
        ends: list[Any] = [Lossy(bus.end(), loses), bus.end()]
        for end in ends:
            node = Madang(settings, bus=cast(Bus, end))
            made.append(node)
            await node.start()
        return made

    yield make
    for node in made:
        await node.stop()


@dataclass
class Standing:
    """Two nodes on one bus. The time of the first stands still, so it neither checks what it runs
    nor renews its leases until it is let; leases run out by a time of their own."""

    here: Madang
    there: Madang
    stands: JumpingClock
    leases: JumpingClock


@pytest.fixture
async def standing(tmp_path: Path) -> AsyncIterator[Standing]:
    # What it writes looks as if nobody had checked it for a minute.
    stands, leases = JumpingClock(SystemClock().now() - 60_000_000), JumpingClock()
    bus = MemoryBus(leases)
    settings = Settings(dev=True, data_dir=tmp_path, stream_delay_ms=10_000)
    here = Madang(settings, bus=bus.end(), clock=stands)
    there = Madang(settings, bus=bus.end())
    await here.start()
    await there.start()
    yield Standing(here, there, stands, leases)
    await there.stop()
    await stopped(here, stands)


async def test_what_the_bus_loses_is_asked_for(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    here, there = await cluster(lambda told: rng.random() < 0.3)
    typed, room = Typed(here), await session(here)
    viewers = [await watch(here, room), await watch(there, room)]
    await ask(here, room)
    text = ""
    for number in range(400):
        text += f"{number}안🌊 "
        typed.type(f"{number}안🌊 ")
        if number % 40 == 0:
            await eventually(lambda: viewers[0].text == text)  # noqa: B023
            viewers += [await watch(here, room), await watch(there, room)]
        await turns(rng.randrange(4))
    typed.type(None)
    async with asyncio.timeout(PATIENCE):
        for viewer in viewers:
            await eventually(lambda: viewer.ended, PATIENCE)  # noqa: B023
    assert {viewer.text for viewer in viewers} == {text}
    assert here.bus.lost > 50
    assert there.agents.streams.asked > 0


async def test_where_nothing_arrives_the_end_brings_it_all(cluster: Callable[..., Any]) -> None:
    here, there = await cluster(lambda told: True)
    typed, room = Typed(here), await session(here)
    viewer = await watch(there, room)
    await ask(here, room)
    typed.type("all ", "of ", "it", None)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert viewer.text == "all of it"
    kinds = [frame["type"] for frame in viewer.told()]
    assert kinds[-3:] == ["stream_start", "stream_chunk", "stream_end"]


async def test_what_is_read_from_the_log_after_its_end_begins_all_the_same(
    cluster: Callable[..., Any],
) -> None:
    """The log refers to the message as it is now: over, or deleted."""
    here, there = await cluster(lambda told: True)
    typed, room = Typed(here), await session(here)
    viewer, other = await watch(there, room), await watch(here, room)
    here.bus.dumb = True
    runs = [await ask(here, room), await ask(here, room)]
    typed.type("all ", "of ", "it", None, "gone", None)
    await eventually(lambda: ends_of(other) == runs, PATIENCE)
    await here.writer.write(DeleteMessage(ORG, runs[1], "ann"))
    assert not viewer.told()
    await there.delivery.check_heads()
    await eventually(lambda: ends_of(viewer) == runs, PATIENCE)
    assert viewer.frames_of(runs[0]) == ["stream_start", "stream_chunk", "stream_end"]
    assert viewer.frames_of(runs[1])[:2] == ["stream_start", "stream_end"]
    assert [chunk["content"] for chunk in viewer.chunks()] == ["all of it"]


def ends_of(viewer: Viewer) -> list[str]:
    return [frame["message_id"] for frame in viewer.told() if frame["type"] == "stream_end"]


def silent(_: Any) -> Any:
    """A node that does not answer how far a run is."""
    raise NotFound("Not now")


async def test_what_is_only_on_disk_is_told_as_far_as_its_node_has_told_it(
    standing: Standing,
) -> None:
    """What an agent has said and its node not told yet belongs to no chunk: whoever comes back to
    a chunk by its number goes on behind what that chunk held."""
    here, there = standing.here, standing.there
    typed, room = Typed(here), await session(here)
    first = await watch(here, room)
    run = await ask(here, room)
    typed.type("one ")
    await eventually(lambda: first.text == "one ", PATIENCE)
    typed.type("two")
    stream = here.agents.streams.get(run)
    assert stream is not None
    await eventually(lambda: stream.whole == "one two", PATIENCE)
    standing.stands.jump(0.5)  # It is checked, and not yet time to tell more.
    kept = None
    async with asyncio.timeout(PATIENCE):
        while kept is None or kept.content != "one two":
            kept = await there.store.message(ORG, run, "ann")
    on_disk = await there.store.run(ORG, run, "ann")
    assert on_disk is not None and on_disk.ends == (4,)
    here.delivery.answer(RUN_TEXT, silent)
    late = await watch(there, room)
    assert [(chunk["content"], chunk["index"]) for chunk in late.chunks()] == [("one ", 0)]
    typed.type(None)
    await eventually(lambda: late.ended and first.ended, PATIENCE)
    assert late.text == first.text == "one two"
    ended = await there.store.run(ORG, run, "ann")
    assert ended is not None
    assert [chunk["index"] for chunk in late.chunks()] == [0, 1] and ended.ends == (4, 7)


async def test_five_hundred_who_refresh_have_it_to_the_byte(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    nodes = await cluster(lambda told: False)
    typed, room = Typed(nodes[0]), await session(nodes[0])
    first = await watch(nodes[0], room)
    run = await ask(nodes[0], room)
    viewers: list[Viewer] = []
    text = ""

    async def refresh() -> None:
        await turns(rng.randrange(200))
        viewer = await watch(rng.choice(nodes), room)
        viewers.append(viewer)

    coming = [asyncio.ensure_future(refresh()) for _ in range(500)]
    number = 0
    while not all(task.done() for task in coming):
        text += (said := f"{number} 안녕🌊 ")
        typed.type(said)
        number += 1
        await turns(3)
    await asyncio.gather(*coming)
    for _ in range(20):
        text += (said := f"{number} ")
        typed.type(said)
    typed.type(None)
    await eventually(lambda: all(viewer.ended for viewer in (first, *viewers)), PATIENCE)
    assert {viewer.text for viewer in (first, *viewers)} == {text}
    kept = await nodes[1].store.message(ORG, run, "ann")
    assert kept is not None and kept.content == text


async def test_a_node_that_is_gone_leaves_its_runs_to_the_others(standing: Standing) -> None:
    here, there = standing.here, standing.there
    typed, room = Typed(here), await session(here)
    viewers = [await watch(here, room), await watch(there, room)]
    run = await ask(here, room)
    typed.type("begun ")
    await eventually(lambda: viewers[1].text == "begun ", PATIENCE)
    standing.leases.jump(10)
    await eventually(lambda: viewers[1].ended, PATIENCE)
    end = viewers[1].told()[-1]
    assert end["status"] == "interrupted"
    kept = await there.store.message(ORG, run, "ann")
    assert kept is not None
    assert kept.metadata["status"] == "interrupted"
    assert "begun ".startswith(kept.content)
    # The node that is back learns that it is not its run any more, and its words change nothing.
    await eventually(lambda: viewers[0].ended, PATIENCE)
    typed.type("too late")
    await turns()
    standing.stands.jump(0.5)
    await eventually(lambda: not len(here.agents.runner), PATIENCE)
    again = await there.store.message(ORG, run, "ann")
    assert again is not None and again.content == kept.content
    for viewer in viewers:
        assert (viewer.text, viewer.told()[-1]["type"]) == ("begun ", "stream_end")


async def test_a_long_answer_reaches_who_comes_late_however_many_there_are(
    cluster: Callable[..., Any],
) -> None:
    """More is under way than a connection may have unsent: it comes in pieces, whole."""
    here, there = await cluster(lambda told: False)
    texts = ["안녕🌊" * 60_000, "x" * 190_000, "🌊" * 199_999]

    async def long(run: AgentRun) -> AsyncIterator[Said]:
        yield texts[len(run.question) - 1]
        await asyncio.Event().wait()  # It never ends.

    here.agent("typed")(long)
    opened = await here.writer.write(
        CreateSession(ORG, "ann", own_agent("typed"), when_busy="parallel")
    )
    room = opened.conversation.id
    first = await watch(here, room)
    runs = {}
    for number, text in enumerate(texts, 1):
        done = await here.writer.write(SendMessage(ORG, room, "ann", "?" * number))
        runs[done.runs[0]] = text
    await eventually(lambda: len(first.chunks()) >= 3, PATIENCE)

    def texts_of(viewer: Viewer) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in viewer.chunks():
            before = found.get(chunk["message_id"], "")
            assert chunk["offset"] == len(before)
            found[chunk["message_id"]] = before + chunk["content"]
        return found

    for node in (here, there):
        late = await watch(node, room)
        await eventually(lambda: texts_of(late) == runs, PATIENCE)  # noqa: B023
        assert max(len(chunk["content"]) for chunk in late.chunks()) <= 65_536


class Counting(JumpingClock):
    """Counts the timers that are set."""

    timers = 0
    most = 10_000.0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.timers += 1
        assert self.timers < self.most, "it spins"
        return super().call_later(seconds, callback)


async def test_without_a_delay_a_log_that_is_behind_is_waited_for_in_peace(
    tmp_path: Path,
) -> None:
    clock = Counting()
    app = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0), clock=clock)
    await app.start()
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    typed.type("one ")
    await eventually(lambda: viewer.text == "one ", PATIENCE)
    head = app.hub.heads[ORG]
    # Another node's commit, of which nothing has arrived but that there is one.
    app.delivery.heard_note(Note(ORG, head + 1, head + 2, [(room, 1)], []))
    assert app.delivery.behind(ORG)
    typed.type("two")
    await turns()
    before = clock.timers
    clock.jump(0.04)
    assert viewer.text == "one " and clock.timers - before <= 5
    typed.type(None)
    clock.most = math.inf  # Time rushes until it has stopped.
    await stopped(app, clock)


async def test_what_came_early_is_not_kept_longer_than_its_run(
    cluster: Callable[..., Any],
) -> None:
    """Chunks of a run that this node has not heard the beginning of."""
    here, there = await cluster(lambda told: False)
    typed, room = Typed(here), await session(here)
    viewer = await watch(there, room)
    streams = there.agents.streams
    run = "01a1fc3e-57aa-7c0e-9a11-5b6c7d8e9f00"
    for number in range(5):
        streams.heard(ORG, RunTold(room, run, number, number, "x"))
    assert len(streams.early) == 5
    own = await ask(here, room)
    streams.heard(ORG, RunTold(room, own, 0, 0, "one "))  # It came before the beginning did.
    typed.type("one ", None)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert viewer.text == "one "
    assert len(streams.early) == 5
    for number in range(3_000):
        streams.heard(ORG, RunTold(room, run, number, number, "x"))
    assert len(streams.early) <= 2_000


async def test_runs_of_other_nodes_are_forgotten_with_the_last_who_watches(
    cluster: Callable[..., Any],
) -> None:
    here, there = await cluster(lambda told: False)
    typed, room = Typed(here), await session(here)
    viewer = await watch(there, room)
    run = await ask(here, room)
    typed.type("one ")
    await eventually(lambda: viewer.text == "one ", PATIENCE)
    streams = there.agents.streams
    streams.heard(ORG, RunTold(room, "01a1fc3e-57aa-7c0e-9a11-5b6c7d8e9f00", 3, 9, "early"))
    assert (len(streams), len(streams.early)) == (1, 1)
    there.hub.detach(viewer)
    there.hub.forget(there.hub.members[ORG, "ann"])
    assert room not in there.hub.channels
    assert (len(streams), len(streams.early)) == (0, 0)
    typed.type("two ")
    await eventually(lambda: here.agents.streams.get(run).text == "one two ", PATIENCE)
    # Who comes then has it all, and the node that writes it keeps it until its end.
    late = await watch(there, room)
    assert late.text == "one two "
    typed.type("three", None)
    await eventually(lambda: late.ended, PATIENCE)
    assert late.text == "one two three"
    await eventually(lambda: not len(here.agents.streams), PATIENCE)
    assert len(streams) == 0


async def test_steps_that_the_bus_loses_are_asked_for(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    lost: list[RunTold] = []

    def loses(told: RunTold) -> bool:
        if rng.random() < 0.3:
            lost.append(told)
            return True
        return False

    here, there = await cluster(loses)
    go = asyncio.Event()

    async def thinks(run: AgentRun) -> AsyncIterator[Said]:
        for number in range(60):
            yield Step("think", "thinking", content=f"{number}안🌊 ")
            if number % 10 == 0:
                yield Step(f"call-{number}", name="look", input={"n": number})
                yield f"{number} "
                yield Step(f"call-{number}", status="complete", output=number)
            await turns(rng.randrange(4))
        await go.wait()
        yield Step("think", "thinking", status="complete")

    here.agent("typed")(thinks)
    room = await session(here)
    viewers = [await watch(here, room), await watch(there, room)]
    run = await ask(here, room)
    thought = "".join(f"{number}안🌊 " for number in range(60))
    await eventually(lambda: viewers[0].steps.get("think", {}).get("content") == thought, PATIENCE)
    viewers += [await watch(here, room), await watch(there, room)]
    go.set()
    for viewer in viewers:
        await eventually(lambda: viewer.ended, PATIENCE)  # noqa: B023
    kept = await here.store.message(ORG, run, "ann")
    assert kept is not None
    wanted = {step["step_id"]: step for step in kept.metadata["steps"]}
    assert wanted["think"]["content"] == thought and len(wanted) == 7
    for viewer in viewers:
        for name, step in wanted.items():
            assert {key: viewer.steps[name][key] for key in step} == step
        assert viewer.text == kept.content
    assert any(told.step is not None for told in lost)


async def test_where_no_step_arrives_the_end_brings_them_all(cluster: Callable[..., Any]) -> None:
    here, there = await cluster(lambda told: told.step is not None)

    async def calls(run: AgentRun) -> AsyncIterator[Said]:
        yield "so "
        yield Step("call", name="look", input={"n": 1}, status="complete", output=2)

    here.agent("typed")(calls)
    room = await session(here)
    viewer = await watch(there, room)
    await ask(here, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert viewer.steps["call"]["output"] == 2
    assert viewer.told()[-1]["type"] == "stream_end"
