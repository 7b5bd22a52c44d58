"""How long an agent is waited for: for the next piece of its answer, and for all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Patience:
    """Ends a wait by a timeout when the agent has said nothing for `idle` seconds, or has taken
    `whole` seconds in all; while a person is waited for, neither passes.

    One timer that looks how late it is when it is due, and not one for each piece: a node's agents
    say some 50,000 pieces a second, and to set and to clear a timer took a fifth of its core.

    Args:
        limit: the timeout, open and without a moment of its own.
    """

    __slots__ = (
        "_deadline",
        "_ended",
        "_heard",
        "_idle",
        "_limit",
        "_loop",
        "_paused_at",
        "_pauses",
        "_timer",
    )

    def __init__(self, limit: asyncio.Timeout, idle: float, whole: float) -> None:
        self._limit = limit
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._deadline = self._heard + whole
        self._pauses = 0
        self._paused_at = 0.0
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def heard(self) -> None:
        """The agent has said something."""
        self._heard = self._loop.time()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing of this time is the agent's. Several of these may overlap."""
        if self._pauses == 0:
            self._paused_at = self._loop.time()
            self._stop()
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            if self._pauses == 0 and not self._ended:
                self._heard = self._loop.time()
                self._deadline += self._heard - self._paused_at
                self._wait()

    def end(self) -> None:
        """Nothing is waited for any more."""
        self._ended = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        due = min(self._heard + self._idle, self._deadline)
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now < self._heard + self._idle and now < self._deadline:
            self._wait()
        else:
            self._limit.reschedule(now)
