"""Runs one command of the load process and reads the server's CPU over exactly that window."""

import json
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from bench.load.driver import Load, LoadFailed
from bench.paths import REPOSITORY
from bench.processes import TICKS_PER_SECOND, Usage, cores, end, spawn
from bench.records import Record


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: the load's own result, and the server's CPU seconds and share of its core."""

    result: dict[str, Any]
    server_cpu_seconds: float
    server_share: float
    others_share: float

    @property
    def seconds(self) -> float:
        return float(self.result["seconds"])

    @property
    def load_share(self) -> float:
        return float(self.result.get("load_cpu", 0.0))


class Used(Protocol):
    """One server or several."""

    def usage(self) -> Usage: ...


def measured(load: Load, server: Used, command: str, *, limit_seconds: float) -> Measured:
    """Send `command`; the window begins when the load process says so, or at once."""
    begun: list[tuple[Usage, float]] = [(server.usage(), _core_seconds())]
    result = load.command(
        command,
        limit_seconds=limit_seconds,
        on_start=lambda: begun.append((server.usage(), _core_seconds())),
    )
    last = server.usage()
    busy = _core_seconds()
    first, busy_before = begun[-1]
    used = last.cpu_seconds - first.cpu_seconds
    window = max(last.at - first.at, 1e-9)
    others = max(0.0, (busy - busy_before - used) / window)
    return Measured(result, used, used / window, others)


def watched(server: Used, command: Sequence[str], *, limit_seconds: float) -> Measured:
    """Run a program on the load's core, which prints its result as JSON; with what the server used
    from its start to its end. Raises `LoadFailed`."""
    before, busy_before = server.usage(), _core_seconds()
    process = spawn(command, core=cores()[1], stdout=subprocess.PIPE, cwd=REPOSITORY)
    try:
        out, _ = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{command[2]} did not end in time") from None
    finally:
        end(process)
    if process.returncode:
        raise LoadFailed(f"{command[2]} failed")
    last, busy = server.usage(), _core_seconds()
    used, window = last.cpu_seconds - before.cpu_seconds, max(last.at - before.at, 1e-9)
    others = max(0.0, (busy - busy_before - used) / window)
    return Measured(json.loads(out), used, used / window, others)


def _core_seconds() -> float:
    """Seconds that the server's core has been busy, with whatever, since it was started."""
    label = f"cpu{cores()[0]} "
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(label):
            user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, line.split()[1:])
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
    return 0.0


def with_shares(record: Record, runs: Sequence[Measured]) -> Record:
    """The record with the median CPU shares of the runs it comes from."""
    return replace(
        record,
        server_cpu=statistics.median(run.server_share for run in runs),
        load_cpu=statistics.median(run.load_share for run in runs),
        others=statistics.median(run.others_share for run in runs),
    )
