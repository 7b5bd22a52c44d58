"""How much a user may do: the limits that several surfaces count against."""

from __future__ import annotations

from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.settings import Settings
from madang.surfaces.agents.assembly import run_limits

SIGNALS_PER_MESSAGE = 10
"""Typing and reads are cheaper than messages: so many times as many of them are allowed."""


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

    @property
    def shared(self) -> tuple[RateLimit, ...]:
        """Those that count on all nodes together."""
        return (self.messages, self.changes, self.signals, self.searches)
