"""Catching up: what a connection missed, from this node's memory or from the log.

While a connection catches up its live events are held, so that what it missed goes out first and
every conversation stays in order. Storms are cheap: who comes back soon is served from the
channels' recent events without a query, and reads of the log are admitted a few at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, ParamSpec, Protocol, TypeVar

from madang import logs
from madang.clock import Clock
from madang.delivery.behind import Behind, Holding, Work, held_of, skip
from madang.delivery.storm import Storm
from madang.hub.connection import Connection
from madang.hub.frame import Outgoing
from madang.hub.hub import CHANGES, Hub, Member
from madang.metrics import Tally
from madang.model.nouns import Event
from madang.ports.store import Loss, Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError, NotAParticipant, Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

READERS = 16
"""Reads of the log at the same time for catching up; the others wait their turn."""
MANY = 8
"""Connections that catch up at the same time: from here on they share their reads."""
PAGE = 500
IN_ONE_WRITE = 256 * 1024
"""Bytes handed to a connection at once; it must have sent them before it gets more."""
DRAIN_POLL_SECONDS = 0.01
PATIENCE_SECONDS = 60.0
"""How long a catch-up waits in all for its connection to take what it is sent."""
MOST_WAITING = 2000
"""Catch-ups of one connection waiting for each other: a subscribe for each of its conversations
is honest, more is a flood."""
_LARGEST_SEQ = 10**9
"""A bigger `after` is a cursor: microseconds have not been this few since 1970."""

Reason = Loss | Literal["too_many"]


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """How a catch-up ended. `cursor` is where the connection stands now; `seq` likewise in the
    conversation that was asked for. Not `recovered`: nothing was sent, and `reason` says why."""

    cursor: int
    events: int
    recovered: bool = True
    reason: Reason | None = None
    seq: int = 0


class ToldLog(Protocol):
    """How far this node has told the log: `Delivery`."""

    @property
    def alone(self) -> bool: ...
    async def reach(self, org_id: str, cursor: int | None) -> None: ...


Ended = Callable[[CaughtUp], None]
P = ParamSpec("P")
T = TypeVar("T")


class Catchup:
    """Resumes connections and subscriptions.

    Each connection's catch-ups run one after the other in one task, and its live events are held
    until the last has ended. What is read is sent before more is read, in the pieces that the
    connection takes; only reading needs one of the few places, so a reader that is slow waits for
    nobody but itself.

    Args:
        log: the org's log as this node tells it. A client may come from a node that is further on.
        limit: unsent bytes at which a connection is closed. While it catches up, half of them may
            be live events held for it.
        readers: reads of the log at the same time; fewer than the store's connections, so that
            commits have some.
        most: events that are replayed to one connection; beyond that `too_many`.
    """

    def __init__(
        self,
        hub: Hub,
        store: Store,
        clock: Clock,
        log: ToldLog,
        *,
        limit: int,
        most: int,
        readers: int = READERS,
    ) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock
        self._log = log
        # Half of what may be unsent: what is held comes on top of what was caught up.
        self._holding = Holding(hub, limit // 2)
        self._piece = min(IN_ONE_WRITE, limit // 2)
        self._most = most
        self._reading = asyncio.Semaphore(readers)
        self._storm = Storm(hub, store)
        self._tasks = Tasks()
        self._running = 0
        # From where on each has had its conversations that were asked for one by one: as long as
        # it lives, for what it resumes later must not tell them again.
        self._subscribed: dict[Connection, dict[str, int]] = {}
        self.outcomes = Tally()
        """Catch-ups that ended: recovered, unavailable, or why not recovered."""
        self.sent = 0
        """Events sent by catching up."""

    def hold(self, connection: Connection) -> None:
        """Keep live events back until the connection resumes, or is released. What it subscribes
        to before that is sent, and goes live no sooner: older events may still be asked for."""
        self._holding.hold(connection).expected = True

    def release(self, connection: Connection) -> None:
        """It has nothing to catch up: go live, unless a catch-up is under way."""
        self._expect_no_more(connection)
        self._holding.release(connection)

    def _expect_no_more(self, connection: Connection) -> None:
        behind = self._holding.get(connection)
        if behind is not None:
            behind.expected = False

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._subscribed.pop(connection, None)
        behind = self._holding.forget(connection)
        if behind is not None and behind.task is not None:
            self._running -= 1
            behind.task.cancel()

    def changed(self, event: Event) -> None:
        """A message or a conversation was changed: what is still to be sent tells of it as it is
        now."""
        if event.type not in CHANGES and event.conversation is None:
            return
        self._storm.changed(event)
        self._holding.changed(event)

    async def close(self) -> None:
        await self._tasks.close()
        await self._storm.close()

    # Everything after a cursor.

    def resume(
        self, connection: Connection, cursor: int, ended: Ended, *, whole_org: bool = False
    ) -> None:
        """Send all events after `cursor` that the connection has not had, then call `ended`.

        `ended` is called after the missed events and before live ones.
        """
        self._expect_no_more(connection)
        # With other nodes it is first asked how far they are: what was deleted on one of them is
        # told by none.
        behind = self._holding.get(connection)
        busy = behind is not None and behind.task is not None
        if self._log.alone and not whole_org and not busy:
            self._hub.flush()
            if self._recall(connection, cursor, ended):
                self._holding.release(connection)
                return
        self._run(connection, lambda: self._resume(connection, cursor, ended, whole_org))

    def _recall(self, connection: Connection, cursor: int, ended: Ended) -> bool:
        """Serve a resume from memory, if it can be."""
        found = self._remembered(connection, cursor)
        if found is None:
            return False
        sent = self._tell(connection, self._holding.hold(connection), found)
        self._resumed(connection, cursor, sent, ended)
        return True

    def _remembered(self, connection: Connection, cursor: int) -> list[Outgoing] | None:
        """What came between `cursor` and the connection's floor, if memory holds all of it and it
        fits into one write."""
        member, floor = _member(connection), connection.floor
        if cursor > self._hub.heads.get(member.org_id, 0):
            return None
        if cursor > floor:
            return None  # What is held may be what the client has had elsewhere.
        if cursor == floor:
            return []
        if member.since > cursor or connection in self._subscribed:
            return None
        found: dict[int, Outgoing] = {}
        for remembered in (member.departed, *(channel.recent for channel in member.channels)):
            for outgoing in remembered or ():
                at = _cursor(outgoing)
                if cursor < at <= floor:
                    found[at] = outgoing
        if any(channel.since > cursor for channel in member.channels):
            return None
        ordered = [found[at] for at in sorted(found)]
        size = sum(len(f.text) for item in ordered if (f := item.frame_for(connection)))
        return ordered if size <= self._piece and len(ordered) <= self._most else None

    def _resumed(self, connection: Connection, cursor: int, sent: int, ended: Ended) -> None:
        connection.floor = min(connection.floor, cursor)
        self._holding.drop_ended(connection)
        self.outcomes.add("recovered")
        ended(CaughtUp(max(self.reached(connection), cursor), sent))

    async def _resume(
        self, connection: Connection, cursor: int, ended: Ended, whole_org: bool
    ) -> None:
        self._hub.flush()
        member, floor = _member(connection), connection.floor
        org_id, user_id = member.org_id, None if whole_org else member.user_id
        had = self._subscribed.get(connection, {})

        async def page(after: int) -> list[Event]:
            if user_id is None:
                found = await self._store.events_of_org(org_id, after, floor, PAGE)
            else:
                found = await self._store.events_for_user(org_id, user_id, after, floor, PAGE)
            return found

        await self._log.reach(org_id, None)
        self._hub.flush()
        if not whole_org and self._recall(connection, cursor, ended):
            return
        if not whole_org and self._running > MANY and cursor <= floor:
            # What they have missed is read for all of them.
            reason: Reason | None = await self._storm.fill(member, cursor)
            if reason is None and self._recall(connection, cursor, ended):
                return
        else:
            reason = await self._read(self._store.why_lost, org_id, cursor)
        if reason is None and cursor > floor:
            await self._log.reach(org_id, cursor)
            skip(connection, lambda event: event.cursor <= cursor)
            floor = connection.floor = cursor
        found = [] if reason is not None else await self._read(page, cursor)
        count = len(found)
        if count == PAGE:
            most = self._most
            count = await self._read(self._store.count_events, org_id, user_id, cursor, most + 1)
        if count > self._most:
            # Nothing is sent of a gap that is too long to be filled whole.
            reason = "too_many"
        if reason is not None:
            self._hub.flush()
            self.outcomes.add(reason)
            ended(CaughtUp(self.reached(connection), 0, False, reason))
            return
        sent = 0
        while found and connection.open:
            news = [e for e in found if e.seq <= had.get(e.conversation_id, e.seq)]
            sent += await self._send_slowly(connection, news, whole_org=whole_org)
            found = await self._read(page, found[-1].cursor) if len(found) == PAGE else []
        # What the log did not tell because its user has left since is not told live either.
        await self._log.reach(org_id, None)
        self._hub.flush()
        self._resumed(connection, cursor, sent, ended)

    def reached(self, connection: Connection) -> int:
        """Up to where the connection has had everything: the head, or what is still held back for
        it. A client may keep this cursor and drop before the held events reach it."""
        for outgoing in held_of(connection):
            return _cursor(outgoing) - 1
        return self._hub.heads.get(_member(connection).org_id, 0)

    # One conversation after a seq.

    def subscribe(
        self,
        connection: Connection,
        conversation_id: str,
        after: int | None,
        ended: Ended,
        failed: Callable[[MadangError], None],
    ) -> None:
        """Send the conversation's events after `after` (a seq or a cursor) that the connection
        has not had, then call `ended`; without `after` only tell where the conversation stands.

        Calls `failed` with NotAParticipant for one that the user is not in.
        """
        if not self._hub.is_in(_member(connection), conversation_id):
            failed(NotAParticipant())
            return
        self._run(
            connection, lambda: self._subscribe(connection, conversation_id, after, ended, failed)
        )

    async def _subscribe(
        self,
        connection: Connection,
        conversation_id: str,
        after: int | None,
        ended: Ended,
        failed: Callable[[MadangError], None],
    ) -> None:
        self._hub.flush()
        member, floor = _member(connection), connection.floor
        org_id, lowest = member.org_id, self._subscribed.get(connection, {})
        if connection.unmute(conversation_id):
            # It was told nothing since it unsubscribed: the log has it up to now.
            floor = self._hub.heads.get(org_id, 0)
            lowest.pop(conversation_id, None)
        live_from = await self._read(self._store.seq_at, org_id, conversation_id, floor)
        sent = 0
        if after is not None:
            at = after
            reason: Reason | None = None
            if after > _LARGEST_SEQ:
                reason = await self._read(self._store.why_lost, org_id, after)
                at = await self._read(self._store.seq_at, org_id, conversation_id, after)
            heads = await self._read(self._store.last_seqs, org_id, [conversation_id])
            last = heads.get(conversation_id, 0)
            if live_from < at <= last:
                await self._log.reach(org_id, None)
                skip(connection, lambda e: e.conversation_id == conversation_id and e.seq <= at)
            until = min(live_from, lowest.get(conversation_id, live_from))
            if reason is None and (at > last or until - at > self._most):
                reason = "unknown_cursor" if at > last else "too_many"
            if reason is not None:
                seq = self._reached_seq(connection, conversation_id, live_from)
                self.outcomes.add(reason)
                ended(CaughtUp(0, 0, False, reason, seq))
                return
            if at < until:
                self._subscribed.setdefault(connection, {})[conversation_id] = at
            while at < until and connection.open:
                page = await self._read(
                    self._store.events_of_conversation, org_id, conversation_id, at, until, PAGE
                )
                if not page:
                    break
                sent += await self._send_slowly(connection, page)
                at = page[-1].seq
        if not self._hub.is_in(member, conversation_id):
            failed(NotAParticipant())
            return
        self._hub.flush()
        seq = self._reached_seq(connection, conversation_id, live_from)
        self.outcomes.add("recovered")
        ended(CaughtUp(0, sent, seq=seq))

    def _reached_seq(self, connection: Connection, conversation_id: str, live_from: int) -> int:
        """As `reached`, of one conversation."""
        for outgoing in held_of(connection):
            if outgoing.conversation_id == conversation_id and outgoing.event is not None:
                return outgoing.event.seq - 1
        channel = self._hub.channels.get(conversation_id)
        return max(live_from, 0 if channel is None else channel.last_seq)

    # What both need.

    async def _read(self, query: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Read the log when there is a place for it."""
        async with self._reading:
            return await query(*args, **kwargs)

    async def _send_slowly(
        self, connection: Connection, events: Sequence[Event], *, whole_org: bool = False
    ) -> int:
        """Send events piece by piece, as fast as the connection takes them."""
        member = _member(connection)
        left = deque(map(self._hub.outgoing, events))
        behind = self._holding.hold(connection)
        behind.sending = left
        sent = 0
        patience = PATIENCE_SECONDS
        try:
            while left and connection.open:
                piece: list[Outgoing] = []
                size = 0
                while left and size < self._piece:
                    outgoing = left.popleft()
                    event = outgoing.event
                    if whole_org or (event is not None and self._holding.may_see(member, event)):
                        frame = outgoing.frame_for(connection)
                        size += 0 if frame is None else len(frame.text)
                        piece.append(outgoing)
                sent += self._tell(connection, behind, piece)
                while left and connection.open and connection.unsent > self._piece // 2:
                    await self._clock.sleep(DRAIN_POLL_SECONDS)
                    patience -= DRAIN_POLL_SECONDS
                    if patience < 0:
                        connection.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")
        finally:
            behind.sending = ()
        return sent

    def _tell(self, connection: Connection, behind: Behind, outgoing: Sequence[Outgoing]) -> int:
        """Send these, and remember of each conversation how far it is told."""
        for item in outgoing:
            if item.event is not None:
                behind.told[item.event.conversation_id] = item.event.seq
        sent = _send(connection, outgoing)
        self.sent += sent
        return sent

    def _run(self, connection: Connection, work: Work) -> None:
        """Do it after the connection's other catch-ups."""
        behind = self._holding.hold(connection)
        if len(behind.waiting) >= MOST_WAITING:
            connection.close(CloseCode.TRY_LATER, "Too many catch-ups at once")
            return
        behind.waiting.append(work)
        if behind.task is None:
            self._running += 1
            behind.task = self._tasks.start(self._work(connection, behind))

    async def _work(self, connection: Connection, behind: Behind) -> None:
        try:
            while behind.waiting and connection.open:
                await behind.waiting.popleft()()
        except Unavailable:
            self.outcomes.add("unavailable")
            connection.close(CloseCode.TRY_LATER, "Temporarily unavailable")
        except Exception:
            log.exception("catch-up failed")
            connection.close(CloseCode.INTERNAL, "Internal error")
        finally:
            if self._holding.get(connection) is behind:
                self._running -= 1
                behind.task = None
                behind.waiting.clear()
                self._holding.release(connection)


def _member(connection: Connection) -> Member:
    assert connection.member is not None, "a connection catches up only after it was attached"
    return connection.member


def _cursor(outgoing: Outgoing) -> int:
    assert outgoing.event is not None, "only events are remembered and held"
    return outgoing.event.cursor


def _send(connection: Connection, outgoing: Sequence[Outgoing]) -> int:
    frames = [frame for item in outgoing if (frame := item.frame_for(connection)) is not None]
    if frames:
        connection.write_frames(frames)
    return len(frames)
