"""How often a viewer is told more of an answer, and how much at once."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from madang.agents.protocol import AgentRun, Said
from madang.compose import Madang
from madang.model.runs import own_agent
from madang.ports.bus import Note
from madang.services.sessions import CreateSession
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Typed, Viewer, ask, begun, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


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
    talk = await begun(app, "one ")
    typed, viewer = talk.typed, talk.viewer
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
    talk = await begun(app, "one ")
    typed, viewer = talk.typed, talk.viewer
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
    talk = await begun(app, "begun ")
    typed, viewer = talk.typed, talk.viewer
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
    talk = await begun(app, "one ")
    typed, room, viewer = talk.typed, talk.room, talk.viewer
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
