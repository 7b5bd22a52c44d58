"""The WebSocket gateway for any ASGI server: the same `Connection`, one message at a time.

ASGI has no way to hand over many frames at once and asks for an `await` each, so this gateway
keeps what is to be sent in a list, bounded in bytes, and one task that sends it. It is here so
that an app can mount Madang; `madang serve` does not use it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from madang import logs
from madang.gateways.entrance import Entrance, Refused, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Batch, Frame
from madang.protocol.codes import CloseCode

log = logs.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


LETTING_GO_SECONDS = 1.0
"""How long an ASGI server may take to let go of a message whose connection has ended."""


class AsgiConnection(Connection):
    """A connection whose frames an ASGI server makes. Pings are that server's affair."""

    __slots__ = ("_abort", "_entrance", "_limit", "_listens", "_outbox", "_unsent", "_wake")

    gateway = "websocket_asgi"

    def __init__(self, entrance: Entrance, limit: int) -> None:
        super().__init__()
        self._entrance = entrance
        self._limit = limit
        self._outbox: deque[str | tuple[int, str]] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()
        self._listens = asyncio.Event()
        self._listens.set()
        self._abort: Callable[[], None] | None = None

    def write(self, frame: Frame) -> None:
        if not self.open:
            return
        self._outbox.append(frame.text.decode())
        self._unsent += len(frame.text)
        self._wake.set()
        if self._unsent > self._limit:
            self.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")

    def write_batch(self, batch: Batch) -> None:
        for frame in batch.frames(self.dialect):
            self.write(frame)

    def ping(self) -> None:
        """The ASGI server's own pings tell it whether the client is there."""
        self.heard = self._entrance.now

    def close(self, code: int, reason: str = "") -> None:
        if self.open:
            self.open = False
            self._entrance.count_close(code)
            self._outbox.append((int(code), reason))
            self._wake.set()
            self._listens.set()
            if self._abort is not None:
                self._entrance.closing(self, self._abort)

    def listen(self, wanted: bool) -> None:
        if wanted or not self.open:
            self._listens.set()
        else:
            self._listens.clear()

    @property
    def unsent(self) -> int:
        return self._unsent

    async def run(self, receive: Receive, send: Send, received: Callable[[str], None]) -> None:
        """Carry messages both ways until either side is done, or the entrance's patience is."""
        aborted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._abort = lambda: None if aborted.done() else aborted.set_result(None)
        sender = asyncio.ensure_future(self._send_all(send))
        reader = asyncio.ensure_future(self._receive_all(receive, received))
        try:
            await asyncio.wait((sender, reader, aborted), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open = False
            for task in (sender, reader):
                task.cancel()
            # A server may hold on to a message it cannot get rid of: it is not waited for longer.
            ended, _ = await asyncio.wait((sender, reader), timeout=LETTING_GO_SECONDS)
            for task in ended:
                failure = None if task.cancelled() else task.exception()
                # A client that is gone is an OSError in ASGI (spec 2.4); all else is a fault.
                if failure is not None and not isinstance(failure, OSError):
                    log.error("a connection's messages were not carried on", exc_info=failure)

    async def _send_all(self, send: Send) -> None:
        while True:
            while self._outbox:
                item = self._outbox.popleft()
                if isinstance(item, tuple):
                    code, reason = item
                    await send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                await send({"type": "websocket.send", "text": item})
                self._unsent -= len(item.encode())
            self._wake.clear()
            await self._wake.wait()

    async def _receive_all(self, receive: Receive, received: Callable[[str], None]) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            self.heard = self._entrance.now
            # The one message that is here waits; the server that has the others reads on when it
            # is asked for the next.
            await self._listens.wait()
            text = message.get("text")
            if text is None:
                self.close(CloseCode.UNSUPPORTED, "Only text frames are understood")
            elif self.open:
                received(text)


class AsgiGateway:
    """The ASGI application for scopes of type `websocket`.

    Args:
        max_message: bytes of one message a client may send; more closes with 1009.
        output_limit: unsent bytes at which a reader is closed with 4008.
    """

    def __init__(self, entrance: Entrance, *, max_message: int, output_limit: int) -> None:
        self._entrance = entrance
        self._max_message = max_message
        self._output_limit = output_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        if message["type"] != "websocket.connect":
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        found = self._entrance.find(path, headers)
        if isinstance(found, Refused):
            await _refuse(scope, send, found)
            return
        query = scope.get("query_string", b"").decode("latin-1")
        client = scope.get("client")
        upgrade = Upgrade.of_target(
            f"{path}?{query}",
            headers,
            scope.get("subprotocols", ()),
            lambda: str(client[0]) if client else None,
        )
        await send({"type": "websocket.accept", "subprotocol": upgrade.subprotocol})
        connection = AsgiConnection(self._entrance, self._output_limit)
        self._entrance.entered(connection)
        surface = found

        def received(text: str) -> None:
            # Most ASGI servers allow more than we do; what is too large here is refused here.
            if len(text) > self._max_message or len(text.encode()) > self._max_message:
                connection.close(CloseCode.TOO_LARGE, "Message too large")
            else:
                surface.received(connection, text)

        try:
            surface.opened(connection, upgrade)
            await connection.run(receive, send, received)
        finally:
            self._entrance.gone(connection)
            surface.closed(connection)


async def _refuse(scope: Scope, send: Send, refused: Refused) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        headers += [(name.encode(), value.encode()) for name, value in refused.headers]
        await send(
            {
                "type": "websocket.http.response.start",
                "status": refused.status,
                "headers": headers,
            }
        )
        await send({"type": "websocket.http.response.body", "body": refused.text.encode()})
    else:
        await send({"type": "websocket.close", "code": CloseCode.NOT_ALLOWED})
