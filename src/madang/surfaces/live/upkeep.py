"""What has to be done in rooms though nobody asks: counts that a node left untold, and rooms whose
time is over."""

from __future__ import annotations

from madang import logs
from madang.clock import Clock
from madang.ports.bus import Bus
from madang.ports.live import LiveStore
from madang.ports.store import Writer
from madang.protocol.errors import Unavailable
from madang.services.live.counts import SWEEP_SECONDS, CountTeller
from madang.services.live.rooms import EraseRoom

log = logs.get_logger(__name__)

OWNED_SECONDS = 4 * SWEEP_SECONDS
"""How long the others wait for the node that does it, once it is silent."""


class Upkeep:
    """Does it every few seconds, on one node of all."""

    def __init__(
        self, bus: Bus, live: LiveStore, writer: Writer, clock: Clock, counts: CountTeller
    ) -> None:
        self._bus = bus
        self._live = live
        self._writer = writer
        self._clock = clock
        self._counts = counts

    async def run(self) -> None:
        """Never returns; what fails is tried again the next time."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            try:
                if await self._bus.acquire("rooms", OWNED_SECONDS):
                    await self.sweep()
            except Unavailable:
                pass  # The next time.
            except Exception:
                log.exception("rooms could not be looked after")

    async def sweep(self) -> None:
        """Once. Raises `Unavailable`."""
        await self._counts.sweep(self._live)
        for org_id, conversation_id in await self._live.due_for_erasure(self._clock.now()):
            await self._writer.write(EraseRoom(org_id, conversation_id))
            log.info("a room was erased", org=org_id, room=conversation_id)
