"""Agents that say what a test types, and viewers that put together what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import event

from madang.agents.protocol import AgentRun, Said
from madang.compose import Madang
from madang.hub.frame import Form
from madang.model.identity import Identity
from madang.model.runs import own_agent
from madang.services.messages import SendMessage
from madang.services.sessions import CreateSession
from madang.surfaces.agents.seats import Seat, Seats
from madang.testing import JumpingClock
from tests.delivery.conftest import PATIENCE
from tests.hub.recording import Recorder

ORG = "default"


class Typed:
    """An agent that says what a test types; None is its end."""

    def __init__(self, app: Madang) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        app.agent("typed")(self.say)

    async def say(self, run: AgentRun) -> AsyncIterator[Said]:
        while (text := await self._queue.get()) is not None:
            yield text

    def type(self, *texts: str | None) -> None:
        for text in texts:
            self._queue.put_nowait(text)


class Viewer(Recorder):
    """Watches a session; puts the text together as a client does."""

    __slots__ = ("run",)

    def __init__(self, run: str = "") -> None:
        super().__init__(Form.AGENT)
        self.run = run

    def chunks(self) -> list[dict[str, Any]]:
        return [frame for frame in self.told() if frame["type"] == "stream_chunk"]

    def frames_of(self, run: str) -> list[str]:
        """What kinds of frames told of this run."""
        return [frame["type"] for frame in self.told() if frame.get("message_id") == run]

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """The steps so far, as a client puts them together. Of no text anything was left out."""
        found: dict[str, dict[str, Any]] = {}
        for told in self.told():
            if told["type"] != "run_step":
                continue
            before = found.get(told["step_id"], {})
            whole = {**before, **told}
            if "content" in told:
                text = before.get("content", "")
                assert told["offset"] <= len(text), "a hole"
                whole["content"] = text[: told["offset"]] + told["content"]
            found[told["step_id"]] = whole
        return found

    @property
    def ended(self) -> bool:
        return any(frame["type"] == "stream_end" for frame in self.told())

    @property
    def text(self) -> str:
        """The text so far. Nothing of it was left out or told twice."""
        text, last = "", -1
        for chunk in self.chunks():
            assert chunk["offset"] == len(text)
            assert chunk["index"] > last or not text
            text += chunk["content"]
            last = chunk["index"]
        return text


async def session(app: Madang) -> str:
    opened = await app.writer.write(CreateSession(ORG, "ann", own_agent("typed")))
    return str(opened.conversation.id)


async def ask(app: Madang, room: str) -> str:
    """The run that a question starts."""
    done = await app.writer.write(SendMessage(ORG, room, "ann", "well?"))
    (run,) = done.runs
    return str(run)


async def watch(app: Madang, room: str) -> Viewer:
    """A viewer who comes in as the WebSocket brings them in."""
    return (await sit_down(app, room, "ann"))[1]


async def sit_down(app: Madang, room: str, user_id: str) -> tuple[Seat, Viewer]:
    """A seat of somebody's, and what is told to it."""
    user = await app.members.get(ORG, user_id)
    viewer = Viewer()
    viewer.identity = Identity(user_id, ORG, None, None, frozenset(), 2**62)
    app.hub.attach_beside(user, viewer)
    assert viewer.member is not None
    seat = Seat(viewer, room, user, viewer.member, None)
    seats = Seats(app.hub, app.delivery, app.store, app.agents.streams, app.clock)
    async with asyncio.timeout(PATIENCE):
        assert await seats.enter(seat, lambda *_: None)
    return seat, viewer


async def turns(count: int = 50) -> None:
    """Let what is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def stopped(app: Madang, clock: JumpingClock) -> None:
    """Stop a node whose time only tests let pass."""
    stopping = asyncio.ensure_future(app.stop())
    while not stopping.done():
        clock.jump(1)
        await asyncio.sleep(0)


class Away:
    """Takes a node's store away, as far as writing goes: its database can only be read."""

    def __init__(self, app: Madang) -> None:
        self.is_so = False
        self.refused = 0
        event.listen(app.store.engines[0], "begin", self._begin)

    def _begin(self, connection: Any) -> None:
        self.refused += self.is_so
        connection.exec_driver_sql(f"PRAGMA query_only = {int(self.is_so)}")
