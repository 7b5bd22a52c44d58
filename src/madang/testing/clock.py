"""A clock that jumps: an hour of timers in a test that takes a millisecond."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

START = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z in microseconds: where a clock begins unless told otherwise."""


class _Jump:
    """A timer of a `JumpingClock`."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class JumpingClock:
    """A `madang.clock.Clock` whose time moves only in `jump`.

    Timers fire inside `jump`, in the order of their times and, where those are the same, of their
    making; each sees the time it was set for. A timer that is set while another fires is fired by
    the same jump if its time falls within it.

        clock = JumpingClock()
        app = Madang(settings, clock=clock)
        ...
        clock.jump(300)   # five minutes of silence

    Args:
        now: the time of day it starts at, in microseconds since the epoch.
    """

    def __init__(self, now: int = START) -> None:
        self._start = now
        self._passed = 0
        self._timers: list[tuple[int, int, _Jump]] = []
        self._order = count()

    def now(self) -> int:
        """Microseconds since the epoch."""
        return self._start + self._passed

    def monotonic(self) -> float:
        """Seconds; starts above zero, as a machine's does."""
        return 1000.0 + self._passed / 1_000_000

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Jump:
        """Call `callback` in the jump that reaches `seconds` from now."""
        timer = _Jump(callback)
        at = self._passed + max(0, round(seconds * 1_000_000))
        heapq.heappush(self._timers, (at, next(self._order), timer))
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait for a jump. The sleeper runs on when the test awaits something after it."""
        awake = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: None if awake.done() else awake.set_result(None))
        await awake

    def jump(self, seconds: float) -> None:
        """Let `seconds` pass, and fire what is due in them."""
        until = self._passed + round(seconds * 1_000_000)
        while self._timers and self._timers[0][0] <= until:
            at, _, timer = heapq.heappop(self._timers)
            self._passed = max(self._passed, at)
            if not timer.cancelled:
                timer.callback()
        self._passed = until

    @property
    def waiting(self) -> int:
        """Timers that have neither fired nor been cancelled."""
        return sum(not timer.cancelled for _, _, timer in self._timers)
