"""The event log over a WebSocket: everything after a cursor, then live, and acknowledgements.

async with EventLog(url, token=token, client_id="billing-worker") as log:
    async for event in log.events():
        handle(event)
        log.ack()
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from madang.client.backoff import Timing
from madang.client.connection import Link, State
from madang.client.errors import MadangError, error_from_frame
from madang.client.frames import Frame, cursor_in, encode
from madang.client.inbox import Handed, Inbox
from madang.client.model import Gap, LogEvent
from madang.client.rest import EVENTS
from madang.client.token import Token, TokenSource

log = logging.getLogger("madang.client")

# What the server says about the connection itself. Everything else with a cursor is an event.
_REMARKS = frozenset({"ack", "acked", "cursor", "pong", "system"})


class EventLog:
    """A reader of the log that comes back to where it was.

    `client_id` names this device: the server keeps its acknowledged cursor, and starts from it
    where none is given here. Without either it starts at the moment of connecting.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        client_id: str | None = None,
        cursor: int | None = None,
        buffer: int = 1000,
        timeout: float = 10.0,
        timing: Timing | None = None,
    ) -> None:
        """`url` is the server's (http or https), `timeout` in seconds for the first connection,
        `buffer` the events kept for a slow program before reading stops."""
        self._url = url.rstrip("/")
        self._client_id = client_id
        self._timeout = timeout
        self._inbox: Inbox[LogEvent | Gap] = Inbox(
            max(buffer, 1), cursor, awaited=lambda: False, refill=lambda: None
        )
        self._link = Link(
            self, Token(token), timing or Timing(), open_timeout=timeout, greeted=False
        )
        self._acked: int | None = None
        self._seen = cursor or 0
        self._replayed = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            await self._link.open(self._timeout)
        except MadangError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; `events()` ends."""
        self._inbox.end(None)
        await self._link.close()

    @property
    def state(self) -> State:
        """connecting, live, waiting or closed; why, and for how long."""
        return self._link.state

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with every new state. Returns the function that ends it."""
        return self._link.watch(watcher)

    @property
    def cursor(self) -> int | None:
        """The place in the log of the last event handed over."""
        return self._inbox.cursor

    def events(self) -> AsyncIterator[Any]:
        """Every event I may see, once, in the order of the log: `LogEvent`s, or a `Gap` where the
        server could not tell what was missed. One consumer at a time."""
        return Handed(self._inbox)

    async def replayed(self, timeout: float | None = None) -> None:
        """Wait until the server has sent all that was missed; a reader that is behind by more
        than `buffer` has to read on meanwhile."""
        async with asyncio.timeout(timeout):
            await self._replayed.wait()

    def ack(self, cursor: int | None = None) -> None:
        """Tell the server that everything up to `cursor` (by default the last event handed over)
        is dealt with: this `client_id` starts after it where it brings no cursor of its own.

        Not confirmed; an acknowledgement that is lost with its connection is sent again with the
        next one.
        """
        reached = self._inbox.cursor if cursor is None else cursor
        if reached is not None and reached > (self._acked or 0):
            self._acked = reached
            if self.state.name == "live":
                self._link.put(encode({"type": "ack", "cursor": reached}))

    # -- the connection's side -------------------------------------------------------------------

    def url(self) -> str:
        """The socket, with the device's name and where to go on from."""
        query = {"client_id": self._client_id, "cursor": self._inbox.received}
        given = urlencode({name: value for name, value in query.items() if value is not None})
        path = f"ws{self._url.removeprefix('http')}{EVENTS}/ws"
        return f"{path}?{given}" if given else path

    async def before_dialling(self) -> None:
        """Not while there is no room for what would come."""
        await self._inbox.wait_while_full()

    def opened(self) -> None:
        """The cursor stands in the address; a lost acknowledgement goes first."""
        self._replayed.clear()
        if self._acked is not None:
            self._link.put(encode({"type": "ack", "cursor": self._acked}))
        self._link.live()

    async def received(self, frame: Frame) -> None:
        """Take one frame."""
        kind = frame["type"]
        cursor = cursor_in(frame.get("cursor"))
        if kind == "error":
            log.warning("the event log says: %s", error_from_frame(frame))
        elif kind == "replay_complete":
            if frame.get("recovered") is False:
                if await self._inbox.room():
                    gap = Gap(str(frame.get("reason", "not recovered")), cursor)
                    self._inbox.put(gap, cursor, exact=True)
                self._seen = 0
            elif self._inbox.received is None:
                # Later it is of no use: live events below it may still be on their way.
                self._inbox.put(None, cursor)
            self._replayed.set()
        elif kind in _REMARKS or cursor is None or cursor <= self._seen:
            pass  # the log's order is by cursor: what is not beyond the last one was seen
        elif await self._inbox.room():
            self._seen = cursor
            self._inbox.put(LogEvent.from_wire(frame), cursor)

    def lost(self, code: int) -> None:
        """The next address carries the cursor."""

    def stopped(self, error: MadangError | None) -> None:
        """The consumer learns why."""
        self._inbox.end(error)
