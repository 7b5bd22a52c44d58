"""Questions: asked, voted on, and taken through their states by the host.

A question's state, votes and visibility stand in its message's metadata (`model.live.Question`).
`open` is where each begins: seen by all, or waiting where questions need approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import get_args

from madang.model.ids import uuid7
from madang.model.live import (
    Asked,
    Question,
    QuestionState,
    Room,
    Seat,
    question_metadata,
    question_of,
    voter_of,
    with_question,
)
from madang.model.nouns import Message
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotFound
from madang.services.live import access, chat, content, counts
from madang.services.live.rooms import is_visible
from madang.services.sizes import SMALL

MAX_QUESTIONS = 10_000
"""Questions in one room; removed ones do not count, and hosts may ask more."""
MAX_ASKED = 100
"""Of one seat: questions that are neither answered nor dismissed, nor removed."""

_VOTED_ON = ("open", "approved", "live")

NEXT: Mapping[QuestionState, frozenset[QuestionState]] = {
    "open": frozenset({"approved", "live", "answered", "dismissed"}),
    "approved": frozenset({"open", "live", "answered", "dismissed"}),
    "live": frozenset({"open", "approved", "answered", "dismissed"}),
    "answered": frozenset({"open", "approved", "live", "dismissed"}),
    # What was dismissed is brought back first: nothing comes onto a big screen by a slip.
    "dismissed": frozenset({"open", "approved"}),
}
"""Where a question may go from each state."""


def _check_number(tx: Transaction, room: Room, seat: Seat) -> None:
    """Raises:
    Conflict: the room or the seat has as many questions as it may. A host may always ask.
    """
    if seat.is_host:
        return
    if room.questions >= MAX_QUESTIONS:
        raise Conflict("Session has too many questions")
    if tx.live.asked(room.id, seat.participant_id) >= MAX_ASKED:
        raise Conflict("You have too many questions waiting")


@dataclass(frozen=True, slots=True)
class Ask:
    """A question. Slow mode counts questions apart from chat. A repeated `client_id` gives the
    first one again.

    Gives `Asked`, with the event `message.new` (`data`: `hidden` where participants do not see it
    yet); the message's type is `question`.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    content: str
    anonymous: bool = False
    client_id: str | None = None

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.content)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))
        needs.live.askers.add((self.conversation_id, self.participant_id))
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.participant_id, self.client_id))

    def apply(self, tx: Transaction) -> Asked:
        room, seat = access.seated(tx, self.conversation_id, self.participant_id)
        if self.client_id is not None:
            first = tx.sent(room.id, seat.participant_id, self.client_id)
            if first is not None:
                return Asked(first, None)
        access.speaking(tx, self.conversation_id, self.participant_id)
        settings = room.settings
        text = content.question(self.content)
        if self.anonymous and not settings.anonymous_allowed:
            raise Forbidden("Anonymous questions are off")
        chat.check_words(room, text, "Question")
        _check_number(tx, room, seat)
        chat.check_slow_mode(room, seat, seat.last_asked_at, tx.now)
        approved = seat.is_host or not settings.questions_need_approval
        question = Question(
            state="open",
            votes=0,
            anonymous=self.anonymous,
            anonymous_to_host=self.anonymous and settings.anonymous_to_host,
            approved=approved,
            visible=is_visible(room, "open", approved),
        )
        message = Message(
            uuid7(tx.now),
            self.org_id,
            room.id,
            tx.next_seq(room.id),
            seat.participant_id,
            "user",
            "question",
            text,
            question_metadata(seat.nickname, question),
            None,
            (),
            self.client_id,
            tx.moment,
        )
        tx.add_message(message)
        tx.live.add_question(message)
        tx.live.save_room(replace(room, questions=room.questions + 1))
        if settings.slow_mode_seconds:
            tx.live.save_seat(replace(seat, last_asked_at=tx.now))
        data = {} if question.visible else {"hidden": True}
        event = tx.append(room.id, "message.new", seat.participant_id, message=message, data=data)
        return Asked(message, event)


def found(
    tx: Transaction, conversation_id: str, message_id: str, seen_by: Seat
) -> tuple[Message, Question]:
    """A question of this room that the seat may see.

    Raises:
        NotFound: it does not exist, is removed, is another room's, or is hidden from the seat.
    """
    message = tx.message(message_id)
    if message is not None and message.conversation_id == conversation_id:
        question = question_of(message)
        if question is not None and (
            question.visible or seen_by.is_host or message.sender_id == seen_by.participant_id
        ):
            return message, question
    raise NotFound("Question not found")


def check_voter(tx: Transaction, message_id: str, seat: Seat, voter: str | None) -> None:
    """Raises:
    Conflict: another seat of the same device or address has voted.
    """
    if voter is not None:
        other = tx.live.voter(message_id, voter)
        if other is not None and other != seat.participant_id:
            raise Conflict("A vote of this device or network is counted already")


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote for a question, or the end of one; as often as it is sent, it counts once.

    Gives `Asked`: the event `question.changed` where it was time to tell the count, else `tell_at`,
    for `counts.CountTeller.at`.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    message_id: str
    up: bool = True

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.messages.add(self.message_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))
        needs.live.votes.add((self.conversation_id, self.message_id, self.participant_id))

    def apply(self, tx: Transaction) -> Asked:
        room, seat = access.writing(tx, self.conversation_id, self.participant_id)
        message, question = found(tx, room.id, self.message_id, seat)
        if question.state not in _VOTED_ON:
            raise Conflict("Question is closed")
        before = tx.live.votes(message.id, seat.participant_id)
        if bool(before) == self.up:
            return Asked(message, None)
        voter = voter_of(room, seat) if self.up else None
        check_voter(tx, message.id, seat, voter)
        choices = frozenset({""}) if self.up else frozenset()
        votes = question.votes + (1 if self.up else -1)
        changed = with_question(message, replace(question, votes=votes))
        tx.live.set_votes(message, seat.participant_id, voter, choices)
        tx.save_message(changed)
        tx.live.save_question(changed)
        event, tell_at = counts.voted(tx, room, changed)
        return Asked(changed, event, tell_at)


@dataclass(frozen=True, slots=True)
class SetState:
    """A host moves a question on (`NEXT`). One is live at a time: the one before is answered, with
    an event of its own that comes first. `open` puts it back where questions begin.

    Gives `Asked`, with the event `question.changed`; without where the state is the same.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    message_id: str
    state: QuestionState

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.messages.add(self.message_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> Asked:
        room, host = access.hosting(tx, self.conversation_id, self.participant_id)
        if self.state not in get_args(QuestionState):
            raise Invalid("state may not have this value")
        message, question = found(tx, room.id, self.message_id, host)
        if question.state == self.state:
            return Asked(message, None)
        if self.state not in NEXT[question.state]:
            raise Conflict(f"A question that is {question.state} cannot become {self.state}")
        live_id = room.live_question_id
        if self.state == "live":
            if live_id is not None and live_id != message.id:
                room = _no_longer_live(tx, room, live_id)
            live_id = message.id
        elif live_id == message.id:
            live_id = None
        changed = _moved(tx, room, message, question, self.state)
        room = replace(counts.told(room, message.id), live_question_id=live_id)
        tx.live.save_room(room)
        event = counts.tell(tx, room, changed, was_visible=question.visible)
        return Asked(changed, event)


def _moved(
    tx: Transaction, room: Room, message: Message, question: Question, state: QuestionState
) -> Message:
    approved = question.approved
    if state == "open":
        asked_by = tx.live.seat(room.id, message.sender_id)
        by_host = asked_by is not None and asked_by.is_host
        approved = by_host or not room.settings.questions_need_approval
    elif state != "dismissed":
        approved = True
    visible = is_visible(room, state, approved)
    changed = with_question(
        message, replace(question, state=state, approved=approved, visible=visible)
    )
    tx.save_message(changed)
    tx.live.save_question(changed)
    return changed


def _no_longer_live(tx: Transaction, room: Room, message_id: str) -> Room:
    message = tx.message(message_id)
    question = None if message is None else question_of(message)
    if message is None or question is None:
        return room
    changed = _moved(tx, room, message, question, "answered")
    room = replace(counts.told(room, message_id), live_question_id=None)
    counts.tell(tx, room, changed, was_visible=question.visible)
    return room
