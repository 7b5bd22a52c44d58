"""The bodies of the messenger's REST requests. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from madang.surfaces.fields import (
    Attachments,
    ClientId,
    ConversationMetadata,
    JsonObject,
    Strict,
    Text,
    Title,
    UserRef,
    Uuid,
)

Users = Annotated[list[UserRef], Field(max_length=50_000)]


class NewConversation(Strict):
    kind: Literal["direct", "group"]
    participant_ids: Users
    title: Title | None = None
    metadata: ConversationMetadata | None = None


class ConversationChange(Strict):
    title: Title | None = None
    metadata: ConversationMetadata | None = None


class NewMessage(Strict):
    content: Text = ""
    message_type: Literal["text", "file", "question", "system"] = "text"
    client_id: ClientId | None = None
    reply_to_id: Uuid | None = None
    attachments: Attachments | None = None
    metadata: JsonObject | None = None


class MessageChange(Strict):
    content: Text = ""


class NewParticipants(Strict):
    user_ids: Annotated[Users, Field(min_length=1)]
    role: Literal["admin", "member"] | None = None


class ReadUpTo(Strict):
    message_id: Uuid


class NotificationSettings(Strict):
    level: Literal["all", "mentions", "none"] = "all"
    muted_until: str | None = None
    """ISO 8601; null is never."""
