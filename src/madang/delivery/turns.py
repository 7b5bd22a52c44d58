"""What is told of somebody's coming and going must not end with an earlier turn than the last: two
nodes' words may come in any order."""

from __future__ import annotations

from collections.abc import Hashable

from madang.clock import Clock

SWAPPED_SECONDS = 60
"""How long it is remembered which turn was told last, for those before it that the bus brings
later."""


class LastTurns:
    """Which turn was told last, of each `key`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[Hashable, tuple[int, float]] = {}

    def is_old(self, key: Hashable, at: int) -> bool:
        """Whether a turn after this one (see `ports.bus.Turn`) was told. If not it is told now."""
        if not at:
            return False
        now = self._clock.monotonic()
        self._forget(now - SWAPPED_SECONDS)
        told, _ = self._last.pop(key, (0, 0.0))
        self._last[key] = max(told, at), now
        return at < told

    def _forget(self, before: float) -> None:
        while self._last:
            key, (_, told_at) = next(iter(self._last.items()))
            if told_at > before:
                break
            del self._last[key]
