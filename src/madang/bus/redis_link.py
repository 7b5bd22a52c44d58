"""One connection to a Redis or Valkey server: bytes out, replies and pushes in.

RESP3 read by hiredis, straight from the transport: no stream, no task and no `await` a message
(`docs/decisions/004-redis-bus.md` has the numbers).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from madang.bus.address import Address
from madang.protocol.errors import Unavailable

CONNECT_SECONDS = 2.0
"""For a connection and its greeting together."""

AWAY = "The bus is away"

Command = tuple[str | bytes | int | float, ...]

_NOTHING_YET = object()


class Refused(Exception):
    """The server is there and does not let us in; its words, which never hold a password."""


def packed(command: Command) -> bytes:
    """A command as the server reads it."""
    return cast(bytes, hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub is wrong


class _Call:
    """Commands that were sent together, and the replies so far."""

    __slots__ = ("answered", "count", "replies")

    def __init__(self, count: int, answered: asyncio.Future[list[Any]] | None) -> None:
        self.count = count
        self.answered = answered
        self.replies: list[Any] = []


class Link(asyncio.Protocol):
    """A connection.

    Args:
        address: whom it is to.
        pushed: called with each push, as hiredis made it: `[b"message", channel, payload]`.
        ended: called once with why, when the connection was open and is no more.
        complained: where given, the link is one whose commands nobody waits for: whole numbers
            that come back are passed over, errors are given to this, and the rest answers pings.
    """

    def __init__(
        self,
        address: Address,
        pushed: Callable[[list[Any]], None],
        ended: Callable[[str], None],
        complained: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self.missed = 0
        """Pings since anything was last heard."""
        self._pushed = pushed
        self._ended = ended
        self._complained = complained
        self._greeted = False
        self._closing = False
        self._reader = hiredis.Reader(notEnoughData=_NOTHING_YET)
        self._calls: deque[_Call] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.missed = 0
        reader = self._reader
        loose = self._complained is not None and self._greeted
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING_YET:
                kind = type(reply)
                if kind is hiredis.PushNotification:
                    self._pushed(reply)
                elif not loose:
                    self._answer(reply)
                elif kind is hiredis.ReplyError:
                    self._complained(str(reply))  # type: ignore[misc]  # loose says it is there
                elif kind is not int:
                    self._answer(reply)
        except hiredis.ProtocolError as error:
            self._break(f"{self.address} does not speak Redis: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._break(f"{self.address} closed the connection" if error is None else str(error))
        if not self.closed.done():
            self.closed.set_result(None)

    # Asking.

    def _answer(self, reply: Any) -> None:
        if not self._calls:
            return  # To a ping of a time when nobody waits.
        call = self._calls[0]
        call.replies.append(reply)
        if len(call.replies) == call.count:
            self._calls.popleft()
            if call.answered is not None and not call.answered.done():
                call.answered.set_result(call.replies)

    def call(self, commands: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send so many packed commands; their replies, in order, errors as `ReplyError` objects.

        The future raises `Unavailable` when the link breaks first.
        """
        answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._closing:
            answered.set_exception(Unavailable(AWAY))
            return answered
        self._calls.append(_Call(count, answered))
        self._transport.write(commands)
        return answered

    def ping(self) -> None:
        """Have it answer anything at all; `missed` counts up until it does."""
        self.missed += 1
        self._calls.append(_Call(1, None))
        self.send(_PING)

    async def fence(self) -> None:
        """Return when everything sent so far was carried out.

        Raises:
            Unavailable: the link broke first.
        """
        await self.call(_PING, 1)

    # Sending.

    def send(self, commands: bytes) -> None:
        if self._transport is not None and not self._closing:
            self._transport.write(commands)

    @property
    def open(self) -> bool:
        return self._greeted and not self._closing

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    async def greet(self, role: str) -> dict[bytes, Any]:
        """Come in; what the server says of itself.

        Raises:
            Refused: it does not let us in.
            Unavailable: the link broke.
        """
        who = self.address
        hello: Command = ("HELLO", 3)
        if who.password is not None:
            hello = (*hello, "AUTH", who.username or "default", who.password)
        commands = [(*hello, "SETNAME", f"madang-{role}")]
        if who.database:
            commands.append(("SELECT", who.database))
        replies = await self.call(b"".join(map(packed, commands)), len(commands))
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))
        self._greeted = True
        return dict(replies[0])

    # Ending.

    def _break(self, why: str) -> None:
        if self._closing:
            return
        self.close()
        if self._greeted:
            self._ended(why)

    def close(self) -> None:
        """Let go of it at once. Who waits for a reply gets `Unavailable`."""
        self._closing = True
        calls, self._calls = self._calls, deque()
        for call in calls:
            if call.answered is not None and not call.answered.done():
                call.answered.set_exception(Unavailable(AWAY))
        if self._transport is not None:
            self._transport.abort()


_PING = packed(("PING",))


async def open_link(link: Link, role: str) -> dict[bytes, Any]:
    """Connect it and come in; what the server says of itself. Closed again on any error.

    Raises:
        Refused: the server does not let us in.
        OSError, TimeoutError, Unavailable: there is none, or it does not answer.
    """
    where = link.address
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if where.path is not None:
                await loop.create_unix_connection(lambda: link, where.path)
            else:
                await loop.create_connection(lambda: link, where.host, where.port, ssl=where.tls)
            return await link.greet(role)
    except BaseException:
        link.close()
        raise
