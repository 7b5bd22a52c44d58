"""The WebSocket gateway for uvicorn: a protocol class that uvicorn hands the socket to at the
upgrade (`uvicorn.Config(ws=…)`). REST and WebSocket share one port, and frames go past ASGI.

One object is connection and protocol at once, without a task or a queue: what comes in is handled
where it is read, what goes out is joined until the end of the loop's turn and sent with one
system call (uvloop itself writes at once: docs/decisions/002-one-write-a-turn.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import unquote

from madang.gateways.entrance import Entrance, Refused, Surface, Upgrade
from madang.gateways.proxies import Proxies
from madang.hub.connection import Connection
from madang.hub.frame import Batch, Form, Frame
from madang.hub.hub import Hub
from madang.protocol.codes import CloseCode
from madang.protocol.websocket import (
    Close,
    Failure,
    HandshakeError,
    Incoming,
    Limits,
    Ping,
    Pong,
    Receiver,
    close_frame,
    negotiate_deflate,
    ping_frame,
    pong_frame,
    read_upgrade,
    upgrade_response,
)

_PING = ping_frame()

PIECE = 16 * 1024
"""Bytes of one connection that are taken apart in one turn of the loop; compressed, they may be a
hundred times as many."""
FRAMES_A_TURN = 64
"""And frames that are handled: about a millisecond, so that a flood on one connection is felt on
that one only."""
MOST_AFTER_CLOSE = 64 * 1024
"""Bytes a client may send after it was sent a close frame: what was under way, and its answer."""


class UvicornConnection(Connection, asyncio.Protocol):
    """Made by uvicorn for each upgrade, which keeps no record of it: the entrance does. What all
    share stands on the subclass that `protocol_class` makes; an object carries only its own."""

    __slots__ = (
        "_after_close",
        "_deaf",
        "_later",
        "_out",
        "_receiver",
        "_surface",
        "_turn",
        "transport",
    )

    entrance: Entrance
    hub: Hub
    limits: Limits
    output_limit: int
    compression: bool
    proxies: Proxies

    def __init__(self, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        Connection.__init__(self)
        self.transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._surface: Surface | None = None
        self._out: list[bytes] | None = None
        self._later: deque[bytes | list[Incoming]] | None = None
        self._turn: asyncio.Handle | None = None
        self._deaf = False
        self._after_close = 0

    # From uvicorn.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        # One limit for all: passing it means the reader has fallen behind.
        self.transport.set_write_buffer_limits(high=self.output_limit)

    def data_received(self, data: bytes) -> None:
        receiver = self._receiver
        if receiver is None:
            self._upgrade(data)
            return
        self.heard = self.entrance.now
        if not self.open:
            self._after_close += len(data)
            if self._after_close > MOST_AFTER_CLOSE and self.transport is not None:
                self.transport.abort()
                return
        if self._later is None and len(data) <= PIECE:
            incoming = receiver.feed(data)
            if len(incoming) <= FRAMES_A_TURN:
                self._handle(incoming)
            else:
                self._postpone(incoming)
        else:
            self._postpone(*(data[at : at + PIECE] for at in range(0, len(data), PIECE)))

    def _handle(self, received: list[Incoming]) -> None:
        surface = self._surface
        for incoming in received:
            if type(incoming) is str:
                if self.open and surface is not None:
                    surface.received(self, incoming)
            elif not self._control(incoming):
                return

    def _postpone(self, *work: bytes | list[Incoming]) -> None:
        """More than one connection's share of a turn: nothing more is read until it is done."""
        if self._later is None:
            self._later = deque()
            if self.transport is not None:
                self.transport.pause_reading()
            self._go_on_soon()
        self._later.extend(work)

    def _go_on_soon(self) -> None:
        if self._turn is None and not self._deaf:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        later, receiver, transport = self._later, self._receiver, self.transport
        if later is None or receiver is None or transport is None:
            return
        work = later.popleft()
        incoming = receiver.feed(work) if isinstance(work, bytes) else work
        self._handle(incoming[:FRAMES_A_TURN])
        if len(incoming) > FRAMES_A_TURN:
            later.appendleft(incoming[FRAMES_A_TURN:])
        if later:
            self._go_on_soon()
        else:
            self._later = None
            if not self._deaf and not transport.is_closing():
                transport.resume_reading()

    def pause_writing(self) -> None:
        self.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")

    def resume_writing(self) -> None:
        """What was too much has left; the connection is closing all the same."""

    def eof_received(self) -> None:
        """The client will send nothing more: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self.entrance.gone(self)
        self._left()
        self.transport = None
        self._receiver = None
        self._later = None

    # The handshake.

    def _upgrade(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        pairs = [
            (name.lower(), value.strip())
            for name, _, value in (h.partition(":") for h in lines[1:] if h)
        ]
        headers = dict(pairs)
        found = self.entrance.find(unquote(target.partition("?")[0]), headers)
        if isinstance(found, Refused):
            self._refuse(found.status, found.text, found.headers)
            return
        try:
            asked = read_upgrade(method, pairs)
        except HandshakeError as error:
            self._refuse(error.status, error.message, error.headers)
            return
        address = partial(self._address, headers)
        upgrade = Upgrade.of_target(target, headers, asked.subprotocols, address)
        extensions = None
        if self.compression and asked.extensions:
            extensions = negotiate_deflate(asked.extensions)
        transport = self.transport
        assert transport is not None
        transport.write(upgrade_response(asked.key, upgrade.subprotocol, extensions))
        self._receiver = Receiver(self.limits, deflate=extensions is not None)
        if extensions is not None:
            self.form = Form.MESSENGER_DEFLATED
        self._surface = found
        self.entrance.entered(self)
        found.opened(self, upgrade)

    def _address(self, headers: Mapping[str, str]) -> str | None:
        peer = None if self.transport is None else self.transport.get_extra_info("peername")
        return self.proxies.client_of(peer[0] if isinstance(peer, tuple) else None, headers)

    def _refuse(self, status: int, text: str, extra: Any = ()) -> None:
        self.open = False
        body = text.encode()
        head = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "content-type: text/plain; charset=utf-8",
            f"content-length: {len(body)}",
            "connection: close",
            *(f"{name}: {value}" for name, value in extra),
        ]
        if self.transport is not None:
            self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
            self.transport.close()

    # Frames that are not text.

    def _control(self, incoming: bytes | str | Ping | Pong | Close | Failure) -> bool:
        """Answer it; False where nothing after it counts."""
        match incoming:
            case Ping(payload):
                if self.open:
                    self._put(pong_frame(payload))
            case Pong():
                pass
            case Close(code):
                self._answer_close(code)
                return False
            case Failure(code, reason):
                self.close(code, reason)
                self._end_output()
                return False
            case _:
                self.close(CloseCode.UNSUPPORTED, "Only text frames are understood")
        return True

    def _end_output(self) -> None:
        """After a broken frame no close frame can be read any more: the client, which waits for
        the server to close first (RFC 6455, 7.1.1), sees the end of the stream instead."""
        transport = self.transport
        if transport is not None and transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()

    def _answer_close(self, code: int) -> None:
        """The client is leaving: it is nobody's device from now on. What was written before goes
        out first, if the client still reads; it gets a while for that and no more."""
        transport = self.transport
        if transport is None:
            return
        if self.open:
            self.flush()
            self.open = False
            transport.write(close_frame(None if code == 1005 else code))
            self.entrance.closing(self, transport.abort)
        transport.close()
        self._left()

    def _left(self) -> None:
        surface, self._surface = self._surface, None
        if surface is not None:
            surface.closed(self)

    # Connection.

    def write(self, frame: Frame) -> None:
        """Waits for the end of the turn: what else this connection gets in it goes out with it."""
        if not self.open:
            return
        self._put(frame.deflated if self.form & 1 else frame.wire)

    def _put(self, wire: bytes) -> None:
        if self._out is None:
            self._out = [wire]
            self.hub.flush_later(self)
        else:
            self._out.append(wire)

    def write_batch(self, batch: Batch) -> None:
        if self.open:
            if self._out is None:
                self.transport.write(batch.wire(self.form))  # type: ignore[union-attr]
            else:
                self._out.append(batch.wire(self.form))

    def flush(self) -> None:
        out, self._out = self._out, None
        if out is not None and self.transport is not None:
            self.transport.write(out[0] if len(out) == 1 else b"".join(out))

    def write_frames(self, frames: list[Frame]) -> None:
        for frame in frames:
            self.write(frame)

    def ping(self) -> None:
        if self.open and self.transport is not None:
            self.transport.write(_PING)

    def close(self, code: int, reason: str = "") -> None:
        """The close frame goes out behind what was written; then the client has a while to answer
        it. Closing the socket at once would reset it and could lose the close frame."""
        transport = self.transport
        if not self.open or transport is None:
            return
        self.flush()
        self.open = False
        self.entrance.count_close(code)
        transport.write(close_frame(code, reason))
        self.entrance.closing(self, transport.abort)
        self.listen(True)

    def listen(self, wanted: bool) -> None:
        transport = self.transport
        if transport is None or transport.is_closing() or wanted is not self._deaf:
            return
        self._deaf = not wanted
        if not wanted:
            transport.pause_reading()
            if self._turn is not None:
                self._turn.cancel()
                self._turn = None
        elif self._later is None:
            transport.resume_reading()
        else:
            self._go_on_soon()

    @property
    def unsent(self) -> int:
        waiting = sum(map(len, self._out)) if self._out is not None else 0
        return waiting + (self.transport.get_write_buffer_size() if self.transport else 0)


def protocol_class(
    entrance: Entrance,
    hub: Hub,
    *,
    max_message: int,
    output_limit: int,
    compression: bool,
    proxies: Proxies | None = None,
) -> type[UvicornConnection]:
    """The class to give to `uvicorn.Config(ws=…)`.

    Args:
        max_message: bytes of one message a client may send; more closes with 1009.
        output_limit: unsent bytes at which a reader is closed with 4008.
        compression: whether permessage-deflate is agreed to.
        proxies: whom to believe where a client is; nobody by default.
    """
    namespace = {
        "__slots__": (),
        "entrance": entrance,
        "hub": hub,
        "limits": Limits(max_message=max_message),
        "output_limit": output_limit,
        "compression": compression,
        "proxies": proxies or Proxies(()),
    }
    return type("BoundUvicornConnection", (UvicornConnection,), namespace)
