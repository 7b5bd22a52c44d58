"""Settings in, a running server out: the only place that names concrete backends.

`Madang` is the ASGI app, with its parts; `create_app` makes one to run or to mount. The process
around it is `madang.serving`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from sqlalchemy import make_url
from starlette.types import ASGIApp, Receive, Scope, Send

import madang
from madang import own_routes
from madang.blobs.opening import open_blobs
from madang.blobs.thumbnails import Thumbnails
from madang.bus.memory import MemoryBus
from madang.clock import Clock, SystemClock
from madang.delivery.catchup import Catchup
from madang.delivery.delivery import Delivery
from madang.delivery.members import Members
from madang.delivery.presence import Presence
from madang.exposition import Measured
from madang.gateways.entrance import Entrance, Surface
from madang.gateways.proxies import Proxies
from madang.gateways.websocket_asgi import AsgiGateway
from madang.gateways.websocket_uvicorn import UvicornConnection, protocol_class
from madang.hub.hub import Hub
from madang.library import Library
from madang.metrics import Tally
from madang.model.nouns import Batch
from madang.ports.bus import Bus
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import Unavailable
from madang.services.limits import RateLimit
from madang.services.live.impostors import Impostors
from madang.services.search.following import Follower
from madang.services.search.searching import Search
from madang.services.sharing import Sharing
from madang.services.trust import fingerprint, token_verifier
from madang.settings import Settings
from madang.store import migrate
from madang.store.address import is_postgresql
from madang.store.opening import check_postgresql, open_store
from madang.store.search import SqlSearchIndex
from madang.store.writer import GroupWriter
from madang.surfaces import problems
from madang.surfaces import search as search_rest
from madang.surfaces.admission import Admission
from madang.surfaces.agents import frames as agents_frames
from madang.surfaces.agents.assembly import Agents, run_limits
from madang.surfaces.events import frames as events_frames
from madang.surfaces.events import rest as events_rest
from madang.surfaces.events.session import EventsSession
from madang.surfaces.files import assembly as files_assembly
from madang.surfaces.files import tus
from madang.surfaces.limited import TellLimits
from madang.surfaces.live import surface as live
from madang.surfaces.live.frames import LiveFrames, asides
from madang.surfaces.live.rooms import Rooms
from madang.surfaces.live.surface import LiveSurface
from madang.surfaces.messenger import rest as messenger_rest
from madang.surfaces.messenger.frames import MessengerFrames
from madang.surfaces.messenger.session import Messenger, MessengerPath
from madang.surfaces.requests import BodyLimit, Callers, CountAnswers
from madang.tasks import Tasks

log = structlog.get_logger(__name__)

SIGNALS_PER_MESSAGE = 10
"""Typing and reads are cheaper than messages: so many times as many of them are allowed."""
SWEEP_SECONDS = 30
KEYS_SECONDS = 15.0
"""How long after its last word a node's keys bind the others: a secret is changed by stopping all
nodes for so long."""
OTHER_KEYS = (
    "The nodes that run on this bus believe other tokens: give this one the same JWT_SECRET_KEY, "
    "MADANG_JWT_PUBLIC_KEY, MADANG_JWKS_URL, audience, issuer and JWT_ALGORITHM as theirs, or "
    "stop them all first"
)

_MESSENGER = "/api/v1/messenger/ws"
_EVENTS = "/api/v1/events/ws"


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
        self.verifier = token_verifier(settings)
        self.clock: Clock = clock or SystemClock()
        frames = MessengerFrames()
        self._rooms = Rooms()
        told = LiveFrames(self._rooms.here)
        self.hub = Hub(
            (
                frames.event,
                events_frames.encode_event,
                told.participant,
                told.host,
                agents_frames.encode_event,
            ),
            self.clock.now,
            asides,
        )
        self.bus: Bus = bus or _bus(settings, self.clock)
        self._started = False
        self._stopped = False
        self._starting = asyncio.Lock()
        self._epoch = ""
        self._sweep_at = 0
        self._tasks = Tasks()
        _prepare_database(settings.database_url)
        self._assemble(frames)
        self._assemble_live()

    def _assemble(self, frames: MessengerFrames) -> None:
        settings, clock, hub = self.settings, self.clock, self.hub
        self.store = open_store(settings.database_url, clock, settings.database_pool_size)
        self.members = Members(hub, self.store, self.bus)
        self.delivery = Delivery(hub, self.store, self.bus, self.members, clock)
        self.writer: GroupWriter = GroupWriter(self.store, clock, self._committed)
        self.catchup = Catchup(
            hub,
            self.store,
            clock,
            self.delivery,
            limit=settings.output_limit_bytes,
            readers=max(1, settings.database_pool_size // 2),
            most=settings.max_replay_events,
        )
        self.delivery.watch(self.catchup.changed)
        self.presence = Presence(
            hub,
            self.store,
            self.bus,
            clock,
            away_after=round(settings.away_after),
            grace=settings.offline_grace,
        )
        self.delivery.pass_on(self.presence)
        self.entrance = Entrance(
            self._route,
            clock,
            origins=(*settings.cors_origins, *settings.allowed_origins),
            hosts=_own_hosts(settings),
            dev=settings.dev,
            most=settings.ws_max_connections,
            heartbeat=round(settings.ws_heartbeat_interval),
            timeout=round(settings.ws_connection_timeout),
        )
        self.entrance.every_second(self._tick)
        per_minute = (
            settings.rate_limit_messages_per_minute if settings.rate_limit_enabled else None
        )
        self.messages_limit = RateLimit(per_minute)
        # What is opened and arranged has as many of its own: nobody who talks is kept from it.
        self.changes_limit = RateLimit(per_minute, "changes", "Too many changes")
        signals = None if per_minute is None else per_minute * SIGNALS_PER_MESSAGE
        signals_limit = RateLimit(signals, "signals")
        self.run_limits = run_limits(settings)
        self.thumbnails = Thumbnails(clock)
        self.files = files_assembly.Files(
            settings,
            store=self.store,
            writer=self.writer,
            delivery=self.delivery,
            bus=self.bus,
            clock=clock,
            blobs=open_blobs(settings),
            make_thumbnail=self.thumbnails.make,
            messages_limit=self.messages_limit,
            run_limits=self.run_limits,
        )
        searches = settings.rate_limit_searches_per_minute if settings.rate_limit_enabled else None
        searches_limit = RateLimit(searches, "searches", "Too many searches")
        self.sharing = Sharing(self.bus, clock)
        self.sharing.add(
            self.messages_limit,
            self.changes_limit,
            signals_limit,
            searches_limit,
            *self.files.limits,
        )
        index = SqlSearchIndex(self.store, clock)
        self.search = Search(index, clock, searches_limit, settings.search_timeout)
        written = self.writer.commit_writes
        self.follower = Follower(index, self.bus, clock, lambda: written.sum)
        self.signals_limit = signals_limit
        self.impostors = Impostors(self.store.seats_among)
        self.admission = Admission(
            self.verifier,
            self.impostors,
            self.members,
            hub,
            self.catchup,
            self.presence,
            self.entrance,
            clock,
            dev=settings.dev,
        )
        self.messenger = Messenger(
            frames=frames,
            admission=self.admission,
            entrance=self.entrance,
            hub=hub,
            delivery=self.delivery,
            catchup=self.catchup,
            presence=self.presence,
            writer=self.writer,
            clock=clock,
            messages_limit=self.messages_limit,
            signals_limit=signals_limit,
            run_limits=self.run_limits,
            max_content=settings.ws_message_size_limit,
            typing_seconds=settings.typing_timeout,
            heartbeat=round(settings.ws_heartbeat_interval),
            epoch=lambda: self._epoch,
        )
        self.events = EventsSession(
            admission=self.admission,
            entrance=self.entrance,
            hub=hub,
            catchup=self.catchup,
            presence=self.presence,
            store=self.store,
            clock=clock,
            signals_limit=signals_limit,
        )
        self.agents = Agents(
            settings,
            hub=hub,
            delivery=self.delivery,
            bus=self.bus,
            store=self.store,
            writer=self.writer,
            clock=clock,
            members=self.members,
            presence=self.presence,
            admission=self.admission,
            entrance=self.entrance,
            messages_limit=self.messages_limit,
            changes_limit=self.changes_limit,
            signals_limit=signals_limit,
        )
        self.agent = self.agents.agent
        self.tool = self.agents.tool
        self._anyone = MessengerPath(self.messenger, None)
        self._websocket = AsgiGateway(
            self.entrance,
            max_message=settings.ws_message_size_limit,
            output_limit=settings.output_limit_bytes,
        )
        self.answers = Tally()

    def _assemble_live(self) -> None:
        self.live = LiveSurface(
            live.Parts(
                self.hub,
                self.store,
                self.writer,
                self.bus,
                self.clock,
                self.delivery,
                self.catchup,
                self.presence,
                self.entrance,
                self.admission,
                self.messages_limit,
                self.changes_limit,
                self.signals_limit,
            ),
            self._rooms,
            self.settings,
            lambda: self._epoch,
        )
        self.sharing.add(*self.live.limits)
        self.http = self._http()
        self._http_stack = CountAnswers(
            _with_middleware(TellLimits(self.http, self.clock), self.settings, self.clock),
            self.answers,
        )

    def _committed(self, batch: Batch) -> None:
        self.delivery.committed(batch)
        self.files.committed(batch)
        self.agents.committed(batch)

    # Where things are.

    def _route(self, path: str) -> Surface | None:
        if path == _MESSENGER:
            return self._anyone
        if path == _EVENTS:
            return self.events
        if path.startswith(_MESSENGER + "/"):
            claimed = path.removeprefix(_MESSENGER + "/")
            return MessengerPath(self.messenger, claimed) if "/" not in claimed else None
        if path.startswith(live.PATH):
            return self.live.path(path.removeprefix(live.PATH))
        return self.agents.route(path)

    def _http(self) -> FastAPI:
        app = FastAPI(
            title="Madang",
            version=madang.__version__,
            summary="A messaging server that loses nothing.",
            docs_url=None,  # ours asks no other host for anything
            redoc_url=None,
        )
        app.state.callers = Callers(self.verifier, self.clock, self.impostors)
        problems.install(app)
        app.include_router(
            messenger_rest.router(
                messenger_rest.Parts(
                    self.store,
                    self.writer,
                    self.clock,
                    self.presence,
                    self.entrance,
                    self.messages_limit,
                    self.changes_limit,
                    self.run_limits,
                    self.settings.ws_message_size_limit,
                )
            )
        )
        app.include_router(
            events_rest.router(
                events_rest.Parts(
                    self.store,
                    self.writer,
                    self.hub,
                    self.admission,
                    self.members,
                    self.catchup,
                    self.entrance,
                    self.settings.output_limit_bytes,
                    self.settings.ws_connection_timeout,
                )
            )
        )
        search = self.search if self.settings.search_enabled else None
        self.live.add_routes(app, search)
        if search is not None:
            app.include_router(search_rest.router(search))
        for router in self.files.routers():
            app.include_router(router)
        for routes in self.agents.routers():
            app.include_router(routes)
        measured = Measured(
            _node_name(self.settings),
            madang.__version__,
            self.entrance,
            self.hub,
            self.writer,
            self.store,
            self.delivery,
            self.catchup,
            self.bus,
            self.answers,
            self.agents,
        )
        own_routes.add(
            app,
            own_routes.Parts(
                self.settings, self.clock, self.store, self.entrance, self.bus, measured
            ),
        )
        return app

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
            await self._agree()
            self._tasks.start(self._keep_agreeing(), "same keys")
            self.entrance.start()
            self._tasks.start(self.delivery.run(), "head checks")
            self._tasks.start(self.sharing.run(), "shared limits")
            self._tasks.start(self.sharing.hurry(), "shared limits: bursts")
            self._tasks.start(self.live.upkeep.run(), "rooms")
            if self.settings.search_enabled:
                self._tasks.start(self.follower.run(), "search index")
            self.files.start()
            self.agents.start()
            self._started = True

    async def _agree(self) -> None:
        """Nodes that believe different tokens would let people in by chance."""
        own = fingerprint(self.verifier, self.settings)
        if not await self.bus.agree("keys", own, KEYS_SECONDS):
            raise Unavailable(OTHER_KEYS)

    async def _keep_agreeing(self) -> None:
        while True:
            await self.clock.sleep(KEYS_SECONDS / 3)
            try:
                await self._agree()
            except Unavailable as error:
                log.warning("not agreed with the other nodes", why=error.text)
            except Exception:
                log.exception("not asked whether the other nodes agree")

    async def drain(self) -> None:
        """Let nobody else in, and send everyone away, their writes acknowledged. Requests are
        still answered. Does nothing the second time."""
        await self.entrance.drain(self.settings.drain_seconds, self.writer.settle)

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
            await self.writer.close()
            self.hub.flush()
            self.entrance.stop()
        # Whatever still reads or writes ends before the store does.
        await self._tasks.close()
        await self.agents.close()
        await self.live.close()
        await self.files.close()
        await self.thumbnails.close()
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

    def _tick(self, now: int) -> None:
        self.presence.tick(now, self.entrance.connections)
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            self.members.sweep(now)


def _with_middleware(app: ASGIApp, settings: Settings, clock: Clock) -> ASGIApp:
    stack: ASGIApp = BodyLimit(app, clock, settings.body_timeout, streamed=files_assembly.STREAMED)
    if settings.cors_origins:
        stack = CORSMiddleware(
            stack,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "If-Range",
                "Last-Event-ID",
                "Range",
                *tus.REQUEST_HEADERS,
            ],
            expose_headers=[
                "Content-Disposition",
                "Content-Range",
                "ETag",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                *tus.HEADERS,
            ],
        )
    return stack


def _node_name(settings: Settings) -> str:
    port = f":{settings.port}" if settings.port else ""
    return settings.node_name or f"{socket.gethostname()}{port}"


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def _own_hosts(settings: Settings) -> frozenset[str] | None:
    """The names a development server on this machine alone answers to; None is any name."""
    if not settings.dev or settings.host not in _LOOPBACK:
        return None
    own = urlsplit(settings.public_url or "").hostname
    return _LOOPBACK | {own} if own else _LOOPBACK


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            return str(value.decode("latin-1"))
    return ""


def _prepare_database(url: str) -> None:
    """A SQLite file is made and brought to this version by itself: there is nobody to ask.
    PostgreSQL is only looked at: its schema belongs to another role than the one that serves."""
    if is_postgresql(url):
        check_postgresql(url)
        return
    path = make_url(url).database
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    try:
        migrate.check(url)
    except migrate.SchemaIsOld:
        migrate.upgrade(url)


def _bus(settings: Settings, clock: Clock) -> Bus:
    if settings.redis_url is None:
        return MemoryBus(clock).end()
    from madang.bus.redis import RedisBus  # its driver, for who uses it

    return RedisBus(settings.redis_url, clock, settings.redis_prefix)


def create_app(settings: Settings | None = None) -> Madang:
    """A server to run with any ASGI server or to mount into another app.

    Raises:
        SettingsError: something that must be set is not; the text says what.
    """
    return Madang(settings or Settings())


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
