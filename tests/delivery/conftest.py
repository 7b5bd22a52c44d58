"""Whole nodes in this process, on real files; connections are recorded instead of sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from madang.bus.memory import MemoryBus, MemoryEnd
from madang.clock import SystemClock
from madang.compose import Madang, create_app
from madang.delivery.catchup import CaughtUp
from madang.model.identity import Identity
from madang.model.nouns import Batch, Event
from madang.ports.bus import Bus, RunTold
from madang.protocol.errors import MadangError
from madang.services.conversations import CreateConversation
from madang.settings import Settings
from tests.hub.recording import Recorder

PATIENCE = 15.0


class Node:
    """One node, and people connected to it."""

    def __init__(self, app: Madang) -> None:
        self.app = app

    async def connect(self, user: str, *, form: int = 0, hold: bool = False) -> Recorder:
        """A connection of the user's, as the surfaces attach them."""
        member = await self.app.members.get("default", user)
        connection = Recorder(form)
        connection.identity = Identity(user, "default", None, None, frozenset(), 2**62)
        self.app.hub.attach(member, connection)
        if hold:
            self.app.catchup.hold(connection)
        return connection

    def disconnect(self, connection: Recorder) -> None:
        connection.open = False
        self.app.catchup.forget(connection)
        self.app.hub.detach(connection)

    async def group(self, creator: str, *others: str) -> str:
        opened = await self.app.writer.write(
            CreateConversation("default", creator, "group", others, "Room")
        )
        return str(opened.view.conversation.id)

    async def resume(self, connection: Recorder, cursor: int) -> CaughtUp:
        """Catch up from a cursor, and how that ended."""
        done: asyncio.Future[CaughtUp] = asyncio.get_running_loop().create_future()
        self.app.catchup.resume(connection, cursor, done.set_result)
        async with asyncio.timeout(PATIENCE):
            return await done

    async def subscribe(
        self, connection: Recorder, conversation_id: str, after: int | None
    ) -> CaughtUp:
        done: asyncio.Future[CaughtUp] = asyncio.get_running_loop().create_future()

        def failed(error: MadangError) -> None:
            done.set_exception(error)

        self.app.catchup.subscribe(connection, conversation_id, after, done.set_result, failed)
        async with asyncio.timeout(PATIENCE):
            return await done

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Every statement that runs on the node's store in the meantime."""
        seen: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
            if statement != "BEGIN":
                seen.append(statement)

        for engine in self.app.store.engines:
            event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            for engine in self.app.store.engines:
                event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
async def make_node(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Nodes on one database; with a bus they are one cluster."""
    made: list[Madang] = []

    async def make(bus: Bus | None = None, **settings: Any) -> Node:
        chosen = Settings(dev=True, data_dir=tmp_path / "data", **settings)
        app = create_app(chosen) if bus is None else Madang(chosen, bus=bus)
        made.append(app)
        await app.start()
        return Node(app)

    yield make
    for app in made:
        await app.stop()


@pytest.fixture
async def node(make_node: Callable[..., Any]) -> Node:
    found: Node = await make_node()
    return found


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
