"""Drives one load process: a command in, a JSON result out."""

import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.load.build import counter_command
from bench.load.plan import Plan
from bench.paths import REPOSITORY
from bench.processes import cores, end, spawn

# Connections that are being opened at the same time: enough to keep a server busy, less than the
# shortest listen backlog among the peers (Node's is 511).
CONNECT_WINDOW = 256


class LoadFailed(Exception):
    """The load process ended or did not answer in time."""


class Load:
    """One load process on its core, with the connections of one plan."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._partial = b""

    def command(
        self, line: str, *, limit_seconds: float, on_start: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Send `line` and return its result; `on_start` is called when measuring begins."""
        self.begin(line)
        limit = time.monotonic() + limit_seconds
        while True:
            answer: dict[str, Any] = json.loads(self._line(limit, line))
            if answer["event"] == "result":
                return answer
            if answer["event"] == "error":
                raise LoadFailed(f"{line}: {answer['message']}")
            if answer["event"] == "start" and on_start:
                on_start()

    def begin(self, line: str) -> None:
        """Send `line` and do not wait for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def connect(
        self, *, window: int = CONNECT_WINDOW, limit_seconds: float = 120.0
    ) -> dict[str, Any]:
        """Open every connection of the plan, `window` at a time; all must become ready."""
        result = self.command(f"connect {window} {limit_seconds}", limit_seconds=limit_seconds + 10)
        if result["ready"] != result["wanted"]:
            raise LoadFailed(f"only {result['ready']} of {result['wanted']} connected: {result}")
        return result

    def _line(self, limit: float, command: str) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._partial:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise LoadFailed(f"no answer to {command!r} in time")
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise LoadFailed(f"the load process ended during {command!r}")
            self._partial += chunk
        line, _, self._partial = self._partial.partition(b"\n")
        return line


@contextmanager
def loading(plan: Plan, *, port: int) -> Iterator[Load]:
    """A load process for `plan`, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as work:
        path = plan.write(Path(work) / "plan", port=port)
        process = spawn(
            [*counter_command(), str(path)],
            core=cores()[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        try:
            yield Load(process)
        finally:
            end(process)
