"""Clients that misbehave: bytes on a bare socket, where a proper library would refuse."""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from types import TracebackType
from typing import Self

from tests.conftest import Server

PATIENCE = 15.0
"""Seconds to wait for what must come; above the ten after which a dead close is cut."""
HEARTBEAT = (9, b"")


def frame(
    opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, rsv: int = 0
) -> bytes:
    """A client's WebSocket frame (RFC 6455, 5.2), right or wrong as asked for."""
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    mask_bit = 0x80 if masked else 0
    if len(payload) < 126:
        head.append(mask_bit | len(payload))
    elif len(payload) < 65_536:
        head.append(mask_bit | 126)
        head += struct.pack("!H", len(payload))
    else:
        head.append(mask_bit | 127)
        head += struct.pack("!Q", len(payload))
    if not masked:
        return bytes(head) + payload
    key = os.urandom(4)
    body = bytes(byte ^ key[number & 3] for number, byte in enumerate(payload))
    return bytes(head) + key + body


class Bare:
    """A TCP connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, server: Server, *, limit: int = 2**16) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", server.port, limit=limit))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def upgrade(self, target: str, *extra: str) -> bytes:
        """Ask for a WebSocket; the head of the answer."""
        await self.send(upgrade_request(target, *extra))
        return await self.head()

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the server's next frame. Its heartbeat, which may come at any time,
        is left out."""
        frame = await self._frame()
        while frame == HEARTBEAT:
            frame = await self._frame()
        return frame

    async def _frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """The code of the close frame that is to come, whatever comes before it."""
        while True:
            opcode, payload = await self.receive()
            if opcode == 8:
                (code,) = struct.unpack("!H", payload[:2])
                return int(code)

    async def rest(self) -> bytes:
        """Everything until the server ends the connection."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


def upgrade_request(target: str, *extra: str) -> bytes:
    lines = [
        f"GET {target} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *extra,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
