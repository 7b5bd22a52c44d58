"""Which messages of a block stand under a term, as bytes: pure.

Numbers within a block take two bytes each, and are added by adding bytes, which a database can do
without reading what is there. Once a block is full, long lists become a bit for each message; one
byte before them makes their length odd, which no list's is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

BLOCK = 8192
"""Messages in a block: few blocks to look into, and those that are written last fit the caches."""
LONGEST_LIST = BLOCK // 8
"""Bytes of a list; a bit for each message takes no more."""

_BITS = b"\x01"
_ONE = ord("1")


def listed(numbers: Sequence[int]) -> bytes:
    """The bytes of a list, or what is added to one."""
    return struct.pack(f"<{len(numbers)}H", *numbers)


def numbers_of(documents: bytes) -> tuple[int, ...]:
    """All numbers, in no order."""
    if len(documents) % 2:
        return tuple(each for each in descending(mask_of(documents)))
    return struct.unpack(f"<{len(documents) // 2}H", documents)


def mask_of(documents: bytes) -> int:
    """The numbers as the bits of an integer."""
    if len(documents) % 2:
        return int.from_bytes(documents[1:], "little")
    if len(documents) <= 16:
        mask = 0
        for number in numbers_of(documents):
            mask |= 1 << number
        return mask
    if len(documents) <= LONGEST_LIST:
        bits = bytearray(BLOCK // 8)
        for number in numbers_of(documents):
            bits[number >> 3] |= 1 << (number & 7)
        return int.from_bytes(bits, "little")
    # Digits of a binary number, the highest first: quicker where there are many.
    digits = bytearray(b"0") * BLOCK
    for number in numbers_of(documents):
        digits[~number] = _ONE
    return int(digits, 2)


def union_of(lists: Iterable[bytes]) -> int:
    """The numbers of all of them as the bits of an integer, at the cost of one list."""
    mask = 0
    listed_bytes = []
    for documents in lists:
        if len(documents) % 2:
            mask |= mask_of(documents)
        else:
            listed_bytes.append(documents)
    return mask | mask_of(b"".join(listed_bytes))


def as_bits(mask: int) -> bytes:
    """The form that full blocks have for long lists."""
    return _BITS + mask.to_bytes(BLOCK // 8, "little")


def changed(documents: bytes, without: frozenset[int], added: frozenset[int]) -> bytes:
    """In the form they had; empty bytes where nothing is left."""
    if len(documents) % 2:
        mask = mask_of(documents)
        for number in without:
            mask &= ~(1 << number)
        for number in added:
            mask |= 1 << number
        return as_bits(mask) if mask else b""
    kept = [number for number in numbers_of(documents) if number not in without]
    return listed([*kept, *added.difference(kept)])


def descending(mask: int) -> Iterator[int]:
    """The numbers of a mask, the highest first."""
    while mask:
        highest = mask.bit_length() - 1
        yield highest
        mask ^= 1 << highest
