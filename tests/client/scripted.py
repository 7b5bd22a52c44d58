"""A server that misbehaves on cue, on a real socket: it does what a good server never does.

A test says what happens on each connection as a coroutine of its own:

    async with scripted(first, second) as server:
        ...

Where a connection comes for which there is no script, the test fails at the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from madang.client import Timing

PATIENCE = 5.0
"""Seconds for anything that a test waits for; never reached where the code is right."""

Frame = dict[str, Any]


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        assert socket.request is not None
        self.path = socket.request.path
        self.resumed = False
        self.authorization = socket.request.headers.get("Authorization")

    async def tell(self, *frames: Frame) -> None:
        for frame in frames:
            await self.socket.send(orjson.dumps(frame), text=True)

    async def hear(self) -> Frame:
        async with asyncio.timeout(PATIENCE):
            frame = orjson.loads(await self.socket.recv())
        assert isinstance(frame, dict)
        if frame["type"] == "resume":
            self.resumed = True
        return frame

    async def greet(self, cursor: int = 1000, **more: Any) -> None:
        await self.tell(
            {"type": "system", "event": "connected", "user_id": 7, "cursor": cursor, **more}
        )
        if not self.resumed:
            # A client that missed nothing says so: from this cursor on, please.
            asked = await self.hear()
            assert (asked["type"], asked["cursor"]) == ("resume", cursor)

    async def confirm(self, sent: Frame, seq: int = 1) -> None:
        await self.tell(
            {
                "type": "message.sent",
                "message_id": f"m{seq}",
                "client_id": sent["client_id"],
                "reply_to": sent["id"],
                "data": message(seq, sent["content"], client_id=sent["client_id"]),
            }
        )

    async def cut(self) -> None:
        """Break the connection without a word."""
        self.socket.transport.abort()
        await self.socket.wait_closed()

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code, reason)

    async def stay(self) -> None:
        """Until the client goes."""
        await self.socket.wait_closed()


Script = Callable[[Peer], Awaitable[None]]


class Scripted:
    """Which scripts have run, and where the server is."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.connections = 0
        self.failures: list[BaseException] = []
        self.url = ""

    async def handle(self, socket: ServerConnection) -> None:
        number, self.connections = self.connections, self.connections + 1
        try:
            if number >= len(self.scripts):
                await socket.close(1008, "no script")  # which makes the client stop
                raise AssertionError(f"connection {number + 1} was not expected")
            await self.scripts[number](Peer(socket))
        except ConnectionClosed:
            pass  # the client left: the test's own business
        except BaseException as failure:
            self.failures.append(failure)
            raise


@asynccontextmanager
async def scripted(*scripts: Script) -> AsyncIterator[Scripted]:
    """A server on a free port whose n-th connection goes as the n-th script says."""
    script = Scripted(scripts)
    async with serve(script.handle, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        script.url = f"http://{host}:{port}"
        yield script
    assert script.failures == []


class Naps:
    """A sleep that takes no time and remembers what was asked of it."""

    def __init__(self, draw: float = 0.5) -> None:
        self.taken: list[float] = []
        self.now = 0.0
        self.timing = Timing(sleep=self._sleep, random=lambda: draw, monotonic=lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def message(seq: int, content: str = "", **more: Any) -> Frame:
    return {
        "id": f"m{seq}",
        "conversation_id": "c",
        "seq": seq,
        "sender_id": 7,
        "content": content,
        "created_at": "2026-01-02T03:04:05.678901Z",
        **more,
    }


def event(seq: int, cursor: int, conversation: str = "c", kind: str = "message.new") -> Frame:
    return {
        "type": kind,
        "conversation_id": conversation,
        "seq": seq,
        "cursor": cursor,
        "data": message(seq, f"text {seq}", conversation_id=conversation),
    }


def resumed(cursor: int, count: int = 0, **more: Any) -> Frame:
    return {"type": "resumed", "cursor": cursor, "events": count, "recovered": True, **more}


async def take(events: AsyncIterator[Any], count: int) -> list[Any]:
    """The next `count` of them."""
    async with asyncio.timeout(PATIENCE):
        return [await anext(events) for _ in range(count)]
