"""The case that must never fail: a client drops, the backend publishes, the server is killed in
between, the client returns with its cursor, and gets exactly what it missed, once, in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Server
from tests.surfaces.events.conftest import EVENTS, Desk, numbers
from tests.surfaces.people import SERVERS

ORG = "default"


@pytest.fixture(params=list(SERVERS))
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Server]:
    """A server of this test's own, of each gateway, to be killed."""
    running = SERVERS[request.param](tmp_path / "madang", rate_limit_enabled="false")
    running.start()
    yield running
    running.stop()


async def killed(server: Server) -> None:
    server.kill()
    await asyncio.to_thread(server.restart)


async def test_dropped_killed_and_back(mortal: Server) -> None:
    async with AsyncExitStack() as stack:
        desk = Desk(mortal, ORG, stack)
        async with desk.phone(client_id="tablet", cursor=0) as phone:
            await phone.until("replay_complete")
            await desk.publish("seen")
            cursor = (await phone.until("counted"))["cursor"]
            await phone.send("ack", cursor=cursor, id=1)
            await phone.until("acked")
        await desk.publish("missed 1")
        await desk.publish("ben's", user="ben")
        await killed(mortal)
        await desk.publish("missed 2")
        await killed(mortal)

        missed = ["missed 1", "missed 2"]
        for query in ({"cursor": cursor}, {"client_id": "tablet"}):
            async with desk.phone(**query) as phone:
                done = await phone.until("replay_complete")
                assert numbers(phone.events()) == missed
                assert (done["events"], done["recovered"]) == (2, True)
        async with desk.phone() as phone:
            await phone.send("cursor", cursor=cursor)
            await phone.until("replay_complete")
            assert numbers(phone.events()) == missed
        async with desk.stream(last_event_id=cursor) as events:
            assert numbers([(await anext(events))[1] for _ in range(2)]) == missed
            assert (await anext(events))[1]["type"] == "replay_complete"
        page = (await desk.rest("ann").get(EVENTS, params={"cursor": cursor})).json()
        assert numbers(page["events"]) == missed


async def test_killed_while_it_listens_and_publishes(server: Server) -> None:
    """A listener that comes back by the cursor of its last event, whatever moment the server dies
    at, and a publisher that repeats what was not answered under the same key."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    total = 400
    heard: list[Any] = []
    cursor = 0
    up = asyncio.Event()
    up.set()
    published = 0
    kill_at = sorted(chance.sample(range(20, total - 20), 4))
    kill_now = asyncio.Event()

    async def listen(desk: Desk) -> None:
        nonlocal cursor
        while len(heard) < total:
            await up.wait()
            try:
                async with desk.phone(cursor=cursor) as phone:
                    while len(heard) < total:
                        frame = await phone.take()
                        if frame["type"] == "counted":
                            heard.append(frame["payload"]["n"])
                            cursor = frame["cursor"]
                        else:
                            assert frame["recovered"], frame
            except (OSError, ConnectionClosed):
                await asyncio.sleep(0)

    async def publish(desk: Desk) -> None:
        nonlocal published
        while published < total:
            await up.wait()
            try:
                await desk.publish(published, idempotency_key=f"key {published}")
            except httpx.TransportError:
                await asyncio.sleep(0)
                continue
            published += 1
            if kill_at and published >= kill_at[0]:
                kill_at.pop(0)
                kill_now.set()

    async def kill() -> None:
        for _ in range(len(kill_at)):
            await kill_now.wait()
            kill_now.clear()
            up.clear()
            await killed(server)
            up.set()

    async with AsyncExitStack() as stack:
        desk = Desk(server, ORG, stack)
        async with asyncio.timeout(50), asyncio.TaskGroup() as group:
            group.create_task(kill())
            group.create_task(listen(desk))
            group.create_task(publish(desk))
    assert heard == list(range(total))


async def test_what_was_published_while_nobody_was_ever_there(mortal: Server) -> None:
    async with AsyncExitStack() as stack:
        desk = Desk(mortal, ORG, stack)
        for number in range(3):
            await desk.publish(number, user="never-seen")
        await killed(mortal)
        async with desk.phone("never-seen", cursor=0) as phone:
            await phone.until("replay_complete")
            assert numbers(phone.events()) == [0, 1, 2]
