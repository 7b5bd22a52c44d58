"""Running agents: to one durable end, whatever comes between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from madang.agents.protocol import AgentFailed, AgentRun, AskPerson, Said, Step
from madang.compose import Madang
from madang.model.nouns import Message
from madang.protocol.errors import MadangError
from madang.services.messages import SendMessage
from madang.services.runs import AnswerApproval
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Away, Typed, ask, session, stopped, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Madang]:
    made = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0))
    await made.start()
    yield made
    await made.stop()


async def kept(app: Madang, run: str) -> Message:
    found = await app.store.message(ORG, run, "ann")
    assert found is not None
    return found


async def test_an_end_that_cannot_be_written_yet_is_not_changed_by_stopping(app: Madang) -> None:
    typed, room = Typed(app), await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    typed.type("all ")
    await eventually(lambda: viewer.text == "all ", PATIENCE)
    away = Away(app)
    away.is_so = True
    typed.type("of it", None)
    await eventually(lambda: viewer.text == "all of it", PATIENCE)
    before = away.refused
    await eventually(lambda: away.refused > before + 1, PATIENCE)  # It tries to end.
    stopping = asyncio.ensure_future(app.agents.runner.stop(ORG, run))
    await asyncio.sleep(0)
    away.is_so = False
    await stopping
    await eventually(lambda: viewer.ended, PATIENCE)
    found = await kept(app, run)
    assert (found.content, found.metadata["status"]) == ("all of it", "complete")


async def test_a_run_that_is_stopped_before_it_has_begun_has_its_end(app: Madang) -> None:
    """In the very turn in which it was committed."""
    typed, room = Typed(app), await session(app)
    typed.type("never", None)
    viewer = await watch(app, room)
    stopped: list[str] = []

    def cancel(run: str) -> None:
        running = app.agents.runner.get(run)
        assert running is not None
        app.agents.runner.cancel(running, "cancelled")
        stopped.append(run)

    def done(result: Any, error: MadangError | None) -> None:
        # Behind the commit, and before the first step of the task that it starts.
        asyncio.get_running_loop().call_soon(cancel, *result.runs)

    app.writer.submit(SendMessage(ORG, room, "ann", "well?"), done)
    await eventually(lambda: viewer.ended, PATIENCE)
    found = await kept(app, stopped[0])
    assert (found.content, found.metadata["status"]) == ("", "cancelled")
    await eventually(lambda: not len(app.agents.runner), PATIENCE)


@pytest.mark.parametrize("first", ["step", "handover", "text", "nothing"])
async def test_one_that_fails_is_asked_again_only_if_nothing_was_told(
    app: Madang, first: str
) -> None:
    asked = []

    async def busy(run: AgentRun) -> AsyncIterator[Said]:
        asked.append(run)
        match first:
            case "step":
                yield Step("s", name="look")
            case "handover":
                yield AskPerson("too hard")
            case "text":
                yield "so"
            case _:
                yield ""
        raise AgentFailed("busy", 0.0)

    app.agent("typed")(busy)
    room = await session(app)
    viewer = await watch(app, room)
    await ask(app, room)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert len(asked) == (3 if first == "nothing" else 1)


async def test_one_that_has_asked_a_person_is_not_asked_again(app: Madang) -> None:
    asked = []

    async def careful(run: AgentRun) -> AsyncIterator[Said]:
        asked.append(run)
        if await run.approve("May I?"):
            raise AgentFailed("busy", 0.0)
        yield "never"

    app.agent("typed")(careful)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)

    def questions() -> list[str]:
        return [f["request_id"] for f in viewer.told() if f["type"] == "approval_request"]

    await eventually(lambda: len(questions()) == 1, PATIENCE)
    (request,) = questions()
    await app.writer.write(AnswerApproval(ORG, run, request, "ann", "approve"))
    await eventually(lambda: viewer.ended, PATIENCE)
    assert len(asked) == 1


async def test_a_step_that_goes_on_is_on_disk_as_soon_as_text_is(
    tmp_path: Path, clock: JumpingClock
) -> None:
    app = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0), clock=clock)
    await app.start()
    queue: asyncio.Queue[Said] = asyncio.Queue()

    async def steps(run: AgentRun) -> AsyncIterator[Said]:
        while True:
            yield await queue.get()

    app.agent("typed")(steps)
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    queue.put_nowait(Step("s", name="look"))
    await eventually(lambda: "s" in viewer.steps, PATIENCE)
    clock.jump(0.5)
    async with asyncio.timeout(PATIENCE):
        while not (await kept(app, run)).metadata.get("steps"):  # noqa: ASYNC110
            await asyncio.sleep(0)
    queue.put_nowait(Step("s", status="complete", output=7))
    await eventually(lambda: viewer.steps["s"]["status"] == "complete", PATIENCE)
    clock.jump(0.5)  # And no time after.
    async with asyncio.timeout(PATIENCE):
        while (await kept(app, run)).metadata["steps"][0].get("output") != 7:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await stopped(app, clock)


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()
