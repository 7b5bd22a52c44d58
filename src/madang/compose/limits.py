"""How much a user may do: the limits that several surfaces count against, and how the nodes add up
what was used of each."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from madang.clock import Clock
from madang.ports.bus import Bus
from madang.protocol.errors import Unavailable
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.settings import Settings
from madang.surfaces.agents.assembly import run_limits

log = structlog.get_logger(__name__)

SIGNALS_PER_MESSAGE = 10
"""Typing and reads are cheaper than messages: so many times as many of them are allowed."""
SHARE_SECONDS = 0.25
"""How often nodes add up what their users have used of a limit."""


class Limits:
    """The limits of a node's users, over all its surfaces."""

    def __init__(self, settings: Settings) -> None:
        enabled = settings.rate_limit_enabled
        per_minute = settings.rate_limit_messages_per_minute if enabled else None
        signals = None if per_minute is None else per_minute * SIGNALS_PER_MESSAGE
        searches = settings.rate_limit_searches_per_minute if enabled else None
        self.messages = RateLimit(per_minute)
        # What is opened and arranged has as many of its own: nobody who talks is kept from it.
        self.changes = RateLimit(per_minute, "changes", "Too many changes")
        self.signals = RateLimit(signals, "signals")
        self.searches = RateLimit(searches, "searches", "Too many searches")
        self.runs: RunLimits = run_limits(settings)

    async def share(self, others: Iterable[RateLimit], bus: Bus, clock: Clock) -> None:
        """Add up with the other nodes, again and again; `others` are those of single surfaces."""
        shared = (self.messages, self.changes, self.signals, self.searches, *others)
        while True:
            await clock.sleep(SHARE_SECONDS)
            for limit in shared:
                try:
                    await limit.share(bus if bus.shared else None, clock)
                except Unavailable:
                    pass  # Each node goes by its own count.
                except Exception:
                    log.exception("a limit could not be shared")
