"""How much of a node's time the index may take: what is said goes before what is found."""

from __future__ import annotations

from collections.abc import Callable

from madang.clock import Clock

BUSY_RATE, BUSY_SECONDS = 6_000.0, 1.0
"""Writes a second from which on a node has other things to do: the index waits, and catches up
when there is less. Counted over seconds, because commits come in bursts."""
REST, REST_WHEN_BUSY = 0.5, 9.0
"""How long it rests after a page, in times of the work."""

Written = Callable[[], float]
"""How many writes this node has committed since it began."""


class Pace:
    """Rests between pages; longer where the node has written much for some seconds."""

    def __init__(self, written: Written, clock: Clock) -> None:
        self._written = written
        self._clock = clock
        self._counted = (clock.monotonic(), written())
        self._is_busy = False

    def rest(self, worked: float) -> float:
        """Seconds to rest after so many of work."""
        now, (since, before) = self._clock.monotonic(), self._counted
        if now - since >= BUSY_SECONDS:
            written = self._written()
            self._is_busy = written - before > BUSY_RATE * (now - since)
            self._counted = (now, written)
        return worked * (REST_WHEN_BUSY if self._is_busy else REST)
