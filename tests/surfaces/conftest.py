"""Servers of both gateways, shared by many tests: each test has an org of its own on them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import TwoNodes
from tests.conftest import Server
from tests.surfaces.people import SERVERS, House, house_on, unharmed

SHORT: dict[str, Any] = {
    "offline_grace": "0.5",
    "typing_timeout": "0.6",
    "rate_limit_enabled": "false",
    "live_guesses_per_minute": "100000",
}
"""Waits that a person would not notice, so that tests need not wait."""


@pytest.fixture(scope="session", params=[*SERVERS, "two-nodes"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterable[Server]:
    """A running server; every test that uses it runs once for each gateway, and on two nodes of
    which everybody is on another."""
    home = tmp_path_factory.mktemp(request.param)
    running: Server
    if request.param == "two-nodes":
        postgres = request.getfixturevalue("postgres")
        valkey = request.getfixturevalue("valkey_session")
        running = TwoNodes(home, postgres, valkey, **SHORT)
    else:
        running = SERVERS[request.param](home, dev=True, **SHORT)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def house(gateway: Server) -> AsyncIterator[House]:
    """An org of the test's own on a shared server."""
    async with house_on(gateway) as house:
        yield house


@pytest.fixture(params=list(SERVERS))
def open_house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Callable[..., House]]:
    """Houses on servers with settings of the test's own, for each gateway:
    `open_house(away_after="1")`."""
    made: list[Server] = []

    def make(*, dev: bool = True, **settings: Any) -> House:
        server = SERVERS[request.param](
            tmp_path / f"madang-{len(made)}", dev=dev, **{**SHORT, **settings}
        )
        made.append(server)
        server.start()
        return House(server)

    yield make
    for server in made:
        server.stop()
        unharmed(server)
