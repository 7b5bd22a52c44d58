"""Rooms that a crowd is asking for: a hall that opens its phones asks for one room thousands of
times in a second, and the store is asked ten times."""

from __future__ import annotations

from madang.clock import Clock
from madang.hub.hub import Hub
from madang.model.live import Room
from madang.model.nouns import Event
from madang.ports.live import LiveStore

CROWD = 100
"""People of a room on this node from which on they are a crowd. Of smaller ones nothing is kept."""
KEEP_SECONDS = 0.1
"""How long an answer serves a crowd. What this node is told ends it at once: a change that was
answered here is seen here."""

_CHANGES = frozenset(("room.changed", "room.erased"))


class CrowdedRooms:
    """Rooms by their code, as `LiveStore.room_by_code`; of a crowd's the numbers of seats and
    questions may be `KEEP_SECONDS` old."""

    def __init__(self, store: LiveStore, hub: Hub, clock: Clock) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._kept: dict[str, tuple[float, Room]] = {}
        self._changes = 0

    async def by_code(self, code: str) -> Room | None:
        now = self._clock.monotonic()
        until, kept = self._kept.get(code, (0.0, None))
        if kept is not None and now < until and self._is_crowd(kept):
            return kept
        changes = self._changes
        room = await self._store.room_by_code(code)
        # What was read while something changed may be what was before.
        if room is not None and changes == self._changes and self._is_crowd(room):
            self._kept = {one: it for one, it in self._kept.items() if now < it[0]}
            self._kept[code] = (now + KEEP_SECONDS, room)
        return room

    def changed(self, event: Event) -> None:
        """Watches the log."""
        if event.type in _CHANGES:
            self._changes += 1
            self._kept.clear()

    def _is_crowd(self, room: Room) -> bool:
        """Of a room that nobody here belongs to, this node is not told what changes."""
        channel = self._hub.channels.get(room.id)
        return channel is not None and len(channel.members) >= CROWD
