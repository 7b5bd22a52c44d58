"""Whether a node is ready, and which part of it is not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx

from madang.bus.memory import MemoryBus, MemoryEnd
from madang.clock import SystemClock
from madang.compose import Madang
from madang.settings import Settings
from madang.store.sqlite import READERS, SqliteStore
from tests.conftest import SECRET, Server


class Cut(MemoryEnd):
    """A real bus whose line can be cut."""

    away = False


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Madang, Cut, httpx.AsyncClient]]:
    settings = Settings(data_dir=directory, jwt_secret_key=SECRET)
    bus = Cut(MemoryBus(SystemClock()))
    app = Madang(settings, bus=bus)
    transport = httpx.ASGITransport(app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        yield app, bus, http


async def ready(http: httpx.AsyncClient) -> tuple[int, Any]:
    answer = await http.get("/readyz")
    assert ("retry-after" in answer.headers) is (answer.status_code == 503)
    return answer.status_code, answer.json()


FINE = {"draining": "no", "store": "ok", "bus": "ok"}


async def test_a_node_that_can_serve_is_ready(server: Server) -> None:
    async with server.rest("ann") as http:
        assert await ready(http) == (200, {"status": "ok", **FINE})
        assert (await http.get("/healthz")).json() == {"status": "ok"}


async def test_without_its_bus_it_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as (_, bus, http):
        bus.away = True
        away = {"status": "unavailable", "failing": ["bus"], **FINE, "bus": "away"}
        assert await ready(http) == (503, away)
        assert (await http.get("/healthz")).status_code == 200
        assert "madang_bus_up" in (await http.get("/metrics")).text
        bus.away = False
        assert await ready(http) == (200, {"status": "ok", **FINE})


async def test_with_a_store_that_does_not_answer_it_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as (app, _, http):
        # Every thread that reads is kept busy, as by a disk that hangs.
        hold = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang() -> None:
            asyncio.run_coroutine_threadsafe(hold.wait(), loop).result()

        assert isinstance(app.store, SqliteStore)
        busy = [loop.run_in_executor(app.store._reading, hang) for _ in range(READERS)]
        slow = {"status": "unavailable", "failing": ["store"], **FINE, "store": "slow"}
        assert await ready(http) == (503, slow)
        hold.set()
        await asyncio.gather(*busy)
        assert (await ready(http))[0] == 200


async def test_with_a_database_that_is_gone_it_is_not(tmp_path: Path) -> None:
    async with running(tmp_path / "here") as (_, _, http):
        with closing(sqlite3.connect(tmp_path / "here" / "madang.sqlite3")) as other:
            other.execute("ALTER TABLE epochs RENAME TO elsewhere")
        away = {"status": "unavailable", "failing": ["store"], **FINE, "store": "away"}
        assert await ready(http) == (503, away)
