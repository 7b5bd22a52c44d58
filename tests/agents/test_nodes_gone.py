"""Agents outside that come back when the node that had their run is gone, or nodes lag behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madang.agents.keeping import CHECK_SECONDS, LEASE_SECONDS
from madang.agents.moving import MOVE
from madang.agents.protocol import Step
from madang.agents.running import Running
from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.compose import Madang
from madang.model.nouns import Message
from madang.model.runs import lease_name
from madang.ports.bus import Note
from madang.protocol.errors import Unavailable
from madang.services.messages import SendMessage
from madang.services.runs import StartOutside
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.outside import end, everywhere, opened, say
from tests.agents.watching import ORG, Viewer, stopped, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE

GRACE = 1_000.0


@dataclass
class Standing:
    """Nodes of which the first stands still: it neither checks what it runs, nor renews leases,
    nor answers. For the others no time passes until they are let."""

    here: Madang
    there: Madang
    third: Madang
    stands: JumpingClock
    clock: JumpingClock
    leases: JumpingClock
    room: str


@pytest.fixture
async def standing(tmp_path: Path) -> AsyncIterator[Standing]:
    now = SystemClock().now()
    stands, clock, leases = JumpingClock(now), JumpingClock(now), JumpingClock()
    bus = MemoryBus(leases)
    settings = Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0, run_grace_seconds=GRACE)
    made = [
        Madang(settings, bus=bus.end(), clock=its_clock) for its_clock in (stands, clock, clock)
    ]
    for app in made:
        await app.start()
    here, there, third = made
    yield Standing(here, there, third, stands, clock, leases, await opened(made))
    for app in made[1:]:
        await stopped(app, clock)
    await stopped(made[0], stands)


def silent(_: Any) -> Any:
    """A node that does not answer."""
    raise Unavailable("Not now")


async def half_checked(standing: Standing) -> tuple[Message, list[Viewer]]:
    """A run whose node is gone after it has told more than it has checked."""
    viewers = [await watch(app, standing.room) for app in (standing.there, standing.third)]
    here = standing.here
    message, _ = await here.writer.write(StartOutside(ORG, standing.room, "bot-7"))
    running = here.agents.runner.adopt(message)
    say(here, running, "checked ", "too ")
    running.tokens = 11
    standing.stands.jump(CHECK_SECONDS)
    async with asyncio.timeout(PATIENCE):
        while True:
            run = await standing.there.store.run(ORG, message.id, "ann")
            if run is not None and run.tokens_used == 11:
                break
    say(here, running, "told ", "only")
    await eventually(lambda: everywhere(viewers, "checked too told only"), PATIENCE)
    here.delivery.answer(MOVE, silent)
    return message, viewers


async def test_one_whose_node_is_gone_goes_on_from_what_is_left(standing: Standing) -> None:
    """What is on disk, and what was told here beyond that, when the lease has run out."""
    message, viewers = await half_checked(standing)
    taking = asyncio.ensure_future(standing.there.agents.runner.moving.take(message))
    for _ in range(round(LEASE_SECONDS - 1)):
        standing.clock.jump(1)
        standing.leases.jump(1)
        await turns()
    assert not taking.done()
    standing.leases.jump(2)
    running = await rushed(standing, message, taking)
    assert (running.length, running.tokens_used) == (len("checked too told only"), 11)
    say(standing.there, running, ", and more")
    await eventually(lambda: everywhere(viewers, "checked too told only, and more"), PATIENCE)
    late = await watch(standing.third, standing.room)
    standing.there.agents.runner.cancel(running, "complete")
    await eventually(lambda: all(viewer.ended for viewer in (*viewers, late)), PATIENCE)
    assert everywhere([*viewers, late], "checked too told only, and more")


async def test_what_is_abandoned_keeps_what_people_here_were_told(standing: Standing) -> None:
    message, viewers = await half_checked(standing)
    standing.leases.jump(LEASE_SECONDS + 1)
    sweep = standing.there.agents.runner.keeping.look_for_abandoned

    # Its agent may come back still.
    standing.clock.jump(LEASE_SECONDS + 1)
    await sweep()
    run = await standing.there.store.run(ORG, message.id, "ann")
    assert run is not None and run.status == "streaming"
    standing.clock.jump(GRACE)
    async with asyncio.timeout(PATIENCE):
        while not all(viewer.ended for viewer in viewers):
            standing.clock.jump(1)  # The third looks, too: whoever has the lease ends it.
            await sweep()
            await asyncio.sleep(0)
    run = await standing.there.store.run(ORG, message.id, "ann")
    kept = await standing.there.store.message(ORG, message.id, "ann")
    assert run is not None and kept is not None
    assert (kept.content, kept.metadata["status"]) == ("checked too told only", "interrupted")
    assert everywhere(viewers, kept.content)
    assert (run.tokens_used, kept.metadata["tokens_used"]) == (11, 11)
    # To the last sign of life, and not until somebody noticed.
    assert run.latency_ms is not None and run.latency_ms < 1_000 * (CHECK_SECONDS + 2)


async def until_free(standing: Standing, message: Message) -> None:
    """Until its node has let go of it, in no time."""
    bus = standing.there.bus
    async with asyncio.timeout(PATIENCE):
        while await bus.owner(lease_name(message.id)) not in (None, bus.node):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def rushed(
    standing: Standing, message: Message, taking: asyncio.Future[Running | None]
) -> Running:
    """It, with as much time as it takes. No lease runs out in that."""
    await until_free(standing, message)
    async with asyncio.timeout(PATIENCE):
        while not taking.done():
            standing.clock.jump(0.01)
            await asyncio.sleep(0)
    running = taking.result()
    assert running is not None
    return running


async def falls_behind(app: Madang, room: str) -> None:
    """Of another node's commit nothing has arrived here but that there is one."""
    head = app.hub.heads[ORG]
    app.delivery.heard_note(Note(ORG, head + 1, head + 2, [(room, 1)], []))
    assert app.delivery.behind(ORG)


async def catches_up(app: Madang, standing: Standing) -> None:
    await standing.third.writer.write(SendMessage(ORG, standing.room, "ann", "hello"))
    async with asyncio.timeout(PATIENCE):
        while app.delivery.behind(ORG):
            for clock in (standing.stands, standing.clock):
                clock.jump(0.01)
            await asyncio.sleep(0)


async def test_what_its_node_may_not_tell_yet_moves_too(standing: Standing) -> None:
    """People there are told it when they may be, and behind it what is said elsewhere."""
    here, there = standing.here, standing.there
    viewers = [await watch(app, standing.room) for app in (here, there, standing.third)]
    message, _ = await here.writer.write(StartOutside(ORG, standing.room, "bot-7"))
    running = here.agents.runner.adopt(message)
    say(here, running, "one ")
    await eventually(lambda: everywhere(viewers, "one "), PATIENCE)
    await falls_behind(here, standing.room)
    say(here, running, "two ")
    here.agents.runner.step(running, Step("s", name="look", content="thought"))
    here.agents.runner.step(running, Step("t", name="also"))
    say(here, running, "three ")
    here.agents.runner.step(running, Step("s", status="complete", content=" more"))
    taking = asyncio.ensure_future(there.agents.runner.moving.take(message))
    moved = await rushed(standing, message, taking)
    assert viewers[0].text == "one " and not viewers[0].steps
    assert viewers[1].text == "one two three "
    say(there, moved, "four ")
    there.agents.runner.step(moved, Step("t", status="complete"))
    await turns()
    assert viewers[0].text == "one " and not viewers[0].steps
    await catches_up(here, standing)
    standing.stands.jump(1)
    await eventually(lambda: everywhere(viewers, "one two three four "), PATIENCE)
    await end(there, moved)
    await eventually(lambda: all(viewer.ended for viewer in viewers), PATIENCE)
    for viewer in viewers:
        found = {name: step["status"] for name, step in viewer.steps.items()}
        assert found == {"s": "complete", "t": "complete"}
        assert viewer.steps["s"]["content"] == "thought more"


async def test_it_goes_on_when_people_there_have_been_told_what_was(standing: Standing) -> None:
    here, there = standing.here, standing.there
    viewers = [await watch(app, standing.room) for app in (here, there)]
    message, _ = await here.writer.write(StartOutside(ORG, standing.room, "bot-7"))
    running = here.agents.runner.adopt(message)
    await eventually(lambda: all(viewer.told() for viewer in viewers), PATIENCE)
    await falls_behind(there, standing.room)
    say(here, running, "one ")
    taking = asyncio.ensure_future(there.agents.runner.moving.take(message))
    await until_free(standing, message)
    standing.clock.jump(0.03)  # Until it looks for the lease, and not until the log is read.
    stream = there.agents.streams.get(message.id)
    assert stream is not None
    await eventually(lambda: stream.own and stream.lacks, PATIENCE)
    await turns()
    assert not taking.done() and viewers[1].text == ""
    await catches_up(there, standing)
    moved = await rushed(standing, message, taking)
    assert viewers[1].text == "one "
    say(there, moved, "two")
    await eventually(lambda: everywhere(viewers, "one two"), PATIENCE)
