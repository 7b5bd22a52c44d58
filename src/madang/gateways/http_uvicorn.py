"""uvicorn's HTTP protocol, asked less of where a WebSocket begins.

uvicorn looks up both addresses of a connection when it is made: two system calls, and some 400
bytes that uvloop then keeps for as long as the connection lives. No WebSocket of ours needs them,
so they are looked up when a request turns out not to be an upgrade. And when it is one, what was
needed to read it is let go at once, instead of waiting for the collector as a reference cycle.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import get_local_addr, get_remote_addr


class LateAddressProtocol(HttpToolsProtocol):
    """For `uvicorn.Config(http=…)`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        self.scheme = "http"

    def on_headers_complete(self) -> None:
        if not self.parser.should_upgrade():
            if self.client is None:
                self.server = get_local_addr(self.transport)
                self.client = get_remote_addr(self.transport)
            self.scope["server"] = self.server
            self.scope["client"] = self.client
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        del self.parser, self.scope, self.flow, self.transport
