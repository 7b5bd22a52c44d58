"""Readers that fall behind: closed with 4008 once over the limit, at nobody else's cost."""

from __future__ import annotations

import asyncio
import os
import socket
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.conftest import Server
from tests.surfaces.people import House

OpenHouse = Callable[..., House]
LIMIT = 64 * 1024
SAID = 150
"""Messages of 40 KB: more than the limit and all the kernel will hold for a connection."""
LONGEST_CLOSE = 25.0
"""Seconds: ten for the client to answer the close frame, and a busy machine."""


def noise() -> str:
    """Nothing that could be compressed."""
    return b64encode(os.urandom(30_000)).decode()


@pytest.mark.slow
async def test_a_reader_that_never_reads_is_closed_with_4008(open_house: OpenHouse) -> None:
    """It takes nothing in, so it cannot be told: it is cut off, and memory stays bounded."""
    # Without the index: what it keeps in memory of so many words has nothing to do with readers.
    settings = {"output_limit_bytes": str(LIMIT), "search_enabled": "false"}
    async with open_house(**settings) as house:
        conversation = await house.group("ann", "bob", "sleeper")
        ann, bob = await house.device("ann"), await house.device("bob")
        quiet = socket.socket()
        quiet.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        quiet.setblocking(False)
        await asyncio.get_running_loop().sock_connect(quiet, ("127.0.0.1", house.server.port))
        sleeper = await connect(
            f"{house.server.ws}?token={house.token('sleeper')}",
            sock=quiet,
            max_size=None,
            compression=None,
            ping_interval=None,
        )
        # Its first frame ends the time in which events are held for a resume.
        await sleeper.send('{"type":"ping"}')
        await ann.next("user.online", user_id="sleeper")
        sleeper.transport.pause_reading()
        memory = resident(house.server)
        for _ in range(SAID):
            await ann.ask("message.send", conversation_id=conversation, content=noise())
            await bob.next("message.new")
            # On a slow machine the sleeper may be gone before all is said.
            ann.waiting[:] = [one for one in ann.waiting if one["type"] == "user.offline"]
        await ann.next("user.offline", patience=LONGEST_CLOSE, user_id="sleeper")
        # What was said stands in memory twice at most: the channel remembers it for those who
        # come back soon, as an event and as its frame.
        assert resident(house.server) - memory < 4 * SAID * 40_000
        sleeper.transport.abort()
        await sleeper.wait_closed()
        quiet.close()
        assert (await bob.ask("ping"))["type"] == "pong"


async def test_a_slow_reader_that_wakes_up_is_told_4008(open_house: OpenHouse) -> None:
    async with open_house(output_limit_bytes=str(LIMIT)) as house:
        conversation = await house.group("ann", "bob")
        ann = await house.device("ann")
        bob = await house.device("bob", compression=None)
        seen = bob.connected["cursor"]
        bob.connection.transport.pause_reading()
        for _ in range(SAID):
            await ann.ask("message.send", conversation_id=conversation, content=noise())
            ann.waiting.clear()
        bob.connection.transport.resume_reading()
        assert (await bob.closed())[0] == 4008
        back = await house.connect("bob")
        answer = await back.ask("resume", cursor=seen)
        assert answer["recovered"] is True
        assert answer["events"] == SAID


def resident(server: Server) -> int:
    """Bytes of memory of the server's process."""
    assert server.process is not None
    pages = Path(f"/proc/{server.process.pid}/statm")
    if not pages.exists():  # macOS
        return 0
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
