"""What every peer must answer, and the parts that most of them share."""

import json
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.plan import Conn, Plan
from bench.processes import Server, free_port, serving
from bench.tokens import SECRET, mint

# The frame of the comparison: every peer delivers payloads of this many bytes.
FRAME_BYTES = 150


class Unavailable(Exception):
    """The peer cannot be had on this machine; the text says why."""


def padded(head: str, tail: str, size: int = FRAME_BYTES) -> str:
    """Fill between `head` and `tail` up to `size` bytes."""
    return head + "x" * (size - len(head) - len(tail)) + tail


TYPING = '{"type":"typing.start"'
TEXT = padded(
    TYPING + ',"user_id":"', '","conversation_id":"0190d0c0-7e57-7000-8000-000000000000"}'
)


class Peer(ABC):
    """A server under test."""

    name: str
    title: str
    what: str
    # Which scenarios it takes part in beyond the fan-out ones.
    durable: bool = False
    checks_tokens: bool = True
    # The scenarios it is for, by name; None: all that take it.
    only: tuple[str, ...] | None = None

    def install(self) -> None:
        """Make the peer ready to start, once. Raises `Unavailable`."""
        return

    @abstractmethod
    def version(self) -> str:
        """The version that is measured."""

    @abstractmethod
    def command(self, port: int, work: Path) -> list[str]:
        """How to start it on `port`; `work` is a directory of this run alone."""

    def environment(self, port: int, work: Path) -> dict[str, str]:
        """Settings for the started process."""
        return {"BENCH_PORT": str(port), "BENCH_SECRET": SECRET}

    @contextmanager
    def running(self, work: Path) -> Iterator[Server]:
        """The server, until the block ends."""
        port = free_port()
        command = self.command(port, work)
        env = self.environment(port, work)
        with serving(command, port=port, work=work, env=env, cwd=work) as server:
            yield server

    def room(self, server: Server, receivers: int, senders: int) -> Plan:
        """One room: everyone in `receivers` gets what each of `senders` says."""
        conns = [Conn("R", self.path(f"user-{i}", sends=False)) for i in range(receivers)]
        conns += [Conn("S", self.path(f"sender-{i}", sends=True)) for i in range(senders)]
        return self.dialect().with_conns(conns)

    def idle(self, server: Server, connections: int) -> Plan:
        """Authenticated connections, each of another user, that say nothing."""
        conns = [Conn("R", self.path(f"user-{i}", sends=False)) for i in range(connections)]
        return self.dialect().with_conns(conns)

    def rooms(self, server: Server, rooms: int, size: int) -> Plan:
        """Rooms whose members all send and all get what is confirmed (durable peers only)."""
        raise NotImplementedError

    def path(self, user: str, *, sends: bool) -> str:
        """Where a user connects; senders need not be receivers."""
        return f"{'/send' if sends else '/room'}?token={mint(user)}"

    def dialect(self) -> Plan:
        """The frames of the peer: by default what goes in comes out, as it is."""
        return Plan(classes=(TYPING,), count=0, message=TEXT)


def socketio_dialect() -> Plan:
    """Engine.IO 4 and Socket.IO 5 over WebSocket: open, connect, event, ping."""
    event = padded('42["m","', '"]')
    return Plan(
        classes=("42[", "2", "0{", "40"),
        count=0,
        message=event,
        ready=3,
        replies=((1, "3"), (2, "40")),
    )


def socketio_path(user: str, *, sends: bool) -> str:
    role = "send" if sends else "room"
    return f"/socket.io/?EIO=4&transport=websocket&role={role}&token={mint(user)}"


def program(name: str) -> str:
    """The path of a program of this machine, or `Unavailable`."""
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def run_install(command: list[str], *, cwd: Path, env: dict[str, str] | None = None) -> None:
    """Run one step of an installation; its last words become the reason of `Unavailable`."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        reason = next((w for w in reversed(words) if w.strip()), "no output")
        raise Unavailable(f"{Path(command[0]).name} {command[1]} failed: {reason.strip()[:160]}")


def package_version(package: Path) -> str:
    """The version in a `package.json`."""
    return str(json.loads((package / "package.json").read_text())["version"])
