"""Several nodes on a PostgreSQL and a Valkey of their own, each wire with its own proxy."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

from tests.faults.proxy import Proxy
from tests.faults.resp import Chances, Mangle
from tests.faults.world import Node, World
from tests.postgres import Postgres
from tests.valkey import Valkey

AGAIN_SECONDS = 20.0
"""How long PostgreSQL's orphans may hold its memory after a kill -9 of their parent."""


class Cluster(World):
    """`nodes` nodes. PostgreSQL and Valkey are this world's alone: they are killed and frozen."""

    def __init__(
        self,
        directory: Path,
        chance: random.Random,
        *,
        nodes: int = 2,
        bug: str | None = None,
        **settings: str,
    ) -> None:
        super().__init__(directory, chance, bug=bug, **settings)
        self.count = nodes
        database = directory / "postgres"
        database.mkdir(parents=True)
        for place in (directory, *directory.parents):
            # PostgreSQL runs as nobody where root runs the tests, and has to get there.
            if place.stat().st_uid == os.geteuid() and place != Path("/"):
                place.chmod(place.stat().st_mode | 0o011)
        self.postgres = Postgres(database)
        self.valkey = Valkey()
        self.chances = Chances()

    async def open(self) -> None:
        self.stack.callback(self.postgres.stop)
        await asyncio.to_thread(self.postgres.start)
        self.stack.callback(self.valkey.stop)
        await asyncio.to_thread(self.valkey.start)
        _, url = await asyncio.to_thread(self.postgres.fresh_database)
        for name in "abcdefg"[: self.count]:
            database = await self._wire(f"database-{name}", self.postgres.port)
            bus = await self._wire(f"bus-{name}", self.valkey.port)
            bus.back.transform = lambda: Mangle(self.chances, self.chance)
            node = await self.add_node(
                name,
                **self.settings,
                database_url=url.replace(f":{self.postgres.port}/", f":{database.port}/"),
                redis_url=f"redis://127.0.0.1:{bus.port}/0",
            )
            node.database, node.bus = database, bus

    async def _wire(self, name: str, port: int) -> Proxy:
        return await self.stack.enter_async_context(Proxy(name, ("127.0.0.1", port), self.chance))

    def calm(self) -> None:
        self.chances.none()

    async def heal(self) -> None:
        self.valkey.resume()
        if self.valkey.process is None or self.valkey.process.poll() is not None:
            await asyncio.to_thread(self.valkey.start)
        self.freeze_postgres(signal.SIGCONT)
        await super().heal()

    # All of PostgreSQL.

    def freeze_postgres(self, number: int) -> None:
        """SIGSTOP or SIGCONT to all of it."""
        for pid in self.postgres.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass  # It has ended meanwhile.

    async def restart_postgres(self) -> None:
        """Start what was killed; its orphans end when they notice."""
        until = time.monotonic() + AGAIN_SECONDS
        while True:
            await asyncio.to_thread(self.postgres.stop)
            try:
                await asyncio.to_thread(self.postgres.start)
            except RuntimeError:
                if time.monotonic() > until:
                    raise
            else:
                return


def bare(node: Node) -> tuple[Proxy, Proxy]:
    """A node's wires to the database and to the bus."""
    assert node.database is not None and node.bus is not None
    return node.database, node.bus
