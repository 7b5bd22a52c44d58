"""Stopping a run, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from madang import logs
from madang.agents.running import Running
from madang.clock import Clock
from madang.model.runs import RunEnd, lease_name
from madang.ports.bus import Bus
from madang.ports.store import Writer
from madang.protocol.errors import MadangError, NotFound, Unavailable
from madang.services.runs import EndRun

log = logs.get_logger(__name__)

STOP_SECONDS = 5.0
"""How long the node that runs it is given to end it."""
LOOK_SECONDS = 0.02
"""Until the first look whether another node has ended it; each pause after that is twice as long
as the one before."""
STOP = "run.stop"
"""The topic on which a run's node is asked to stop it."""


class Stopping:
    """Stops runs of this node and of others.

    Args:
        running: the runs of this node.
        cancel: ends one of them soon, so.
    """

    def __init__(
        self,
        running: Mapping[str, Running],
        writer: Writer,
        bus: Bus,
        clock: Clock,
        cancel: Callable[[Running, RunEnd], None],
    ) -> None:
        self._running = running
        self._writer = writer
        self._bus = bus
        self._clock = clock
        self._cancel = cancel

    async def stop(self, org_id: str, message_id: str) -> None:
        """End a run as `cancelled`, wherever it is. Returns when that is so; for one that is over
        already, at once. Whoever asks must have been found to be in its session.

        Raises:
            NotFound: there is no such run.
            Unavailable: the store is away.
        """
        if await self._ended_here(message_id):
            return
        await self._ended_elsewhere(message_id)
        # It changes nothing where the run's node has ended it.
        await self._writer.write(EndRun(org_id, message_id, "cancelled"))
        running = self._running.get(message_id)
        if running is not None:
            self._cancel(running, "cancelled")

    async def stop_quietly(self, org_id: str, message_id: str) -> None:
        try:
            await self.stop(org_id, message_id)
        except MadangError as error:
            log.info("a run was not stopped", run=message_id, why=error.text)

    def stop_here(self, asked: Any) -> Any:
        """Another node asks to stop a run of this one. Raises `NotFound`."""
        running = self._running.get(asked["message_id"])
        if running is None:
            raise NotFound("Not run here")
        self._cancel(running, "cancelled")
        return True

    async def _ended_here(self, message_id: str) -> bool:
        running = self._running.get(message_id)
        if running is None:
            return False
        self._cancel(running, "cancelled")
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await asyncio.shield(running.done) is not None
        except TimeoutError:
            return False

    async def _ended_elsewhere(self, message_id: str) -> None:
        """Ask its node, and wait until that lets go of it: when the end is written, or when the
        lease has run out."""
        name = lease_name(message_id)
        try:
            owner = await self._bus.owner(name)
            if owner is None or owner == self._bus.node:
                return
            await self._bus.ask(owner, STOP, {"message_id": message_id}, STOP_SECONDS)
            pause, until = LOOK_SECONDS, self._clock.monotonic() + STOP_SECONDS
            while await self._bus.owner(name) == owner and self._clock.monotonic() < until:
                await self._clock.sleep(pause)
                pause *= 2
        except Unavailable:
            pass
