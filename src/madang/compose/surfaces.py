"""The ways into a node, each made of the same parts, and which path leads to which."""

from __future__ import annotations

from madang.compose.core import Core
from madang.compose.limits import Limits
from madang.gateways.entrance import Surface
from madang.model.nouns import Batch
from madang.services.auth import TokenVerifier
from madang.services.limits import RateLimit
from madang.services.live.impostors import Impostors
from madang.services.search.following import Follower
from madang.services.search.searching import Search
from madang.surfaces.admission import Admission
from madang.surfaces.agents.assembly import Agents
from madang.surfaces.events.session import EventsSession
from madang.surfaces.files.assembly import Files
from madang.surfaces.live import surface as live
from madang.surfaces.live.surface import LiveSurface
from madang.surfaces.messenger.session import Messenger, MessengerPath
from madang.surfaces.requests import Callers

MESSENGER_PATH = "/api/v1/messenger/ws"
EVENTS_PATH = "/api/v1/events/ws"


class Surfaces:
    """Messenger, events, agents, live rooms, files and search of one node.

    `own_limits` are those of a single surface, to be shared with the other nodes.
    """

    def __init__(self, core: Core, limits: Limits, verifier: TokenVerifier) -> None:
        settings, clock, hub = core.settings, core.clock, core.hub
        bus, store, writer = core.backends.bus, core.backends.store, core.backends.writer
        delivery, catchup, presence = core.delivery, core.catchup, core.presence
        entrance = core.entrance

        # Who comes in, by any of them.
        impostors = Impostors(store.seats_among)
        self.callers = Callers(verifier, clock, impostors)
        self.admission = Admission(
            verifier,
            impostors,
            core.members,
            hub,
            catchup,
            presence,
            entrance,
            clock,
            dev=settings.dev,
        )

        self.messenger = Messenger(
            frames=core.wording.messenger,
            admission=self.admission,
            entrance=entrance,
            hub=hub,
            delivery=delivery,
            catchup=catchup,
            presence=presence,
            writer=writer,
            clock=clock,
            messages_limit=limits.messages,
            signals_limit=limits.signals,
            run_limits=limits.runs,
            max_content=settings.ws_message_size_limit,
            typing_seconds=settings.typing_timeout,
            heartbeat=round(settings.ws_heartbeat_interval),
            epoch=core.epoch,
        )
        self._anyone = MessengerPath(self.messenger, None)

        self.events = EventsSession(
            admission=self.admission,
            entrance=entrance,
            hub=hub,
            catchup=catchup,
            presence=presence,
            store=store,
            clock=clock,
            signals_limit=limits.signals,
        )

        self.agents = Agents(
            settings,
            hub=hub,
            delivery=delivery,
            bus=bus,
            store=store,
            writer=writer,
            clock=clock,
            members=core.members,
            presence=presence,
            admission=self.admission,
            entrance=entrance,
            messages_limit=limits.messages,
            changes_limit=limits.changes,
            signals_limit=limits.signals,
        )

        self.live = LiveSurface(
            live.Parts(
                hub,
                store,
                writer,
                bus,
                clock,
                delivery,
                catchup,
                presence,
                entrance,
                self.admission,
                limits.messages,
                limits.changes,
                limits.signals,
            ),
            core.wording.rooms,
            settings,
            core.epoch,
        )

        self.files = Files(
            settings,
            store=store,
            writer=writer,
            delivery=delivery,
            bus=bus,
            clock=clock,
            blobs=core.backends.blobs,
            make_thumbnail=core.backends.thumbnails.make,
            messages_limit=limits.messages,
            run_limits=limits.runs,
        )

        index, written = core.backends.index, writer.commit_writes
        self.search = Search(index, clock, limits.searches, settings.search_timeout)
        self.follower = Follower(index, bus, clock, lambda: written.sum)

        self.own_limits: tuple[RateLimit, ...] = (*self.files.limits, *self.live.limits)

    def committed(self, batch: Batch) -> None:
        """Tell those who follow every commit."""
        self.files.committed(batch)
        self.agents.committed(batch)

    def route(self, path: str) -> Surface | None:
        """What the path of a WebSocket leads to."""
        if path == MESSENGER_PATH:
            return self._anyone
        if path == EVENTS_PATH:
            return self.events
        if path.startswith(MESSENGER_PATH + "/"):
            claimed = path.removeprefix(MESSENGER_PATH + "/")
            return MessengerPath(self.messenger, claimed) if "/" not in claimed else None
        if path.startswith(live.PATH):
            return self.live.path(path.removeprefix(live.PATH))
        return self.agents.route(path)
