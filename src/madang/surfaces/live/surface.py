"""Live rooms as one thing: their parts put together, for `compose`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import FastAPI

from madang.clock import Clock
from madang.delivery.catchup import Catchup
from madang.delivery.delivery import Delivery
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance
from madang.hub.hub import Hub
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.services.limits import RateLimit
from madang.services.live.counts import CountTeller
from madang.services.search.searching import Search
from madang.settings import Settings
from madang.surfaces.admission import Admission
from madang.surfaces.live import rest, rest_search
from madang.surfaces.live.attendance import Attendance
from madang.surfaces.live.crowds import CrowdedRooms
from madang.surfaces.live.door import Door
from madang.surfaces.live.frames import LiveFrames
from madang.surfaces.live.rooms import Rooms
from madang.surfaces.live.session import LivePath, LiveSession
from madang.surfaces.live.upkeep import Upkeep
from madang.surfaces.resuming import Resuming

PATH = "/api/v1/ws/"
"""What a room's WebSockets begin with: then come its code and the seat."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What live rooms stand on."""

    hub: Hub
    store: Store
    writer: Writer
    bus: Bus
    clock: Clock
    delivery: Delivery
    catchup: Catchup
    presence: Presence
    entrance: Entrance
    admission: Admission
    messages_limit: RateLimit
    changes_limit: RateLimit
    signals_limit: RateLimit


class LiveSurface:
    """The live surface.

    Args:
        rooms: what `LiveFrames` are written from.
        epoch: the name of the log.
    """

    def __init__(
        self, parts: Parts, rooms: Rooms, settings: Settings, epoch: Callable[[], str]
    ) -> None:
        live, clock, writer = parts.store.live, parts.clock, parts.writer
        guesses = RateLimit(settings.live_guesses_per_minute, "guesses", "Too many attempts")
        joins = RateLimit(settings.live_joins_per_minute, "joins", "Too many participants at once")
        self.limits = (guesses, joins)
        """To be shared with other nodes."""
        crowded = CrowdedRooms(live, parts.hub, clock)
        parts.delivery.watch(crowded.changed)
        self._door = Door(live, crowded, writer, clock, guesses=guesses, joins=joins)
        self._attendance = Attendance(parts.hub, parts.store, live, writer, parts.presence, clock)
        self._counts = CountTeller(writer, clock)
        self.upkeep = Upkeep(parts.bus, live, writer, clock, self._counts)
        self.session = LiveSession(
            frames=LiveFrames(rooms.here),
            rooms=rooms,
            door=self._door,
            attendance=self._attendance,
            counts=self._counts,
            admission=parts.admission,
            entrance=parts.entrance,
            hub=parts.hub,
            delivery=parts.delivery,
            resuming=Resuming(parts.hub, parts.catchup, clock, epoch),
            presence=parts.presence,
            writer=writer,
            clock=clock,
            messages_limit=parts.messages_limit,
            signals_limit=parts.signals_limit,
            typing_seconds=settings.typing_timeout,
            grace=settings.offline_grace,
            heartbeat=round(settings.ws_heartbeat_interval),
            epoch=epoch,
        )
        self._rest = rest.Parts(
            self._attendance,
            self._door,
            live,
            writer,
            clock,
            parts.changes_limit,
            settings.public_url,
        )

    def add_routes(self, app: FastAPI, search: Search | None) -> None:
        """The routes under `/api/v1/sessions`; without a `search` nothing is searched."""
        app.state.live_door = self._door
        routes = rest.router(self._rest)
        if search is not None:
            rest_search.add_search(routes, search)
        app.include_router(routes)

    def path(self, rest_of_path: str) -> LivePath | None:
        """What a WebSocket path leads to, after `PATH`."""
        code, _, participant = rest_of_path.partition("/")
        if not code or not participant or "/" in participant:
            return None
        return LivePath(self.session, code, participant)

    async def close(self) -> None:
        """End what is under way."""
        self._counts.close()
        await self._attendance.close()
