"""Server-Sent Events: a connection that only listens, each event with its cursor as `id`."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import orjson
from sse_starlette import EventSourceResponse, ServerSentEvent
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from madang import logs
from madang.gateways.entrance import Entrance
from madang.hub.connection import Connection
from madang.hub.frame import Batch, Form, Frame
from madang.protocol.codes import CloseCode

log = logs.get_logger(__name__)

SSE_PING_SECONDS = 15
"""Between two comments to a client that is told nothing."""


Begin = Callable[[], Awaitable[AsyncIterator[ServerSentEvent]]]

_LINE_ENDS = re.compile("[\u0085\u2028\u2029]")


def data_of(text: bytes) -> str:
    """JSON as the data of an event: in one line also for those who take more for the end of a line
    than the standard does. (In JSON these characters stand in strings only.)"""
    told = text.decode()
    return told if told.isascii() else _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", told)


class SseConnection(Connection):
    """Frames wait here, bounded in bytes, until the response's generator takes them.

    Args:
        entrance: counts how it ends; nothing is ever heard from the client, so silence is no sign.
        limit: unsent bytes at which the stream ends; the client resumes by `Last-Event-ID`.
    """

    __slots__ = ("_entrance", "_limit", "_outbox", "_unsent", "_wake")

    gateway = "sse"
    is_heard = False

    def __init__(self, entrance: Entrance, limit: int) -> None:
        super().__init__()
        self._entrance = entrance
        self.form = Form.EVENTS
        self._limit = limit
        self._outbox: deque[Frame] = deque()
        self._unsent = 0
        self._wake = asyncio.Event()

    def write(self, frame: Frame) -> None:
        if not self.open:
            return
        self._outbox.append(frame)
        self._unsent += len(frame.text)
        self._wake.set()
        if self._unsent > self._limit:
            self.close(CloseCode.TOO_SLOW)

    def write_batch(self, batch: Batch) -> None:
        for frame in batch.frames(self.dialect):
            self.write(frame)

    def ping(self) -> None:
        """The response sends comments by itself, and ends where they cannot be sent."""

    def close(self, code: int, reason: str = "") -> None:
        if self.open:
            self.open = False
            self._entrance.count_close(code)
            self._wake.set()

    @property
    def unsent(self) -> int:
        return self._unsent

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """What was written, until the connection is closed."""
        while True:
            while self._outbox:
                frame = self._outbox.popleft()
                self._unsent -= len(frame.text)
                cursor = orjson.loads(frame.text).get("cursor")
                yield ServerSentEvent(
                    data_of(frame.text), id=None if cursor is None else str(cursor)
                )
            if not self.open:
                return
            self._wake.clear()
            await self._wake.wait()

    def enter(self) -> None:
        """Come in. Raises `Unavailable`: as many are here as may be."""
        self._entrance.let_in(self)

    def leave(self) -> None:
        """The response is over."""
        self.open = False
        self._entrance.gone(self)


class EventStream(EventSourceResponse):
    """The answer to a connection that listens, who has a place for as long as it lasts.

    It ends, with nothing raised, when its client takes nothing for the `send_timeout` (seconds):
    such a client would hold its place for hours, until TCP gives up. Where there is no place,
    `Unavailable` is raised before the answer begins.

    Args:
        content: what it hears; or what does first what the client has asked for, now that there is
            a place: nobody is told that there is none after it was done. What that raises is the
            answer.
    """

    def __init__(
        self,
        connection: SseConnection,
        content: AsyncIterator[ServerSentEvent] | Begin,
        *,
        send_timeout: float,
        sep: str | None = None,
    ) -> None:
        told = _nothing() if callable(content) else content
        super().__init__(told, ping=SSE_PING_SECONDS, send_timeout=send_timeout, sep=sep)
        self._begin = content if callable(content) else None
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._connection.enter()
        try:
            if self._begin is not None:
                self.body_iterator = await self._begin()
            await self._tell(scope, receive, send)
        finally:
            self._connection.leave()

    async def _tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except* SendTimeoutError:
            log.info("an event stream was not read")


async def _nothing() -> AsyncIterator[ServerSentEvent]:
    return
    yield
