"""Search over a million messages: how long an answer takes, and how fast they are indexed. Without
HTTP, one after another; PostgreSQL is on the load's core."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load.driver import LoadFailed
from bench.paths import REPOSITORY
from bench.peers.base import Peer
from bench.peers.madang import Madang
from bench.processes import cores, end, spawn
from bench.records import Record
from bench.scenarios.base import Effort
from bench.services import postgres
from madang.store import migrate

LIMIT_SECONDS = 1800
"""Filling and indexing a million messages takes minutes."""


@contextmanager
def _sqlite() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-search-") as work:
        url = f"sqlite:///{Path(work) / 'madang.sqlite3'}"
        migrate.upgrade(url)
        yield url


@contextmanager
def _postgresql() -> Iterator[str]:
    with postgres() as database:
        yield database.app_url


@dataclass(frozen=True, slots=True)
class Searching:
    """Fourteen kinds of questions in turns: rare, usual and frequent words, phrases, filters."""

    name: str = "search"
    title: str = "Search"
    messages: int = 1_000_000
    searches: int = 3000
    seed: int = 7

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        count, searches = effort.sized(self.messages), effort.sized(self.searches)
        for database, opened in (("SQLite", _sqlite), ("PostgreSQL", _postgresql)):
            with opened() as url:
                found = _measure(url, count, searches, self.seed)
            case = f"{count:,} messages on {database}"
            for key in ("p50", "p99"):
                yield Record(
                    self.name, case, peer.name, f"search {key}", "ms", (found[key],), False
                )
            yield Record(self.name, case, peer.name, "indexed", "/s", (found["indexed"],))


def _measure(url: str, count: int, searches: int, seed: int) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.search", url, str(count), str(searches), str(seed)]
    process = spawn(command, core=cores()[0], stdout=subprocess.PIPE, cwd=REPOSITORY)
    try:
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        end(process)
    if process.returncode:
        raise LoadFailed("bench.search failed")
    found: dict[str, float] = json.loads(out)
    return found
