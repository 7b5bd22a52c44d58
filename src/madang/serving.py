"""A server as a process: uvicorn around the app, what signals do, and what a start can be refused
for. May import anything below; the command line calls `serve` and shows what it raises.

The first SIGTERM or SIGINT drains with the door still open: whoever knocks is told to come back
later, `/readyz` says 503, clients are sent away a few at a time. Then the door closes, requests
under way end, and what was submitted is on disk. The second signal ends the process at once;
nothing that was acknowledged is lost by that either.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from madang import logs
from madang.compose import Madang, create_app, websocket_class
from madang.gateways.http_uvicorn import http_class
from madang.protocol.errors import Unavailable
from madang.settings import Settings

log = logs.get_logger(__name__)

GIL_SECONDS = 0.001
"""How long a thread may keep the interpreter while another waits. The loop and the writer's thread
take turns; with Python's 5 ms the slowest acks took 30 ms at half load, with 1 ms 13 ms."""
HTTP_DRAIN_SECONDS = 1
"""What requests under way get after the clients have left."""
CLOSING_SECONDS = 1.8
"""What stopping takes beyond `drain_seconds` at most; with the 8 s of these, below the 10 s that
container runtimes give before they kill."""
BACKLOG = 4096


class StartRefused(Exception):
    """The server cannot start; the text is one sentence that says what to do."""


class Server(uvicorn.Server):
    """uvicorn, whose first signal begins to drain and whose second ends it."""

    def __init__(self, app: Madang, opened: Callable[[], None] | None = None) -> None:
        settings = app.settings
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                ws=websocket_class(app),
                lifespan="on",
                http=http_class(app.entrance),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=HTTP_DRAIN_SECONDS,
                # An empty list believes nobody; None would believe whoever is on this machine.
                forwarded_allow_ips=list(settings.trusted_proxies),
                backlog=BACKLOG,
            )
        )
        self._app = app
        self._opened = opened
        self.sent_away = 0
        self._told_to_stop = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._opened is not None:
            self._opened()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came. Called between two instructions of whatever the loop is doing."""
        if self._told_to_stop:
            os._exit(128 + sig)
        self._told_to_stop = True
        most = threading.Timer(self._app.settings.drain_seconds + CLOSING_SECONDS, _give_up)
        most.daemon = True
        most.start()
        if self.started and self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave)
        else:
            self.should_exit = True

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        self.sent_away = len(self._app.entrance.connections)
        log.info("going away", connections=self.sent_away)
        try:
            await self._app.drain()
        finally:
            self.should_exit = True


def _give_up() -> None:
    """A store that does not answer must not keep the process for ever: what it was not told was
    not acknowledged either."""
    log.error("could not finish in time; nothing that was acknowledged is lost")
    os._exit(1)


def serve(
    settings: Settings,
    listening: Sequence[socket.socket] | None = None,
    opened: Callable[[], None] | None = None,
) -> int:
    """Run a server until it is told to stop; then clients are sent away and acks are safe.

    Args:
        listening: bound sockets to listen on, instead of one for the settings' address.
        opened: called once it listens.

    Returns:
        How many clients were connected when it was told to stop.

    Raises:
        StartRefused: something it needs is not there.
        SettingsError: something that must be set is not.
    """
    logs.configure(settings.log_level, settings.log_format)

    async def run() -> int:
        app = create_app(settings)
        try:
            await app.start()
        except Unavailable as error:
            await app.stop()
            raise StartRefused(f"{error.text.rstrip('.')}.") from error
        server = Server(app, opened)
        # What lives from here on lives long: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        sys.setswitchinterval(GIL_SECONDS)
        await server.serve(None if listening is None else list(listening))
        return server.sent_away

    uvicorn_loop = uvicorn.Config(app="", loop="auto", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=uvicorn_loop) as runner:
        return runner.run(run())
