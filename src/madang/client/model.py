"""What the server tells, as frozen objects with types.

Each has `from_wire`, which takes the JSON object. Fields this version does not know are kept in
`extra`, so that a newer server never breaks an older program. User ids are always strings here
(the wire writes an id that is all digits as a JSON integer); times are aware `datetime`s in UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self, TypeVar, overload

from madang.client.frames import cursor_in

Json = Mapping[str, Any]
NOTHING: Json = {}
T = TypeVar("T", covariant=True)


def time_in(value: object) -> datetime | None:
    """A time from the wire (ISO 8601), or None where there is none."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def user_in(value: object) -> str:
    """A user id as a string, whichever way the wire wrote it."""
    return str(value)


def _optional_user(value: object) -> str | None:
    return None if value is None else str(value)


def _extra(wire: Json, known: frozenset[str]) -> Json:
    return {key: value for key, value in wire.items() if key not in known}


@dataclass(slots=True, frozen=True)
class Message:
    """A message as it was when the server wrote this; a deleted one has no text."""

    id: str
    conversation_id: str
    seq: int
    sender_id: str
    content: str
    sender_type: str = "user"
    message_type: str = "text"
    metadata: Json = field(default_factory=dict)
    reply_to_id: str | None = None
    attachments: tuple[Json, ...] = ()
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    created_at: datetime | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    client_id: str | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        return cls(
            id=wire["id"],
            conversation_id=wire["conversation_id"],
            seq=wire["seq"],
            sender_id=user_in(wire["sender_id"]),
            content=wire.get("content") or "",
            sender_type=wire.get("sender_type", "user"),
            message_type=wire.get("message_type", "text"),
            metadata=wire.get("metadata") or {},
            reply_to_id=wire.get("reply_to_id"),
            attachments=tuple(wire.get("attachments") or ()),
            reactions={
                emoji: tuple(user_in(user) for user in users)
                for emoji, users in (wire.get("reactions") or {}).items()
            },
            created_at=time_in(wire.get("created_at")),
            edited_at=time_in(wire.get("edited_at")),
            deleted_at=time_in(wire.get("deleted_at")),
            client_id=wire.get("client_id"),
            extra=_extra(wire, _MESSAGE_FIELDS),
        )


@dataclass(slots=True, frozen=True)
class Participant:
    """One user's place in one conversation."""

    user_id: str
    role: str = "member"
    nickname: str | None = None
    last_read_seq: int = 0
    joined_at: datetime | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        return cls(
            user_id=user_in(wire["user_id"]),
            role=wire.get("role", "member"),
            nickname=wire.get("nickname"),
            last_read_seq=wire.get("last_read_seq") or 0,
            joined_at=time_in(wire.get("joined_at")),
            extra=_extra(wire, _PARTICIPANT_FIELDS),
        )


@dataclass(slots=True, frozen=True)
class Conversation:
    """A conversation as one of its participants sees it."""

    id: str
    kind: str
    title: str | None = None
    metadata: Json = field(default_factory=dict)
    status: str = "active"
    participants: tuple[Participant, ...] = ()
    last_message: Message | None = None
    last_seq: int = 0
    unread_count: int = 0
    muted: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        last = wire.get("last_message")
        return cls(
            id=wire["id"],
            kind=wire["kind"],
            title=wire.get("title"),
            metadata=wire.get("metadata") or {},
            status=wire.get("status", "active"),
            participants=tuple(
                Participant.from_wire(one) for one in wire.get("participants") or ()
            ),
            last_message=Message.from_wire(last) if last else None,
            last_seq=wire.get("last_seq") or 0,
            unread_count=wire.get("unread_count") or 0,
            muted=bool(wire.get("muted")),
            created_at=time_in(wire.get("created_at")),
            updated_at=time_in(wire.get("updated_at")),
            extra=_extra(wire, _CONVERSATION_FIELDS),
        )

    def participant(self, user_id: str) -> Participant | None:
        """That user's place in this conversation."""
        return next((one for one in self.participants if one.user_id == user_id), None)


@dataclass(slots=True, frozen=True)
class Event:
    """Something that happened in a conversation and stands in the log.

    `seq` counts 1, 2, 3 … in its conversation; `cursor` is its place in the whole log. `data` is
    the frame's `data` where it has one (a message, a conversation), else its other fields.
    """

    type: str
    conversation_id: str
    seq: int
    cursor: int
    data: Json
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, frame: Json) -> Self:
        cursor = cursor_in(frame.get("cursor"))
        if cursor is None:
            raise ValueError("an event without a cursor")
        rest = _with_string_users(_extra(frame, _EVENT_FIELDS))
        carried = frame.get("data")
        inside = isinstance(carried, dict)
        return cls(
            type=frame["type"],
            conversation_id=frame["conversation_id"],
            seq=frame["seq"],
            cursor=cursor,
            data=_with_string_users(carried) if isinstance(carried, dict) else rest,
            extra=rest if inside else NOTHING,
        )

    @property
    def message(self) -> Message | None:
        """The message it carries (`message.new`, `message.edited`)."""
        carries = self.type.startswith("message.") and "sender_id" in self.data
        return Message.from_wire(self.data) if carries else None

    @property
    def conversation(self) -> Conversation | None:
        """The conversation it carries (`conversation.created` and its like)."""
        carries = self.type.startswith("conversation.") and "kind" in self.data
        return Conversation.from_wire(self.data) if carries else None

    @property
    def message_id(self) -> str | None:
        """The message it is about."""
        found = self.data.get("message_id") or self.extra.get("message_id")
        if found is None and self.type.startswith("message."):
            found = self.data.get("id")
        return found if isinstance(found, str) else None

    @property
    def user_id(self) -> str | None:
        """Whom it is about: who read, reacted, joined or left, or wrote the message."""
        for place in (self.data, self.extra):
            for name in ("user_id", "sender_id"):
                if place.get(name) is not None:
                    return user_in(place[name])
        return None


@dataclass(slots=True, frozen=True)
class Signal:
    """Something passing that is never stored: typing, presence, an error nobody waited for."""

    type: str
    data: Json

    @classmethod
    def from_wire(cls, frame: Json) -> Self:
        return cls(
            type=frame["type"],
            data=_with_string_users({key: frame[key] for key in frame if key != "type"}),
        )

    @property
    def conversation_id(self) -> str | None:
        found = self.data.get("conversation_id")
        return found if isinstance(found, str) else None

    @property
    def user_id(self) -> str | None:
        return _optional_user(self.data.get("user_id"))


@dataclass(slots=True, frozen=True)
class Gap:
    """The server could not say all that was missed (`recovered: false`).

    What the program keeps may be out of date: load it anew over REST. Events go on after `cursor`.
    `conversation_id` is set where only that conversation's catch-up (`subscribe`) was refused.
    """

    reason: str
    cursor: int | None
    conversation_id: str | None = None
    type: str = "gap"


@dataclass(slots=True, frozen=True)
class Presence:
    """Whether a user is there: `online`, `away`, `dnd` or `offline`."""

    user_id: str
    status: str
    last_seen: datetime | None = None
    devices: int = 0
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        devices = wire.get("devices") or 0
        return cls(
            user_id=user_in(wire["user_id"]),
            status=wire["status"],
            last_seen=time_in(wire.get("last_seen")),
            devices=devices if isinstance(devices, int) else len(devices),
            extra=_extra(wire, frozenset({"user_id", "status", "last_seen", "devices"})),
        )


@dataclass(slots=True, frozen=True)
class Receipt:
    """That a user has read a message (or where that user's reading stands)."""

    user_id: str
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        return cls(user_in(wire["user_id"]), _extra(wire, frozenset({"user_id"})))


@dataclass(slots=True, frozen=True)
class NotificationSettings:
    """How loud a conversation is for me: level `all`, `mentions` or `none`."""

    level: str
    muted_until: datetime | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        return cls(
            level=wire["level"],
            muted_until=time_in(wire.get("muted_until")),
            extra=_extra(wire, frozenset({"level", "muted_until"})),
        )


@dataclass(slots=True, frozen=True)
class LogEvent:
    """An event as the events surface tells it: what a backend published, or what people did."""

    type: str
    payload: Any
    cursor: int
    conversation_id: str | None = None
    seq: int | None = None
    timestamp: datetime | None = None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        cursor = cursor_in(wire.get("cursor"))
        if cursor is None:
            raise ValueError("an event without a cursor")
        return cls(
            type=wire["type"],
            payload=wire.get("payload"),
            cursor=cursor,
            conversation_id=wire.get("conversation_id"),
            seq=wire.get("seq"),
            timestamp=time_in(wire.get("timestamp")),
            extra=_extra(wire, _LOG_EVENT_FIELDS),
        )


@dataclass(slots=True, frozen=True)
class Published:
    """Where a published event stands: `cursor` in the log, `seq` in its conversation."""

    cursor: int
    seq: int | None


@dataclass(slots=True, frozen=True)
class Device:
    """A client of the event log, and how far it has acknowledged."""

    client_id: str
    cursor: int | None
    extra: Json = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Json) -> Self:
        return cls(
            client_id=wire["client_id"],
            cursor=cursor_in(wire.get("cursor")),
            extra=_extra(wire, frozenset({"client_id", "cursor"})),
        )


@dataclass(slots=True, frozen=True)
class Page(Sequence[T]):
    """Part of a list. `next` is where the next page begins, if the server gave it a name."""

    items: tuple[T, ...]
    has_more: bool
    next: str | int | None = None
    cursor: int | None = None

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)


def _with_string_users(wire: Json) -> Json:
    """The same object with the user ids on its first level as strings; metadata is not touched."""
    changed = {key: user_in(wire[key]) for key in _USER_FIELDS if isinstance(wire.get(key), int)}
    return {**wire, **changed} if changed else wire


def _fields(*classes: type) -> frozenset[str]:
    return frozenset(name for one in classes for name in one.__dataclass_fields__) - {"extra"}  # type: ignore[attr-defined]


_USER_FIELDS = ("user_id", "sender_id", "by", "actor_id")
_MESSAGE_FIELDS = _fields(Message)
_PARTICIPANT_FIELDS = _fields(Participant)
_CONVERSATION_FIELDS = _fields(Conversation)
_LOG_EVENT_FIELDS = _fields(LogEvent)
# `reply_to` tells which request an event answers; it is the connection's affair, not the event's.
_EVENT_FIELDS = frozenset({"type", "conversation_id", "seq", "cursor", "data", "reply_to"})
