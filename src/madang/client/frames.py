"""JSON on the wire, and which frames are events. Pure: bytes in, dictionaries out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from madang.client.errors import Invalid, TooLarge

MAX_FRAME = 65_536
"""Bytes: the server closes with 1009 above this, and one such message in the outbox would end
every connection it is sent on again."""

Frame = dict[str, Any]

# Answers to one request. They may carry `seq` and `cursor` without being events themselves.
REPLIES = frozenset(
    {
        "error",
        "message.sent",
        "pong",
        "presence.confirmed",
        "read.confirmed",
        "resumed",
        "subscribed",
        "system",
        "token.refreshed",
        "unsubscribed",
    }
)


def encode(frame: Mapping[str, Any]) -> bytes:
    """A frame's bytes, fields that are None left out.

    Raises:
        Invalid: holds something that JSON cannot carry (a lone surrogate, a set).
        TooLarge: above MAX_FRAME bytes.
    """
    try:
        encoded = orjson.dumps({key: value for key, value in frame.items() if value is not None})
    except (TypeError, ValueError) as error:
        raise Invalid(f"Cannot be written as JSON: {error}") from error
    if len(encoded) > MAX_FRAME:
        raise TooLarge("Message too large")
    return encoded


def decode(received: bytes | str) -> Frame | None:
    """The frame in a message, or None where it is not a JSON object with a `type`."""
    try:
        frame = orjson.loads(received)
    except orjson.JSONDecodeError:
        return None
    return frame if isinstance(frame, dict) and isinstance(frame.get("type"), str) else None


def cursor_in(value: object) -> int | None:
    """A cursor from the wire: a whole number, also where it came as a string of digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def is_event(frame: Frame) -> bool:
    """Whether a frame is a durable event: it has a place in a conversation and in the log."""
    return (
        frame["type"] not in REPLIES
        and isinstance(frame.get("seq"), int)
        and isinstance(frame.get("conversation_id"), str)
        and cursor_in(frame.get("cursor")) is not None
    )
