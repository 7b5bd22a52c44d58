"""What a node counts of its own work: plain numbers that the parts keep as they go and that are
read when somebody asks. May import nothing of Madang, and knows no format: `madang.exposition`
writes them down for Prometheus.

On the way of a message nothing is looked up, locked or labelled. A counter is an `int` on the
object that does the work; a histogram is told once for a batch, with how many it was about.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0
)  # fmt: skip
"""Bounds for times: half a millisecond is a commit on a good disk, a minute a partition."""
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Bounds for writes in a commit; the last is the most there can be."""


class Histogram:
    """How often a value was at most each of the `bounds`, and the sum of all values.

    `counts` has one entry for each bound and one for what is above the last; each value is counted
    in one of them.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        """How many values it was told."""
        return sum(self.counts)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` over."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_since(self, begun: Sequence[float], now: float) -> None:
        """Count what has passed from each of the moments `begun`, the earliest first, until `now`.

        A bound is looked for in the whole batch: a few comparisons each, however many they are.
        """
        left = len(begun)
        self.sum += left * now - sum(begun)
        for place, bound in enumerate(self.bounds):
            # From here on no more than `bound` has passed: those are in this bucket or below.
            first = bisect_left(begun, now - bound, 0, left)
            self.counts[place] += left - first
            left = first
            if not left:
                return
        self.counts[-1] += left

    def cumulative(self) -> Iterator[tuple[str, int]]:
        """Each bound as text, and how many values were at most that: the last is `+Inf`."""
        told = 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            told += count
            yield f"{float(bound)!r}", told
        yield "+Inf", told + self.counts[-1]


class Tally:
    """Counts by a name or a number, such as answers by status."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, name: str, times: int = 1) -> None:
        """Count `name` once more, or `times`."""
        self.counts[name] = self.counts.get(name, 0) + times
