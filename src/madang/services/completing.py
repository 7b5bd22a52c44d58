"""What becomes of an upload when all of its bytes are there: looked at, given a thumbnail, and sent
as a message; or dropped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from madang.model.files import file_ids
from madang.model.nouns import File, SenderType
from madang.ports.blobs import BlobMissing, Blobs
from madang.ports.store import Writer
from madang.protocol.errors import (
    Conflict,
    Invalid,
    MadangError,
    NotFound,
    RateLimited,
    Unavailable,
)
from madang.services import file_types, parts
from madang.services.asking import RunLimits
from madang.services.files import DropUpload, FinishUpload, not_found
from madang.services.messages import Done, SendMessage
from madang.services.sweeping import Sweeper
from madang.services.uploads import Bounds, UploadProgress

MakeThumbnail = Callable[[tuple[str, str], int, AsyncIterator[bytes]], Awaitable[bytes | None]]


class Completing:
    """The end of all uploads of a node.

    Args:
        make_thumbnail: from a picture's owner (org and user), size and bytes; None where there is
            none to be had.
        run_limits: for the answers that a file asks for, sent into a session.
        tell: called with each progress.
    """

    def __init__(
        self,
        writer: Writer,
        blobs: Blobs,
        sweeper: Sweeper,
        bounds: Bounds,
        make_thumbnail: MakeThumbnail,
        run_limits: RunLimits,
        tell: Callable[[UploadProgress], None],
    ) -> None:
        self._writer = writer
        self._blobs = blobs
        self._sweeper = sweeper
        self._bounds = bounds
        self._make_thumbnail = make_thumbnail
        self._run_limits = run_limits
        self._tell = tell

    async def finish(self, file: File) -> File:
        """All of it is stored: look what it is, make its thumbnail, and let it be sent. Does
        nothing where that is done. To be called by whoever is alone with it (`Uploads.alone`).

        Raises:
            Invalid: empty, or of a type that is not allowed; it is deleted.
            NotFound: it was deleted meanwhile.
        """
        if file.status == "ready":
            return file
        self._tell(UploadProgress(file, file.received, "processing"))
        try:
            finished = await self._finish(file)
        except Invalid:
            await self.drop(file)
            raise
        except BlobMissing:
            raise not_found() from None
        self._tell(UploadProgress(finished, finished.received, "ready"))
        return finished

    async def _finish(self, file: File) -> File:
        if file.received == 0:
            raise Invalid("File is empty")
        head = bytearray()
        until = min(file.received, file_types.HEAD + 1)
        async for piece in parts.read(self._blobs, file.id, 0, until):
            head += piece
        kind = self._bounds.type_of(file, head)
        size = await self._thumbnail(file) if file_types.is_picture(kind) else None
        keep = self._bounds.keep_microseconds
        try:
            finished: File = await self._writer.write(
                FinishUpload(file.org_id, file.id, file.owner_id, kind, size, keep)
            )
        except NotFound:
            # The thumbnail of what was deleted and swept meanwhile nobody else would find.
            await self._blobs.delete(parts.folder(file.id))
            raise
        return finished

    async def _thumbnail(self, file: File) -> int | None:
        content = parts.read(self._blobs, file.id, 0, file.received)
        made = await self._make_thumbnail((file.org_id, file.owner_id), file.received, content)
        if made is None:
            return None
        await self._blobs.put(parts.thumbnail_key(file.id), made)
        return len(made)

    async def send(
        self,
        file: File,
        content: str,
        sender_type: SenderType,
        client_id: str | None = None,
        reply_to_id: str | None = None,
    ) -> Done:
        """Send it as a message. A repeated `client_id` gives the first message, and this file is
        deleted; sending the same file again gives the message it is part of.

        Raises:
            RateLimited: too many runs are under way in the session. Like `Unavailable` it passes:
                the file is kept, and may be sent later.
            MadangError: it was refused for good; the file is deleted.
        """
        try:
            done: Done = await self._writer.write(
                SendMessage(
                    file.org_id,
                    file.conversation_id,
                    file.owner_id,
                    content,
                    sender_type,
                    "file",
                    client_id or f"file:{file.id}",
                    reply_to_id,
                    ({"file_id": file.id},),
                    run_limits=self._run_limits,
                )
            )
        except (RateLimited, Unavailable):
            raise
        except MadangError:
            await self.drop(file)
            raise
        if file.id not in file_ids(done.message.attachments):
            await self.drop(file)
        return done

    async def drop(self, file: File) -> None:
        """Delete what is not part of a message; that it is, or is gone already, is no error."""
        with suppress(NotFound, Conflict):
            await self.give_up(file)

    async def give_up(self, file: File) -> None:
        """Delete what is not part of a message.

        Raises:
            NotFound: it is gone.
            Conflict: it was sent.
        """
        await self._writer.write(DropUpload(file.org_id, file.id, file.owner_id))
        self._tell(UploadProgress(file, file.received, "failed"))
        self._sweeper.deleted(file.org_id)
