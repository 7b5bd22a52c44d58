"""Nodes are restarted one after the other behind nginx, under a stream of messages, and none of
2,000 clients misses, doubles or reorders anything."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, eventually
from tests.faults.checker import History, problems
from tests.faults.test_kill import history_of
from tests.nodes.devices import Device
from tests.nodes.nginx import nginx
from tests.postgres import Postgres
from tests.valkey import Valkey

CLIENTS = 2000
ROOM = 50
"""Clients in a conversation; the first of them is who speaks."""
SPEAK_SECONDS = 0.5
AT_THE_DOOR = 100
"""Clients that are on their way in at the same time when all come for the first time."""
PATIENCE = 45.0


@dataclass
class Town:
    """The clients, their conversations, and who speaks in each."""

    door: int
    devices: list[Device]
    rooms: dict[str, list[Device]] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    async def speak(self) -> None:
        """One message in each room after another, evenly over time, until cancelled."""
        while True:
            for room, (speaker, *_) in self.rooms.items():
                self.numbers[room] = self.numbers.get(room, 0) + 1
                speaker.say(room, f"{speaker.user}-{self.numbers[room]}")
                await asyncio.sleep(SPEAK_SECONDS / len(self.rooms))

    @property
    def said(self) -> int:
        """Messages, so far."""
        return sum(self.numbers.values())

    async def talk_on(self, rounds: int) -> None:
        """Wait until each room has said so much more."""
        enough = self.said + rounds * len(self.rooms)
        await eventually(lambda: self.said >= enough, PATIENCE)

    async def everybody(self, there: Callable[[Device], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            for device in self.devices:
                await eventually(partial(there, device), PATIENCE)


@asynccontextmanager
async def town(server: Server, door: int, seed: int) -> AsyncIterator[Town]:
    """All clients in, and live."""
    dice = random.Random(seed)
    devices = [
        Device(door, f"u{n}", server.token(f"u{n}"), random.Random(dice.random()))
        for n in range(CLIENTS)
    ]
    made = Town(door, devices)
    base = f"http://127.0.0.1:{door}/api/v1/messenger"
    async with httpx.AsyncClient(timeout=30) as http:
        for start in range(0, CLIENTS, ROOM):
            room = devices[start : start + ROOM]
            answer = await http.post(
                f"{base}/conversations",
                json={"kind": "group", "participant_ids": [device.user for device in room[1:]]},
                headers={"Authorization": f"Bearer {server.token(room[0].user)}"},
            )
            made.rooms[answer.raise_for_status().json()["id"]] = room
    try:
        for start in range(0, CLIENTS, AT_THE_DOOR):
            few = devices[start : start + AT_THE_DOOR]
            for device in few:
                device.dial()
            async with asyncio.timeout(PATIENCE):
                for device in few:
                    await device.live.wait()
        yield made
    finally:
        for device in devices:
            device.leave()


async def restart(server: Server, town: Town) -> float:
    """As a supervisor does it; seconds from the signal to the end of the process."""
    begun = time.monotonic()
    code = await asyncio.to_thread(server.terminate, signal.SIGTERM, 12)
    assert code == 0, server.log[-3000:]
    took = time.monotonic() - begun
    await asyncio.to_thread(server.restart)
    await town.everybody(lambda device: device.live.is_set())
    return took


async def check(server: Server, town: Town) -> list[str]:
    """Wait until all that was said was heard; what is wrong then."""
    async with asyncio.timeout(PATIENCE):
        for device in town.devices:
            await device.quiet.wait()
    found = [trouble for device in town.devices for trouble in device.troubles]
    for room, people in town.rooms.items():
        listed = await history_of(server, people[0].user, room)
        async with asyncio.timeout(PATIENCE):
            for device in people:
                await eventually(partial(_has_seen, device, len(listed)), PATIENCE)
        found += problems(
            History(
                attempted={device.user: device.attempted for device in people},
                acked={
                    (device.user, client_id): answers
                    for device in people
                    for client_id, answers in device.acked.items()
                },
                listed=listed,
                views={device.user: device.view for device in people},
            )
        )
    return found


def _has_seen(device: Device, messages: int) -> bool:
    return len(device.view) >= messages


@pytest.fixture
def seed() -> int:
    chosen = random.randrange(2**32)
    print(f"seed {chosen}")
    return chosen


@pytest.mark.slow
@pytest.mark.timeout(170)
async def test_two_nodes_one_after_the_other(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey, seed: int
) -> None:
    _, database = postgres.fresh_database()
    nodes = [
        Server(
            tmp_path / name,
            dev=False,
            database_url=database,
            redis_url=valkey_session.url,
            redis_prefix=f"{tmp_path.name}:",
            rate_limit_enabled="false",
            drain_seconds="4",
        )
        for name in ("node-1", "node-2")
    ]
    with contextlib.ExitStack() as ended:
        for node in nodes:
            ended.callback(node.stop)
            node.start()
        door = ended.enter_context(nginx(tmp_path / "nginx", [node.port for node in nodes]))
        async with town(nodes[0], door, seed) as people:
            speaking = asyncio.create_task(people.speak())
            for node in nodes:
                before = sum(device.connects for device in people.devices)
                assert await restart(node, people) < 10
                back = sum(device.connects for device in people.devices) - before
                assert back >= CLIENTS / 4, "nobody was on the node that was restarted"
                await people.talk_on(4)
            speaking.cancel()
            assert await check(nodes[0], people) == []
            closes = sum((device.closes for device in people.devices), Counter[int]())
            assert set(closes) == {1001}, f"everybody was told to come back: {closes}"
            print(f"{people.said} messages, {sum(closes.values())} sent away and back")
        for node in nodes:
            assert "Traceback" not in node.log, node.log[-5000:]


@pytest.mark.slow
@pytest.mark.timeout(170)
async def test_a_node_alone_comes_back_to_all_its_clients(
    make_server: Callable[..., Server], tmp_path: Path, seed: int
) -> None:
    server = make_server(dev=False, rate_limit_enabled="false", drain_seconds="4")
    with nginx(tmp_path / "nginx", [server.port]) as door:
        async with town(server, door, seed) as people:
            speaking = asyncio.create_task(people.speak())
            assert await restart(server, people) < 10
            await people.talk_on(4)
            speaking.cancel()
            assert await check(server, people) == []
            closes = sum((device.closes for device in people.devices), Counter[int]())
            assert closes == {1001: CLIENTS}
    assert "Traceback" not in server.log
