"""Custom events: what a backend publishes into a conversation or a user's inbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from madang.model.nouns import Event
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Invalid, NotFound
from madang.services import conversations
from madang.services.sizes import SMALL, json_size

_NAME = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*", re.ASCII)
_MAX_NAME = 100

RESERVED_PREFIXES = (
    "message.",
    "conversation.",
    "participant.",
    "reaction.",
    "typing.",
    "read.",
    "user.",
    "presence.",
    "token.",
    "question.",
    "poll.",
    "room.",
    "stream_",
    "question_",
    "participant_",
    "poll_",
    "run_",
    "run.",
    "approval_",
    "chat_",
    "session_",
)
RESERVED_NAMES = frozenset(
    {
        "ack",
        "connected",
        "cursor",
        "error",
        "file",
        "handover",
        "message",
        "moderate",
        "moderated",
        "ping",
        "pong",
        "question",
        "replay_complete",
        "resume",
        "resumed",
        "stop",
        "subscribe",
        "subscribed",
        "system",
        "typing",
        "unsubscribe",
        "unsubscribed",
    }
)


def check_type(name: str) -> None:
    """Raises `Invalid` for a name that is not dotted or snake case, or is the server's own."""
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise Invalid("type must be a dotted or snake_case name of up to 100 characters")
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        raise Invalid(f"type {name} is one of the server's own")


@dataclass(frozen=True, slots=True)
class Published:
    """The event, and whether an earlier call had published it."""

    event: Event
    repeated: bool


@dataclass(frozen=True, slots=True)
class PublishEvent:
    """An event of a backend's own, to a conversation or to a user's inbox.

    A repeated `idempotency_key` of the same publisher gives the first event again.
    """

    org_id: str
    publisher: str
    type: str
    payload: Any
    conversation_id: str | None = None
    user_id: str | None = None
    idempotency_key: str | None = None

    @property
    def size(self) -> int:
        return SMALL + json_size(self.payload)

    def needs(self, needs: Needs) -> None:
        if self.conversation_id is not None:
            needs.conversations.add(self.conversation_id)
        if self.user_id is not None:
            needs.keys.add(conversations.inbox_key(self.user_id))
        if self.idempotency_key is not None:
            needs.published.add((self.publisher, self.idempotency_key))

    def apply(self, tx: Transaction) -> Published:
        if self.idempotency_key is not None:
            first = tx.published(self.publisher, self.idempotency_key)
            if first is not None:
                return Published(first, True)
        if self.user_id is not None:
            conversation = conversations.open_inbox(tx, self.user_id)
        else:
            assert self.conversation_id is not None
            found = tx.conversation(self.conversation_id)
            if found is None:
                raise NotFound("Conversation not found")
            if found.status != "active":
                raise Conflict("Conversation is archived")
            conversation = found
        data: Mapping[str, Any] = {"payload": self.payload}
        event = tx.append(
            conversation.id,
            self.type,
            self.publisher,
            user_id=self.user_id,
            data=data,
            idempotency_key=self.idempotency_key,
        )
        return Published(event, False)
