"""Clients that are cut off, stand still, or are sent away: nobody else notices, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest

from tests.conftest import Server
from tests.faults.test_kill import history_of
from tests.faults.test_storage import a_room
from tests.phone import calling

HELLO = (
    "GET /api/v1/messenger/ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def dial(server: Server, user: str) -> socket.socket:
    """A socket on which the handshake is done and `connected` was received."""
    made = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    made.sendall(HELLO.format(token=server.token(user)).encode())
    received = b""
    while b'"connected"' not in received:
        received += made.recv(65536)
    assert received.startswith(b"HTTP/1.1 101")
    return made


def masked(frame: dict[str, Any]) -> bytes:
    """A text frame as a client sends it (RFC 6455, 5.2), with a mask of zeros."""
    payload = json.dumps(frame).encode()
    assert 126 <= len(payload) < 65536, "a frame with an extended length has more places to cut"
    return b"\x81" + bytes([0x80 | 126]) + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload


async def test_cut_off_at_every_byte_of_a_frame(server: Server) -> None:
    room = await a_room(server)

    def cut(at: int, *, reset: bool) -> int:
        frame = masked(
            {
                "type": "message.send",
                "conversation_id": room,
                "client_id": f"{at}",
                "content": "half of it",
            }
        )
        with closing(dial(server, "ann")) as made:
            made.sendall(frame[:at])
            if reset:
                linger = b"\1\0\0\0\0\0\0\0"
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return len(frame)

    async with calling(server.ws, server.token("ben")) as ben:
        hello = await ben.until("system")
        await ben.send("resume", cursor=hello["cursor"])
        length = await asyncio.to_thread(cut, 0, reset=False)
        for at in range(1, length):
            assert await asyncio.to_thread(cut, at, reset=at % 2 == 0) - length in (0, 1, 2)
        assert await history_of(server, "ann", room) == [], "half a frame is no message"
        async with calling(server.ws, server.token("ann")) as ann:
            await ann.send("message.send", conversation_id=room, client_id="whole", content="whole")
            await ann.until("message.sent")
        assert (await ben.until("message.new"))["data"]["content"] == "whole"
    async with server.rest("boss", roles=["admin"]) as rest:
        while (await rest.get("/api/v1/messenger/stats")).json()["total_connections"]:
            """Asked again: the last ones are just leaving."""


READER = r"""
import socket, sys
made = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
made.sendall(sys.stdin.buffer.readline().replace(b"|", b"\r\n"))
received = b""
while b'"heartbeat"' not in received:
    received += made.recv(1 << 20)
print("connected", flush=True)
try:
    while made.recv(1 << 20):
        pass
except ConnectionResetError:
    pass
print("closed", flush=True)
"""


def reader(server: Server) -> subprocess.Popen[bytes]:
    """A process that connects with the request it is given and reads until the end."""
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(server.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


async def test_a_client_that_was_stopped_is_nobody_elses_affair(make_server: Any) -> None:
    server: Server = make_server(rate_limit_enabled="false", output_limit_bytes="131072")
    room = await a_room(server)
    process = reader(server)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        hello = HELLO.format(token=server.token("ben")).replace("\r\n", "|") + "\n"
        process.stdin.write(hello.encode())
        process.stdin.flush()
        assert await asyncio.to_thread(process.stdout.readline) == b"connected\n"
        os.kill(process.pid, signal.SIGSTOP)
        slowest = 0.0
        count = 400
        async with (
            calling(server.ws, server.token("ann")) as ann,
            calling(server.ws, server.token("ben")) as ben,
        ):
            first = (await ben.until("system"))["cursor"]
            await ben.send("resume", cursor=first)
            for number in range(count):
                began = time.monotonic()
                fields = {"client_id": f"{number}", "content": "x" * 30_000}
                await ann.send("message.send", conversation_id=room, **fields)
                await ann.until("message.sent")
                slowest = max(slowest, time.monotonic() - began)
                ann.frames.clear()
            while len(ben.events()) < count:
                await ben.take()
            assert [event["data"]["client_id"] for event in ben.events()] == [
                f"{number}" for number in range(count)
            ]
        assert slowest < 5
        async with server.rest("boss", roles=["admin"]) as rest:
            while (await rest.get("/api/v1/messenger/stats")).json()["total_connections"]:
                """Until the one that does not read was given up."""
        os.kill(process.pid, signal.SIGCONT)
        assert await asyncio.to_thread(process.stdout.readline) == b"closed\n"
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_going_away_tells_everybody_and_loses_nothing(
    server: Server, number: signal.Signals
) -> None:
    room = await a_room(server)
    acked = []
    async with (
        calling(server.ws, server.token("ann")) as ann,
        calling(server.ws, server.token("ben")) as ben,
        calling(server.ws.replace("messenger", "events"), server.token("ben"), cursor=0) as log,
        server.rest("ben") as rest,
        rest.stream("GET", "/api/v1/events/stream?cursor=0") as stream,
        calling(server.ws, server.token("cho")) as silent,
    ):
        assert stream.status_code == 200
        silent.socket.transport.pause_reading()
        for phone in (ann, ben):
            await phone.until("system")
        await log.until("replay_complete")
        for count in range(300):
            fields = {"client_id": f"{count}", "content": f"{count}"}
            await ann.send("message.send", conversation_id=room, **fields)
        began = time.monotonic()
        stopped = asyncio.create_task(asyncio.to_thread(server.terminate, number))
        codes = [await phone.closed() for phone in (ann, ben, log)]
        status = await stopped
        silent.socket.transport.resume_reading()
        assert time.monotonic() - began < 10
        assert codes == [1001, 1001, 1001]
        assert status in (0, -number, 128 + number), server.log
        async for text in ann.socket:
            frame = json.loads(text)
            if frame["type"] == "message.sent":
                acked.append((frame["client_id"], frame["message_id"]))
    server.restart()
    there = [(one.client_id, one.id) for one in await history_of(server, "ann", room)]
    assert there[: len(acked)] == acked
    assert [name for name, _ in there] == [f"{count}" for count in range(len(there))]
    assert "Traceback" not in server.log
