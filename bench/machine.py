"""What the figures were measured on."""

import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.peers.base import Peer, Unavailable
from bench.services import versions


def describe(peers: Iterable[Peer]) -> dict[str, str]:
    """The machine, the day, and the version of everything that was measured."""
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": _cpu_model(),
        "cores": f"{os.cpu_count()} (the server on one, the load on another)",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
    }
    with suppress(Unavailable):
        found |= versions()
    return found | {peer.title: peer.version() for peer in peers if peer.name != "ceiling"}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()
