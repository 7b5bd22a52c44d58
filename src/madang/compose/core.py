"""The middle of a node: who is connected, what they are told, and what they have missed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from madang.clock import Clock
from madang.compose.backends import Backends
from madang.compose.wording import Wording
from madang.delivery.catchup import Catchup
from madang.delivery.delivery import Delivery
from madang.delivery.members import Members
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Surface
from madang.hub.hub import Hub
from madang.settings import Settings

SWEEP_SECONDS = 30

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Core:
    """Hub, delivery and entrance of one node, on its backends.

    Args:
        wording: what the hub writes its frames with.
        route: from the path of a WebSocket to its surface, or None.
        epoch: the name of the log, known once the server has started.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        backends: Backends,
        wording: Wording,
        route: Callable[[str], Surface | None],
        epoch: Callable[[], str],
    ) -> None:
        bus, store = backends.bus, backends.store
        self.settings = settings
        self.clock = clock
        self.backends = backends
        self.wording = wording
        self.epoch = epoch
        self.hub = hub = Hub(wording.dialects, clock.now, wording.asides)
        self.members = Members(hub, store, bus)
        self.delivery = Delivery(hub, store, bus, self.members, clock)
        self.catchup = Catchup(
            hub,
            store,
            clock,
            self.delivery,
            limit=settings.output_limit_bytes,
            readers=max(1, settings.database_pool_size // 2),
            most=settings.max_replay_events,
        )
        self.delivery.watch(self.catchup.changed)
        self.presence = Presence(
            hub,
            store,
            bus,
            clock,
            away_after=round(settings.away_after),
            grace=settings.offline_grace,
        )
        self.delivery.pass_on(self.presence)
        self.entrance = Entrance(
            route,
            clock,
            origins=(*settings.cors_origins, *settings.allowed_origins),
            hosts=_own_hosts(settings),
            dev=settings.dev,
            most=settings.ws_max_connections,
            heartbeat=round(settings.ws_heartbeat_interval),
            timeout=round(settings.ws_connection_timeout),
        )
        self._sweep_at = 0
        self.entrance.every_second(self._tick)

    def _tick(self, now: int) -> None:
        self.presence.tick(now, self.entrance.connections)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self.members.sweep(now)


def _own_hosts(settings: Settings) -> frozenset[str] | None:
    """The names a development server on this machine alone answers to; None is any name."""
    if not settings.dev or settings.host not in _LOOPBACK:
        return None
    own = urlsplit(settings.public_url or "").hostname
    return _LOOPBACK | {own} if own else _LOOPBACK
