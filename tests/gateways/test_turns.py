"""What one connection may take of a turn of the loop, and of a request's head."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from madang.clock import SystemClock
from madang.gateways.entrance import Entrance, Upgrade
from madang.gateways.http_uvicorn import MAX_HEAD, MAX_HEADERS
from madang.gateways.websocket_uvicorn import (
    FRAMES_A_TURN,
    MOST_AFTER_CLOSE,
    UvicornConnection,
    protocol_class,
)
from madang.hub.connection import Connection
from madang.hub.hub import Hub
from madang.protocol.websocket import Opcode, masked_frame
from tests.conftest import Server, eventually

FRAME = masked_frame(Opcode.TEXT, b"{}", b"\1\2\3\4")
REQUEST = (
    b"GET /any HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Noting:
    """A surface that notes in which turn of the loop it was given each frame."""

    def __init__(self) -> None:
        self.turns: Counter[int] = Counter()
        self.turn = 0
        self.connection: Connection | None = None

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        self.connection = connection
        asyncio.get_running_loop().call_soon(self.count)

    def count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.count)

    def received(self, connection: Connection, text: str) -> None:
        self.turns[self.turn] += 1

    def closed(self, connection: Connection) -> None:
        self.connection = None


async def connected(surface: Noting) -> socket.socket:
    """The client's end of a real socket whose other end is a gateway's connection."""
    entrance = Entrance(
        lambda _: surface, SystemClock(), origins=(), dev=False, most=10, heartbeat=25, timeout=60
    )
    made = protocol_class(
        entrance, Hub(()), max_message=65536, output_limit=2**20, compression=False
    )

    here, there = socket.socketpair()
    there.setblocking(False)
    here.setblocking(False)
    loop = asyncio.get_running_loop()

    def make() -> UvicornConnection:
        return made(None, None, None)

    _, protocol = await loop.connect_accepted_socket(make, there)
    protocol.data_received(REQUEST)
    await eventually(lambda: surface.connection is not None)
    return here


async def test_a_flood_gets_its_share_of_a_turn_and_loses_nothing() -> None:
    surface = Noting()
    client = await connected(surface)
    count = 5_000
    await asyncio.get_running_loop().sock_sendall(client, FRAME * count)
    await eventually(lambda: surface.turns.total() == count)
    # A turn may hold one read and one postponed share.
    assert max(surface.turns.values()) <= 2 * FRAMES_A_TURN
    client.close()


class Deaf(Noting):
    """A surface that does not listen after so many frames."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.heard: list[str] = []

    def received(self, connection: Connection, text: str) -> None:
        super().received(connection, text)
        self.heard.append(text)
        if len(self.heard) == self.after:
            connection.listen(False)


@pytest.mark.parametrize("after", [1, 10, FRAMES_A_TURN + 1])
async def test_what_is_not_listened_to_stays_where_it_is(after: int) -> None:
    surface = Deaf(after)
    client = await connected(surface)
    texts = [str(number) for number in range(20_000)]
    frames = b"".join(masked_frame(Opcode.TEXT, text.encode(), b"\1\2\3\4") for text in texts)
    sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(client, frames))
    await eventually(lambda: len(surface.heard) >= after)
    turn = surface.turn
    await eventually(lambda: surface.turn > turn + 1_000)
    assert after <= len(surface.heard) < after + FRAMES_A_TURN
    connection = surface.connection
    assert connection is not None
    for _ in range(3):  # As often as one likes, and with no turn between them.
        connection.listen(False)
        connection.listen(True)
    await sending
    await eventually(lambda: len(surface.heard) == len(texts))
    assert surface.heard == texts
    assert max(surface.turns.values()) <= 2 * FRAMES_A_TURN
    client.close()


async def test_one_that_is_not_listened_to_can_be_closed() -> None:
    surface = Deaf(1)
    client = await connected(surface)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, FRAME * 1_000)
    await eventually(lambda: len(surface.heard) >= 1)
    connection = surface.connection
    assert connection is not None
    before = len(surface.heard)
    connection.close(1008, "no")
    await loop.sock_sendall(client, masked_frame(Opcode.CLOSE, b"\x03\xf0", b"\1\2\3\4"))
    await eventually(lambda: surface.connection is None)
    assert len(surface.heard) == before
    client.close()


async def test_who_goes_on_after_a_close_frame_is_cut_off() -> None:
    surface = Noting()
    client = await connected(surface)
    connection = surface.connection
    assert connection is not None
    connection.close(1008, "no")

    async def go_on() -> None:
        for _ in range(100):
            await asyncio.get_running_loop().sock_sendall(client, FRAME * 1000)
            await asyncio.sleep(0)

    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await go_on()
    assert surface.turns.total() == 0
    assert len(FRAME) * 100_000 > MOST_AFTER_CLOSE
    client.close()


def answer(server: Server, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(request)
        return client.recv(4096)


def test_a_head_has_limits(server: Server) -> None:
    host = f"Host: 127.0.0.1:{server.port}\r\n".encode()
    line = b"GET /healthz HTTP/1.1\r\n" + host
    assert b" 200 " in answer(server, line + b"a: b\r\n" * 20 + b"\r\n").split(b"\r\n")[0]
    endless = line + b"x: " + b"y" * (MAX_HEAD + 1)
    assert answer(server, endless).startswith(b"HTTP/1.1 431 ")
    many = line + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n"
    assert answer(server, many).startswith(b"HTTP/1.1 400 ")


def test_a_body_is_not_a_head(server: Server) -> None:
    body = b'{"user_id":"' + b"x" * (4 * MAX_HEAD) + b'"}'
    request = (
        b"POST /api/v1/dev/token HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert answer(server, request + body).startswith(b"HTTP/1.1 422 ")


def test_a_development_server_answers_to_its_own_name_only(server: Server) -> None:
    rebound = b"GET /healthz HTTP/1.1\r\nHost: evil.example:%d\r\n\r\n" % server.port
    assert answer(server, rebound).startswith(b"HTTP/1.1 421 ")
    upgrade = REQUEST.replace(b"/any", b"/api/v1/messenger/ws/alice").replace(
        b"host: x", b"host: evil.example\r\norigin: http://evil.example"
    )
    assert answer(server, upgrade).startswith(b"HTTP/1.1 421 ")
