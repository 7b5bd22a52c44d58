"""Seats: taken with a nickname and no account, kept by a token, online and offline.

Whoever has a seat is a user with the seat's id and a participant of the room's conversation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from madang.model.live import Room, Seat, Seated
from madang.model.nouns import Participant
from madang.ports.room_rows import Crowd
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Invalid, NotFound
from madang.services.live import access, nicknames, words
from madang.services.sizes import PERSON, SMALL, json_size


def facts(seat: Seat) -> dict[str, Any]:
    """What every event about a seat says of it: it is gone with the room, when that is erased."""
    return {
        "role": seat.role,
        "nickname": seat.nickname,
        "is_online": seat.online,
        "is_muted": seat.muted,
    }


@dataclass(frozen=True, slots=True)
class TakeSeat:
    """A new seat. `participant_id` is a new UUIDv7, `key` that of a new token, `address` and
    `device` are `tokens.hashed`, or None where there is none to tell people apart by (an address of
    this machine is everybody's).

    Gives `Seated`, with the event `participant.joined` (`data`: `facts`).

    Refused as `Session not found` where the room has ended, or whoever asks is banned from it.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    nickname: str
    key: str
    address: str | None = None
    device: str | None = None

    @property
    def size(self) -> int:
        return SMALL + PERSON + json_size(self.nickname)

    def needs(self, needs: Needs) -> None:
        room = self.conversation_id
        needs.conversations.add(room)
        needs.participants.add((room, self.participant_id))
        needs.live.rooms.add(room)
        nicknames.announce(needs, room, self.nickname)
        if self.address is not None:
            needs.live.addresses.add((room, self.address))
        if self.device is not None:
            needs.live.devices.add((room, self.device))

    def apply(self, tx: Transaction) -> Seated:
        room = access.room(tx, self.conversation_id)
        if room.status == "ended" or self._is_banned(tx):
            raise NotFound("Session not found")
        wanted = _allowed(room, self.nickname)
        self._check_room_left(tx, room)
        nickname, skeleton, number = nicknames.free(tx, room.id, wanted)
        seat = Seat(
            conversation_id=room.id,
            participant_id=self.participant_id,
            role="participant",
            nickname=nickname,
            skeleton=skeleton,
            number=number,
            key=self.key,
            joined_at=tx.now,
            address=self.address,
            device=self.device,
        )
        changed = replace(room, seats=room.seats + 1)
        tx.live.save_room(changed)
        tx.live.add_seat(seat)
        tx.add_participant(Participant(room.id, seat.participant_id, "member", nickname, 0, tx.now))
        event = tx.append(
            room.id,
            "participant.joined",
            seat.participant_id,
            user_id=seat.participant_id,
            data=facts(seat),
        )
        return Seated(changed, seat, event)

    def _is_banned(self, tx: Transaction) -> bool:
        room = self.conversation_id
        if self.device is not None and tx.live.at_device(room, self.device).banned:
            return True
        if self.address is None:
            return False
        # A hall has one address for everybody in it: one ban must not shut the door to them all.
        there = tx.live.at_address(room, self.address)
        return there.banned and not there.seats

    def _check_room_left(self, tx: Transaction, room: Room) -> None:
        settings = room.settings
        if room.seats - 1 >= settings.max_seats:  # whoever opened the room is not one of them
            raise Conflict("Session is full")
        per_address, per_device = settings.seats_per_address, settings.seats_per_device
        if self.address is not None and per_address is not None:
            _check_crowd(
                tx.live.at_address(room.id, self.address), per_address, "from this network"
            )
        if self.device is not None and per_device is not None:
            _check_crowd(tx.live.at_device(room.id, self.device), per_device, "on this device")


def _check_crowd(crowd: Crowd, most: int, where: str) -> None:
    if crowd.seats >= most:
        raise Conflict(f"Too many participants {where}")


def _allowed(room: Room, nickname: str) -> str:
    wanted = nicknames.clean(nickname)
    if words.blocked(wanted, room.settings.blocked_words):
        raise Invalid("Nickname contains a blocked word")
    return wanted


@dataclass(frozen=True, slots=True)
class _OnSeat:
    """A write of one seat about itself."""

    org_id: str
    conversation_id: str
    participant_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))

    def _told(self, tx: Transaction, room: Room, seat: Seat, kind: str) -> Seated:
        tx.live.save_seat(seat)
        event = tx.append(
            room.id,
            kind,
            seat.participant_id,
            user_id=seat.participant_id,
            data=facts(seat),
        )
        return Seated(room, seat, event)


@dataclass(frozen=True, slots=True)
class ComeBack:
    """Whoever shows a token gets the seat it belongs to again, whatever nickname they say now; in a
    room that has ended, too. The room's host token gives the host's seat.

    With `participant_id` and the host's key, a seat that nobody has connected to yet becomes a
    host's (`participant.updated`): that is how a page that joined first and showed the host's token
    then is a host's.

    Gives `Seated`; refused as `Participant not found`.
    """

    org_id: str
    conversation_id: str
    key: str
    participant_id: str | None = None

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.keys.add((self.conversation_id, self.key))
        if self.participant_id is not None:
            needs.live.seats.add((self.conversation_id, self.participant_id))
            needs.participants.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> Seated:
        room = access.room(tx, self.conversation_id)
        if self.participant_id is None:
            if self.key == room.host_key:
                seat = tx.live.seat(room.id, room.host_id)
            else:
                seat = tx.live.seat_by_key(room.id, self.key)
            if seat is None or seat.gone is not None:
                raise NotFound("Participant not found")
            return Seated(room, seat, None)
        room, seat = access.seated(tx, room.id, self.participant_id)
        if self.key != room.host_key or (not seat.is_host and seat.used_at is not None):
            raise NotFound("Participant not found")
        if seat.is_host:
            return Seated(room, seat, None)
        access.check_running(room)
        host = replace(seat, role="host")
        tx.live.save_seat(host)
        place = tx.participant(room.id, host.participant_id)
        assert place is not None, "a seat is a participant's"
        tx.save_participant(replace(place, role="admin"))
        event = tx.append(
            room.id,
            "participant.updated",
            host.participant_id,
            user_id=host.participant_id,
            data=facts(host),
        )
        return Seated(room, host, event)


@dataclass(frozen=True, slots=True)
class Rename(_OnSeat):
    """Another nickname; one that is taken is numbered.

    Gives `Seated`, with `participant.updated`, or without where the nickname is the same.
    """

    nickname: str

    @property
    def size(self) -> int:
        return SMALL + json_size(self.nickname)

    def needs(self, needs: Needs) -> None:
        # (`super` knows no slots of a dataclass made anew.)
        _OnSeat.needs(self, needs)
        needs.participants.add((self.conversation_id, self.participant_id))
        nicknames.announce(needs, self.conversation_id, self.nickname)

    def apply(self, tx: Transaction) -> Seated:
        room, seat = access.speaking(tx, self.conversation_id, self.participant_id)
        wanted = _allowed(room, self.nickname)
        if wanted == seat.nickname:
            return Seated(room, seat, None)
        nickname, skeleton, number = nicknames.free(tx, room.id, wanted, seat)
        named = replace(seat, nickname=nickname, skeleton=skeleton, number=number)
        place = tx.participant(room.id, seat.participant_id)
        assert place is not None, "a seat is a participant's"
        tx.save_participant(replace(place, nickname=nickname))
        return self._told(tx, room, named, "participant.updated")


@dataclass(frozen=True, slots=True)
class SeatOnline(_OnSeat):
    """The first connection of a seat has come, all nodes together. Written as often as it may seem
    so, told once: `participant.online` (`data`: `facts`). In an ended room nothing is."""

    def apply(self, tx: Transaction) -> Seated:
        room, seat = access.seated(tx, self.conversation_id, self.participant_id)
        if seat.online or room.status == "ended":
            return Seated(room, seat, None)
        here = replace(seat, online=True, used_at=seat.used_at or tx.now)
        return self._told(tx, room, here, "participant.online")


@dataclass(frozen=True, slots=True)
class SeatOffline(_OnSeat):
    """The last connection of a seat has ended, all nodes together: `participant.offline`, once."""

    def apply(self, tx: Transaction) -> Seated:
        room, seat = access.seated(tx, self.conversation_id, self.participant_id)
        if not seat.online or room.status == "ended":
            return Seated(room, seat, None)
        return self._told(tx, room, replace(seat, online=False), "participant.offline")
