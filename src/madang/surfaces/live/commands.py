"""What a client of a room may send, one model a frame. Unknown fields are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from madang.surfaces.fields import ClientId, Strict, Text, Uuid

Nickname = Annotated[Text, Field(max_length=400)]
"""As it was typed; how long a nickname may be is told after it is normalised."""
Words = Annotated[list[Annotated[Text, Field(max_length=1000)]], Field(max_length=100)]


class Command(Strict):
    """Any frame may carry `id`; every reply to it carries the same as `reply_to`."""

    type: str
    id: str | int | None = None


class Chat(Command):
    content: Text = ""
    client_id: ClientId | None = None


class Question(Command):
    content: Text = ""
    anonymous: bool = False
    client_id: ClientId | None = None


class QuestionVote(Command):
    message_id: Uuid
    up: bool = True


class QuestionState(Command):
    message_id: Uuid
    state: Literal["approved", "open", "live", "answered", "dismissed"]


class ParticipantUpdate(Command):
    nickname: Nickname | None = None


class Typing(Command):
    is_typing: bool = True


class Moderate(Command):
    action: Literal["remove_message", "mute", "unmute", "kick", "ban"]
    message_id: Uuid | None = None
    participant_id: Uuid | None = None


class PollOpen(Command):
    question: Text = ""
    kind: Literal["single", "multiple", "cloud"] = "single"
    options: Words = Field(default_factory=list)
    most: int | None = Field(default=None, ge=1, le=100)
    client_id: ClientId | None = None


class PollVote(Command):
    message_id: Uuid
    choices: Annotated[list[int], Field(max_length=100)] | None = None
    words: Words | None = None


class PollClose(Command):
    message_id: Uuid


class Resume(Command):
    cursor: int | float = Field(ge=0, lt=2**62, allow_inf_nan=False)
    epoch: str | None = None


class Ping(Command):
    timestamp: Any = None


def reader(command: type[Command]) -> Callable[[Any], Any]:
    """What makes a command of a frame's content; raises `ValidationError`."""
    return TypeAdapter(command).validator.validate_python
