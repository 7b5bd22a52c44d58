"""Places: who may send a file at the same time, on one node.

Each upload holds a part of its file in memory, so places are few. While one is free nobody is
hurried, however slow; where all are taken, those who are too slow or have the most make room, so
that nobody keeps the others out by sending little or much.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from madang.clock import Clock
from madang.protocol.errors import RateLimited, Unavailable

HALF_SECONDS = 15.0
"""How fast an upload is, is counted over one to two times as much waiting for its bytes."""

User = tuple[str, str]
"""Org and user."""


class Place:
    """One upload's. Only the time spent waiting for its sender counts: when the storage is slow,
    nobody is."""

    __slots__ = ("_before", "_begun", "_bytes", "_seconds", "deadline", "user", "why")

    def __init__(self, user: User) -> None:
        self.user = user
        self.deadline: asyncio.Timeout | None = None
        """Of the wait for its next bytes, while somebody waits."""
        self.why: Unavailable | None = None
        """It has to go, for this reason."""
        self._before = (0, 0.0)
        self._bytes, self._seconds = 0, 0.0
        self._begun: float | None = None

    def waits(self, now: float) -> None:
        """For its sender, from now on."""
        self._begun = now

    def came(self, size: int, now: float) -> None:
        """So many bytes."""
        if self._begun is not None:
            self._seconds += now - self._begun
            self._begun = None
        self._bytes += size
        if self._seconds >= HALF_SECONDS:
            self._before = (self._bytes, self._seconds)
            self._bytes, self._seconds = 0, 0.0

    def speed(self, now: float) -> tuple[float, float]:
        """Bytes a second, and the seconds that this was seen for."""
        seconds = self._before[1] + self._seconds
        if self._begun is not None:
            seconds += now - self._begun
        return (self._before[0] + self._bytes) / max(seconds, 0.001), seconds

    def cut(self, why: Unavailable) -> None:
        """Let its upload end, and keep what it has stored."""
        self.why = why
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time())


class Places:
    """All places of a node: `most`, of which a user has `most_of_one` at once; `least_speed` in
    bytes a second."""

    def __init__(self, clock: Clock, most: int, most_of_one: int, least_speed: int) -> None:
        self._clock = clock
        self._most = most
        self._most_of_one = most_of_one
        self._least_speed = least_speed
        self._room = asyncio.Semaphore(most)
        self._taken: dict[Place, None] = {}

    @asynccontextmanager
    async def taken(self, user: User) -> AsyncIterator[Place]:
        """A place, when whoever makes room for it has gone.

        Raises:
            RateLimited: the user has as many as one may have.
            Unavailable: all are taken, and nobody has to make room.
        """
        held = Counter(place.user for place in self._taken)
        if held[user] >= self._most_of_one:
            raise RateLimited("Too many uploads at once", retry_after=1000)
        if len(self._taken) >= self._most:
            self._make_room(held, held[user])
        place = Place(user)
        self._taken[place] = None
        try:
            # Whoever has been cut stays in its place until its last part is stored.
            async with self._room:
                yield place
        finally:
            self._taken.pop(place, None)

    def _make_room(self, held: Counter[User], own: int) -> None:
        """One that is too slow, else one of those who have the most: where they would still have
        no less than the one who comes. Of these, the slowest."""
        now = self._clock.monotonic()
        speeds = {place: place.speed(now) for place in self._taken}
        leaving = [
            place
            for place, (speed, seconds) in speeds.items()
            if speed < self._least_speed and seconds >= HALF_SECONDS
        ]
        why = "The upload stalled"
        if not leaving:
            most = max(held.values())
            if most > own + 1:
                leaving = [place for place in self._taken if held[place.user] == most]
            why = "Too many uploads at once"
        if not leaving:
            raise Unavailable("Too many uploads at once")
        chosen = min(leaving, key=lambda place: (-held[place.user], speeds[place][0]))
        # The place is counted as the other's from now on.
        del self._taken[chosen]
        chosen.cut(Unavailable(why))
