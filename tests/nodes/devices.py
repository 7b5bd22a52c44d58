"""Thousands of messenger clients in one process: a socket, the frames of RFC 6455 and the rule of
the contract for coming back. Written to the contract pages and nothing of ours.

A client shows the cursor of the last event it handled. It comes back at once when it is sent away
(a random part of a quarter of a second), and after a growing random pause when nobody opens.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import orjson

from tests.faults.checker import Listed

_PONG, _CLOSE, _PING, _TEXT = 10, 8, 9, 1
AT_ONCE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0


def masked(opcode: int, payload: bytes) -> bytes:
    """A client's frame, with a mask of zeros."""
    if len(payload) < 126:
        return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload
    head = bytes([0x80 | opcode, 0x80 | 126]) + len(payload).to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class Device(asyncio.Protocol):
    """One user's one device, over all its connections."""

    def __init__(self, port: int, user: str, token: str, dice: random.Random) -> None:
        self.user = user
        self.cursor: int | None = None
        self.view: list[Listed] = []
        """Every message it was told of, as often and in the order it was told."""
        self.attempted: list[str] = []
        self.acked: dict[str, list[tuple[str, int]]] = {}
        self.closes: Counter[int] = Counter()
        self.refusals: Counter[str] = Counter()
        self.connects = 0
        self.troubles: list[str] = []
        self.live = asyncio.Event()
        self.quiet = asyncio.Event()
        """Set while nothing that it said waits for its acknowledgement."""
        self.quiet.set()
        self._port = port
        self._token = token
        self._dice = dice
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._upgraded = False
        self._failures = 0
        self._unacked: dict[str, bytes] = {}
        self._going = False

    # Coming and going.

    def dial(self) -> None:
        """Connect, now."""
        if self._going:
            return
        task = asyncio.ensure_future(self._dial())
        task.add_done_callback(lambda done: done.exception())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._port)
        except OSError as error:
            self.refusals[type(error).__name__] += 1
            self._again()

    def _again(self) -> None:
        if self._going:
            return
        self._failures += 1
        longest = min(LONGEST_PAUSE_SECONDS, AT_ONCE_SECONDS * 2 ** (self._failures - 1))
        asyncio.get_running_loop().call_later(self._dice.uniform(0, longest), self.dial)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""
        self._upgraded = False
        query = "" if self.cursor is None else f"&cursor={self.cursor}"
        transport.write(
            f"GET /api/v1/messenger/ws?token={self._token}{query} HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self._port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        if self.live.is_set() and not self._going:
            self.closes[1006] += 1
        self.live.clear()
        self._transport = None
        self._again()

    def leave(self) -> None:
        """For good."""
        self._going = True
        if self._transport is not None:
            self._transport.abort()

    # What comes.

    def data_received(self, data: bytes) -> None:
        received = self._received + data
        if not self._upgraded:
            head, found, received = received.partition(b"\r\n\r\n")
            if not found:
                self._received = head
                return
            status = head.split(b" ", 2)[1].decode()
            if status != "101":
                self.refusals[status] += 1
                assert self._transport is not None
                self._transport.abort()
                return
            self._upgraded = True
            self.connects += 1
        while len(received) >= 2:
            length, start = received[1], 2
            if length == 126:
                length, start = int.from_bytes(received[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(received[2:10], "big"), 10
            if len(received) < start + length:
                break
            self._frame(received[0] & 15, received[start : start + length])
            received = received[start + length :]
        self._received = received

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._told(orjson.loads(payload))
        elif opcode == _PING:
            self._write(masked(_PONG, payload))
        elif opcode == _CLOSE:
            self.closes[int.from_bytes(payload[:2], "big")] += 1
            self.live.clear()
            self._write(masked(_CLOSE, payload[:2]))
            if self._transport is not None:
                self._transport.close()

    def _told(self, frame: dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "message.new":
            message = frame["data"]
            self.view.append(_listed(message))
            self._move(frame["cursor"])
        elif kind == "message.sent":
            message = frame["data"]
            self.acked.setdefault(message["client_id"], []).append((message["id"], message["seq"]))
            self._unacked.pop(message["client_id"], None)
            if not self._unacked:
                self.quiet.set()
        elif kind == "system" and frame.get("event") == "connected":
            self._failures = 0
            if self.cursor is None:
                self._move(frame["cursor"])
                self._write(masked(_TEXT, b'{"type":"resume","cursor":%d}' % frame["cursor"]))
        elif kind == "resumed":
            if not frame["recovered"]:
                self.troubles.append(f"{self.user} could not resume: {frame}")
            self._move(frame["cursor"])
            self.live.set()
            for text in self._unacked.values():
                self._write(masked(_TEXT, text))
        elif kind == "error":
            self.troubles.append(f"{self.user} was told {frame}")
        elif "cursor" in frame:
            self._move(frame["cursor"])

    def _move(self, cursor: int) -> None:
        self.cursor = max(cursor, self.cursor or 0)

    # What it says.

    def say(self, conversation: str, client_id: str) -> None:
        """Send a message; again with the same `client_id` until it is acknowledged."""
        text = json.dumps(
            {
                "type": "message.send",
                "conversation_id": conversation,
                "client_id": client_id,
                "content": "Nothing of this may be lost.",
            }
        ).encode()
        self.attempted.append(client_id)
        self._unacked[client_id] = text
        self.quiet.clear()
        if self.live.is_set():
            self._write(masked(_TEXT, text))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _listed(message: dict[str, Any]) -> Listed:
    return Listed(
        message["conversation_id"],
        message["seq"],
        message["id"],
        message["sender_id"],
        message["client_id"],
    )
