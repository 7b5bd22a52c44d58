"""A room: opened, changed, ended, erased."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

from madang.model.ids import uuid7
from madang.model.live import (
    MAX_SEATS,
    Language,
    Room,
    RoomChanged,
    RoomSettings,
    RoomStatus,
    Seat,
    Seated,
    VotePer,
    nickname_of,
    poll_metadata,
    poll_of,
    question_metadata,
    question_of,
)
from madang.model.nouns import Conversation, Event, Message, Participant
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Invalid, TooLarge
from madang.services.live import access, content, counts, nicknames
from madang.services.live.seats import facts
from madang.services.sizes import PERSON, SMALL, json_size

MAX_TITLE = 200
MAX_SLOW_MODE = 3_600
MAX_KEEP_DAYS = 3_650
MAX_BLOCKED_WORDS = 500
MAX_BLOCKED_WORD = 50
MOST_SHOWN = 500
"""Questions that everyone is told of at once, when they become visible."""
_DAY = 24 * 3600 * 1_000_000


def title(text: str) -> str:
    """Raises:
    Invalid: nothing in it can be seen.
    TooLarge: longer than `MAX_TITLE`.
    """
    found = " ".join(content.visible(text).split())
    if not found:
        raise Invalid("Title cannot be empty")
    if len(found) > MAX_TITLE:
        raise TooLarge(f"Title is limited to {MAX_TITLE} characters")
    return found


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and low <= value <= high


def _or_none(allowed: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or allowed(value)


def _is_bool(value: Any) -> bool:
    return type(value) is bool


def _is_words(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= MAX_BLOCKED_WORDS
        and all(isinstance(w, str) and 0 < len(w.strip()) <= MAX_BLOCKED_WORD for w in value)
    )


_ALLOWED: Mapping[str, Callable[[Any], bool]] = {
    "questions_visible": ("all", "host").__contains__,
    "questions_need_approval": _is_bool,
    "anonymous_allowed": _is_bool,
    "anonymous_to_host": _is_bool,
    "slow_mode_seconds": _whole(0, MAX_SLOW_MODE),
    "chat_enabled": _is_bool,
    "one_vote_per": get_args(VotePer).__contains__,
    "max_seats": _whole(1, MAX_SEATS),
    "seats_per_address": _or_none(_whole(1, MAX_SEATS)),
    "seats_per_device": _or_none(_whole(1, MAX_SEATS)),
    "blocked_words": _is_words,
    "keep_days": _or_none(_whole(0, MAX_KEEP_DAYS)),
}


def merged(settings: RoomSettings, changes: Mapping[str, Any]) -> RoomSettings:
    """The settings with some of them changed.

    Raises:
        Invalid: there is no such setting, or it may not have this value.
    """
    for name, value in changes.items():
        allowed = _ALLOWED.get(name)
        if allowed is None:
            raise Invalid(f"There is no setting {name[:50]}")
        if not allowed(value):
            raise Invalid(f"{name} may not have this value")
    if "blocked_words" in changes:
        words = dict.fromkeys(word.strip() for word in changes["blocked_words"])
        changes = {**changes, "blocked_words": tuple(words)}
    return replace(settings, **changes)


def public_settings(settings: RoomSettings) -> dict[str, Any]:
    """What everyone in the room is told of its settings: all but the blocked words, which are read
    out to nobody."""
    found = asdict(settings)
    del found["blocked_words"]
    return found


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """A new room with its host's seat; `code` is a free one (`codes.free`), `host_key` the key of
    the host's token, which is that seat's too. `settings` are changes to the defaults.

    Gives `Seated`, with the event `room.opened`.
    """

    org_id: str
    created_by: str
    title: str
    code: str
    host_key: str
    settings: Mapping[str, Any] | None = None
    language: Language = "ko"
    host_nickname: str | None = None

    @property
    def size(self) -> int:
        return SMALL + PERSON + json_size(self.title) + json_size(self.settings)

    def needs(self, needs: Needs) -> None:
        pass

    def apply(self, tx: Transaction) -> Seated:
        if self.language not in get_args(Language):
            raise Invalid("language may not have this value")
        settings = merged(RoomSettings(), self.settings or {})
        named = title(self.title)
        nickname = nicknames.clean(self.host_nickname or nicknames.HOST[self.language])
        room_id, host_id = uuid7(tx.now), uuid7(tx.now)
        room = Room(
            id=room_id,
            org_id=self.org_id,
            code=self.code,
            title=named,
            status="active",
            settings=settings,
            language=self.language,
            host_key=self.host_key,
            host_id=host_id,
            created_by=self.created_by,
            created_at=tx.now,
            seats=1,
        )
        skeleton, number = nicknames.place(nickname)
        host = Seat(
            conversation_id=room_id,
            participant_id=host_id,
            role="host",
            nickname=nickname,
            skeleton=skeleton,
            number=number,
            key=self.host_key,
            joined_at=tx.now,
        )
        conversation = Conversation(
            id=room_id,
            org_id=self.org_id,
            kind="live",
            title=named,
            metadata={},
            status="active",
            direct_key=None,
            last_seq=0,
            last_message_id=None,
            created_by=self.created_by,
            created_at=tx.now,
            updated_at=tx.now,
        )
        tx.add_conversation(
            conversation, [Participant(room_id, host_id, "admin", nickname, 0, tx.now)]
        )
        tx.live.add_room(room)
        tx.live.add_seat(host)
        event = tx.append(room_id, "room.opened", host_id)
        tx.append(
            room_id,
            "participant.joined",
            host_id,
            user_id=host_id,
            data=facts(host),
        )
        return Seated(room, host, event)


@dataclass(frozen=True, slots=True)
class ChangeRoom:
    """A host changes status, settings, title or language; None leaves them. An ended room is ended
    for ever: its polls are closed, what was not told yet is told, and it is read-only.

    Gives `RoomChanged`, with the event `room.changed` (`data`: status, settings without the blocked
    words, title, language), or without one where nothing is different.

    Where questions become visible to all, a `question.shown` tells participants of each (of the
    newest `MOST_SHOWN`; the others are read). Where they are for hosts only from now on, a
    `question.changed` that is told to hosts and askers puts each out of every replay.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    status: RoomStatus | None = None
    settings: Mapping[str, Any] | None = None
    title: str | None = None
    language: Language | None = None

    @property
    def size(self) -> int:
        return SMALL + json_size(self.title) + json_size(self.settings)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> RoomChanged:
        room, host = access.hosting(tx, self.conversation_id, self.participant_id)
        changed = self._changed(room)
        if changed == room:
            return RoomChanged(room, None)
        if changed.status == "ended":
            changed = _end(tx, changed)
        tx.live.save_room(changed)
        conversation = tx.conversation(room.id)
        assert conversation is not None, "a room is a conversation"
        tx.save_conversation(
            replace(
                conversation,
                title=changed.title,
                status="archived" if changed.status == "ended" else "active",
                updated_at=tx.now,
            )
        )
        data = {
            "status": changed.status,
            "settings": public_settings(changed.settings),
            "title": changed.title,
            "language": changed.language,
        }
        event = tx.append(room.id, "room.changed", host.participant_id, data=data)
        if changed.settings.questions_visible != room.settings.questions_visible:
            _show_questions(tx, changed)
        return RoomChanged(changed, event)

    def _changed(self, room: Room) -> Room:
        if self.status not in (None, *get_args(RoomStatus)):
            raise Invalid("status may not have this value")
        if self.language not in (None, *get_args(Language)):
            raise Invalid("language may not have this value")
        return replace(
            room,
            status=self.status or room.status,
            settings=merged(room.settings, self.settings or {}),
            title=room.title if self.title is None else title(self.title),
            language=self.language or room.language,
        )


def _end(tx: Transaction, room: Room) -> Room:
    """The room at its end, after its open polls and all counts are told."""
    for message in tx.live.questions(room.id):
        poll = poll_of(message)
        if poll is not None and poll.state == "open":
            nickname = nickname_of(message) or ""
            closed = replace(
                message, metadata=poll_metadata(nickname, replace(poll, state="closed"))
            )
            tx.save_message(closed)
            tx.live.save_question(closed)
            tx.append(room.id, "poll.closed", room.host_id, message=closed)
        elif message.id in room.untold:
            question = question_of(message)
            counts.tell(tx, room, message, was_visible=question is not None and question.visible)
    keep = room.settings.keep_days
    return replace(
        room,
        untold=(),
        ended_at=tx.now,
        erase_at=None if keep is None else tx.now + keep * _DAY,
    )


def _show_questions(tx: Transaction, room: Room) -> None:
    """Questions are visible as the room's setting says now."""
    shown: list[Message] = []
    for message in tx.live.questions(room.id):
        question = question_of(message)
        if question is None:
            continue
        visible = is_visible(room, question.state, question.approved)
        if visible == question.visible:
            continue
        nickname = nickname_of(message) or ""
        changed = replace(
            message, metadata=question_metadata(nickname, replace(question, visible=visible))
        )
        tx.save_message(changed)
        tx.live.save_question(changed)
        if visible:
            shown.append(changed)
        else:
            counts.tell(tx, room, changed, was_visible=False)
    for message in shown[-MOST_SHOWN:]:
        tx.append(room.id, "question.shown", room.host_id, message=message)


def is_visible(room: Room, state: str, approved: bool) -> bool:
    """Whether participants see a question of this state in the room."""
    return approved and state != "dismissed" and room.settings.questions_visible == "all"


@dataclass(frozen=True, slots=True)
class EraseRoom:
    """Delete a room and everything that was ever said in it: for a host (`participant_id`),
    whenever they ask, and without one when its time has come. What remains is the event
    `room.erased`, which says nothing but that, and has its number after all that are gone.

    Gives that event; None where there is nothing to erase (yet).
    """

    org_id: str
    conversation_id: str
    participant_id: str | None = None

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        if self.participant_id is not None:
            needs.live.seats.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> Event | None:
        if self.participant_id is not None:
            room, _ = access.hosting(tx, self.conversation_id, self.participant_id, ended=True)
        else:
            found = tx.live.room(self.conversation_id)
            if found is None or found.erase_at is None or found.erase_at > tx.now:
                return None
            room = found
        conversation = tx.conversation(room.id)
        assert conversation is not None, "a room is a conversation"
        tx.save_conversation(
            replace(conversation, title=None, metadata={}, status="archived", updated_at=tx.now)
        )
        tx.live.erase(room.id)
        return tx.append(room.id, "room.erased", room.host_id)
