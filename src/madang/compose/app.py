"""A server as an ASGI app: put together top to bottom, then started, drained and stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.types import Receive, Scope, Send

from madang import logs
from madang.clock import Clock, SystemClock
from madang.compose import agreement
from madang.compose.backends import open_backends
from madang.compose.core import Core
from madang.compose.http import open_http
from madang.compose.limits import Limits
from madang.compose.surfaces import Surfaces
from madang.compose.wording import Wording
from madang.gateways.entrance import Surface
from madang.gateways.proxies import Proxies
from madang.gateways.websocket_asgi import AsgiGateway
from madang.gateways.websocket_uvicorn import UvicornConnection, protocol_class
from madang.library import Library
from madang.model.nouns import Batch
from madang.ports.bus import Bus
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import Unavailable
from madang.services.sharing import Sharing
from madang.services.trust import token_verifier
from madang.settings import Settings
from madang.surfaces import problems
from madang.tasks import Tasks

log = logs.get_logger(__name__)


class Madang(Library):
    """A server as an ASGI app: HTTP, WebSocket and lifespan.

    Mounted into another app it starts with the first request, or with the other app if that one
    uses `lifespan`. Once stopped it stays so: what comes after is refused as unavailable. It may
    be given another `bus` and `clock`, as tests do.
    """

    def __init__(
        self, settings: Settings, *, bus: Bus | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.verifier = token_verifier(settings)
        self._epoch = ""

        self._backends = backends = open_backends(settings, self.clock, bus, self._committed)
        self.bus = backends.bus
        self.store = backends.store
        self.writer = backends.writer

        core = Core(
            settings, self.clock, backends, Wording(), self._route, epoch=lambda: self._epoch
        )
        self.hub = core.hub
        self.members = core.members
        self.delivery = core.delivery
        self.catchup = core.catchup
        self.presence = core.presence
        self.entrance = core.entrance

        self._limits = Limits(settings)
        self.run_limits = self._limits.runs

        self._surfaces = surfaces = Surfaces(core, self._limits, self.verifier)
        self.admission = surfaces.admission
        self.messenger = surfaces.messenger
        self.events = surfaces.events
        self.live = surfaces.live
        self.files = surfaces.files
        self.agents = surfaces.agents
        self.agent = surfaces.agents.agent
        self.tool = surfaces.agents.tool

        self._sharing = Sharing(self.bus, self.clock)
        self._sharing.add(*self._limits.shared, *surfaces.own_limits)

        self.http, self._http_stack = open_http(core, self._limits, surfaces)
        self._websocket = AsgiGateway(
            self.entrance,
            max_message=settings.ws_message_size_limit,
            output_limit=settings.output_limit_bytes,
        )

        self._tasks = Tasks()
        self._starting = asyncio.Lock()
        self._started = False
        self._stopped = False

    # What the parts below tell or ask, which are made before those that answer.

    def _committed(self, batch: Batch) -> None:
        self.delivery.committed(batch)
        self._surfaces.committed(batch)

    def _route(self, path: str) -> Surface | None:
        return self._surfaces.route(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
            return
        if self._stopped:
            if scope["type"] == "http":
                await problems.problem(503, ErrorCode.UNAVAILABLE, "Going away")(
                    scope, receive, send
                )
                return
        elif not self._started:
            await self.start()
        if scope["type"] == "http" and not self.entrance.knows_host(_host(scope)):
            await problems.problem(
                421, ErrorCode.FORBIDDEN, "A development server answers to localhost only"
            )(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http_stack(scope, receive, send)

    # A life.

    async def start(self) -> None:
        """Begin to serve. Does nothing the second time.

        Raises:
            Unavailable: it was stopped.
        """
        async with self._starting:
            if self._stopped:
                raise Unavailable("Going away")
            if self._started:
                return
            self._epoch = await self.store.epoch()
            await self.bus.start(self.delivery)
            trusted = self.verifier, self.settings, self.bus
            await agreement.agree(*trusted)
            self._tasks.start(agreement.keep_agreeing(*trusted, self.clock), "same keys")
            self.entrance.start()
            self._tasks.start(self.delivery.run(), "head checks")
            self._tasks.start(self._sharing.run(), "shared limits")
            self._tasks.start(self._sharing.hurry(), "shared limits: bursts")
            self._tasks.start(self.live.upkeep.run(), "rooms")
            if self.settings.search_enabled:
                self._tasks.start(self._surfaces.follower.run(), "search index")
            self.files.start()
            self.agents.start()
            self._started = True

    async def drain(self) -> None:
        """Let nobody else in, and send everyone away, their writes acknowledged. Requests are
        still answered. Does nothing the second time."""
        await self.entrance.drain(self.settings.drain_seconds, self._backends.writer.settle)

    async def stop(self) -> None:
        """Finish and acknowledge what was submitted, send clients away, end all that runs, and
        close the store. Nothing starts it again."""
        async with self._starting:
            if self._stopped:
                return
            self._stopped = True
        self.entrance.draining = True
        if self._started:
            await self.drain()
            await self.agents.finish()
            await self._backends.writer.close()
            self.hub.flush()
            self.entrance.stop()
        # Whatever still reads or writes ends before the store does.
        await self._tasks.close()
        await self.agents.close()
        await self.live.close()
        await self.files.close()
        await self._backends.thumbnails.close()
        await self.admission.close()
        await self.members.close()
        await self.catchup.close()
        await self.delivery.close()
        if self._started:
            await self.presence.close()
        await self.bus.close()
        await self.store.close()

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Any = None) -> AsyncIterator[None]:
        """For the app that mounts this one: `FastAPI(lifespan=chat.lifespan)`."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as failure:
            log.exception("start failed")
            await send({"type": "lifespan.startup.failed", "message": str(failure)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(settings: Settings | None = None) -> Madang:
    """A server to run with any ASGI server or to mount into another app.

    Raises:
        SettingsError: something that must be set is not; the text says what.
    """
    settings = settings or Settings()
    logs.configure_own(settings.log_level, settings.log_format)
    return Madang(settings)


def websocket_class(app: Madang) -> type[UvicornConnection]:
    """What `uvicorn.Config(ws=…)` takes so that frames go past ASGI."""
    settings = app.settings
    return protocol_class(
        app.entrance,
        app.hub,
        max_message=settings.ws_message_size_limit,
        output_limit=settings.output_limit_bytes,
        compression=settings.ws_compression,
        proxies=Proxies(settings.trusted_proxies),
    )


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1"))
    return ""
