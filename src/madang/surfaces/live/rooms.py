"""The rooms that somebody is connected to on this node, as the log has told them so far."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from madang.model.live import Room, RoomSettings
from madang.model.nouns import Event

_SETTINGS = frozenset(field.name for field in fields(RoomSettings))


class Rooms:
    """Rooms by their conversation, each for as long as it has connections here."""

    def __init__(self) -> None:
        self.here: dict[str, Room] = {}
        self._connections: dict[str, int] = {}

    def enter(self, room: Room) -> None:
        """A connection of this room. What the log has told meanwhile is newer than what was read:
        a room that is known stays as it is."""
        self.here.setdefault(room.id, room)
        self._connections[room.id] = self._connections.get(room.id, 0) + 1

    def leave(self, room_id: str) -> bool:
        """One connection less; whether it was the last."""
        left = self._connections.get(room_id, 0) - 1
        if left > 0:
            self._connections[room_id] = left
            return False
        self._connections.pop(room_id, None)
        self.here.pop(room_id, None)
        return True

    def changed(self, event: Event) -> None:
        """Keep up with `room.changed`."""
        room = self.here.get(event.conversation_id)
        if room is None or event.type != "room.changed":
            return
        told: dict[str, Any] = {
            name: event.data[name] for name in ("title", "status", "language") if name in event.data
        }
        given = event.data.get("settings", {})
        known = {name: given[name] for name in _SETTINGS if name in given}
        settings = replace(room.settings, **known)
        self.here[room.id] = replace(room, **told, settings=settings)
