"""Bytes on their way in: stored part by part while they come, by one request at a time.

What one request sends is bounded in bytes, in time and in number; memory holds one part of it. What
becomes of them when they are all there is in `completing`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from madang.clock import Clock
from madang.model.identity import Identity
from madang.model.nouns import File
from madang.ports.blobs import BlobMissing, Blobs
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import (
    Conflict,
    Invalid,
    MadangError,
    NotFound,
    TooLarge,
    Unavailable,
)
from madang.services import file_types, parts
from madang.services.files import AdvanceUpload, BeginUpload, not_found
from madang.services.parts import PART
from madang.services.places import Place, Places

LEASE_SECONDS = 20.0
"""How long after its last word a node's upload keeps other nodes from the same file."""
PROGRESS_SECONDS = 0.25

State = Literal["uploading", "processing", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far an upload is: for the uploader's devices."""

    file: File
    received: int
    state: State


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be uploaded: `max_size` bytes, in types that are `allowed`, with at most `idle`
    seconds of silence, in `longest` seconds a request. What is not gone on with or sent for `keep`
    seconds is deleted. How many may send at once, and how slowly where others wait: `Places`."""

    max_size: int
    allowed: file_types.Allowed
    idle: float
    keep: float
    longest: float = 3600.0
    most_at_once: int = 64
    most_of_one: int = 16
    least_speed: int = 8192

    @property
    def keep_microseconds(self) -> int:
        """As writes count it."""
        return round(self.keep * 1_000_000)

    def type_of(self, file: File, head: bytes | bytearray) -> str:
        """What it is, by its first bytes (all it has, or more than `file_types.HEAD`).

        Raises:
            Invalid: it may not be uploaded.
        """
        whole = len(head) < file_types.HEAD
        found = file_types.sniff(bytes(head[: file_types.HEAD]), file.name, whole=whole)
        if found not in self.allowed:
            raise Invalid(f"File type not allowed: {found}")
        return found

    def too_large(self) -> TooLarge:
        """What is said of a file above `max_size`."""
        return TooLarge(f"File too large: at most {self.max_size} bytes")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must hash to (tus, Checksum extension)."""

    algorithm: str
    """As `hashlib` calls it."""
    digest: bytes


class ChecksumMismatch(MadangError):
    """The bytes are not what their sender sent; none of them is kept."""


class _Turn:
    """Who works on a file here, and how many wait to go on with it."""

    __slots__ = ("deadline", "lock", "renewed", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.deadline: asyncio.Timeout | None = None
        self.renewed = 0.0


class Uploads:
    """All uploads of a node.

    Args:
        tell: called with each progress, a few times a second.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        blobs: Blobs,
        bus: Bus,
        clock: Clock,
        bounds: Bounds,
        tell: Callable[[UploadProgress], None],
    ) -> None:
        self._store = store
        self._writer = writer
        self._blobs = blobs
        self._bus = bus
        self._clock = clock
        self._tell = tell
        self._turns: dict[str, _Turn] = {}
        self._places = Places(clock, bounds.most_at_once, bounds.most_of_one, bounds.least_speed)
        self._told: dict[str, float] = {}
        self.bounds = bounds
        self._keep = bounds.keep_microseconds

    async def begin(
        self,
        caller: Identity,
        conversation_id: str,
        name: str,
        size: int | None,
        metadata: Mapping[str, Any],
    ) -> File:
        """A new upload of `size` bytes (None: as many as come).

        Raises:
            TooLarge, Invalid, NotAParticipant, Conflict
        """
        if size is not None:
            if size > self.bounds.max_size:
                raise self.bounds.too_large()
            if size == 0:
                raise Invalid("File is empty")
        begun: File = await self._writer.write(
            BeginUpload(
                caller.org, conversation_id, caller.user_id, name, size, metadata, self._keep
            )
        )
        return begun

    async def own(self, caller: Identity, file_id: str) -> File:
        """The caller's own upload as it is now. Raises `NotFound`."""
        found = await self._store.own_file(caller.org, file_id, caller.user_id)
        if found is None:
            raise not_found()
        if found.expires_at is not None and found.expires_at < self._clock.now():
            raise not_found()
        return found

    # One at a time.

    @asynccontextmanager
    async def alone(self, file_id: str) -> AsyncIterator[_Turn]:
        """Nobody else works on the file. Whoever sends bytes of it is cut off: the one who comes
        back knows better than a connection that nobody closed.

        Raises:
            Conflict: somebody does, on another node.
        """
        turn = self._turns.setdefault(file_id, _Turn())
        turn.waiting += 1
        try:
            if turn.deadline is not None:
                turn.deadline.reschedule(asyncio.get_running_loop().time())
            await turn.lock.acquire()
        finally:
            turn.waiting -= 1
        try:
            await self._lease(file_id, turn)
            async with self._renewed(file_id, turn):
                yield turn
        finally:
            turn.lock.release()
            if not turn.waiting:
                self._turns.pop(file_id, None)
                if self._bus.shared:
                    with suppress(Unavailable):
                        await self._bus.release(f"upload:{file_id}")

    @asynccontextmanager
    async def _renewed(self, file_id: str, turn: _Turn) -> AsyncIterator[None]:
        """However long the storage or a picture takes, other nodes wait. Not while bytes are waited
        for: those that come renew it (`_paced`), and of a connection that is dead none do."""
        if not self._bus.shared:
            yield
            return

        async def renew() -> None:
            while True:
                await self._clock.sleep(LEASE_SECONDS / 3)
                if turn.deadline is None:
                    with suppress(Unavailable):
                        await self._bus.acquire(f"upload:{file_id}", LEASE_SECONDS)

        renewing = asyncio.create_task(renew(), name="upload's lease")
        try:
            yield
        finally:
            # To its end: what it asks for now must not come after the release.
            renewing.cancel()
            await asyncio.wait([renewing])

    async def _lease(self, file_id: str, turn: _Turn) -> None:
        if self._bus.shared:
            turn.renewed = self._clock.monotonic()
            if not await self._bus.acquire(f"upload:{file_id}", LEASE_SECONDS):
                raise Conflict("Somebody else uploads the same file")

    # Bytes.

    async def receive(
        self,
        file: File,
        chunks: AsyncIterator[bytes | bytearray],
        turn: _Turn,
        *,
        checksum: Checksum | None = None,
    ) -> File:
        """Store what comes behind what is stored. What came before anything went wrong is kept,
        unless there is a checksum: then all of it is, or nothing.

        Raises:
            TooLarge: more came than may, or than was announced.
            Invalid: it is of a type that is not allowed.
            ChecksumMismatch, Unavailable, Conflict, NotFound, RateLimited
            Exception: whatever `chunks` raises.
        """
        try:
            async with self._places.taken((file.org_id, file.owner_id)) as place:
                return await self._receive(file, self._paced(file, chunks, turn, place), checksum)
        except BlobMissing:
            # Deleted, and swept, since it was looked for.
            raise not_found() from None
        finally:
            self._told.pop(file.id, None)

    async def _receive(
        self, file: File, chunks: AsyncIterator[bytes | bytearray], checksum: Checksum | None
    ) -> File:
        most = self.bounds.max_size if file.size is None else file.size
        hashed = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        held = file.received % PART
        part = bytearray()
        if held:
            start = file.received - held
            async for piece in parts.read(self._blobs, file.id, start, file.received):
                part += piece
        at, looked = file.received, file.received > 0
        try:
            async for chunk in chunks:
                if at + len(chunk) > most:
                    raise (
                        self.bounds.too_large()
                        if file.size is None
                        else TooLarge("More than announced")
                    )
                if hashed is not None:
                    hashed.update(chunk)
                taken = 0
                while taken < len(chunk):
                    room = PART - len(part)
                    part += chunk[taken : taken + room]
                    more = min(room, len(chunk) - taken)
                    taken += more
                    at += more
                    if len(part) == PART:
                        if not looked:
                            self.bounds.type_of(file, part)
                            looked = True
                        await self._put(file.id, at, part)
                        part = bytearray()
                        if checksum is None:
                            file = await self._advance(file, at)
                self._progress(file, at)
        except Exception:
            if checksum is None and at > file.received:
                await self._put(file.id, at, part)
                await self._advance(file, at)
            raise
        if at == file.received:
            return file
        if part:
            if not looked and (file.size in (None, at)):
                self.bounds.type_of(file, part)
            await self._put(file.id, at, part)
        if hashed is not None and checksum is not None and hashed.digest() != checksum.digest:
            raise ChecksumMismatch("Checksum mismatch")
        return await self._advance(file, at)

    async def _paced(
        self, file: File, chunks: AsyncIterator[bytes | bytearray], turn: _Turn, place: Place
    ) -> AsyncIterator[bytes | bytearray]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.bounds.longest
        while True:
            if turn.waiting:
                raise Conflict("Somebody else uploads the same file")
            if place.why is not None:
                raise place.why
            until = min(end, loop.time() + self.bounds.idle)
            place.waits(self._clock.monotonic())
            try:
                async with asyncio.timeout_at(until) as deadline:
                    turn.deadline = place.deadline = deadline
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if turn.waiting or place.why is not None:
                    continue
                raise Unavailable(
                    "The upload stalled" if until < end else "The upload took too long"
                ) from None
            finally:
                turn.deadline = place.deadline = None
            now = self._clock.monotonic()
            place.came(len(chunk), now)
            if now - turn.renewed > LEASE_SECONDS / 3:
                await self._lease(file.id, turn)
            if chunk:
                yield chunk

    async def _put(self, file_id: str, at: int, part: bytearray) -> None:
        """Store the part that ends at `at`. A shorter one that was stored before is its
        beginning: so what an earlier answer has confirmed stays, whatever happens now."""
        if part:
            await self._blobs.put(parts.part_key(file_id, (at - 1) // PART), part)

    async def _advance(self, file: File, at: int) -> File:
        try:
            advanced: File = await self._writer.write(
                AdvanceUpload(file.org_id, file.id, file.owner_id, file.received, at, self._keep)
            )
        except NotFound:
            # Deleted meanwhile; what was stored after that nobody else would find.
            await self._blobs.delete(parts.folder(file.id))
            raise
        return advanced

    def _progress(self, file: File, received: int) -> None:
        now = self._clock.monotonic()
        if now - self._told.get(file.id, 0.0) >= PROGRESS_SECONDS:
            self._told[file.id] = now
            self._tell(UploadProgress(file, received, "uploading"))
