"""The nouns: what the log, the services and the surfaces speak of.

Everything here is immutable: a change makes a new object, so whoever holds an old one (an event
waiting to be delivered, an acknowledgement) keeps seeing what was true when it was made.
Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ConversationKind = Literal["direct", "group", "live", "agent", "inbox"]
ConversationStatus = Literal["active", "archived"]
Role = Literal["admin", "member"]
SenderType = Literal["user", "agent", "system"]
MessageType = Literal["text", "file", "system", "question", "poll", "stream"]
NotificationLevel = Literal["all", "mentions", "none"]
FileStatus = Literal["uploading", "ready", "deleted"]

NO_REACTIONS: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation's own row. `direct_key` names the pair of a direct one, an inbox's owner."""

    id: str
    org_id: str
    kind: ConversationKind
    title: str | None
    metadata: Mapping[str, Any]
    status: ConversationStatus
    direct_key: str | None
    last_seq: int
    last_message_id: str | None
    created_by: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Participant:
    """One user's place in one conversation."""

    conversation_id: str
    user_id: str
    role: Role
    nickname: str | None
    last_read_seq: int
    joined_at: int
    notification_level: NotificationLevel = "all"
    muted_until: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is now. A deleted one keeps its place and loses its content."""

    id: str
    org_id: str
    conversation_id: str
    seq: int
    sender_id: str
    sender_type: SenderType
    message_type: MessageType
    content: str
    metadata: Mapping[str, Any]
    reply_to_id: str | None
    attachments: tuple[Mapping[str, Any], ...]
    client_id: str | None
    created_at: int
    edited_at: int | None = None
    deleted_at: int | None = None
    reactions: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: NO_REACTIONS)


@dataclass(frozen=True, slots=True)
class File:
    """What somebody uploads into a conversation; its bytes are blobs elsewhere.

    `uploading` until the last of `size` bytes came (`received` are stored), `ready` to be sent by
    its owner, then part of `messages` messages, of which `message_id` was the first; `deleted`
    until its blobs are gone, and then there is no row. `name` is for display only. `type` is what
    the bytes are, never what somebody said. `thumbnail_size` is in bytes, None where there is
    none. Whatever is not part of a message ends at `expires_at`. `metadata` is what the uploader
    wants to be said with it.
    """

    id: str
    org_id: str
    conversation_id: str
    owner_id: str
    message_id: str | None
    name: str
    type: str
    size: int | None
    received: int
    status: FileStatus
    thumbnail_size: int | None
    metadata: Mapping[str, Any]
    created_at: int
    expires_at: int | None
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of the log.

    `seq` is dense in the conversation, `cursor` strictly increasing in the org; both are assigned
    inside the commit. `user_id` is whom the event is about (who joined, left, read or reacted).
    `message` is the message as it is when the event is read, never a copy kept in the log; so is
    `conversation`, which `conversation.created`, `.updated` and `.archived` carry (and no other).
    """

    org_id: str
    cursor: int
    conversation_id: str
    seq: int
    type: str
    actor_id: str
    user_id: str | None
    message: Message | None
    data: Mapping[str, Any]
    created_at: int
    conversation: ConversationView | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one commit: all that came into the org's log after the cursor `after`, up to
    and with `until`."""

    org_id: str
    after: int
    until: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class ConversationView:
    """A conversation as one of its participants sees it.

    `unread_count` counts messages of others after `last_read_seq` that are not deleted, up to
    `MAX_UNREAD`. `participants` are the `PARTICIPANTS_TOLD` who have been in it longest, and who
    it is for where that is somebody in particular; of an event that was just committed and creates
    it, they are all. `participant_count` counts them all.
    """

    conversation: Conversation
    participants: tuple[Participant, ...]
    last_message: Message | None
    unread_count: int
    muted: bool
    participant_count: int


MAX_UNREAD = 1000

PARTICIPANTS_TOLD = 500
"""Participants a conversation is told with: thousands of names in each of a list of conversations
are megabytes to whoever asks, and in an event to everyone in it, whom a slow connection then loses
for it. The others come in pages."""
