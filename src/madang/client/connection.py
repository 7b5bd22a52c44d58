"""A WebSocket that comes back: dialling, waiting, stopping, and telling which of it is going on.

Knows nothing of frames beyond that they are JSON objects; what is said on the connection is the
`Conversing` side's affair (`messenger.Client`, `eventlog.EventLog`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as dial
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from madang.client.backoff import STABLE, Backoff, Timing
from madang.client.errors import AuthError, Disconnected, MadangError, Removed, TimedOut
from madang.client.frames import Frame, decode
from madang.client.token import Token
from madang.protocol.codes import CloseCode

log = logging.getLogger("madang.client")

SUBPROTOCOL = Subprotocol("madang.v1")
LARGEST_RECEIVED = 16 * 2**20
"""Bytes: a conversation with thousands of participants fits, a runaway server does not."""
NO_CLOSE_FRAME = 1006
"""RFC 6455, 7.1.5: the connection broke without a word."""


@dataclass(slots=True, frozen=True)
class State:
    """Where a client is.

    `connecting` (dialling), `live`, `waiting` (until the next attempt, `retry_in` seconds),
    `closed` (for good). `reason` and `code` say what ended the last connection.
    """

    name: Literal["connecting", "live", "waiting", "closed"]
    reason: str = ""
    code: int | None = None
    retry_in: float | None = None


class Conversing(Protocol):
    """What is said on a connection."""

    def url(self) -> str:
        """Where to dial now."""
        ...

    async def before_dialling(self) -> None:
        """Return when a connection is wanted."""
        ...

    def opened(self) -> None:
        """The socket is open: put the first frames into `Link.put`."""
        ...

    async def received(self, frame: Frame) -> None:
        """A frame came. The next one is read when this returns."""
        ...

    def lost(self, code: int) -> None:
        """The connection is gone."""
        ...

    def stopped(self, error: MadangError | None) -> None:
        """There will be no other."""
        ...


class Link:
    """One connection after another, until closed or refused."""

    def __init__(
        self, side: Conversing, token: Token, timing: Timing, *, open_timeout: float, greeted: bool
    ) -> None:
        """`open_timeout` in seconds for the handshake and, where the server speaks first
        (`greeted`), for its first frame."""
        self._side = side
        self._token = token
        self._timing = timing
        self._open_timeout = open_timeout
        self._greeted = greeted
        self._backoff = Backoff(timing.random)
        self._outgoing: deque[bytes] = deque()
        self._pending = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._restart: float | None = None
        self._renewed = False
        self._hurried = False
        self._live_since: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._closings: set[asyncio.Future[None]] = set()
        self._watchers: list[Callable[[State], None]] = []
        self.state = State("connecting")
        self.error: MadangError | None = None

    # -- what the program sees -------------------------------------------------------------------

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with every new state; the result ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    async def until(self, *names: str) -> State:
        """Wait until the state has one of these names."""
        reached: asyncio.Future[State] = asyncio.get_running_loop().create_future()

        def look(state: State) -> None:
            if state.name in names and not reached.done():
                reached.set_result(state)

        undo = self.watch(look)
        look(self.state)
        try:
            return await reached
        finally:
            undo()

    async def open(self, timeout: float) -> None:
        """Start, and wait for the first connection.

        Raises:
            AuthError, Removed: the server will not have this client.
            TimedOut: not reached in `timeout` seconds; says why.
        """
        if self._task is not None:
            raise RuntimeError("a client is opened once; make another one")
        self._task = asyncio.create_task(self._run(), name="madang-client")
        try:
            async with asyncio.timeout(timeout):
                state = await self.until("live", "closed")
        except TimeoutError:
            why = self.state.reason or "no answer"
            await self.close()
            raise TimedOut(f"Not connected after {timeout:g} s: {why}") from None
        except asyncio.CancelledError:
            await self.close()
            raise
        if state.name == "closed":
            raise self.error or Disconnected("Closed")

    async def close(self) -> None:
        """End it, with a closing handshake where there is a connection."""
        task, self._task = self._task, None
        if task is not None:
            if self._socket is not None:
                await self._socket.close()
            task.cancel()
            await asyncio.wait([task])
        self._stop(None, "closed by the program")

    # -- what the side above uses ----------------------------------------------------------------

    def put(self, encoded: bytes) -> None:
        """Send a frame on the present connection, after those put before it."""
        self._outgoing.append(encoded)
        self._pending.set()

    @property
    def unsent(self) -> int:
        """Frames put and not yet written."""
        return len(self._outgoing)

    def live(self) -> None:
        """Frames flow."""
        self._renewed = False
        self._live_since = self._timing.monotonic()
        self._set(State("live"))

    def restart(self, after: float = 0.0) -> None:
        """Drop this connection and dial again in `after` seconds."""
        if self._restart is None and self._socket is not None:
            self._restart = after
            # Reading may be waiting for the server; closing ends that.
            closing = asyncio.ensure_future(self._socket.close())
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)

    # -- the life of it --------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                await self._side.before_dialling()
                self._set(State("connecting", self.state.reason, self.state.code))
                self._live_since = None
                code, reason, at_least = await self._connect_once()
                if self._restart is not None:
                    reason, delay = "catching up", self._restart
                else:
                    delay = max(self._delay_after(code, reason), at_least)
                self._set(State("waiting", reason, code, delay))
                await self._timing.sleep(delay)
        except MadangError as error:
            self._stop(error, error.message)
        except Exception as error:
            # A bug of ours or of the token function must end the program's waiting, not be lost.
            log.exception("the client stopped")
            self._stop(Disconnected(f"The client failed: {error!r}"), repr(error))

    async def _connect_once(self) -> tuple[int, str, float]:
        """One connection from dialling to its end: close code, reason, least wait in seconds."""
        self._restart = None
        token = await self._token.current()
        try:
            socket = await dial(
                self._side.url(),
                additional_headers={"Authorization": f"Bearer {token}"} if token else None,
                subprotocols=[SUBPROTOCOL],
                compression=None,
                open_timeout=self._open_timeout,
                close_timeout=2,
                max_size=LARGEST_RECEIVED,
            )
        except InvalidURI as error:
            raise Disconnected(str(error)) from error
        except InvalidStatus as error:
            status = error.response.status_code
            if status in (401, 403):
                if self._renewed:
                    raise AuthError(f"HTTP status {status} for a fresh token") from error
                return CloseCode.TOKEN_EXPIRED, f"HTTP status {status}", 0.0
            after = error.response.headers.get("Retry-After", "")
            return NO_CLOSE_FRAME, f"HTTP status {status}", float(after) if after.isdigit() else 0.0
        except (OSError, TimeoutError, WebSocketException) as error:
            return NO_CLOSE_FRAME, str(error) or type(error).__name__, 0.0
        return await self._serve(socket)

    async def _serve(self, socket: ClientConnection) -> tuple[int, str, float]:
        self._socket = socket
        self._outgoing.clear()
        self._side.opened()
        writer = asyncio.create_task(self._write(socket), name="madang-client-writer")
        code, reason = NO_CLOSE_FRAME, "connection lost"
        greeted = not self._greeted
        try:
            async with asyncio.timeout(self._open_timeout if self._greeted else None) as patience:
                while self._restart is None:
                    received = await socket.recv(decode=False)
                    if not greeted:
                        greeted = True
                        patience.reschedule(None)
                    if (frame := decode(received)) is not None:
                        await self._side.received(frame)
                    else:
                        log.warning("not a frame: %.200r", received)
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                code, reason = closed.rcvd.code, closed.rcvd.reason or reason
        except TimeoutError:
            reason = "the server said nothing"
        finally:
            self._socket = None
            writer.cancel()
            self._side.lost(code)
            # Not awaited in full where the program is closing: websockets has its own limit.
            await asyncio.gather(writer, socket.close(), return_exceptions=True)
        return code, reason, 0.0

    async def _write(self, socket: ClientConnection) -> None:
        try:
            while True:
                while self._outgoing:
                    await socket.send(self._outgoing.popleft(), text=True)
                self._pending.clear()
                await self._pending.wait()
        except ConnectionClosed:
            return  # the reader sees it too and knows why

    def _delay_after(self, code: int, reason: str) -> float:
        """Seconds to wait after this close code.

        Raises:
            MadangError: there is to be no other connection.
        """
        if code == CloseCode.NOT_ALLOWED:
            # "Not with the same token": a function may have a newer one, and is asked once.
            if self._renewed or not self._token.expire():
                raise AuthError(reason)
            self._renewed = True
            return 0.0
        if code == CloseCode.ACCESS_REMOVED:
            raise Removed(reason)
        if code == CloseCode.TOKEN_EXPIRED:
            if not self._token.expire():
                raise AuthError(reason)
            if not self._renewed:
                self._renewed = True
                return 0.0
            # The new one was no better: keep asking, but slowly.
            return self._backoff.after_failure()
        since = self._live_since
        if since is not None and self._timing.monotonic() - since >= STABLE:
            self._backoff.reset()
            self._hurried = False
        if code in (CloseCode.GOING_AWAY, CloseCode.TOO_SLOW) and not self._hurried:
            # At once, but not over and over to a server that never keeps a connection.
            self._hurried = True
            return self._backoff.soon()
        return self._backoff.after_failure()

    def _set(self, state: State) -> None:
        if state != self.state and self.state.name != "closed":
            self.state = state
            for watcher in list(self._watchers):
                watcher(state)

    def _stop(self, error: MadangError | None, reason: str) -> None:
        if self.state.name != "closed":
            self.error = error
            self._side.stopped(error)
            self._set(State("closed", reason))
