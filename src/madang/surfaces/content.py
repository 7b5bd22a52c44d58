"""What may be said, before it goes to the log: the checks that need nothing but the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from madang.model.identity import Identity
from madang.model.nouns import SenderType
from madang.protocol.errors import Forbidden, Invalid, TooLarge


def check_content(
    content: str,
    message_type: str,
    identity: Identity | None,
    limit: int,
    attachments: Sequence[Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Raises for content that is empty (unless something is attached), for more than `limit` bytes
    (of content as UTF-8, metadata and attachments as JSON, together), or for a kind of message
    that this sender may not send."""
    if not attachments and not content.strip():
        raise Invalid("Message content cannot be empty")
    if len(content) > limit or (len(content) * 4 > limit and len(content.encode()) > limit):
        raise TooLarge("Message too large")
    if attachments or metadata:
        beside = sum(len(orjson.dumps(part)) for part in (attachments, metadata) if part)
        if beside + len(content.encode()) > limit:
            raise TooLarge("Message too large")
    if message_type == "system" and (identity is None or not identity.roles):
        raise Forbidden("Only agents, services and admins send system messages")


def sender_type(identity: Identity | None) -> SenderType:
    """As what a sender appears."""
    if identity is not None and identity.roles:
        if "agent" in identity.roles:
            return "agent"
        if "service" in identity.roles:
            return "system"
    return "user"
