"""The index rests between its pages: a third of the time, and nearly always on a busy node."""

from __future__ import annotations

from madang.services.search.pacing import BUSY_RATE, BUSY_SECONDS, REST, REST_WHEN_BUSY, Pace
from madang.testing.clock import JumpingClock


class Node:
    """Commits so many writes at once, every so often, while the index takes a page each time."""

    def __init__(self) -> None:
        self.written = 0.0
        self.clock = JumpingClock()
        self.pace = Pace(lambda: self.written, self.clock)

    def works(self, seconds: float, writes: int, every: float) -> set[float]:
        """How it rested, in times of the work."""
        rests = set()
        for _ in range(round(seconds / every)):
            self.clock.jump(every)
            self.written += writes
            rests.add(self.pace.rest(0.25) / 0.25)
        return rests


def test_a_burst_is_not_a_busy_node() -> None:
    # A commit of 1,000 within a page of 20 ms is 50,000 a second, and 5,000 over a second.
    node = Node()
    for _ in range(100):
        assert node.works(0.02, 1000, 0.02) | node.works(0.18, 0, 0.02) == {REST}


def test_it_rests_long_while_much_is_written_and_goes_on_after() -> None:
    node = Node()
    every = 0.1
    node.works(BUSY_SECONDS, round(1.2 * BUSY_RATE * every), every)
    assert node.works(10, round(1.2 * BUSY_RATE * every), every) == {REST_WHEN_BUSY}
    node.works(2 * BUSY_SECONDS, 0, every)
    assert node.works(10, round(0.8 * BUSY_RATE * every), every) == {REST}
