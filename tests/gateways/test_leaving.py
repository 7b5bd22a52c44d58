"""Clients that go without taking in what they were sent: nobody's device from then on, and gone
for good a while after."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from base64 import b64encode
from collections.abc import Callable

import pytest

from tests.gateways.hostile import Bare, frame, upgrade_request
from tests.surfaces.people import House

OpenHouse = Callable[..., House]
SAID = 20
LARGE = 38_000
"""Together well below what closes with 4008, and more than the kernel holds for a small window."""


async def deaf(house: House, request: bytes) -> Bare:
    """A client that asks and then reads nothing."""
    quiet = socket.socket()
    quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    quiet.setblocking(False)
    await asyncio.get_running_loop().sock_connect(quiet, ("127.0.0.1", house.server.port))
    reader, writer = await asyncio.open_connection(sock=quiet, limit=1024)
    client = Bare(reader, writer)
    await client.send(request)
    return client


async def talk(house: House, conversation: str, times: int) -> None:
    for _ in range(times):
        noise = b64encode(os.urandom(LARGE)).decode()
        await house.say("ann", conversation, noise)


async def test_who_closes_without_reading_is_gone_at_once(open_house: OpenHouse) -> None:
    async with open_house(output_limit_bytes=str(64 * 1024 * 1024)) as house:
        conversation = await house.group("ann", "bob")
        ann = await house.device("ann")
        target = f"/api/v1/messenger/ws?token={house.token('bob')}"
        async with await deaf(house, upgrade_request(target)) as bob:
            await ann.next("user.online", user_id="bob")
            await talk(house, conversation, 4 * SAID)
            await bob.send(frame(8, struct.pack("!H", 1000)))
            await ann.next("user.offline", user_id="bob", patience=5)


@pytest.mark.slow
async def test_a_stream_that_is_not_read_ends(open_house: OpenHouse) -> None:
    async with open_house(
        ws_heartbeat_interval="1",
        ws_connection_timeout="4",
        output_limit_bytes=str(64 * 1024 * 1024),
    ) as house:
        conversation = await house.group("ann", "bob")
        ann = await house.device("ann")
        target = f"/api/v1/events/stream?token={house.token('bob')}"
        head = f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        async with await deaf(house, head.encode()):
            await ann.next("user.online", user_id="bob")
            await talk(house, conversation, 4 * SAID)
            await ann.next("user.offline", user_id="bob")
