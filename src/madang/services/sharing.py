"""Limits that all nodes share: what was used here is added up on the bus a few times a second, and
at once what is used by those who have used half of what they may, or come from another node. So a
burst of one user on several nodes passes each of them for as long as the bus takes to answer, and
not for a whole turn."""

from __future__ import annotations

import asyncio

from madang import logs
from madang.clock import Clock
from madang.ports.bus import Bus
from madang.protocol.errors import Unavailable
from madang.services.limits import RateLimit

log = logs.get_logger(__name__)

SHARE_SECONDS = 0.25
"""How often nodes add up what their users have used of a limit."""
GATHER_SECONDS = 0.01
"""Those who are in a hurry go together: a hundred times a second at most."""


class Sharing:
    """This node's part in it. One that is alone only forgets what was used."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._limits: list[RateLimit] = []
        self._hurried = asyncio.Event()

    def add(self, *limits: RateLimit) -> None:
        """Share these too."""
        self._limits.extend(limits)
        for limit in limits:
            limit.hurry = self._hurry

    def _hurry(self) -> None:
        if self._bus.shared:
            self._hurried.set()

    async def run(self) -> None:
        """Add up what everybody has used."""
        while True:
            await self._clock.sleep(SHARE_SECONDS)
            bus = self._bus if self._bus.shared else None
            for limit in self._limits:
                try:
                    await limit.share(bus, self._clock)
                except Unavailable:
                    pass  # Each node goes by its own count.
                except Exception:
                    log.exception("a limit could not be shared")

    async def hurry(self) -> None:
        """Add up what those use who have used half of what they may, or are new here."""
        while True:
            await self._hurried.wait()
            await self._clock.sleep(GATHER_SECONDS)
            self._hurried.clear()
            for limit in self._limits:
                try:
                    await limit.share_hurried(self._bus, self._clock)
                except Unavailable:
                    pass  # With the others, when the bus is back.
                except Exception:
                    log.exception("a limit could not be shared")
