"""A connection's seat in a session: how it comes in, so that it misses nothing and gets nothing
twice, whatever happens meanwhile.

Nothing is told to it until it is caught up: what it missed, then every answer under way as far as
the channel was told of it, all of it in pieces, as fast as the connection takes them. In the turn
in which that is all, it joins the channel.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from madang.clock import Clock
from madang.delivery.catchup import ToldLog
from madang.delivery.stream import chunk_frame, rest_of, step_frame
from madang.delivery.streams import Streams
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.hub.hub import CHANGES, Hub, Member
from madang.model.nouns import Event, Message
from madang.model.runs import SessionView
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.surfaces.agents import frames
from madang.surfaces.unheard import Unheard

FIRST_PAGE = 16
PAGE = 500
"""Events that are read at once, beginning with a few: how large they are is not known before."""
PAGE_BYTES = 128 * 1024
AT_ONCE = 4
"""Who come in and are served in the same turn of the loop; the others wait for theirs."""
MOST_MISSED = 5_000
"""Events that a connection is sent when it comes back; a longer gap is the history's to fill."""
PIECE = 64 * 1024
"""Characters of an answer in one frame, and bytes that a connection may have to take yet when more
is written to it."""
ESCAPED = 6
"""Bytes that a character takes in JSON, at most."""
DRAIN_SECONDS = 0.01
LONGEST_DRAIN_SECONDS = 0.5
"""Between two looks whether a connection has taken what it was sent: the longer it takes nothing,
the less often it is looked at."""
PATIENCE_SECONDS = 60.0
"""How long a connection may take nothing of what it was sent."""
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


@dataclass(eq=False, slots=True)
class _Had:
    """What a seat has been told on its way in: all events up to `seq`, of the answer that the event
    after it ends (`within`) the text up to `offset`, of answers under way what is in `so_far`.
    `stale`: what was read for it is not so any more."""

    seq: int
    within: int | None = None
    offset: int = 0
    stale: bool = False
    so_far: dict[str, _SoFar] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _SoFar:
    """What it has been told of an answer under way."""

    offset: int = 0
    steps: dict[int, Mapping[str, Any]] = field(default_factory=dict)


class Seats:
    """Brings connections in.

    Args:
        limit: unsent bytes at which a connection is closed.
    """

    def __init__(
        self, hub: Hub, log: ToldLog, store: Store, streams: Streams, clock: Clock, *, limit: int
    ) -> None:
        self._hub = hub
        self._log = log
        self._store = store
        self._streams = streams
        self._clock = clock
        # What waits and the longest piece on top of it stay below the limit.
        self._piece = min(PIECE, limit // (ESCAPED + 2))
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._entering: dict[str, list[_Had]] = {}

    def watched(self, event: Event) -> None:
        """An event, before it is told here: what was read before it, and not sent, is read anew
        where it changes that."""
        if event.type in CHANGES or event.conversation is not None:
            for had in self._entering.get(event.conversation_id, ()):
                had.stale = True

    async def enter(
        self, seat: Seat, welcome: Callable[[Seat, SessionView, int, bool], None]
    ) -> bool:
        """Seat it: `welcome(seat, session, seq, recovered)`, what it missed after `seat.after`,
        the answers under way, and from then on everything. Whether it is seated: one that may not
        be is closed, and one that takes nothing for `PATIENCE_SECONDS`.

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
        had = _Had(at)
        entering = self._entering.setdefault(room, [])
        entering.append(had)
        try:
            return await self._bring_in(seat, had, told)
        finally:
            entering.remove(had)
            if not entering:
                del self._entering[room]

    async def _bring_in(self, seat: Seat, had: _Had, told: int) -> bool:
        connection, room = seat.connection, seat.session_id
        while await self._tell_missed(seat, had, told):
            for run in await self._store.runs_under_way(seat.own.org_id, room):
                if run.status == "streaming":
                    await self._streams.join(run)
            while self._may_hear(seat):
                async with self._turns:
                    if not self._may_hear(seat):
                        return False
                    self._hub.flush()
                    channel = self._hub.channels[room]
                    if channel.last_seq > told:
                        told = channel.last_seq  # More happened meanwhile.
                        break
                    if self._write(connection, self._so_far(room, had)):
                        self._hub.join(seat.own, room)
                        seat.ready = True
                        return connection.open
                    await asyncio.sleep(0)
                await self._drained(connection)
        return False

    def _may_hear(self, seat: Seat) -> bool:
        """Whether it is there, and its user in the session: else it is closed."""
        if not seat.connection.open:
            return False
        if self._hub.is_in(seat.user, seat.session_id):
            return True
        seat.connection.close(CloseCode.NOT_ALLOWED, NO_SESSION)
        return False

    async def _tell_missed(self, seat: Seat, had: _Had, told: int) -> bool:
        """Tell it all events up to `told`. Whether it may hear more."""
        connection = seat.connection
        limit = FIRST_PAGE
        left: Iterator[Frame] | None = None
        while self._may_hear(seat) and (left is not None or had.seq < told):
            async with self._turns:
                if not self._may_hear(seat):
                    return False
                if left is None or had.stale:
                    had.stale = False
                    page = await self._store.events_of_conversation(
                        seat.own.org_id, seat.session_id, had.seq, told, limit, PAGE_BYTES
                    )
                    # How large they are is looked at for all of them, however few are read then.
                    limit = min(PAGE, max(FIRST_PAGE, 2 * len(page)))
                    left = _missed(page, had, self._piece)
                    if not page:
                        had.seq = told
                    if had.stale or not self._may_hear(seat):
                        continue
                if self._write(connection, left):
                    left = None
                # What was written leaves with the turn, and the next one is for others too.
                await asyncio.sleep(0)
            await self._drained(connection)
        return self._may_hear(seat)

    def _so_far(self, room: str, had: _Had) -> Iterator[Frame]:
        """What it has not been told of the answers under way, and `had` with each frame that is
        taken."""
        for stream in self._streams.of(room):
            if not stream.begun:
                continue
            so_far = had.so_far.get(stream.message_id)
            if so_far is None:
                so_far = had.so_far[stream.message_id] = _SoFar()
                yield Frame(orjson.dumps(frames.start_so_far(stream)))
            for number, step in stream.steps.items():
                if so_far.steps.get(number) is not step:
                    so_far.steps[number] = step
                    yield Frame(step_frame(stream.message_id, step, so_far=True))
            while so_far.offset < stream.length:
                offset = so_far.offset
                so_far.offset = min(stream.length, offset + self._piece)
                yield rest_of(stream, offset, self._piece)

    def _write(self, connection: Connection, told: Iterator[Frame]) -> bool:
        """Write some of it, as much as the connection may have to take at once. Whether that was
        all."""
        while connection.unsent <= self._piece:
            frame = next(told, None)
            if frame is None:
                return True
            connection.write(frame)
        return False

    async def _drained(self, connection: Connection) -> None:
        """Wait until it may be written to again. It is closed where it takes nothing."""
        unsent, pause, patience = connection.unsent, DRAIN_SECONDS, PATIENCE_SECONDS
        while connection.open and unsent > self._piece:
            if patience <= 0:
                connection.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")
                return
            await self._clock.sleep(pause)
            patience -= pause
            pause = min(2 * pause, LONGEST_DRAIN_SECONDS)
            before, unsent = unsent, connection.unsent
            if unsent < before:
                pause, patience = DRAIN_SECONDS, PATIENCE_SECONDS


def _missed(events: Sequence[Event], had: _Had, piece: int) -> Iterator[Frame]:
    """Events for somebody who was not here, and `had` with each frame that is taken: an answer
    whole at its end, in pieces. One that is still under way comes with the others of its kind."""
    for event in events:
        message = event.message
        if message is not None and message.message_type == "stream":
            if event.type == "message.new":
                had.seq = event.seq
                continue
            if event.type == "run.ended":
                yield from _ended(event, message, had, piece)
        told = frames.encode_event(event)
        had.seq = event.seq
        if told is not None:
            yield Frame(told)


def _ended(event: Event, message: Message, had: _Had, piece: int) -> Iterator[Frame]:
    """The answer up to its end, but for what was told of it while it was under way."""
    if had.within != event.seq:
        begun = had.so_far.pop(message.id, None)
        had.within, had.offset = event.seq, 0 if begun is None else begun.offset
        if begun is None:
            yield Frame(orjson.dumps(frames.stream_start(message)))
    text, index = message.content, event.data.get("index", 0)
    while had.offset < len(text):
        offset = had.offset
        had.offset = min(len(text), offset + piece)
        yield Frame(chunk_frame(message.id, text[offset : had.offset], index, offset))
