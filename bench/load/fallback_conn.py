"""One connection of the Python load generator, and the plan it is told."""

import asyncio
import struct
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

MASK = b"\x37\xfa\x21\x3d"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclass(slots=True)
class Directions:
    """A plan as `bench.load.plan` writes it."""

    address: str = "127.0.0.1"
    port: int = 0
    lines: bool = False
    classes: list[bytes] = field(default_factory=list)
    replies: list[tuple[int, str]] = field(default_factory=list)
    ready: int | None = None
    count: int | None = None
    ack: int | None = None
    hello: str | None = None
    message: str = ""
    header: str = ""
    conns: list[tuple[str, str, str, str, int]] = field(default_factory=list)


def read_plan(path: Path) -> Directions:
    """Parse a plan. Raises `ValueError` at a directive that does not exist."""
    plan = Directions()
    for line in path.read_text().splitlines():
        word, *rest = line.split("\t")
        match word:
            case "target":
                plan.address, plan.port = rest[0], int(rest[1])
            case "lines":
                plan.lines = rest[0] == "1"
            case "class":
                plan.classes.append(rest[0].encode())
            case "reply":
                plan.replies.append((int(rest[0]), rest[1]))
            case "ready" | "count" | "ack":
                setattr(plan, word, int(rest[0]))
            case "hello" | "message" | "header":
                setattr(plan, word, rest[0])
            case "conn":
                plan.conns.append((rest[0], rest[1], rest[2], rest[3], int(rest[4])))
            case _:
                raise ValueError(f"unknown directive {word}")
    return plan


def client_frame(payload: bytes, opcode: int = 1) -> bytes:
    """A masked frame of less than 64 KiB (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size)
    key = int.from_bytes((MASK * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return head + MASK + masked


class Owner(Protocol):
    """What a connection tells, and to whom."""

    plan: Directions
    refused: int

    def opened(self, conn: "Conn") -> None:
        """The upgrade is done."""

    def lost(self, conn: "Conn") -> None:
        """The connection is gone."""

    def frame(self, conn: "Conn", opcode: int, data: bytes, start: int, end: int) -> int:
        """Take `data[start:end]`; answer how many counted messages were in it."""

    def counted(self, conn: "Conn", frames: int) -> None:
        """So many counted messages came with one read."""

    def next_number(self) -> int:
        """A number that was not used before."""


class Conn(asyncio.Protocol):
    """One connection: upgrades, walks frames, tells the load what it saw."""

    __slots__ = (
        "a",
        "b",
        "left",
        "load",
        "open",
        "path",
        "port",
        "ready",
        "role",
        "seen",
        "started",
        "to",
    )

    def __init__(self, load: Owner, role: str, path: str, a: str, b: str, port: int) -> None:
        self.load, self.role, self.path, self.a, self.b = load, role, path, a, b
        self.port = port or load.plan.port
        self.open = self.ready = False
        self.left = b""
        self.seen = 0
        self.started: deque[float] = deque()
        self.to: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are ones by behaviour, not by class.
        self.to = cast(asyncio.Transport, transport)
        plan = self.load.plan
        extra = f"{plan.header}\r\n" if plan.header else ""
        self.to.write(
            f"GET {self.path} HTTP/1.1\r\nHost: {plan.address}:{self.port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.ready = self.open = False
        self.to = None
        self.load.lost(self)

    def data_received(self, data: bytes) -> None:
        data = self.left + data if self.left else data
        at = 0
        if not self.open:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.left = data
                return
            if data[8:12] != b" 101":
                self.load.refused += 1
                assert self.to is not None
                self.to.abort()
                return
            self.open, at = True, end + 4
            self.load.opened(self)
        self.left = data[self._walk(data, at) :]

    def _walk(self, data: bytes, at: int) -> int:
        length = len(data)
        counted = 0
        while length - at >= 2:
            size, head = data[at + 1] & 0x7F, 2
            if size == 126:
                if length - at < 4:
                    break
                size, head = (data[at + 2] << 8) | data[at + 3], 4
            elif size == 127:
                if length - at < 10:
                    break
                size, head = int.from_bytes(data[at + 2 : at + 10], "big"), 10
            start = at + head
            if length - start < size:
                break
            counted += self.load.frame(self, data[at] & 0x0F, data, start, start + size)
            at = start + size
        if counted:
            self.seen += counted
            self.load.counted(self, counted)
        return at

    def say(self, template: str) -> None:
        """Send a text, with %a, %b and %n filled in."""
        if self.to is not None:
            text = template.replace("%a", self.a).replace("%b", self.b)
            if "%n" in text:
                text = text.replace("%n", f"{self.load.next_number():08d}")
            self.to.write(client_frame(text.encode()))
