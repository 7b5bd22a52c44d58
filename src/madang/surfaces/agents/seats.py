"""A connection's seat in a session: how it comes in, so that it misses nothing and gets nothing
twice, whatever happens meanwhile.

Nothing is told to it until it is caught up; then it is given every answer under way as far as the
channel was told of it (a long one in pieces, as fast as the connection takes them), and in the
turn in which that is all it joins the channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from madang.clock import Clock
from madang.delivery.catchup import ToldLog
from madang.delivery.stream import chunk_frame, rest_of, steps_so_far
from madang.delivery.streams import Streams
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.hub.hub import Hub, Member
from madang.model.nouns import Event
from madang.model.runs import SessionView
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.surfaces.agents import frames
from madang.surfaces.unheard import Unheard

PAGE = 500
MOST_MISSED = 5_000
"""Events that a connection is sent when it comes back; a longer gap is the history's to fill."""
PIECE = 64 * 1024
"""Characters of answers under way that are written before the connection has taken what was."""
DRAIN_SECONDS = 0.01
PATIENCE_SECONDS = 60.0
"""How long a connection may take for the text so far."""
NO_SESSION = "Session not found"


@dataclass(eq=False, slots=True)
class Seat:
    """One connection in one session. `user` is its member with all their conversations, `own` the
    one beside it that hears this session. What it says before it is `ready` waits."""

    connection: Connection
    session_id: str
    user: Member
    own: Member
    after: int | None
    ready: bool = False
    early: Unheard[str] = field(default_factory=Unheard)
    agent: bool = False
    answering: dict[str, Any] = field(default_factory=dict)
    """Of an agent outside: its answers under way, by what it calls them."""


class Seats:
    """Brings connections in."""

    def __init__(
        self, hub: Hub, log: ToldLog, store: Store, streams: Streams, clock: Clock
    ) -> None:
        self._hub = hub
        self._log = log
        self._store = store
        self._streams = streams
        self._clock = clock

    async def enter(
        self, seat: Seat, welcome: Callable[[Seat, SessionView, int, bool], None]
    ) -> bool:
        """Seat it: `welcome(seat, session, seq, recovered)`, what it missed after `seat.after`,
        the answers under way, and from then on everything. Whether it is seated: one that may not
        be is closed.

        Raises:
            Unavailable: the store is away.
        """
        connection, org_id, room = seat.connection, seat.own.org_id, seat.session_id
        seen = None
        if not self._hub.is_in(seat.user, room):
            await self._log.reach(org_id, None)  # They may have come in on another node just now.
        if self._hub.is_in(seat.user, room):
            seen = await self._store.session(org_id, room, seat.user.user_id)
        if seen is None:
            connection.close(CloseCode.NOT_ALLOWED, NO_SESSION)
            return False
        told = await self._store.seq_at(org_id, room, self._hub.heads.get(org_id, 0))
        at = told if seat.after is None else min(seat.after, told)
        recovered = told - at <= MOST_MISSED and (seat.after is None or seat.after <= told)
        if told - at > MOST_MISSED:
            at = told
        if connection.open:
            welcome(seat, seen, told, recovered)
        had: dict[str, int] = {}
        patience = PATIENCE_SECONDS
        while connection.open and patience > 0:
            while at < told and connection.open:
                page = await self._store.events_of_conversation(org_id, room, at, told, PAGE)
                if not self._hub.is_in(seat.user, room):
                    break
                for event in page:
                    for frame in _missed(event):
                        connection.write(Frame(frame))
                at = page[-1].seq if page else told
            for run in await self._store.runs_under_way(org_id, room):
                if run.status == "streaming":
                    await self._streams.join(run)
            if not self._hub.is_in(seat.user, room):
                connection.close(CloseCode.NOT_ALLOWED, NO_SESSION)
                return False
            self._hub.flush()
            channel = self._hub.channels[room]
            if channel.last_seq > told:
                told = channel.last_seq  # More happened meanwhile.
            elif self._tell_so_far(seat, had):
                self._hub.join(seat.own, room)
                seat.ready = True
                return connection.open
            else:
                while connection.open and connection.unsent > PIECE and patience > 0:
                    await self._clock.sleep(DRAIN_SECONDS)
                    patience -= DRAIN_SECONDS
        if connection.open:
            connection.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")
        return False

    def _tell_so_far(self, seat: Seat, had: dict[str, int]) -> bool:
        """Write the next piece of what the answers under way have said, from what this connection
        `had` on. Whether that is now all of it."""
        room = PIECE
        for stream in self._streams.of(seat.session_id):
            if not stream.begun:
                continue
            if stream.message_id not in had:
                had[stream.message_id] = 0
                start = frames.start_so_far(stream)
                seat.connection.write(Frame(orjson.dumps(start)))
                for frame in steps_so_far(stream):
                    seat.connection.write(frame)
            offset = had[stream.message_id]
            if offset < stream.length:
                seat.connection.write(rest_of(stream, offset, room))
                had[stream.message_id] = min(stream.length, offset + room)
                room -= had[stream.message_id] - offset
                if room <= 0:
                    return False
        return True


def _missed(event: Event) -> list[bytes]:
    """An event for somebody who was not here: an answer whole at its end. One that is still under
    way comes with the others of its kind."""
    message = event.message
    if message is not None and message.message_type == "stream":
        if event.type == "message.new":
            return []
        if event.type == "run.ended":
            start = orjson.dumps(frames.stream_start(message))
            text = message.content
            index = event.data.get("index", 0)
            chunk = [chunk_frame(message.id, text, index, 0)] if text else []
            end = frames.encode_event(event)
            return [start, *chunk, *([] if end is None else [end])]
    told = frames.encode_event(event)
    return [] if told is None else [told]
