"""The bodies of the agents' REST requests. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from madang.model.runs import Answers, WhenBusy
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

Note = Annotated[Text, Field(max_length=2000)]

_KINDS = {"user_message": "text", "agent_message": "text", "file_attachment": "file"}
Kind = Annotated[
    Literal["text", "file", "question"],
    BeforeValidator(lambda kind: _KINDS.get(kind, kind) if isinstance(kind, str) else kind),
]
"""Of a message: its type, or the kind that history gives one of that type."""


class NewSession(Strict):
    agent_id: UserRef
    title: Title | None = None
    metadata: ConversationMetadata | None = None
    when_busy: WhenBusy | None = None
    answers: Answers | None = None
    participant_ids: Annotated[list[UserRef], Field(max_length=100)] | None = None


class SessionChange(Strict):
    title: Title | None = None
    metadata: ConversationMetadata | None = None
    status: Literal["active", "archived"] | None = None
    when_busy: WhenBusy | None = None
    answers: Answers | None = None


class NewMessage(Strict):
    content: Text = ""
    message_type: Kind = "text"
    metadata: JsonObject | None = None
    client_id: ClientId | None = None
    reply_to_id: Uuid | None = None
    attachments: Attachments | None = None
    stream: bool | None = None
    timestamp: Any = None


class Again(Strict):
    client_id: ClientId | None = None


class NewPeople(Strict):
    user_ids: Annotated[list[UserRef], Field(max_length=100)] = Field(default_factory=list)
    agent_ids: Annotated[list[UserRef], Field(max_length=100)] = Field(default_factory=list)


class HandOverTo(Strict):
    to: UserRef | None = None
    note: Note | None = None


class ReadUpTo(Strict):
    message_id: Uuid


class ApprovalAnswered(Strict):
    answer: Annotated[Text, Field(max_length=100)]
    note: Note | None = None
