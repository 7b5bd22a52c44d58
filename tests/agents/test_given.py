"""What an agent is given of its session, whenever it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from madang.agents.protocol import AgentRun, Said
from madang.compose import Madang
from madang.services.alternatives import Regenerate
from madang.services.messages import SendMessage
from madang.services.runs import StartOutside
from madang.services.sessions import LetIn
from madang.settings import Settings
from tests.agents.watching import ORG, Viewer, session, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Madang]:
    made = Madang(Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0, agents_history=6))
    await made.start()
    yield made
    await made.stop()


class Asked:
    """An agent that answers a question `Q1` with `A1` when it is let; what it was given is kept."""

    def __init__(self, app: Madang) -> None:
        self.given: list[str] = []
        self._let = asyncio.Semaphore(0)
        app.agent("typed")(self.say)

    async def say(self, run: AgentRun) -> AsyncIterator[Said]:
        self.given.append(" ".join(turn.content for turn in run.turns))
        await self._let.acquire()
        yield run.question.replace("Q", "A")

    def let(self, count: int = 1) -> None:
        for _ in range(count):
            self._let.release()


async def say(app: Madang, room: str, *texts: str) -> list[str]:
    """The answers that were asked for."""
    runs: list[str] = []
    for text in texts:
        runs += (await app.writer.write(SendMessage(ORG, room, "ann", text))).runs
    return runs


def ended(viewer: Viewer, count: int) -> bool:
    """Whether so many answers have."""
    return [frame["type"] for frame in viewer.told()].count("stream_end") == count


async def test_who_waits_is_given_all_that_was_answered_before(app: Madang) -> None:
    """Although those answers came after the question, and other questions before them."""
    asked, room = Asked(app), await session(app)
    viewer = await watch(app, room)
    await say(app, room, "Q1", "Q2", "Q3", "Q4")
    asked.let(4)
    await eventually(lambda: ended(viewer, 4), PATIENCE)
    assert asked.given == ["Q1", "Q1 A1 Q2", "Q1 A1 Q2 A2 Q3", "A1 Q2 A2 Q3 A3 Q4"]


async def test_an_answer_that_is_made_again_is_given_what_was_said_until_its_question(
    app: Madang,
) -> None:
    asked, room = Asked(app), await session(app)
    viewer = await watch(app, room)
    asked.let(10)
    runs = []
    for number, question in enumerate(("Q1", "Q2", "Q3"), 1):
        runs += await say(app, room, question)
        await eventually(partial(ended, viewer, number), PATIENCE)
    for number, again in enumerate((runs[0], runs[1]), 4):
        await app.writer.write(Regenerate(ORG, again, "ann"))
        await eventually(partial(ended, viewer, number), PATIENCE)
    assert asked.given[3:] == ["Q1", "Q1 A1 Q2"]


async def test_no_later_question_is_given(app: Madang) -> None:
    """Nor what an agent outside has answered it meanwhile."""
    asked, room = Asked(app), await session(app)
    viewer = await watch(app, room)
    await app.writer.write(LetIn(ORG, room, "ann", ("bot-7",)))
    await say(app, room, "Q1", "Q2")
    first = next(f["message_id"] for f in viewer.told() if f.get("content") == "Q1")
    chat = await app.writer.write(SendMessage(ORG, room, "ann", "@bot-7"))
    for said, reply_to in (("no", chat.message.id), ("yes", first)):
        message, _ = await app.writer.write(StartOutside(ORG, room, "bot-7", reply_to))
        running = app.agents.runner.adopt(message)
        app.agents.runner.say(running, said)
        app.agents.runner.cancel(running, "complete")
    await eventually(lambda: ended(viewer, 2), PATIENCE)
    asked.let(2)
    await eventually(lambda: ended(viewer, 4), PATIENCE)
    assert asked.given == ["Q1", "Q1 A1 yes Q2"]
