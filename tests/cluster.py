"""Two nodes that look like one server: every address asked for is the next node's."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Server
from tests.postgres import Postgres
from tests.valkey import Valkey


class TwoNodes(Server):
    """Two `madang serve` on one PostgreSQL and one Valkey. A client that asks for an address gets
    the next node's, so that people who talk to each other are on different ones."""

    def __init__(
        self,
        directory: Path,
        postgres: Postgres,
        valkey: Valkey,
        *,
        dev: bool = True,
        **settings: Any,
    ) -> None:
        self._postgres = postgres
        self.owner_url, app_url = postgres.fresh_database()
        shared = {
            "database_url": app_url,
            "redis_url": valkey.url,
            "redis_prefix": f"{directory.name}:",
            "database_pool_size": "4",
            **settings,
        }
        self.nodes = [Server(directory / f"node-{n}", dev=dev, **shared) for n in range(2)]
        self._turn: Iterable[Server] = cycle(self.nodes)
        self.directory = directory
        self.dev = dev
        self.settings = shared
        self.process = None

    def _next(self) -> Server:
        return next(iter(self._turn))

    @property
    def port(self) -> int:  # type: ignore[override]
        return self._next().port

    @property
    def url(self) -> str:  # type: ignore[override]
        return self._next().url

    @property
    def logs(self) -> list[str]:
        return [node.log for node in self.nodes]

    @property
    def log(self) -> str:
        return "".join(self.logs)

    def start(self) -> None:
        for node in self.nodes:
            node.start()

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        self._postgres.drop(self.owner_url)

    def rest(self, user_id: str, **claims: Any) -> httpx.AsyncClient:
        return self._next().rest(user_id, **claims)
