"""uvicorn's HTTP protocol, asked less of where a WebSocket begins, and with limits on a request's
head.

uvicorn looks up both addresses of a connection when it is made: two system calls, and some 400
bytes that uvloop then keeps for as long as the connection lives. No WebSocket of ours needs them,
so they are looked up when a request turns out not to be an upgrade. And when it is one, what was
needed to read it is let go at once, instead of waiting for the collector as a reference cycle.

The head of a request is bounded in bytes, in headers and in time, and so is what comes of its body
after it was answered; uvicorn bounds none of them.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from madang.gateways.entrance import Entrance

MAX_HEAD = 64 * 1024
"""Bytes of a request's first line and headers; other servers allow 8 to 64 KiB."""
MAX_HEADERS = 128
MAX_UNWANTED = 64 * 1024 * 1024
"""Bytes of a body that are read after its answer: a client that sends all before it reads shall get
the answer, and one that sends without end shall not be listened to."""
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class LateAddressProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`, by way of `http_class`."""

    entrance: Entrance
    _head = 0
    _unwanted = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.scheme = "http"
        self.entrance.expect(self, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self.entrance.arrived(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > MAX_HEAD and hasattr(self, "parser"):
            self._refuse()
        elif self._head < 0 and self.cycle is not None and self.cycle.response_complete:
            self._unwanted += len(data)
            if self._unwanted > MAX_UNWANTED:
                self.transport.abort()

    def on_message_begin(self) -> None:
        self.entrance.expect(self, self.transport.abort)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            raise ValueError("too many headers")  # httptools stops there, uvicorn answers 400

    def on_headers_complete(self) -> None:
        self.entrance.arrived(self)
        if not self.parser.should_upgrade():
            if self.client is None:
                self.server = get_local_addr(self.transport)
                self.client = get_remote_addr(self.transport)
            self.scope["server"] = self.server
            self.scope["client"] = self.client
        super().on_headers_complete()
        self._head = -_BODY

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = self._unwanted = 0
        if self.cycle is not None and self.cycle.response_complete:
            self.entrance.arrived(self)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._head < 0:
            # Answered before all of the body came, and nobody reads the rest: it has as long as a
            # head has.
            self.entrance.expect(self, self.transport.abort)

    def handle_websocket_upgrade(self) -> None:
        self.entrance.arrived(self)
        super().handle_websocket_upgrade()
        del self.parser, self.scope, self.flow, self.transport

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()


_BODY = 2**62
"""While a body is read the head counts from so far below that it cannot reach its limit."""


def http_class(entrance: Entrance) -> type[LateAddressProtocol]:
    """The class to give to `uvicorn.Config(http=…)`."""
    return type("BoundLateAddressProtocol", (LateAddressProtocol,), {"entrance": entrance})
