"""Chat in a room: one after another, as fast as the host lets it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from sys import getsizeof

from madang.model.ids import uuid7
from madang.model.live import Asked, Room, Seat
from madang.model.nouns import Message
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Forbidden, Invalid, RateLimited
from madang.services.live import access, content, words
from madang.services.sizes import SMALL

_MICROSECONDS = 1_000_000


def check_slow_mode(room: Room, seat: Seat, last_at: int, now: int) -> None:
    """Raises:
    RateLimited: the seat's last one is not long enough ago. Hosts need not wait.
    """
    slow = room.settings.slow_mode_seconds * _MICROSECONDS
    left = min(slow, last_at + slow - now)
    if slow and left > 0 and not seat.is_host:
        seconds = -(-left // _MICROSECONDS)
        raise RateLimited(f"Slow mode: wait {seconds} s", retry_after=-(-left // 1000))


def check_words(room: Room, text: str, what: str) -> None:
    """Raises:
    Invalid: the text has one of the room's blocked words in it.
    """
    if words.blocked(text, room.settings.blocked_words):
        raise Invalid(f"{what} contains a blocked word")


@dataclass(frozen=True, slots=True)
class SendChat:
    """A message to all. A repeated `client_id` gives the first message again.

    Gives `Asked`, with the event `message.new`; the message's type is `text`, and its metadata have
    the sender's nickname.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    content: str
    client_id: str | None = None

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.content)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.participant_id, self.client_id))

    def apply(self, tx: Transaction) -> Asked:
        room, seat = access.seated(tx, self.conversation_id, self.participant_id)
        if self.client_id is not None:
            first = tx.sent(room.id, seat.participant_id, self.client_id)
            if first is not None:
                return Asked(first, None)
        access.speaking(tx, self.conversation_id, self.participant_id)
        if not room.settings.chat_enabled and not seat.is_host:
            raise Forbidden("Chat is off")
        text = content.chat(self.content)
        check_words(room, text, "Message")
        check_slow_mode(room, seat, seat.last_chat_at, tx.now)
        message = Message(
            uuid7(tx.now),
            self.org_id,
            room.id,
            tx.next_seq(room.id),
            seat.participant_id,
            "user",
            "text",
            text,
            {"nickname": seat.nickname},
            None,
            (),
            self.client_id,
            tx.moment,
        )
        tx.add_message(message)
        if room.settings.slow_mode_seconds:
            tx.live.save_seat(replace(seat, last_chat_at=tx.now))
        event = tx.append(room.id, "message.new", seat.participant_id, message=message)
        return Asked(message, event)
