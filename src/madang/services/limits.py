"""Rate limits: how many messages and signals a user may send a minute.

The generic cell rate algorithm (ITU-T I.371, as virtual scheduling): one number a user, no list of
times. A user may send a whole minute's worth at once and then one at the even pace.

Whoever answers a request can tell how much is left of what it was counted towards: `asked_of`.

Every node decides by itself and at once; what was used is added up on the bus (`sharing`), so that
someone on many nodes has one allowance, but for what passes in between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from madang.clock import Clock
from madang.ports.bus import Bus
from madang.protocol.errors import RateLimited, Unavailable

_SECONDS = 60.0
_SWEEP_AT = 10_000
"""Users kept before those whose allowance is full again are looked for and dropped; then twice as
many as were left, so that a look costs each check little however many there are."""
LOOKS = 3
"""Times that the sum is asked for after the last use: what was used elsewhere at the same time may
be added a little later."""


HURRY_SECONDS = _SECONDS / 2
"""Whose allowance is full again later than this has used half of it: what they use is told at
once. So is the first for a minute, of somebody who may come from another node."""

Key = tuple[str, str]
"""Whose allowance: org and user."""


class Asked(NamedTuple):
    """A limit, and whose allowance of it."""

    limit: RateLimit
    org_id: str
    user_id: str


_asked: ContextVar[dict[str, Asked] | None] = ContextVar("limits_asked", default=None)


@contextmanager
def asked_of() -> Iterator[dict[str, Asked]]:
    """The limits, by name, that are asked in this context and those that begin in it."""
    asked: dict[str, Asked] = {}
    token = _asked.set(asked)
    try:
        yield asked
    finally:
        _asked.reset(token)


@dataclass(slots=True)
class RateLimit:
    """At most `per_minute` a key and minute; None allows everything.

    `name` tells this limit's keys from those of others on the bus. `hurry` is called where
    `share_hurried` has something to share.
    """

    per_minute: int | None
    name: str = "messages"
    text: str = "Too many messages"
    _due: dict[Key, float] = field(default_factory=dict)
    _sweep_at: int = _SWEEP_AT
    _spent: dict[Key, int] = field(default_factory=dict)
    _looks: dict[Key, int] = field(default_factory=dict)
    """How often it is still looked what others have used, by who used something here."""
    hurry: Callable[[], None] | None = None
    _hurried: set[Key] = field(default_factory=set)

    def check(self, org_id: str, user_id: str, now: float) -> None:
        """Count one, at `now` (monotonic seconds).

        Raises:
            RateLimited: with the milliseconds after which the next one passes.
        """
        if self.per_minute is None:
            return
        self.note(org_id, user_id)
        interval = _SECONDS / self.per_minute
        key = (org_id, user_id)
        had = self._due.get(key, 0.0)
        due = max(had, now) + interval
        early = due - now - _SECONDS
        if early > 1e-9:
            raise RateLimited(self.text, retry_after=max(1, round(early * 1000)))
        if len(self._due) >= self._sweep_at:
            self._due = {kept: at for kept, at in self._due.items() if at > now}
            self._sweep_at = max(_SWEEP_AT, 2 * len(self._due))
        self._due[key] = due
        self._spent[key] = self._spent.get(key, 0) + 1
        if self.hurry is not None and (had < now - _SECONDS or due - now > HURRY_SECONDS):
            self._hurried.add(key)
            self.hurry()

    def give_back(self, org_id: str, user_id: str) -> None:
        """Uncount one that was counted and came to nothing. What other nodes were told of it
        meanwhile, which is little, is taken off the sum; they themselves wait it out."""
        if self.per_minute is None:
            return
        key = (org_id, user_id)
        if key in self._due:
            self._due[key] -= _SECONDS / self.per_minute
        self._spent[key] = self._spent.get(key, 0) - 1
        if not self._spent[key]:
            del self._spent[key]

    @contextmanager
    def counting(self, org_id: str, user_id: str, now: float) -> Iterator[None]:
        """Count one (`check`), unless what is done then is refused for another limit.

        Raises:
            RateLimited: as `check`.
        """
        self.check(org_id, user_id, now)
        try:
            yield
        except RateLimited:
            self.give_back(org_id, user_id)
            raise

    def look(self, org_id: str, user_id: str, now: float) -> None:
        """As `check`, without counting: raises where one more would not pass."""
        if self.per_minute is None:
            return
        self.note(org_id, user_id)
        interval = _SECONDS / self.per_minute
        early = self._due.get((org_id, user_id), 0.0) + interval - now - _SECONDS
        if early > 1e-9:
            raise RateLimited(self.text, retry_after=max(1, round(early * 1000)))

    def note(self, org_id: str, user_id: str) -> None:
        """Say that this allowance is meant, where somebody wants to know (`asked_of`)."""
        asked = _asked.get()
        if asked is not None:
            asked[self.name] = Asked(self, org_id, user_id)

    def left(self, org_id: str, user_id: str, now: float) -> tuple[int, int] | None:
        """How many more would pass now, and the seconds until it is a whole minute's worth again;
        None where everything passes."""
        if self.per_minute is None:
            return None
        ahead = max(0.0, self._due.get((org_id, user_id), 0.0) - now)
        passing = int((_SECONDS - ahead) * self.per_minute / _SECONDS + 1e-6)
        return max(0, passing), ceil(ahead)

    async def share(self, bus: Bus | None, clock: Clock) -> None:
        """Add what was used here to what was used everywhere, and go by the sum. Without a bus
        (None) what was used is only forgotten.

        Raises:
            Unavailable: the bus is away; this node goes by its own count.
        """
        spent, self._spent = self._spent, {}
        self._hurried.clear()
        if bus is None or self.per_minute is None:
            return
        self._will_look(spent)
        if not self._looks:
            return
        await self._add_up(bus, clock, spent, tuple(self._looks))
        self._looks = {key: looks - 1 for key, looks in self._looks.items() if looks > 1}

    async def share_hurried(self, bus: Bus, clock: Clock) -> None:
        """The same of those only who have used something beyond half of their allowance, or for the
        first time for a minute: they may have used it elsewhere.

        Raises:
            Unavailable: as `share`.
        """
        hurried, self._hurried = self._hurried, set()
        spent = {key: self._spent.pop(key) for key in hurried if key in self._spent}
        if spent:
            self._will_look(spent)
            await self._add_up(bus, clock, spent, tuple(spent))

    def _will_look(self, spent: Collection[Key]) -> None:
        for key in spent:
            self._looks[key] = LOOKS

    async def _add_up(
        self, bus: Bus, clock: Clock, spent: Mapping[Key, int], keys: Collection[Key]
    ) -> None:
        assert self.per_minute is not None
        # A colon in an org would make two users' keys one.
        names = {
            f"{self.name}:{org_id.replace('%', '%25').replace(':', '%3A')}:{user_id}": key
            for key in keys
            for org_id, user_id in (key,)
        }
        amounts = {name: spent.get(key, 0) for name, key in names.items()}
        try:
            ahead = await bus.spend(amounts, _SECONDS / self.per_minute)
        except Unavailable:
            if len(self._spent) + len(spent) <= _SWEEP_AT:  # It is added when the bus is back.
                for key, uses in spent.items():
                    self._spent[key] = self._spent.get(key, 0) + uses
            raise
        now = clock.monotonic()
        for name, seconds in ahead.items():
            key = names[name]
            self._due[key] = max(self._due.get(key, 0.0), now + seconds)
