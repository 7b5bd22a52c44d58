"""What may be said, before it goes to the log: the checks that need nothing but the request."""

from __future__ import annotations

from madang.model.identity import Identity
from madang.model.nouns import SenderType
from madang.protocol.errors import Forbidden, Invalid, TooLarge


def check_content(
    content: str, message_type: str, identity: Identity | None, limit: int, attached: bool
) -> None:
    """Raises for content that is empty (unless something is attached), larger than `limit` bytes
    of UTF-8, or of a kind that this sender may not send."""
    if not attached and not content.strip():
        raise Invalid("Message content cannot be empty")
    if len(content) > limit or (len(content) * 4 > limit and len(content.encode()) > limit):
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
