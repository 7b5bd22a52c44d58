"""What a host does about what is said, and about who says it. Hosts are not moderated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from madang.model.live import Asked, Room, Seat, Seated, question_of
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Forbidden, NotFound
from madang.services import files
from madang.services.live import access, counts, seats
from madang.services.sizes import SMALL

MOST_AT_ONCE = 100
"""Seats of one device that are dealt with at once: a room may let a device have any number."""


@dataclass(frozen=True, slots=True)
class RemoveMessage:
    """Remove a chat message, question or poll, with its votes and files. Its place in the log
    stays.

    Gives `Asked`, with the event `message.deleted` (`data`: `hidden` where participants did not see
    it); without where it is removed already.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    message_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.messages.add(self.message_id)
        needs.message_files.add(self.message_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> Asked:
        room, host = access.hosting(tx, self.conversation_id, self.participant_id)
        message = tx.message(self.message_id)
        if message is None or message.conversation_id != room.id:
            raise NotFound("Message not found")
        if message.deleted_at is not None:
            return Asked(message, None)
        question = question_of(message)
        data = {"hidden": True} if question is not None and not question.visible else {}
        files.delete_attached(tx, message)
        removed = replace(message, content="", metadata={}, attachments=(), deleted_at=tx.now)
        tx.save_message(removed)
        if message.message_type in ("question", "poll"):
            tx.live.save_question(removed)
            room = counts.told(room, message.id)
            if room.live_question_id == message.id:
                room = replace(room, live_question_id=None)
            if question is not None:
                room = replace(room, questions=room.questions - 1)
            tx.live.save_room(room)
        event = tx.append(
            room.id, "message.deleted", host.participant_id, message=removed, data=data
        )
        return Asked(removed, event)


@dataclass(frozen=True, slots=True)
class _OnOther:
    """A host's write about somebody else's seat."""

    org_id: str
    conversation_id: str
    participant_id: str
    other: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        room = self.conversation_id
        needs.conversations.add(room)
        needs.participants.add((room, self.other))
        needs.live.rooms.add(room)
        needs.live.seats.update({(room, self.participant_id), (room, self.other)})
        needs.live.together.add((room, self.other))

    def _found(self, tx: Transaction) -> tuple[Room, Seat]:
        access.hosting(tx, self.conversation_id, self.participant_id)
        room, seat = access.seated(tx, self.conversation_id, self.other)
        if seat.is_host:
            raise Forbidden("A host cannot be moderated")
        return room, seat


@dataclass(frozen=True, slots=True)
class Mute(_OnOther):
    """No chat, no questions and no new nickname from now on; votes still count. The same holds for
    the other seats of that device, each with its own event, and for those it takes later.

    Gives `Seated`, with the event `participant.muted` (`data`: `seats.facts`); without where it is
    so already.
    """

    muted: ClassVar[bool] = True

    def apply(self, tx: Transaction) -> Seated:
        room, seat = self._found(tx)
        others = _others_at_device(tx, seat)
        changed, *_ = [self._set(tx, room, each) for each in (seat, *others)]
        return changed

    def _set(self, tx: Transaction, room: Room, seat: Seat) -> Seated:
        if seat.muted == self.muted:
            return Seated(room, seat, None)
        changed = replace(seat, muted=self.muted)
        tx.live.save_seat(changed)
        event = tx.append(
            room.id,
            "participant.muted" if self.muted else "participant.unmuted",
            self.participant_id,
            user_id=seat.participant_id,
            data=seats.facts(changed),
        )
        return Seated(room, changed, event)


@dataclass(frozen=True, slots=True)
class Unmute(Mute):
    """The end of it: `participant.unmuted`."""

    muted: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Kick(_OnOther):
    """Out of the room, with the seat: `participant.left` is the last that it is told. Whoever had
    it may take a new one. What they said and voted stays.

    Gives `Seated`, with `participant.left` (`data`: by, reason, and `seats.facts`).
    """

    gone: ClassVar[Literal["kicked", "banned"]] = "kicked"

    def apply(self, tx: Transaction) -> Seated:
        room, seat = self._found(tx)
        return self._send_away(tx, room, seat)

    def _send_away(self, tx: Transaction, room: Room, seat: Seat) -> Seated:
        sent_away = replace(seat, gone=self.gone, online=False)
        changed = replace(room, seats=room.seats - 1)
        tx.live.save_seat(sent_away)
        tx.live.save_room(changed)
        tx.remove_participant(room.id, seat.participant_id)
        event = tx.append(
            room.id,
            "participant.left",
            self.participant_id,
            user_id=seat.participant_id,
            data={"by": self.participant_id, "reason": self.gone, **seats.facts(sent_away)},
        )
        return Seated(changed, sent_away, event)


@dataclass(frozen=True, slots=True)
class Ban(Kick):
    """As `Kick`, and nobody takes a seat again from that device, or that address. The other seats
    of that device are sent away with it, each with its own `participant.left`."""

    gone: ClassVar[Literal["kicked", "banned"]] = "banned"

    def apply(self, tx: Transaction) -> Seated:
        room, seat = self._found(tx)
        others = _others_at_device(tx, seat)
        banned = self._send_away(tx, room, seat)
        for other in others:
            room = self._send_away(tx, banned.room, other).room
            banned = replace(banned, room=room)
        return banned


def _others_at_device(tx: Transaction, seat: Seat) -> list[Seat]:
    """The participants' other seats that say they are of the same device."""
    if seat.device is None:
        return []
    found = tx.live.seats_at_device(seat.conversation_id, seat.device)
    others = [each for each in found if each.participant_id != seat.participant_id]
    return [each for each in others if not each.is_host][:MOST_AT_ONCE]
