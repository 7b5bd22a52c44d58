"""A node that is told to stop: nobody new, everyone sent away in time, nothing acked is lost."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from madang.gateways.entrance import LEAVING_A_SECOND, STEP_SECONDS, Entrance
from madang.serving import CLOSING_SECONDS
from madang.testing import JumpingClock
from tests.conftest import Server
from tests.faults.test_kill import history_of
from tests.faults.test_storage import a_room
from tests.gateways.hostile import Bare
from tests.hub.recording import Recorder
from tests.phone import calling

MakeServer = Callable[..., Server]
UNDER_WAY = 50
"""Messages that are sent and not acknowledged, all the time."""
SIGNALS = [signal.SIGTERM, signal.SIGINT]


async def knock(server: Server) -> Bare:
    """A client that is in and will not answer when it is told to go."""
    client = await Bare.open(server)
    head = await client.upgrade(f"/api/v1/messenger/ws?token={server.token('deaf')}")
    assert head.startswith(b"HTTP/1.1 101")
    await client.receive()
    return client


async def exit_code(process: subprocess.Popen[bytes] | None, patience: float) -> int:
    assert process is not None
    return await asyncio.to_thread(process.wait, patience)


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_door_says_come_back_later_while_clients_leave(
    make_server: MakeServer, number: int
) -> None:
    server = make_server(drain_seconds="3")
    async with (
        await knock(server) as deaf,
        server.rest("ann") as http,
        calling(server.ws, server.token("ann")) as ann,
    ):
        await ann.until("system")
        assert (await http.get("/readyz")).status_code == 200
        assert server.process is not None
        begun = time.monotonic()
        server.process.send_signal(number)
        assert await ann.closed() == 1001
        assert await deaf.close_code() == 1001

        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["failing"] == ["draining"]
        assert (await http.get("/healthz")).status_code == 200
        assert "madang_draining" in (await http.get("/metrics")).text
        assert (await http.get("/api/v1/messenger/conversations")).status_code == 200
        refused = await http.get("/api/v1/events/stream")
        assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
        async with await Bare.open(server) as late:
            head = await late.upgrade(f"/api/v1/messenger/ws?token={server.token('bob')}")
            assert head.startswith(b"HTTP/1.1 503")
            assert b"\r\nretry-after: " in head.lower()

        assert await exit_code(server.process, 10) == 0
        assert time.monotonic() - begun < 3 + 2, "drain_seconds, and a little to close"
    assert "Traceback" not in server.log


async def test_nobody_there_and_it_ends_at_once(make_server: MakeServer) -> None:
    server = make_server(drain_seconds="60")
    begun = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_second_signal_ends_it_at_once(make_server: MakeServer, number: int) -> None:
    server = make_server(drain_seconds="60")
    async with await knock(server) as deaf:
        assert server.process is not None
        server.process.send_signal(number)
        assert await deaf.close_code() == 1001
        server.process.send_signal(number)
        assert await exit_code(server.process, 5) == 128 + number


async def test_what_was_submitted_is_acknowledged_before_anyone_goes(server: Server) -> None:
    room = await a_room(server)
    acked = 0
    async with calling(server.ws, server.token("ann")) as ann:
        await ann.until("system")

        async def say(number: int) -> None:
            await ann.send(
                "message.send", conversation_id=room, client_id=f"{number}", content="on and on"
            )

        for number in range(UNDER_WAY):
            await say(number)

        async def go_on() -> None:
            nonlocal acked
            assert server.process is not None
            while True:
                if (await ann.take())["type"] == "message.sent":
                    acked += 1
                    if acked == 100:
                        server.process.send_signal(signal.SIGTERM)
                    if ann.socket.state is State.OPEN:
                        await say(UNDER_WAY + acked)

        with pytest.raises(ConnectionClosed) as closed:
            await go_on()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001
    assert await exit_code(server.process, 10) == 0
    server.restart()
    assert acked >= 100
    assert len(await history_of(server, "ann", room)) == acked


async def test_many_are_sent_away_over_some_time() -> None:
    clock = JumpingClock()
    door = Entrance(
        lambda path: None, clock, origins=(), dev=True, most=10**6, heartbeat=25, timeout=300
    )
    crowd = [Recorder() for _ in range(LEAVING_A_SECOND)]
    for connection in crowd:
        door.entered(connection)
    settled = 0

    async def settle() -> None:
        nonlocal settled
        settled += 1

    draining = asyncio.create_task(door.drain(8, settle))
    gone: list[int] = []
    for _ in range(round(1 / STEP_SECONDS)):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.append(sum(not connection.open for connection in crowd))
        clock.jump(STEP_SECONDS)
    steps = [after - before for before, after in zip([0, *gone], gone, strict=False)]
    assert max(steps) <= LEAVING_A_SECOND * STEP_SECONDS * 1.1
    assert gone[-1] == LEAVING_A_SECOND
    assert settled == len(steps), "what each few have submitted is waited for"
    for connection in crowd:
        door.gone(connection)
    await asyncio.wait_for(draining, 5)
    await asyncio.wait_for(door.drain(8, settle), 5)
    assert settled == len(steps), "the second time there is nothing to do"


async def test_a_store_that_does_not_answer_keeps_nobody_waiting(make_server: MakeServer) -> None:
    server = make_server(drain_seconds="1", rate_limit_enabled="false")
    room = await a_room(server)
    async with calling(server.ws, server.token("ann")) as ann:
        await ann.until("system")
        with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # a backup that takes its time
            await ann.send("message.send", conversation_id=room, client_id="late", content="late")
            await ann.rest()
            assert server.process is not None
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await ann.closed() == 1001
            assert await exit_code(server.process, 10) == 1
            assert time.monotonic() - begun < 1 + CLOSING_SECONDS + 1.5
    assert "nothing that was acknowledged is lost" in server.log
    assert not any(frame["type"] == "message.sent" for frame in ann.frames)
    server.restart()
    assert await history_of(server, "ann", room) == []
