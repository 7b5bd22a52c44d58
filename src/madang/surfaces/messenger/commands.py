"""What a messenger client may send, one model a frame. Unknown fields are refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from madang.surfaces.fields import (
    Attachments,
    ClientId,
    Emoji,
    JsonObject,
    Strict,
    Text,
    Uuid,
)


class Command(Strict):
    """Any frame may carry `id`; every reply to it carries the same as `reply_to`."""

    type: str
    id: str | int | None = None


class Subscribe(Command):
    conversation_id: Uuid
    after: int | None = Field(default=None, ge=0, lt=2**62)


class Unsubscribe(Command):
    conversation_id: Uuid


class Resume(Command):
    cursor: int | float = Field(ge=0, lt=2**62, allow_inf_nan=False)
    epoch: str | None = None


class MessageSend(Command):
    conversation_id: Uuid
    content: Text = ""
    message_type: Literal["text", "file", "question", "system"] = "text"
    client_id: ClientId | None = None
    reply_to_id: Uuid | None = None
    attachments: Attachments | None = None
    metadata: JsonObject | None = None


class MessageEdit(Command):
    message_id: Uuid
    content: Text = ""


class OnMessage(Command):
    """`message.delete` and `message.read`."""

    message_id: Uuid


class Typing(Command):
    conversation_id: Uuid
    is_typing: bool = True


class Reaction(Command):
    message_id: Uuid
    emoji: Emoji


class PresenceSet(Command):
    status: Literal["online", "away", "dnd"]


class TokenRefresh(Command):
    token: str = Field(max_length=16_384)


class Ping(Command):
    timestamp: Any = None
