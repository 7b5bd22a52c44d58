"""How long to wait before connecting again. Pure but for the three functions in `Timing`."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BASE = 0.5
"""Seconds: the upper end of the first wait. Short enough that a blink goes unnoticed."""
CAP = 30.0
"""Seconds: no wait is longer, so that a server that is back is found within half a minute."""
SOON = 0.25
"""Seconds over which clients spread when the server said that it restarts and asked them back."""
STABLE = 5.0
"""Seconds a connection must have held before the next wait starts small again: a server that
accepts and drops at once must not be hammered."""


@dataclass(slots=True, frozen=True)
class Timing:
    """Sleep (seconds), randomness ([0, 1)) and clock (seconds); tests bring their own."""

    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    monotonic: Callable[[], float] = time.monotonic


class Backoff:
    """Exponential backoff with full jitter: each wait is drawn evenly from [0, BASE * 2^n), capped.

    Full jitter spreads a crowd that was cut off together best (AWS Architecture Blog, "Exponential
    Backoff And Jitter", 2015).
    """

    __slots__ = ("_attempt", "_random")

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._attempt = 0

    def after_failure(self) -> float:
        """Seconds to wait now; the next one may be twice as long."""
        ceiling = min(CAP, BASE * 2.0**self._attempt)
        # Beyond the cap the exponent has nothing to add and would only grow towards overflow.
        if ceiling < CAP:
            self._attempt += 1
        return self._random() * ceiling

    def soon(self) -> float:
        """Seconds to wait where the server asked to be called again at once."""
        return self._random() * SOON

    def reset(self) -> None:
        """The connection held: begin small again."""
        self._attempt = 0
