"""Where the bytes of files are, as a Protocol: a folder or a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Blobs(Protocol):
    """Blobs under keys such as `7f/0199…/000001`. What a key holds is whole or is not there.

    Every method raises `Unavailable` while the storage is away or full.
    """

    async def put(self, key: str, content: bytes | bytearray) -> None:
        """Write a blob, in place of what was there. It is durable when this returns."""
        ...

    def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, in pieces of some tens of kilobytes.

        Raises:
            BlobMissing: there is no such blob.
        """
        ...

    async def delete(self, prefix: str) -> None:
        """Delete every blob whose key begins with `prefix/`; that there is none is no error."""
        ...

    async def check(self) -> None:
        """Whether blobs can be kept at all; said before a server begins to serve.

        Raises:
            Unavailable: they cannot; the text says where that was tried.
        """
        ...


class BlobMissing(Exception):
    """The blob is not there: deleted just now, or lost."""
