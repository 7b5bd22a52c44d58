"""Presence on this node: who is here, told to those who share a conversation with them.

The state of a user is the best of their devices. A change is told at once, or a second after the
last one was; going offline waits for a grace, so that a reconnect is not told at all. Changes of
many users are gathered for a moment and written once to each who hears of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet

import orjson
import structlog

from madang.clock import Clock, Timer
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame
from madang.hub.hub import Hub, Member
from madang.model.ids import wire_user_id
from madang.model.presence import Status, best
from madang.model.times import iso
from madang.ports.store import Store
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.05
AT_MOST_EVERY_SECONDS = 1.0
LARGEST_AUDIENCE = 500
"""In a conversation with more members on this node presence is asked for, not told: a thousand
people arriving in a room of a thousand would be a million frames."""

_FRAME_TYPE: dict[Status, str] = {
    "online": "user.online",
    "dnd": "user.online",
    "away": "user.away",
    "offline": "user.offline",
}


class Presence:
    """Watches connections come, go and fall silent.

    Every connection of a user's counts as one of their devices, whichever surface it speaks; those
    that speak the messenger's words are told of others. Which of them closes last makes no
    difference. Nobody is here by a connection that reads the whole org: it is not `opened`.

    Args:
        away_after: seconds without a frame other than `ping` after which a device is away.
        grace: seconds after the last connection's end before its user is offline.
    """

    def __init__(
        self, hub: Hub, store: Store, clock: Clock, *, away_after: int, grace: float
    ) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock
        self._away_after = away_after
        self._grace = grace
        self._changed: dict[Member, None] = {}
        self._told_at: dict[Member, float] = {}
        self._here: set[Member] = set()
        self._leaving: dict[Member, Timer] = {}
        self._left_at: dict[Member, int] = {}
        self._timer: Timer | None = None
        self._seen: dict[tuple[str, str], int] = {}
        self._saving = Tasks()

    def opened(self, member: Member) -> None:
        """A connection of the member's was attached, whichever surface it speaks."""
        self._here.add(member)
        leaving = self._leaving.pop(member, None)
        if leaving is not None:
            leaving.cancel()
        self._left_at.pop(member, None)
        self._consider(member)

    def closed(self, member: Member) -> None:
        """A connection of the member's was detached. Saying it twice changes nothing."""
        if member not in self._here:
            return
        if member.connections:
            self._consider(member)
            return
        self._here.discard(member)
        now = self._clock.now()
        self._left_at[member] = now
        self._seen[member.org_id, member.user_id] = now
        self._leaving[member] = self._clock.call_later(self._grace, lambda: self._left(member))

    def _left(self, member: Member) -> None:
        """The grace is over and nobody came back."""
        del self._leaving[member]
        self._consider(member)
        if member not in self._changed:
            self._left_at.pop(member, None)

    def acted(self, connection: Connection, now: int) -> None:
        """The client sent something other than a ping: a device that is away by its silence is
        back, one whose user said so stays away."""
        was_silent = now - connection.active >= self._away_after
        connection.active = now
        if was_silent and connection.status == "away":
            self.set(connection, "online")

    def set(self, connection: Connection, status: Status) -> None:
        """The user says how this device is."""
        connection.status = status
        if connection.member in self._here:
            self._consider(connection.member)

    def tick(self, now: int, connections: Iterable[Connection]) -> None:
        """Once a second: devices that fell silent are away, and `last_seen` is stored."""
        silent_since = now - self._away_after
        for connection in connections:
            if connection.active <= silent_since and connection.status == "online":
                self.set(connection, "away")
        if self._seen and not self._saving:
            self._saving.start(self.save())

    async def close(self) -> None:
        """Write what is not stored yet; nothing is under way after this."""
        await self._saving.close()
        await self.save()

    async def save(self) -> None:
        """Write `last_seen` of those who left since the last time."""
        by_org: dict[str, dict[str, int]] = {}
        for (org_id, user_id), at in self._seen.items():
            by_org.setdefault(org_id, {})[user_id] = at
        for org_id, users in by_org.items():
            try:
                await self._store.save_last_seen(org_id, users)
            except Unavailable:
                continue  # Kept for the next time.
            except Exception:
                log.exception("last_seen could not be stored", org=org_id, users=len(users))
                continue
            for user_id, at in users.items():
                if self._seen.get((org_id, user_id)) == at:
                    del self._seen[org_id, user_id]

    def status(self, org_id: str, user_id: str) -> tuple[Status, int]:
        """What others see of a user now, and on how many devices."""
        member = self._hub.members.get((org_id, user_id))
        if member is None:
            return "offline", 0
        if not member.connections:
            return ("offline", 0) if member not in self._leaving else (member.presence, 0)
        return best(c.status for c in member.connections), len(member.connections)

    def seen_at(self, org_id: str, user_id: str) -> int | None:
        """When the user was last here (microseconds), if that is not stored yet."""
        return self._seen.get((org_id, user_id))

    # Telling.

    def _consider(self, member: Member) -> None:
        status = self._now(member)
        if status == member.presence:
            self._changed.pop(member, None)
            return
        self._changed[member] = None
        if self._timer is None:
            self._timer = self._clock.call_later(GATHER_SECONDS, self._tell)

    def _now(self, member: Member) -> Status:
        if not member.connections and member in self._leaving:
            return member.presence
        return best(connection.status for connection in member.connections)

    def _tell(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        ready = []
        for member in self._changed:
            if now - self._told_at.get(member, -AT_MOST_EVERY_SECONDS) >= AT_MOST_EVERY_SECONDS:
                ready.append(member)
        heard: dict[Member, list[Frame]] = {}
        for member in ready:
            del self._changed[member]
            status = self._now(member)
            if status == member.presence:
                if member not in self._leaving:
                    self._left_at.pop(member, None)
                continue
            member.presence = status
            self._told_at[member] = now
            frame = self._frame(member, status)
            for other in self._audience(member):
                heard.setdefault(other, []).append(frame)
        for other, frames in heard.items():
            for connection in other.connections:
                if connection.dialect == Dialect.MESSENGER:
                    connection.write_frames(frames)
        self._told_at = {
            member: at for member, at in self._told_at.items() if now - at < AT_MOST_EVERY_SECONDS
        }
        if self._changed:
            self._timer = self._clock.call_later(AT_MOST_EVERY_SECONDS / 4, self._tell)

    def _frame(self, member: Member, status: Status) -> Frame:
        now = self._clock.now()
        seen = self._left_at.pop(member, now) if status == "offline" else now
        return Frame(
            orjson.dumps(
                {
                    "type": _FRAME_TYPE[status],
                    "user_id": wire_user_id(member.user_id),
                    "status": status,
                    "timestamp": iso(now),
                    "last_seen": iso(seen),
                }
            )
        )

    def _audience(self, member: Member) -> AbstractSet[Member]:
        heard: set[Member] = set()
        for channel in member.channels:
            if len(channel.members) <= LARGEST_AUDIENCE:
                heard.update(channel.members)
        heard.discard(member)
        return heard
