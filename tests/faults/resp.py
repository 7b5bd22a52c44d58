"""Messages that Valkey sends to its subscribers, lost, doubled and swapped by chance.

A stream of RESP (2 or 3) is cut into its top-level values; what is no message passes as it is.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_MESSAGES = (b"message", b"smessage", b"pmessage")
_LINES = b"+-:_#,("
_BULKS = b"$!="
_LISTS = b"*~>"


@dataclass(slots=True)
class Chances:
    """How often each befalls a message, and how often each did."""

    lost: float = 0.0
    doubled: float = 0.0
    swapped: float = 0.0
    was_lost: int = 0
    was_doubled: int = 0
    was_swapped: int = 0

    def none(self) -> None:
        self.lost = self.doubled = self.swapped = 0.0


class Mangle:
    """What changes the bytes from the server to one subscriber."""

    def __init__(self, chances: Chances, chance: random.Random) -> None:
        self._chances = chances
        self._chance = chance
        self._buffer = b""
        self._kept: bytes | None = None

    def __call__(self, data: bytes) -> bytes:
        self._buffer += data
        out: list[bytes] = []
        start = 0
        while (end := value_end(self._buffer, start)) is not None:
            value = self._buffer[start:end]
            start = end
            if is_message(value):
                self._message(value, out)
            else:
                self._let_go(out)
                out.append(value)
        self._buffer = self._buffer[start:]
        if not self._chances.swapped:
            self._let_go(out)
        return b"".join(out)

    def _message(self, value: bytes, out: list[bytes]) -> None:
        chances, roll = self._chances, self._chance.random()
        if roll < chances.lost:
            chances.was_lost += 1
        elif roll < chances.lost + chances.doubled:
            chances.was_doubled += 1
            out += [value, value]
        elif roll < chances.lost + chances.doubled + chances.swapped and self._kept is None:
            chances.was_swapped += 1
            self._kept = value
        else:
            out.append(value)
            self._let_go(out)

    def _let_go(self, out: list[bytes]) -> None:
        if self._kept is not None:
            out.append(self._kept)
            self._kept = None


def is_message(value: bytes) -> bool:
    """Whether a value is a message of a subscription, as RESP 2 and 3 write it."""
    if value[:1] not in (b"*", b">"):
        return False
    words = value.split(b"\r\n", 3)
    return len(words) > 2 and words[2] in _MESSAGES


def value_end(data: bytes, at: int) -> int | None:
    """Where the value ends that begins at `at`; None if it is not all there.

    Raises:
        ValueError: that is no RESP.
    """
    line_end = data.find(b"\r\n", at)
    if line_end < 0:
        return None
    kind, after = data[at], line_end + 2
    if kind in _LINES:
        return after
    count = int(data[at + 1 : line_end])
    if kind in _BULKS:
        end = after + count + 2 if count >= 0 else after
        return end if end <= len(data) else None
    if kind in _LISTS or kind in b"%|":
        values = count if kind in _LISTS else 2 * count
        # An attribute stands before the value that it belongs to.
        for _ in range(values + (kind == ord("|"))):
            end_of_one = value_end(data, after)
            if end_of_one is None:
                return None
            after = end_of_one
        return after
    raise ValueError(f"no RESP: {data[at : at + 20]!r}")
