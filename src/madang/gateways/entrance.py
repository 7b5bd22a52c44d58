"""The door every WebSocket connection comes through, whichever gateway brings it: which surface a
path leads to, which origins may come, how many; and the one timer over all connections."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from madang import logs
from madang.clock import Clock, Timer
from madang.hub.connection import Connection
from madang.metrics import Tally
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Unavailable

log = logs.get_logger(__name__)

SUBPROTOCOL = "madang.v1"
TICK_SECONDS = 1.0
HEAD_SECONDS = 10
"""How long a client may take for a request's first line and headers."""
LEAVING_A_SECOND = 2000
"""Connections that a stopping server sends away in a second: a node takes in 6,000 a second, and
has other things to do."""
STEP_SECONDS = 0.05
CLOSING_SECONDS = 10
"""How long a closing connection may take to send what it has and to answer the close frame."""


def _nowhere() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The request a WebSocket connection starts with. Header names are lower case. `address` finds
    out where the client is, as far as that can be believed: asked for only where it matters."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    subprotocols: Sequence[str] = ()
    address: Callable[[], str | None] = _nowhere

    @classmethod
    def of_target(
        cls,
        target: str,
        headers: Mapping[str, str],
        subprotocols: Sequence[str],
        address: Callable[[], str | None] = _nowhere,
    ) -> Upgrade:
        """From a request target such as `/path?token=…`."""
        path, _, query = target.partition("?")
        asked = dict(parse_qsl(query)) if query else {}
        return cls(unquote(path), asked, headers, subprotocols, address)

    @property
    def token(self) -> str | None:
        """The JWT, wherever the client could put it."""
        token = self.query.get("token")
        if token:
            return token
        scheme, _, credentials = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and credentials:
            return credentials.strip()
        for offered in self.subprotocols:
            if offered.startswith("bearer."):
                return offered.removeprefix("bearer.")
        return None

    @property
    def subprotocol(self) -> str | None:
        """What to answer of the offered subprotocols; never one that carries a token."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None


class Surface(Protocol):
    """What a WebSocket path leads to. Nothing here may block."""

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        """The handshake is done; nothing was sent yet."""
        ...

    def received(self, connection: Connection, text: str) -> None:
        """A whole text message."""
        ...

    def closed(self, connection: Connection) -> None:
        """The connection is gone. Called once, also when `opened` refused it."""
        ...


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request gets no WebSocket: an HTTP status, a short text, and further headers."""

    status: int
    text: str
    headers: Sequence[tuple[str, str]] = ()


class Entrance:
    """Admits connections and keeps their time.

    Args:
        routes: from a path (without a trailing slash) to its surface, or None.
        origins: allowed foreign origins; `*` allows all. The server's own is always allowed.
        hosts: names under which this server may be spoken to; None allows all. A development
            server lets anyone in who can reach it, so it must not answer to a foreign name that
            a page made point at this machine (DNS rebinding).
        most: connections at the same time; one more is told to try later.
        heartbeat: seconds of silence after which a connection is pinged, again and again.
        timeout: seconds of silence after which it is closed.
    """

    def __init__(
        self,
        routes: Callable[[str], Surface | None],
        clock: Clock,
        *,
        origins: Sequence[str],
        hosts: frozenset[str] | None = None,
        dev: bool,
        most: int,
        heartbeat: int,
        timeout: int,
    ) -> None:
        self._routes = routes
        self._clock = clock
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._hosts = hosts
        self._dev = dev
        self._most = most
        self._heartbeat = max(1, heartbeat)
        self._timeout = max(2, timeout)
        self._timer: Timer | None = None
        self._closing: dict[Connection, tuple[int, Callable[[], None]]] = {}
        self._expected: dict[object, tuple[int, Callable[[], None]]] = {}
        self._every_second: list[Callable[[int], None]] = []
        self.connections: set[Connection] = set()
        self.now = int(clock.monotonic())
        """Seconds; one integer object shared by all that note the time of something."""
        self._lately = deque([self.now], maxlen=self._heartbeat)
        self.draining = False
        self._emptied = asyncio.Event()
        self._sent_away = False
        self.opened = 0
        """Connections that came in, ever."""
        self.refused = 0
        """Those that were told to try later."""
        self.closes = Tally()
        """Those that were closed from here, by close code."""

    def every_second(self, call: Callable[[int], None]) -> None:
        """Call `call(now)` with each tick."""
        self._every_second.append(call)

    def find(self, path: str, headers: Mapping[str, str]) -> Surface | Refused:
        """The surface a request may be upgraded for, or why not."""
        surface = self._routes(path.rstrip("/") or "/")
        if surface is None:
            return Refused(404, "Not Found")
        if not self.knows_host(headers.get("host", "")):
            return Refused(421, "A development server answers to localhost only")
        if not self._may_come(headers):
            log.warning("foreign origin refused", origin=headers.get("origin"))
            return Refused(403, "Origin not allowed: add it to CORS_ORIGINS")
        text = self._no_room()
        if text is not None:
            return Refused(503, text, (("retry-after", retry_after()),))
        return surface

    def _no_room(self) -> str | None:
        """Why nobody else may come in now; counted where there is a reason."""
        if not self.draining and len(self.connections) < self._most:
            return None
        self.refused += 1
        return "Going away" if self.draining else "Too many connections"

    def check_room(self) -> None:
        """Whether somebody who asks over plain HTTP to be told things may come in now.

        Raises:
            Unavailable: as many are here as may be, or the server goes away.
        """
        text = self._no_room()
        if text is not None:
            raise Unavailable(text, retry_after=1000 * int(retry_after()))

    def let_in(self, connection: Connection) -> None:
        """As `entered`, where there is room. Raises as `check_room`."""
        self.check_room()
        self.entered(connection)

    def knows_host(self, host: str) -> bool:
        """Whether a request to this host (a name, perhaps with a port) is for this server."""
        if self._hosts is None:
            return True
        try:
            return (urlsplit(f"//{host}").hostname or "") in self._hosts
        except ValueError:
            return False

    def _may_come(self, headers: Mapping[str, str]) -> bool:
        origin = headers.get("origin", "").lower()
        if not origin or origin in self._origins or "*" in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.netloc and parts.netloc == headers.get("host", "").lower():
            return True
        return self._dev and parts.hostname in ("localhost", "127.0.0.1", "::1")

    # Time.

    def start(self) -> None:
        self._timer = self._clock.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def entered(self, connection: Connection) -> None:
        """A handshake is done. Its first heartbeat falls anywhere in the interval, so that those
        who came together are not all pinged together."""
        self.connections.add(connection)
        self.opened += 1
        connection.heard = random.choice(self._lately)
        connection.active = self.now

    def gone(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._closing.pop(connection, None)
        if self.draining and not self.connections:
            self._emptied.set()

    def count_close(self, code: int) -> None:
        """A gateway closes a connection with this code."""
        self.closes.add(str(int(code)))

    def expect(self, protocol: object, abort: Callable[[], None]) -> None:
        """A request's head is to come, within `HEAD_SECONDS`."""
        self._expected.setdefault(protocol, (self.now + HEAD_SECONDS, abort))

    def arrived(self, protocol: object) -> None:
        """The head is here, or nobody waits for it any more."""
        self._expected.pop(protocol, None)

    def closing(self, connection: Connection, abort: Callable[[], None]) -> None:
        """A close frame was sent: `abort` ends it the hard way if the client does not."""
        self._closing[connection] = (self.now + CLOSING_SECONDS, abort)

    def _tick(self) -> None:
        self._timer = self._clock.call_later(TICK_SECONDS, self._tick)
        # A busy loop is called late: a tick may be two seconds after the last, or in the same one.
        passed = -self.now
        self.now = now = int(self._clock.monotonic())
        passed += now
        self._lately.append(now)
        heartbeat, timeout = self._heartbeat, self._timeout
        wall = self._clock.now() // 1_000_000
        for connection in tuple(self.connections):
            if not connection.open:
                continue
            identity = connection.identity
            silent = now - connection.heard
            if identity is not None and identity.expires_at <= wall:
                connection.close(CloseCode.TOKEN_EXPIRED, "Token expired")
            elif silent >= timeout and connection.is_heard:
                connection.close(CloseCode.IDLE, "Nothing heard")
            elif silent // heartbeat > max(0, silent - passed) // heartbeat:
                connection.ping()
        for deadline, abort in [*self._closing.values(), *self._expected.values()]:
            if now >= deadline:
                abort()
        for call in self._every_second:
            call(now)

    async def drain(self, seconds: float, settle: Callable[[], Awaitable[None]]) -> None:
        """The server stops. Nobody else comes in, everyone is told to come back, and has `seconds`
        to leave. Does nothing the second time.

        They are told a few at a time, in no order, over half of the time at most: they come back
        to another node at once, and that one must not get them all in one instant. Of each few
        nothing more is read; what they have submitted is acknowledged (`settle` waits for it)
        before they are told.
        """
        self.draining = True
        if self._sent_away:
            return
        self._sent_away = True
        begun = self._clock.monotonic()
        unsettled = 0
        leaving = list(self.connections)
        random.shuffle(leaving)
        steps = math.ceil(min(seconds / 2, len(leaving) / LEAVING_A_SECOND) / STEP_SECONDS)
        for step in range(steps):
            few = leaving[step::steps]
            for connection in few:
                connection.listen(False)
            try:
                async with asyncio.timeout(begun + seconds / 2 - self._clock.monotonic()):
                    await settle()
            except TimeoutError:
                unsettled += len(few)
            for connection in few:
                connection.close(CloseCode.GOING_AWAY, "Server going away")
                connection.listen(True)
            if step + 1 < steps:
                due = begun + (step + 1) * STEP_SECONDS
                await self._clock.sleep(max(0, due - self._clock.monotonic()))
        for connection in tuple(self.connections):
            connection.close(CloseCode.GOING_AWAY, "Server going away")
        if unsettled:
            log.warning("sent away before what they submitted was committed", clients=unsettled)
        if self.connections:
            left = begun + seconds - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), max(0, left))


def retry_after() -> str:
    """Seconds after which to try again, as a header says it: not the same for everyone."""
    return str(random.randint(1, 3))
