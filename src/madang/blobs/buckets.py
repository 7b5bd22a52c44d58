"""Blobs in a folder of this machine or in a bucket that speaks S3, both through `obstore`."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from madang import logs
from madang.ports.blobs import BlobMissing
from madang.protocol.errors import Unavailable

log = logs.get_logger(__name__)

PIECE = 64 * 1024
"""Bytes of a piece that is read: what a socket takes at once."""

MAX_RETRIES = 3
RETRY_SECONDS = 10.0
"""How long a request to a bucket is tried again before whoever waits is told to come later."""


@contextmanager
def _told() -> Iterator[None]:
    """The storage's errors as ours."""
    try:
        yield
    except (BaseError, OSError, TimeoutError) as error:
        # Its text may hold addresses and paths: they are for the log.
        log.warning("blob storage failed", error=str(error), kind=type(error).__name__)
        raise Unavailable("File storage is temporarily unavailable") from error


class _Buckets:
    """`ports.blobs.Blobs` over what obstore can reach."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, content: bytes | bytearray) -> None:
        with _told():
            await obstore.put_async(self._store, key, content, use_multipart=False)

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        if start >= end:
            return
        with _told():
            try:
                found = await obstore.get_async(self._store, key, options={"range": (start, end)})
            except FileNotFoundError:
                raise BlobMissing from None
            async for piece in found.stream(min_chunk_size=PIECE):
                yield bytes(piece)

    async def delete(self, prefix: str) -> None:
        with _told():
            async for page in obstore.list(self._store, prefix, chunk_size=1000):
                await self._delete([str(found["path"]) for found in page])

    async def _delete(self, keys: list[str]) -> None:
        try:
            await obstore.delete_async(self._store, keys)
        except FileNotFoundError:
            pass  # Somebody else deletes it, too.

    async def check(self) -> None:
        # Under a name of its own: other nodes start, too.
        mine = f"check/{secrets.token_hex(8)}"
        await self.put(f"{mine}/000000", b"madang")
        await self.delete(mine)


class LocalBlobs(_Buckets):
    """Blobs as files under a folder, written whole beside their place and moved there.

    Several nodes need one folder that all of them see.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(LocalStore(folder, automatic_cleanup=True))
        self._folder = folder

    async def put(self, key: str, content: bytes | bytearray) -> None:
        await super().put(key, content)
        with _told():
            await asyncio.to_thread(self._sync, self._folder / key)

    def _sync(self, path: Path) -> None:
        """The file, its name, and the names of the folders that were made for it."""
        for each in (path, *path.parents):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if each == self._folder:
                return

    async def delete(self, prefix: str) -> None:
        # Not by asking obstore: what a killed server was about to move into place is not in its
        # lists.
        with _told():
            await asyncio.to_thread(self._remove, self._folder / prefix)

    def _remove(self, path: Path) -> None:
        # The folder above it stays: somebody may be about to put something else into it.
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            pass


class S3Blobs(_Buckets):
    """Blobs in a bucket of S3 or of anything that speaks its protocol.

    Args:
        endpoint: where the bucket is, if not at Amazon.
        access_key_id, secret_access_key: None asks the environment and the machine's own role.
    """

    def __init__(
        self,
        bucket: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> None:
        options: dict[str, str] = {}
        if endpoint is not None:
            options["endpoint"] = endpoint
        if region is not None:
            options["region"] = region
        if access_key_id is not None and secret_access_key is not None:
            options["access_key_id"] = access_key_id
            options["secret_access_key"] = secret_access_key
        super().__init__(
            S3Store(
                bucket,
                config=options,  # type: ignore[arg-type] # checked by obstore itself
                client_options={
                    "allow_http": endpoint is not None and endpoint.startswith("http://"),
                    "connect_timeout": "5s",
                    "timeout": "60s",
                },
                retry_config={
                    "max_retries": MAX_RETRIES,
                    "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                },
            )
        )
