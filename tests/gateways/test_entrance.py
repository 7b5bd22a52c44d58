"""The one timer over all connections, on a machine that is late; and gateways whose end fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from madang.gateways.entrance import Entrance, Upgrade
from madang.gateways.websocket_asgi import AsgiGateway
from madang.hub.connection import Connection
from madang.testing import JumpingClock
from tests.hub.recording import Recorder


class LateClock(JumpingClock):
    """A clock of a busy machine: timers fire when it is told so, however late that is."""

    def __init__(self) -> None:
        super().__init__()
        self.late = 0.0
        self.due: list[Callable[[], None]] = []

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Any:
        self.due.append(callback)
        return super().call_later(10**6, callback)

    def fire(self, passed: float) -> None:
        self.jump(passed)
        due, self.due = self.due, []
        for callback in due:
            callback()


class Pinged(Recorder):
    __slots__ = ("pings",)

    def __init__(self) -> None:
        super().__init__()
        self.pings: list[int] = []

    def ping(self) -> None:
        self.pings.append(1)


class Nothing:
    """A surface that does nothing."""

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        """Nothing."""

    def received(self, connection: Connection, text: str) -> None:
        """Nothing."""

    def closed(self, connection: Connection) -> None:
        """Nothing."""


def entrance(clock: JumpingClock, heartbeat: int = 5) -> Entrance:
    return Entrance(
        lambda path: Nothing(),
        clock,
        origins=(),
        dev=True,
        most=10,
        heartbeat=heartbeat,
        timeout=300,
    )


@pytest.mark.parametrize("step", [0.4, 1.0, 1.3, 2.0, 2.9, 3.0])
def test_a_silent_connection_is_pinged_every_interval_however_late_the_ticks(step: float) -> None:
    clock = LateClock()
    door = entrance(clock)
    door.start()
    connection = Pinged()
    door.entered(connection)
    passed = 0.0
    while passed < 100:
        clock.fire(step)
        passed += step
    assert 19 <= len(connection.pings) <= 20


def test_a_connection_that_talks_is_not_pinged() -> None:
    clock = LateClock()
    door = entrance(clock)
    door.start()
    connection = Pinged()
    door.entered(connection)
    for _ in range(50):
        clock.fire(2.0)
        connection.heard = door.now
    assert not connection.pings


@pytest.mark.parametrize(("fault", "logged"), [(RuntimeError, 1), (BrokenPipeError, 0)])
async def test_what_fails_beneath_asgi_is_heard_of_unless_the_client_is_gone(
    fault: type[Exception], logged: int
) -> None:
    door = entrance(JumpingClock())
    gateway = AsgiGateway(door, max_message=1000, output_limit=1000)
    asked = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal asked
        asked += 1
        if asked == 1:
            return {"type": "websocket.connect"}
        raise fault("beneath")

    async def send(message: MutableMapping[str, Any]) -> None:
        """Goes nowhere."""

    scope = {"type": "websocket", "path": "/", "headers": [], "query_string": b""}
    with capture_logs() as entries:
        await asyncio.wait_for(gateway(scope, receive, send), 5)
    assert len([entry for entry in entries if entry["log_level"] == "error"]) == logged
    assert not door.connections
