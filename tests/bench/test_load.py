"""Both load generators count the same against a real server that relays what it is told."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.load import driver
from bench.load.build import compiled
from bench.load.driver import Load, LoadFailed, loading
from bench.load.plan import Conn, Plan

HELLO = '{"type":"hello"}'
RECEIVERS = 5


class Relay:
    """Sends to every receiver what a sender says, and `ack` back to the sender. `/two` answers
    with frames of two lines."""

    def __init__(self) -> None:
        self.room: set[ServerConnection] = set()
        self.heard: list[str] = []

    async def serve_one(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        if not connection.request.path.startswith("/send"):
            self.room.add(connection)
        try:
            await connection.send(HELLO)
            async for message in connection:
                assert isinstance(message, str)
                self.heard.append(message)
                broadcast(self.room, message)
                await connection.send("ack")
        finally:
            self.room.discard(connection)


@pytest.fixture
def relay() -> Iterator[tuple[Relay, int]]:
    """A relay in a thread of its own, since the driver of the load blocks; and its port."""
    told: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    one = Relay()

    async def run() -> None:
        stop = asyncio.Event()
        async with serve(one.serve_one, "127.0.0.1", 0, compression=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            told.set_result((port, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    port, loop, stop = told.result(10)
    yield one, port
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture(params=["c", "python"])
def generator(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the generator that `loading` starts."""
    kind = str(request.param)
    if kind == "c" and compiled("counter") is None:
        kind = "python"
    if kind == "python":
        command = [sys.executable, "-m", "bench.load.fallback"]
        monkeypatch.setattr(driver, "counter_command", lambda: command)
    return kind


def _plan(**changes: object) -> Plan:
    conns = [Conn("R", "/room") for _ in range(RECEIVERS)] + [Conn("S", "/send", a="A", b="B")]
    plan = Plan(classes=("msg", "ack", HELLO), count=0, ack=1, ready=2, message="msg %a %b %n")
    return plan.with_conns(conns)


@contextlib.contextmanager
def _connected(plan: Plan, port: int) -> Iterator[Load]:
    with loading(plan, port=port) as load:
        load.connect(limit_seconds=10)
        yield load


def test_a_message_lands_when_every_receiver_has_it(
    relay: tuple[Relay, int], generator: str
) -> None:
    with _connected(_plan(), relay[1]) as load:
        started: list[bool] = []
        result = load.command(
            "fanout 3 0.1 0.3", limit_seconds=10, on_start=lambda: started.append(True)
        )
        counts = load.command("counts", limit_seconds=10)
    assert started == [True]
    assert not result["stalled"]
    assert result["landed"] > 0
    assert abs(result["deliveries"] - RECEIVERS * result["landed"]) <= RECEIVERS * 3
    assert counts["least"] == counts["most"] == len(relay[0].heard)
    assert 0 < result["p50_ms"] <= result["p99_ms"]


def test_values_of_the_connection_and_a_new_number_go_into_each_message(
    relay: tuple[Relay, int], generator: str
) -> None:
    with _connected(_plan(), relay[1]) as load:
        result = load.command("burst 4 5", limit_seconds=10)
    assert result["landed"] == 4
    assert relay[0].heard == [f"msg A B {n:08d}" for n in range(1, 5)]


def test_pacing_keeps_the_rate_and_times_each_confirmation(
    relay: tuple[Relay, int], generator: str
) -> None:
    with _connected(_plan(), relay[1]) as load:
        result = load.command("paced 200 0.1 1", limit_seconds=10)
    assert 150 <= result["landed"] <= 250
    assert result["p50_ms"] > 0


def test_a_greeting_is_answered_and_lines_are_told_apart(
    relay: tuple[Relay, int], generator: str
) -> None:
    conns = [Conn("R", "/room") for _ in range(2)]
    plan = Plan(
        classes=("msg", HELLO, "ack"),
        count=0,
        ready=2,
        replies=((1, "msg from %a\\nmsg"),),
        lines=True,
        message="unused",
    ).with_conns(conns)
    with _connected(plan, relay[1]) as load:
        load.command("quiet 5", limit_seconds=10)
        counts = load.command("counts", limit_seconds=10)
    assert len(relay[0].heard) == 2
    assert counts["classes"][1] == 2
    assert counts["other"] == 0


def test_dropped_connections_are_gone_and_come_back(
    relay: tuple[Relay, int], generator: str
) -> None:
    with _connected(_plan(), relay[1]) as load:
        dropped = load.command("drop", limit_seconds=10)
        assert dropped["dropped"] == RECEIVERS + 1
        again = load.connect(limit_seconds=10)
    assert again["ready"] == RECEIVERS + 1


def test_a_refused_upgrade_is_told(tmp_path: Path, generator: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(LoadFailed, match="0 of 6"):
                await asyncio.to_thread(_refused, port)

    def _refused(port: int) -> None:
        with _connected(_plan(), port):
            pass

    asyncio.run(run())


def test_a_connection_may_go_to_another_node_than_the_plans(
    relay: tuple[Relay, int], generator: str
) -> None:
    plan = _plan()
    elsewhere = [replace(conn, port=relay[1]) for conn in plan.conns]
    with _connected(plan.with_conns(elsewhere), 1) as load:
        result = load.command("burst 1 5", limit_seconds=10)
    assert result["landed"] == 1
