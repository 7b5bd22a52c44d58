"""What a session's connection may send, one model a frame. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from madang.services.approvals import MOST_OPTION, MOST_OPTIONS, MOST_QUESTION
from madang.surfaces.agents.bodies import Kind, Note
from madang.surfaces.fields import (
    Attachments,
    ClientId,
    JsonObject,
    JsonValue,
    Strict,
    Text,
    UserRef,
    Uuid,
)

Handle = Annotated[Text, Field(min_length=1, max_length=100)]
"""What an agent outside calls its answer: an id, or a name of its own."""
Options = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=MOST_OPTION)]],
    Field(min_length=1, max_length=MOST_OPTIONS),
]


class Command(Strict):
    """Any frame may carry `id`; every reply to it carries the same as `reply_to`."""

    type: str
    id: str | int | None = None


class Message(Command):
    content: Text = ""
    timestamp: Any = None
    client_id: ClientId | None = None
    message_type: Kind = "text"
    reply_to_id: Uuid | None = None
    attachments: Attachments | None = None
    metadata: JsonObject | None = None


class File(Command):
    """A message with one file, which its sender has uploaded into the session; `message` is its
    text."""

    file_id: Uuid
    message: Text = ""
    timestamp: Any = None
    client_id: ClientId | None = None
    reply_to_id: Uuid | None = None


class Typing(Command):
    is_typing: bool = True


class OnMessage(Command):
    """`stop`, `read` and `choose`."""

    message_id: Uuid


class Regenerate(OnMessage):
    client_id: ClientId | None = None


class HandOver(Command):
    to: UserRef | None = None
    note: Note | None = None


class ApprovalAnswer(Command):
    message_id: Uuid
    request_id: Handle
    answer: Annotated[Text, Field(max_length=100)]
    note: Note | None = None


class Ping(Command):
    timestamp: Any = None


class OfAgent(Command):
    """What only agents send. What it says of its sender and its session must be true (`outside`
    looks): it may be said, as the server says it to everybody."""

    session_id: Any = None
    sender_id: Any = None
    sender_type: Any = None
    agent_id: Any = None
    timestamp: Any = None


class StreamStart(OfAgent):
    message_id: Handle | None = None
    reply_to_id: Uuid | None = None
    client_id: ClientId | None = None
    metadata: JsonObject | None = None


class StreamChunk(OfAgent):
    message_id: Handle
    content: str
    index: int | None = Field(default=None, ge=0)
    offset: int | None = Field(default=None, ge=0)


class StreamEnd(OfAgent):
    """`latency_ms`: milliseconds, as the agent measures; without it the server does."""

    message_id: Handle
    tokens_used: int | None = Field(default=None, ge=0, lt=2**53)
    latency_ms: int | None = Field(default=None, ge=0, lt=2**53)
    status: Literal["complete", "failed", "cancelled", "interrupted"] = "complete"
    error: Annotated[Text, Field(max_length=500)] | None = None


class RunStep(OfAgent):
    message_id: Handle
    step_id: Handle
    kind: Annotated[Text, Field(max_length=50)] = "tool_call"
    name: Annotated[Text, Field(max_length=200)] | None = None
    status: Literal["running", "complete", "failed"] = "running"
    content: str | None = None
    input: JsonValue = None
    output: JsonValue = None


class ApprovalRequest(OfAgent):
    message_id: Handle
    request_id: Handle | None = None
    question: Annotated[Text, Field(min_length=1, max_length=MOST_QUESTION)]
    options: Options = Field(default_factory=lambda: ["approve", "deny"])
    details: JsonObject | None = None
