"""What tests of all parts share: a real server, as a process of its own, on a real SQLite file."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import pytest

from madang.services.auth import mint
from madang.services.keys import secret_key
from tests.ports import free_port

pytest_plugins = ["tests.postgres", "tests.valkey", "tests.files.seaweed"]

# How long an example takes is the machine's affair, and what else it does.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

SECRET = "a secret for tests, long enough to be one"
START_SECONDS = 30.0


class Server:
    """A `madang serve` process that can be killed and started again on the same files and port."""

    def __init__(self, directory: Path, *, dev: bool = True, **settings: str) -> None:
        self.directory = directory
        self.dev = dev
        self.settings = settings
        self.port: int = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def ws(self) -> str:
        """The address of the messenger's WebSocket."""
        return f"ws://127.0.0.1:{self.port}/api/v1/messenger/ws"

    @property
    def database(self) -> Path:
        return self.directory / "madang.sqlite3"

    @property
    def log(self) -> str:
        return (self.directory / "server.log").read_text("utf-8", "replace")

    @property
    def logs(self) -> list[str]:
        """Of each of its nodes."""
        return [self.log]

    def log_from_here(self) -> Callable[[], str]:
        """What is logged from now on, whenever that is asked."""
        before = [len(log) for log in self.logs]
        return lambda: "".join(log[at:] for log, at in zip(self.logs, before, strict=True))

    def token(
        self,
        user_id: str,
        *,
        roles: Iterable[str] = (),
        org: str = "default",
        zone: str | None = None,
        name: str | None = None,
        ttl: int = 3600,
    ) -> str:
        """A token as the server takes it."""
        return mint(
            secret_key(SECRET),
            user_id,
            now=time.time_ns() // 1000,
            ttl=ttl,
            org=org,
            zone=zone,
            name=name,
            roles=roles,
        )

    def command(self) -> list[str]:
        """What is started."""
        command = [sys.executable, "-m", "madang", "serve", "--port", str(self.port)]
        return [*command, "--dev"] if self.dev else command

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "MADANG_JWT_SECRET_KEY": SECRET,
            "MADANG_DATA_DIR": str(self.directory),
            **{f"MADANG_{name.upper()}": value for name, value in self.settings.items()},
        }
        with (self.directory / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                self.command(),
                env=environment,
                cwd=self.directory,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200:
                    return
            except httpx.TransportError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server did not start:\n{self.log}") from None
                select_a_moment()

    def kill(self) -> None:
        """As if the plug were pulled."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, number: int = signal.SIGTERM, timeout: float = 15) -> int:
        """Ask it to stop; its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def restart(self) -> None:
        """Start again after `kill` or `terminate`."""
        self.start()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def rest(self, user_id: str, **claims: Any) -> httpx.AsyncClient:
        """A REST client of this user; close it, or use it as a context manager."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.token(user_id, **claims)}"},
            timeout=30,
        )


def select_a_moment() -> None:
    """Between two looks whether another process is there: nothing tells when it will be."""
    with socket.socket() as nothing:
        nothing.settimeout(0.05)
        try:
            nothing.bind(("127.0.0.1", 0))
            nothing.listen(1)
            nothing.accept()
        except TimeoutError:
            pass


@pytest.fixture
def server(tmp_path: Path) -> Iterable[Server]:
    """A development server of its own for one test."""
    running = Server(tmp_path / "madang", rate_limit_enabled="false")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def make_server(tmp_path: Path) -> Iterable[Callable[..., Server]]:
    """Servers with settings of the test's own: `make_server(dev=False, ws_compression="true")`."""
    made: list[Server] = []

    def make(**settings: Any) -> Server:
        running = Server(tmp_path / f"madang-{len(made)}", **settings)
        made.append(running)
        running.start()
        return running

    yield make
    for running in made:
        running.stop()


POLL_SECONDS = 0.001
"""Between two looks: a loop that spins keeps the interpreter's lock from the threads that read the
database, which then take 5 ms a row, and what is waited for takes many seconds."""


async def eventually(check: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until `check` is true."""
    async with asyncio.timeout(timeout):
        while not check():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(POLL_SECONDS)
