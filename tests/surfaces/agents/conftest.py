"""Sessions on the servers of both gateways and on two nodes, and with agents of a program's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cluster import TwoNodes
from tests.conftest import Server
from tests.postgres import Postgres
from tests.surfaces.agents.sessions import Chat
from tests.surfaces.conftest import SHORT
from tests.surfaces.people import House, unharmed
from tests.valkey import Valkey

HERE = Path(__file__).parent
MakeTwo = Callable[..., Awaitable[tuple[Chat, Chat]]]


@pytest.fixture
def chat(house: House) -> Chat:
    """The agents' surface of an org of its own."""
    return Chat(house)


@pytest.fixture
def open_chat(open_house: Callable[..., House]) -> Callable[..., Chat]:
    """The same on a server with settings of the test's own."""

    def make(**settings: str) -> Chat:
        return Chat(open_house(**settings))

    return make


class Program(Server):
    """A server whose program offers agents of its own."""

    def command(self) -> list[str]:
        module = "tests.surfaces.agents.program"
        command = [sys.executable, "-m", module, "--port", str(self.port)]
        return [*command, "--dev"] if self.dev else command

    def start(self) -> None:
        self.settings = {"run_text_limit": "50000", **self.settings}
        root = str(HERE.parent.parent.parent)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", root, prepend=os.pathsep)
            super().start()


class TwoPrograms(TwoNodes):
    """Two of them on one PostgreSQL and one Valkey."""

    def start(self) -> None:
        self.nodes = [Program(node.directory, dev=node.dev, **node.settings) for node in self.nodes]
        self._turn = iter(_turns(self.nodes))
        super().start()


def _turns(nodes: list[Server]) -> Iterable[Server]:
    while True:
        yield from nodes


@pytest.fixture(scope="session", params=["one", "two-nodes"])
def program_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterable[Server]:
    """A server with agents of its own, on SQLite; and two nodes of it."""
    home = tmp_path_factory.mktemp(f"program-{request.param}")
    running: Server
    if request.param == "two-nodes":
        postgres = request.getfixturevalue("postgres")
        valkey = request.getfixturevalue("valkey_session")
        running = TwoPrograms(home, postgres, valkey, **SHORT)
    else:
        running = Program(home, **SHORT)
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def program(program_server: Server) -> AsyncIterator[Chat]:
    """The agents' surface of an org of its own on it."""
    logged = program_server.log_from_here()
    async with House(program_server) as house:
        yield Chat(house)
    log = logged()
    assert log.count("Traceback") == log.count("an agent failed"), log


@pytest.fixture
def make_program(tmp_path: Path) -> Iterable[Callable[..., Program]]:
    """Servers of it with settings of the test's own."""
    made: list[Program] = []

    def make(**settings: str) -> Program:
        running = Program(tmp_path / f"program-{len(made)}", **{**SHORT, **settings})
        made.append(running)
        running.start()
        return running

    yield make
    for running in made:
        running.stop()
        unharmed(running)


@pytest.fixture
async def make_two(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> AsyncIterator[MakeTwo]:
    """One org on two nodes, with settings of the test's own: as each of them sees it."""
    async with AsyncExitStack() as stack:

        async def make(**settings: str) -> tuple[Chat, Chat]:
            cluster = TwoPrograms(tmp_path / "two", postgres, valkey_session, **SHORT | settings)
            cluster.start()
            stack.callback(cluster.stop)
            one, other = cluster.nodes
            here = await stack.enter_async_context(House(one))
            there = await stack.enter_async_context(House(other, here.org))
            return Chat(here), Chat(there)

        yield make


@pytest.fixture
async def one(make_program: Callable[..., Program]) -> AsyncIterator[Chat]:
    """One node: a connection that comes back comes to the same."""
    async with House(make_program()) as house:
        yield Chat(house)


@pytest.fixture(scope="session")
def agui_client() -> Path:
    """A directory with the published client of AG-UI in it, from npm."""
    home = Path(sys.prefix) / "npm" / "agui"
    if not (home / "node_modules" / "@ag-ui" / "client" / "package.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "package.json", home)
        npm = shutil.which("npm")
        assert npm is not None, "Node.js and npm are needed to test AG-UI with its own client"
        subprocess.run(
            [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"],
            cwd=home,
            check=True,
        )
    return home
