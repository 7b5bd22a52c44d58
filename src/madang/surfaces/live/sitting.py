"""Which connection sits where."""

from __future__ import annotations

from madang.clock import Clock
from madang.hub.connection import Connection
from madang.model.live import Room, Seat
from madang.services.limits import RateLimit
from madang.surfaces.live.rooms import Rooms


class Sitting:
    """What a connection is to its room."""

    __slots__ = ("muted", "nickname", "participant_id", "role", "room_id")

    def __init__(self, room: Room, seat: Seat) -> None:
        self.room_id = room.id
        self.participant_id = seat.participant_id
        self.nickname = seat.nickname
        self.role = seat.role
        self.muted = seat.muted


class Sittings:
    """All of this node, by connection: `here`."""

    def __init__(self, rooms: Rooms, clock: Clock) -> None:
        self.here: dict[Connection, Sitting] = {}
        self._rooms = rooms
        self._clock = clock

    def room(self, connection: Connection) -> Room:
        return self._rooms.here[self.here[connection].room_id]

    def at(self, connection: Connection, limit: RateLimit) -> tuple[str, str, str]:
        """(org_id, room's id, participant_id), after counting one against a limit of the seat."""
        member = connection.member
        assert member is not None, "frames are handled once a connection is attached"
        limit.check(member.org_id, member.user_id, self._clock.monotonic())
        return member.org_id, self.here[connection].room_id, member.user_id
