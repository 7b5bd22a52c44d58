"""Live rooms: a conversation of kind `live`, who sits in it, and what its questions and polls say.

A seat is a user whose id is its `participant_id`. Questions and polls are messages; what changes in
them stands in their metadata, so that every replay tells them as they are now. Pure: the rules of
who may see what are here, for surfaces and the hub alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeGuard

from madang.model.nouns import Event, Message

RoomStatus = Literal["active", "paused", "ended"]
SeatRole = Literal["host", "participant"]
Gone = Literal["kicked", "banned"]
QuestionState = Literal["open", "approved", "live", "answered", "dismissed"]
PollState = Literal["open", "closed"]
PollKind = Literal["single", "multiple", "cloud"]
VotePer = Literal["seat", "device", "address"]
Language = Literal["ko", "en"]

MAX_SEATS = 50_000
"""In one room, whatever its settings say."""


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """What a host may change. None in a limit means: no limit of its own."""

    questions_visible: Literal["all", "host"] = "all"
    questions_need_approval: bool = False
    anonymous_allowed: bool = True
    anonymous_to_host: bool = False
    slow_mode_seconds: int = 0
    """Between two messages of a participant, and between two questions; 0 to 3,600."""
    chat_enabled: bool = True
    one_vote_per: VotePer = "seat"
    max_seats: int = 5_000
    """Besides whoever opened the room."""
    seats_per_address: int | None = 2_000
    """A hall behind one address is one address; addresses of the server's own machine are none."""
    seats_per_device: int | None = 4
    blocked_words: tuple[str, ...] = ()
    keep_days: int | None = None
    """Days from the room's end until it is erased; None keeps it, 0 erases it at once."""


@dataclass(frozen=True, slots=True)
class Room:
    """A room's own row. Times are microseconds."""

    id: str
    """The conversation's; the contract's `session_id`."""
    org_id: str
    code: str
    title: str
    status: RoomStatus
    settings: RoomSettings
    language: Language
    host_key: str
    """`tokens.key_of` the host's token."""
    host_id: str
    """The seat of whoever opened the room."""
    created_by: str
    created_at: int
    seats: int = 0
    """Seats that are not gone."""
    questions: int = 0
    """Questions and polls ever asked."""
    live_question_id: str | None = None
    ended_at: int | None = None
    erase_at: int | None = None
    counts_told_at: int = 0
    untold: tuple[str, ...] = ()
    """Messages whose counts have changed since they were told, the longest waiting first."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Somebody's place in a room."""

    conversation_id: str
    participant_id: str
    role: SeatRole
    nickname: str
    """As it is shown, number and all."""
    skeleton: str
    """What the nickname without its number looks like: one (skeleton, number) a room."""
    number: int
    key: str
    """`tokens.key_of` the seat's token; a host's other seats have their own."""
    joined_at: int
    address: str | None = None
    """A hash, keyed by the room, of where it was taken from (`tokens.hashed`)."""
    device: str | None = None
    muted: bool = False
    gone: Gone | None = None
    online: bool = False
    used_at: int | None = None
    """When it was first connected to."""
    last_chat_at: int = 0
    last_asked_at: int = 0

    @property
    def is_host(self) -> bool:
        return self.role == "host"


def settings_of(stored: Mapping[str, Any]) -> RoomSettings:
    """Settings as they were stored, by this version or another."""
    known = {setting.name for setting in fields(RoomSettings)}
    kept = {name: value for name, value in stored.items() if name in known}
    if "blocked_words" in kept:
        kept["blocked_words"] = tuple(kept["blocked_words"])
    return RoomSettings(**kept)


def voter_of(room: Room, seat: Seat) -> str | None:
    """As whom a seat votes where that is more than the seat: its device or address. None where the
    room asks for neither, or the seat has neither."""
    wanted = room.settings.one_vote_per
    if wanted == "device" and seat.device is not None:
        return f"d:{seat.device}"
    if wanted != "seat" and seat.address is not None:
        return f"a:{seat.address}"
    return None


@dataclass(frozen=True, slots=True)
class Question:
    """What `metadata["question"]` of a message says."""

    state: QuestionState
    votes: int
    anonymous: bool
    """To participants; then nobody but the host is told who asks."""
    anonymous_to_host: bool
    """To the host too: promised when it was asked, and kept whatever the settings say later."""
    approved: bool
    visible: bool
    """Whether participants other than the asker see it now."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What `metadata["poll"]` of a message says."""

    kind: PollKind
    state: PollState
    options: tuple[str, ...]
    """Of a word cloud: none."""
    counts: Mapping[str, int]
    """Votes by option number ("0", "1" …), or by word."""
    voters: int
    """Seats that have voted."""
    most: int
    """Choices or words a seat may give."""


def question_of(message: Message) -> Question | None:
    """None for what is no question, or is removed."""
    told = message.metadata.get("question")
    if message.message_type != "question" or message.deleted_at is not None:
        return None
    if not _has(told, _QUESTION_PARTS):
        return None
    return Question(
        told["state"],
        told["votes"],
        told["anonymous"],
        told["anonymous_to_host"],
        told["approved"],
        told["visible"],
    )


_QUESTION_PARTS = frozenset(part.name for part in fields(Question))
_POLL_PARTS = frozenset(part.name for part in fields(Poll))


def _has(told: Any, parts: frozenset[str]) -> TypeGuard[Mapping[str, Any]]:
    """Elsewhere than in rooms, messages of these types have metadata of their senders' own."""
    return isinstance(told, Mapping) and told.keys() == parts


def question_metadata(nickname: str, question: Question) -> Mapping[str, Any]:
    """The metadata of a question's message."""
    return {
        "nickname": nickname,
        "question": {
            "state": question.state,
            "votes": question.votes,
            "anonymous": question.anonymous,
            "anonymous_to_host": question.anonymous_to_host,
            "approved": question.approved,
            "visible": question.visible,
        },
    }


def poll_of(message: Message) -> Poll | None:
    """None for what is no poll, or is removed."""
    told = message.metadata.get("poll")
    if (
        message.message_type != "poll"
        or message.deleted_at is not None
        or not _has(told, _POLL_PARTS)
    ):
        return None
    return Poll(
        told["kind"],
        told["state"],
        tuple(told["options"]),
        told["counts"],
        told["voters"],
        told["most"],
    )


def poll_metadata(nickname: str, poll: Poll) -> Mapping[str, Any]:
    """The metadata of a poll's message."""
    return {
        "nickname": nickname,
        "poll": {
            "kind": poll.kind,
            "state": poll.state,
            "options": list(poll.options),
            "counts": poll.counts,
            "voters": poll.voters,
            "most": poll.most,
        },
    }


def nickname_of(message: Message) -> str | None:
    """Who wrote it, as they were called then. Who is told so is `anonymous`' to say."""
    found = message.metadata.get("nickname")
    return found if isinstance(found, str) else None


def private_to(event: Event) -> str | None:
    """Whom alone, with the hosts, an event of a room is told; None: everyone in it.

    An event stays private that was private when it was written, and becomes so when its question is
    hidden later: a replay never tells what is hidden now. A question that is hidden by the event
    itself is told to all as a `question_update`, which holds none of its text.
    """
    message = event.message
    if message is None or message.message_type != "question":
        return None
    if event.data.get("hidden"):
        return message.sender_id
    if event.type in ("message.new", "question.shown"):
        question = question_of(message)
        if question is not None and not question.visible:
            return message.sender_id
    return None


@dataclass(frozen=True, slots=True)
class Seated:
    """A seat as it is now, and the event that tells of the change; None where nothing changed."""

    room: Room
    seat: Seat
    event: Event | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A message of a room as it is now, the event that tells of it (None where nothing changed, or
    where the change is told later), and when its counts are to be told."""

    message: Message
    event: Event | None
    tell_at: int | None = None
    """Microseconds: `counts.TellCounts` is to be written at this time."""


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """A room as it is now, and the `room.changed`; None where nothing changed."""

    room: Room
    event: Event | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a room: for `GET /{code}`."""

    seats: int
    questions: int
    """Those that participants see, and of a host's all that are not dismissed."""
    polls: int
    by_state: Mapping[str, int] = field(default_factory=dict)
