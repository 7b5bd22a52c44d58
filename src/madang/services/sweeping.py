"""Deleting what is to be deleted: at once where somebody deleted it, and by and by what was
abandoned, never sent, or left behind by a server that was killed in the middle."""

from __future__ import annotations

import asyncio

from madang import logs
from madang.clock import Clock
from madang.model.nouns import Batch, File
from madang.ports.blobs import Blobs
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import Unavailable
from madang.services import parts
from madang.services.files import ExpireFile, ForgetFile

log = logs.get_logger(__name__)

SWEEP_SECONDS = 300.0
"""How often one node looks through all orgs."""
AGAIN_SECONDS = 5.0
"""After what could not be done."""
PAGE = 100
_DELETING = frozenset(("message.deleted", "room.erased"))


class Sweeper:
    """First the row says that a file is deleted, then its blobs go, then the row: whatever is
    killed in between, the next sweep goes on."""

    def __init__(self, store: Store, writer: Writer, blobs: Blobs, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._writer = writer
        self._blobs = blobs
        self._bus = bus
        self._clock = clock
        self._orgs: set[str] = set()
        self._wanted = asyncio.Event()

    def committed(self, batch: Batch) -> None:
        """What this node has committed: files of deleted messages and erased rooms go."""
        if any(event.type in _DELETING for event in batch.events):
            self.deleted(batch.org_id)

    def deleted(self, org_id: str) -> None:
        """Something of this org was deleted just now."""
        self._orgs.add(org_id)
        self._wanted.set()

    async def run(self) -> None:
        """Delete what was deleted here, as soon as it was."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            orgs, self._orgs = self._orgs, set()
            for org_id in orgs:
                await self._try(org_id)

    async def run_through_all(self) -> None:
        """Every few minutes, on one node: whatever is due anywhere."""
        while True:
            try:
                if await self._bus.acquire("files:sweep", SWEEP_SECONDS * 1.5):
                    await self._sweep_all()
            except Unavailable:
                pass  # The next time.
            except Exception:
                log.exception("files were not swept")
            await self._clock.sleep(SWEEP_SECONDS)

    async def _sweep_all(self) -> None:
        after = ""
        while orgs := await self._store.orgs(after, PAGE):
            for org_id in orgs:
                await self._try(org_id)
            after = orgs[-1]

    async def _try(self, org_id: str) -> None:
        try:
            await self.sweep(org_id)
        except Unavailable:
            self._clock.call_later(AGAIN_SECONDS, lambda: self.deleted(org_id))
        except Exception:
            log.exception("files were not deleted", org=org_id)

    async def sweep(self, org_id: str) -> None:
        """Delete all that is due in the org now.

        Raises:
            Unavailable: the store or the blobs are away; what is left is done the next time.
        """
        while due := await self._store.due_files(org_id, self._clock.now(), PAGE):
            for file in due:
                await self._delete(org_id, file)
            if len(due) < PAGE:
                return

    async def _delete(self, org_id: str, file: File) -> None:
        if file.status != "deleted":
            expired = await self._writer.write(ExpireFile(org_id, file.id))
            if expired is None:
                return  # Somebody went on with it.
            log.info("an abandoned upload is deleted", file=file.id)
        await self._blobs.delete(parts.folder(file.id))
        await self._writer.write(ForgetFile(org_id, file.id))
