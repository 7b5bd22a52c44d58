"""A client written to the contract pages and nothing else: a socket, JSON frames, and waiting for
one of them. What it read on the way is kept, so that a test can say what did not come too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect

Frame = dict[str, Any]

PATIENCE = 15.0
"""Seconds to wait for a frame that must come."""


class Phone:
    """One open connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def take(self) -> Frame:
        """The next frame."""
        async with asyncio.timeout(PATIENCE):
            text = await self.socket.recv()
        frame: Frame = json.loads(text)
        self.frames.append(frame)
        return frame

    async def until(self, wanted: str | Callable[[Frame], bool]) -> Frame:
        """The next frame of a type, or one that is wanted; those before it are in `frames`."""
        while True:
            frame = await self.take()
            if frame["type"] == wanted if isinstance(wanted, str) else wanted(frame):
                return frame

    async def rest(self) -> list[Frame]:
        """All frames until the server has answered a ping: what was on its way has come."""
        start = len(self.frames)
        await self.send("ping", id="rest")
        await self.until(lambda frame: frame["type"] == "pong" and frame.get("reply_to") == "rest")
        return self.frames[start:-1]

    async def closed(self) -> int | None:
        """Wait until the server has closed the connection; the close code."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        return self.socket.close_code

    def events(self) -> list[Frame]:
        """The events among the frames so far."""
        return [frame for frame in self.frames if "seq" in frame and "cursor" in frame]


@asynccontextmanager
async def calling(url: str, token: str | None = None, **query: Any) -> AsyncIterator[Phone]:
    """A phone connected to a WebSocket address."""
    asked = {name: value for name, value in query.items() if value is not None}
    if token is not None:
        asked["token"] = token
    address = f"{url}?{urlencode(asked)}" if asked else url
    async with connect(address, max_size=None, max_queue=None, ping_interval=None) as socket:
        yield Phone(socket)
