"""Identifiers: their types, how new ones are made and how foreign ones are recognised."""

from __future__ import annotations

import random
import re
from typing import NewType

OrgId = NewType("OrgId", str)
UserId = NewType("UserId", str)
ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
Cursor = NewType("Cursor", int)
"""A place in an org's log: microseconds since the epoch, strictly increasing."""

MAX_USER_ID = 100
"""Characters in a user id, at most."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LARGEST_JSON_INTEGER = 2**53 - 1
_MOST_DIGITS = len(str(_LARGEST_JSON_INTEGER))


def uuid7(now: int) -> str:
    """A new UUIDv7 (RFC 9562, 5.7) for the time `now` (microseconds): ids sort by time.

    The microseconds below the millisecond stand in `rand_a` (method 3 of section 6.2), so ids
    made within one process keep their order within a millisecond too.
    """
    milliseconds, microseconds = divmod(now, 1000)
    fraction = (microseconds << 12) // 1000
    tail = random.getrandbits(62)
    text = f"{(milliseconds << 80) | (7 << 76) | (fraction << 64) | (2 << 62) | tail:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_uuid(text: object) -> str | None:
    """`text` as a lower-case UUID with dashes, or None where it is not one."""
    if not isinstance(text, str) or len(text) != 36:
        return None
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None


def is_user_id(text: str) -> bool:
    """Whether `text` may be a user id: 1 to 100 printable characters."""
    return 0 < len(text) <= MAX_USER_ID and text.isprintable()


def wire_user_id(user_id: str) -> str | int:
    """A user id as the messenger surface writes it: all digits become a JSON integer.

    Only where nothing is lost on the way back: no leading zero, and small enough to be exact in
    a JavaScript number.
    """
    digits = len(user_id) <= _MOST_DIGITS and user_id.isdecimal() and user_id.isascii()
    if digits and (user_id[0] != "0" or user_id == "0"):
        number = int(user_id)
        if number <= _LARGEST_JSON_INTEGER:
            return number
    return user_id
