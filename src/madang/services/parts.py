"""A file as blobs: parts of one size, the last one shorter, and perhaps a thumbnail.

So an upload goes on where it was cut off, in a folder as in a bucket, and memory holds one part,
however large the file is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from madang.ports.blobs import Blobs

PART = 2 * 1024 * 1024
"""Bytes. Twice that is what an upload keeps in memory; a bucket takes it in some 40 ms."""


def folder(file_id: str) -> str:
    """What all of a file's keys begin with. The last digits of its id are random: so folders do not
    grow large."""
    return f"{file_id[-2:]}/{file_id}"


def part_key(file_id: str, number: int) -> str:
    return f"{folder(file_id)}/{number:06d}"


def thumbnail_key(file_id: str) -> str:
    return f"{folder(file_id)}/thumb"


async def read(blobs: Blobs, file_id: str, start: int, end: int) -> AsyncIterator[bytes]:
    """The bytes of a file from `start` up to `end`.

    Raises:
        BlobMissing: part of it is not there, or shorter than it was.
    """
    while start < end:
        number, offset = divmod(start, PART)
        until = min(PART, offset + end - start)
        async for piece in blobs.read(part_key(file_id, number), offset, until):
            yield piece
        start += until - offset
