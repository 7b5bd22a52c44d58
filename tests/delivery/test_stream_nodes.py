"""Answers of another node: what is kept of them here and on disk, what is left when it is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.compose import Madang
from madang.delivery.how_far import RUN_TEXT
from madang.ports.bus import RunTold
from madang.protocol.errors import NotFound
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Typed, ask, begun, session, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


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
    talk = await begun(here, "one ", seen_from=there)
    typed, room, run, viewer = talk.typed, talk.room, talk.run, talk.viewer
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
