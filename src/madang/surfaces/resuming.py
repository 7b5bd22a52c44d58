"""Where a connection stands in the log, on every surface that has `resume`: live events wait until
a new connection has said what it missed, and what it missed goes out before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from madang.clock import Clock
from madang.delivery.catchup import Catchup, CaughtUp
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.hub.hub import Hub
from madang.surfaces import objects

HELLO_SECONDS = 1.0
"""How long live events wait for a new connection to say what it missed."""
SETTLE_EARLY_SECONDS = 0.001
"""A timer may fire this much before its time, by rounding; nobody is kept waiting for that."""
_STARTING = frozenset(("resume", "subscribe"))


class Resuming:
    """Resumes, and connections that have not yet said where they stand."""

    def __init__(self, hub: Hub, catchup: Catchup, clock: Clock, epoch: Callable[[], str]) -> None:
        self._hub = hub
        self._catchup = catchup
        self._clock = clock
        self._epoch = epoch
        self._settling: dict[Connection, float] = {}

    # A new connection.

    def hold(self, connection: Connection) -> None:
        """Keep live events back until it has said where it stands, or the time for that is up."""
        self._catchup.hold(connection)
        if not self._settling:
            self._clock.call_later(HELLO_SECONDS, self._settle)
        self._settling[connection] = self._clock.monotonic() + HELLO_SECONDS

    def acted(self, connection: Connection, kind: str) -> None:
        """It said something: unless that may still be followed by where it stands, it missed
        nothing."""
        if kind not in _STARTING and connection in self._settling:
            del self._settling[connection]
            self._catchup.release(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._settling.pop(connection, None)

    def _settle(self) -> None:
        """Connections that did not say in time where they stand go live."""
        now = self._clock.monotonic()
        while self._settling:
            connection, until = next(iter(self._settling.items()))
            if until > now + SETTLE_EARLY_SECONDS:
                self._clock.call_later(until - now, self._settle)
                return
            del self._settling[connection]
            self._catchup.release(connection)

    # What it missed.

    def resume_after(
        self, connection: Connection, cursor: int, epoch: str | None, reply_to: str | int | None
    ) -> None:
        """Send all that came after `cursor` in the log `epoch` (None: this one), then `resumed`."""
        self._settling.pop(connection, None)

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"cursor": caught.cursor, "events": caught.events}
            told["recovered"] = caught.recovered
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(Frame(objects.frame("resumed", reply_to, **told)))

        if epoch is not None and epoch != self._epoch():
            self._hub.flush()
            ended(CaughtUp(self._catchup.reached(connection), 0, False, "other_epoch"))
            self._catchup.release(connection)
            return
        self._catchup.resume(connection, cursor, ended)
