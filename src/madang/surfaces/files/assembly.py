"""All of files as one thing for whoever puts a server together."""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
from fastapi import APIRouter

from madang import logs
from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.model.files import FILES
from madang.ports.blobs import Blobs
from madang.ports.bus import Bus, SignalTold
from madang.ports.store import Store, Writer
from madang.protocol.errors import Unavailable
from madang.services.asking import RunLimits
from madang.services.completing import Completing, MakeThumbnail
from madang.services.file_types import Allowed
from madang.services.limits import RateLimit
from madang.services.sweeping import Sweeper
from madang.services.uploads import Bounds, UploadProgress, Uploads
from madang.settings import Settings, SettingsError
from madang.surfaces.files import downloads, forms, tus
from madang.surfaces.files.work import Work
from madang.tasks import Tasks

log = logs.get_logger(__name__)

REQUESTS_PER_UPLOAD = 100
"""An upload in pieces of a tenth of a megabyte, of the size that is allowed by default."""

STREAMED = re.compile(rf"{FILES}/tus(/|$)|/(sessions|conversations)/[^/]+/files$")
"""Paths whose bodies are read as they come."""


class Files:
    """Uploads, downloads, and the sweeping of what is left over.

    `limits` are to be shared with the other nodes; `committed` is to be told of every commit.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        writer: Writer,
        delivery: Delivery,
        bus: Bus,
        clock: Clock,
        blobs: Blobs,
        make_thumbnail: MakeThumbnail,
        messages_limit: RateLimit,
        run_limits: RunLimits,
    ) -> None:
        per_minute = settings.rate_limit_uploads_per_minute if settings.rate_limit_enabled else None
        requests = None if per_minute is None else per_minute * REQUESTS_PER_UPLOAD
        uploads_limit = RateLimit(per_minute, "uploads", "Too many uploads")
        requests_limit = RateLimit(requests, "upload-requests", "Too many uploads")
        self.limits: Sequence[RateLimit] = (uploads_limit, requests_limit)
        self._blobs = blobs
        self._delivery = delivery
        self._tasks = Tasks()
        self._sweeper = Sweeper(store, writer, blobs, bus, clock)
        self.committed = self._sweeper.committed
        bounds = Bounds(
            settings.max_file_size,
            _allowed(settings),
            settings.upload_idle_timeout,
            settings.upload_expiry,
            longest=settings.upload_timeout,
            most_at_once=settings.uploads_at_once,
            most_of_one=settings.uploads_at_once_per_user,
            least_speed=settings.upload_least_speed,
        )
        self.uploads = Uploads(store, writer, blobs, bus, clock, bounds, self._tell)
        completing = Completing(
            writer, blobs, self._sweeper, bounds, make_thumbnail, run_limits, self._tell
        )
        self._work = Work(
            store,
            blobs,
            self.uploads,
            completing,
            clock,
            messages_limit,
            uploads_limit,
            requests_limit,
            settings.ws_message_size_limit,
        )

    def routers(self) -> Sequence[APIRouter]:
        """The routes, with their prefixes."""
        sessions = APIRouter(prefix="/api/chat/sessions", tags=["files"])
        forms.add_to_sessions(sessions, self._work)
        conversations = APIRouter(prefix="/api/v1/messenger/conversations", tags=["messenger"])
        forms.add_to_conversations(conversations, self._work)
        files = APIRouter(prefix=FILES, tags=["files"])
        downloads.add(files, self._work)
        return (tus.router(f"{FILES}/tus", self._work), sessions, conversations, files)

    def start(self) -> None:
        """Begin to sweep."""
        self._tasks.start(self._check(), "file storage")
        self._tasks.start(self._sweeper.run(), "deleted files")
        self._tasks.start(self._sweeper.run_through_all(), "abandoned files")

    async def _check(self) -> None:
        try:
            await self._blobs.check()
        except Unavailable:
            log.error("file storage cannot be written to: uploads will be refused until it can")

    async def close(self) -> None:
        await self._tasks.close()

    def _tell(self, progress: UploadProgress) -> None:
        """To the uploader's devices, as a signal."""
        file = progress.file
        text = orjson.dumps(
            {
                "type": "upload.progress",
                "file_id": file.id,
                "conversation_id": file.conversation_id,
                "name": file.name,
                "received": progress.received,
                "size": file.size,
                "state": progress.state,
            }
        )
        signal = SignalTold(file.conversation_id, text, only_user_id=file.owner_id)
        self._delivery.signal(file.org_id, signal)


def _allowed(settings: Settings) -> Allowed:
    try:
        return Allowed.of(settings.allowed_file_types)
    except ValueError as error:
        raise SettingsError(f"ALLOWED_FILE_TYPES: {error}.") from None
