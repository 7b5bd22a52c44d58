"""Agents that say what a test types, and viewers that put together what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import event

from madang.agents.protocol import AgentRun, Said
from madang.compose import Madang
from madang.hub.connection import Connection
from madang.hub.frame import Form
from madang.model.identity import Identity
from madang.model.nouns import Message
from madang.model.runs import own_agent
from madang.services.messages import SendMessage
from madang.services.sessions import CreateSession
from madang.surfaces.agents.seats import Seat
from madang.testing import JumpingClock
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE
from tests.hub.recording import Recorder

ORG = "default"
T = TypeVar("T")
LONG = 30.0
"""Seconds that an answer may take on a slow machine."""


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


@dataclass
class Begun:
    """An answer of which a first word was said: who types it, where, and who watches."""

    typed: Typed
    room: str
    run: str
    viewer: Viewer


async def begun(app: Madang, word: str, seen_from: Madang | None = None) -> Begun:
    """Such an answer on this node, seen from there or from another one."""
    typed, room = Typed(app), await session(app)
    viewer = await watch(seen_from or app, room)
    run = await ask(app, room)
    typed.type(word)
    await eventually(lambda: viewer.text == word, PATIENCE)
    return Begun(typed, room, run, viewer)


async def answered(app: Madang, room: str, question: str) -> Message:
    """An answer, once it is over."""
    viewer = await watch(app, room)
    done = await app.writer.write(SendMessage(ORG, room, "ann", question))
    (run,) = done.runs
    await eventually(lambda: viewer.ended, LONG)
    found = await app.store.message(ORG, run, "ann")
    assert found is not None and viewer.text == found.content
    return found


async def watch(app: Madang, room: str) -> Viewer:
    """A viewer who comes in as the WebSocket brings them in."""
    viewer = Viewer()
    async with asyncio.timeout(PATIENCE):
        assert await come_in(app, viewer, room)
    return viewer


async def come_in(
    app: Madang, connection: Connection, room: str, user: str = "ann", after: int | None = None
) -> bool:
    """Whether it is seated in the end."""
    seat = await seat_of(app, connection, room, user, after)
    return await app.agents.seats.enter(seat, lambda *_: None)


async def seat_of(
    app: Madang, connection: Connection, room: str, user: str, after: int | None = None
) -> Seat:
    """A seat of somebody's, who has not come in yet."""
    member = await app.members.get(ORG, user)
    connection.identity = Identity(user, ORG, None, None, frozenset(), 2**62)
    own = app.hub.attach_beside(member, connection)
    return Seat(connection, room, member, own, after)


async def turns(count: int = 50) -> None:
    """Let what is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def stopped(app: Madang, clock: JumpingClock) -> None:
    """Stop a node whose time only tests let pass."""
    await rushed(clock, app.stop())


async def rushed(clock: JumpingClock, work: Awaitable[T], seconds: float = 1) -> T:
    """What comes of it, while time rushes by, so many seconds in each turn of the loop."""
    done = asyncio.ensure_future(work)
    async with asyncio.timeout(PATIENCE):
        while not done.done():
            clock.jump(seconds)
            await asyncio.sleep(0)
    return await done


class Away:
    """Takes a node's store away, as far as writing goes: its database can only be read."""

    def __init__(self, app: Madang) -> None:
        self.is_so = False
        self.refused = 0
        event.listen(app.store.engines[0], "begin", self._begin)

    def _begin(self, connection: Any) -> None:
        self.refused += self.is_so
        connection.exec_driver_sql(f"PRAGMA query_only = {int(self.is_so)}")
