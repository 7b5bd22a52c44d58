"""What a messenger client says about where it stands, and what it is answered: `resume`,
`subscribe`, `unsubscribe`; and the moment a new connection gets to say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from madang.clock import Clock
from madang.delivery.catchup import Catchup, CaughtUp
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.hub.hub import Hub
from madang.model.times import cursor_of
from madang.protocol.errors import MadangError, NotAParticipant
from madang.surfaces import objects
from madang.surfaces.messenger import commands

HELLO_SECONDS = 1.0
"""How long live events wait for a new connection to say what it missed."""
SETTLE_EARLY_SECONDS = 0.001
"""A timer may fire this much before its time, by rounding; nobody is kept waiting for that."""


class CatchingUp:
    """Resumes and subscriptions, and connections that have not yet said where they stand."""

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
        """It said something: unless that is where it stands, it missed nothing."""
        if kind not in ("resume", "subscribe") and connection in self._settling:
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

    # Frames.

    def resume(self, connection: Connection, command: commands.Resume) -> None:
        self._settling.pop(connection, None)
        reply_to = command.id

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"cursor": caught.cursor, "events": caught.events}
            told["recovered"] = caught.recovered
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(Frame(objects.frame("resumed", reply_to, **told)))

        if command.epoch is not None and command.epoch != self._epoch():
            self._hub.flush()
            ended(CaughtUp(self._catchup.reached(connection), 0, False, "other_epoch"))
            self._catchup.release(connection)
            return
        self._catchup.resume(connection, cursor_of(command.cursor), ended)

    def subscribe(self, connection: Connection, command: commands.Subscribe) -> None:
        reply_to, conversation_id = command.id, command.conversation_id

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"seq": caught.seq, "recovered": caught.recovered}
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(
                Frame(
                    objects.frame("subscribed", reply_to, conversation_id=conversation_id, **told)
                )
            )

        def failed(problem: MadangError) -> None:
            connection.write(Frame(objects.error(problem, reply_to)))

        self._catchup.subscribe(connection, conversation_id, command.after, ended, failed)

    def unsubscribe(self, connection: Connection, command: commands.Unsubscribe) -> None:
        conversation_id = command.conversation_id
        member = connection.member
        if member is None or not self._hub.is_in(member, conversation_id):
            raise NotAParticipant
        self._hub.flush()
        connection.mute(conversation_id)
        told = objects.frame("unsubscribed", command.id, conversation_id=conversation_id)
        connection.write(Frame(told))
