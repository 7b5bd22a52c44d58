"""Starts servers on a core of their own, reads what they use, and always ends them.

Every process gets its own process group and is killed with it, also when the bench is interrupted.
"""

import atexit
import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
LOAD_CORE = 1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_running: dict[int, "subprocess.Popen[bytes]"] = {}


class StartFailed(Exception):
    """A server did not accept connections in time; the text ends with what it printed."""


def cores() -> tuple[int, int]:
    """The core of the server and that of the load: two where there are two."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[SERVER_CORE], allowed[min(LOAD_CORE, len(allowed) - 1)]


def spawn(
    command: Sequence[str],
    *,
    core: int,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
) -> "subprocess.Popen[bytes]":
    """Start `command` pinned to `core`, with as many open files as the machine allows; as another
    `user` where one is named."""

    def prepare() -> None:
        os.sched_setaffinity(0, {core})
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    process = subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=dict(os.environ, **(env or {})),
        cwd=cwd,
        user=user,
        start_new_session=True,
        preexec_fn=prepare,
    )
    _running[process.pid] = process
    return process


def end(process: "subprocess.Popen[bytes]", *, patience_seconds: float = 5.0) -> None:
    """Ask the process group to stop, then make it."""
    _running.pop(process.pid, None)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
            break
    # Children that outlived their parent.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def end_all() -> None:
    """End everything that was started and is still running."""
    for process in list(_running.values()):
        end(process, patience_seconds=1.0)


atexit.register(end_all)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used: CPU in seconds since it began, resident memory in bytes."""

    cpu_seconds: float
    resident_bytes: int
    at: float


@dataclass(slots=True)
class Server:
    """A running server under test."""

    process: "subprocess.Popen[bytes]"
    port: int
    work: Path

    def usage(self) -> Usage:
        """Sum over the server's process and its children."""
        cpu = resident = 0
        for pid in _tree(self.process.pid):
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
                cpu += int(fields[11]) + int(fields[12])
                resident += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return Usage(cpu / TICKS_PER_SECOND, resident * _PAGE_BYTES, time.monotonic())


def _tree(root: int) -> list[int]:
    found = [root]
    for pid in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            found.extend(int(child) for child in children.split())
    return found


@contextlib.contextmanager
def serving(
    command: Sequence[str],
    *,
    port: int,
    work: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    core: int | None = None,
    user: str | None = None,
    patience_seconds: float = 30.0,
) -> Iterator[Server]:
    """Run a server until the block ends; it is entered when the port accepts connections. It has
    the servers' core, or another `core`."""
    log = work / "server.log"
    with log.open("wb") as out:
        process = spawn(
            command,
            core=cores()[0] if core is None else core,
            stdout=out.fileno(),
            stderr=out.fileno(),
            env=env,
            cwd=cwd,
            user=user,
        )
        try:
            _wait_for(process, port, log, patience_seconds)
            yield Server(process, port, work)
        finally:
            end(process)


def _wait_for(
    process: "subprocess.Popen[bytes]", port: int, log: Path, patience_seconds: float
) -> None:
    limit = time.monotonic() + patience_seconds
    while time.monotonic() < limit:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-2000:]
    raise StartFailed(f"did not listen on port {port}: {tail}")
