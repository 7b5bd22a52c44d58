"""What every scenario answers."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.peers.base import Peer
from bench.processes import Server
from bench.records import Record


@dataclass(frozen=True, slots=True)
class Effort:
    """How long and how often: `seconds` of a window after `warm` seconds, `repeats` times.
    `scale` shrinks the numbers of connections for a quick look."""

    seconds: float = 5.0
    warm: float = 1.5
    repeats: int = 3
    scale: float = 1.0

    def sized(self, count: int) -> int:
        return max(10, int(count * self.scale))


class Scenario(Protocol):
    """Something to measure on one peer after another."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""

    @property
    def title(self) -> str:
        """What it is called in the report."""

    def takes(self, peer: Peer) -> bool:
        """Whether the peer can do this work at all."""

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        """Measure; records come as they are ready. Raises `LoadFailed` or `StartFailed`."""


@contextmanager
def served(peer: Peer) -> Iterator[Server]:
    """A fresh server of the peer in a directory that is gone afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as work,
        peer.running(Path(work)) as server,
    ):
        yield server
