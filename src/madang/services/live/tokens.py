"""Secrets of seats: who holds the token has the seat. Only hashes of them are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from madang.model.live import Room, Seat


def new_token() -> str:
    """A token that cannot be guessed: 192 bits."""
    return secrets.token_urlsafe(24)


def key_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def hashed(room: Room, text: str) -> str:
    """What is kept of an address or a device hint: tells two of one room apart, and says nothing
    across rooms."""
    return hmac.digest(room.host_key.encode(), text.encode(), "sha256").hex()[:32]


def is_host_token(room: Room, token: str) -> bool:
    return hmac.compare_digest(room.host_key, key_of(token))


def may_connect(room: Room, seat: Seat | None, token: str) -> bool:
    """Whether this token opens this seat: its own does, and the room's host token a host's seat.
    Takes as long whichever it is."""
    key = key_of(token)
    own = hmac.compare_digest("" if seat is None else seat.key, key)
    hosts = hmac.compare_digest(room.host_key, key)
    if seat is None or seat.gone is not None or seat.conversation_id != room.id:
        return False
    return own or (hosts and seat.is_host)
