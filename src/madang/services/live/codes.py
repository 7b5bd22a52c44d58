"""Codes of rooms: short enough to say aloud, and without signs that look or sound alike."""

from __future__ import annotations

import secrets

from madang.ports.live import LiveStore
from madang.protocol.errors import Unavailable

ALPHABET = "ACDEFHJKMNPQRTUVWXY3479"
"""Without 0 O, 1 I L, 2 Z, 5 S, 6 G, 8 B."""
LENGTH = 6
"""148 million codes: a thousand open rooms are found by one guess in 148,000."""
_AT_ONCE = 8


def draw() -> str:
    """A code, not looked up."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def parse(text: str) -> str | None:
    """A code as somebody typed it, or None where it cannot be one: any case, spaces and hyphens."""
    code = "".join(sign for sign in text.upper() if sign not in " -")
    return code if len(code) == LENGTH and all(sign in ALPHABET for sign in code) else None


async def free(store: LiveStore) -> str:
    """A code that is no room's.

    Raises:
        Unavailable: none was found, which is not to be expected before there are millions of rooms.
    """
    for _ in range(8):
        drawn = [draw() for _ in range(_AT_ONCE)]
        taken = await store.taken_codes(drawn)
        for code in drawn:
            if code not in taken:
                return code
    raise Unavailable
