"""Catching up: what a connection missed, from this node's memory or from the log.

While a connection catches up its live events are held, so that what it missed goes out first and
every conversation stays in order. Storms are cheap: who comes back soon is served from the
channels' recent events without a query, and reads of the log are admitted a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from madang.clock import Clock
from madang.hub.connection import Connection
from madang.hub.frame import Outgoing
from madang.hub.hub import Hub, Member
from madang.model.nouns import Event
from madang.ports import Loss, Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError, NotAParticipant, Unavailable

log = structlog.get_logger(__name__)

READERS = 16
"""Catch-ups that read the log at the same time; the others wait their turn."""
PAGE = 500
IN_ONE_WRITE = 256 * 1024
"""Bytes handed to a connection at once; after that it must have sent them."""
DRAIN_POLL_SECONDS = 0.01

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


class Catchup:
    """Resumes connections and subscriptions.

    Args:
        limit: bytes of live events held for one connection while it catches up.
        most: events that are replayed to one connection; beyond that `too_many`.
    """

    def __init__(self, hub: Hub, store: Store, clock: Clock, *, limit: int, most: int) -> None:
        self._hub = hub
        self._store = store
        self._clock = clock
        self._limit = limit
        self._most = most
        self._admitted = asyncio.Semaphore(READERS)
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self._subscribed: dict[Connection, dict[str, int]] = {}

    def hold(self, connection: Connection) -> None:
        """Keep live events back until the connection has said where it stands."""
        connection.hold(self._limit)

    def release(self, connection: Connection) -> None:
        """It has nothing to catch up: go live, unless a catch-up is under way."""
        if connection not in self._tasks:
            connection.release()

    def busy(self, connection: Connection) -> bool:
        return connection in self._tasks

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._subscribed.pop(connection, None)
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()

    # Everything after a cursor.

    def resume(
        self,
        connection: Connection,
        cursor: int,
        ended: Callable[[CaughtUp], None],
        *,
        whole_org: bool = False,
    ) -> None:
        """Send all events after `cursor` that the connection has not had, then call `ended`.

        `ended` is called after the missed events and before live ones.
        """
        member = _member(connection)
        if not whole_org and connection not in self._tasks:
            self._hub.flush()
            found = self._remembered(connection, member, cursor)
            if found is not None:
                connection.hold(self._limit)
                self._finish(connection, cursor, found, ended)
                return
        self._run(connection, self._resume(connection, member, cursor, ended, whole_org))

    def _remembered(
        self, connection: Connection, member: Member, cursor: int
    ) -> list[Outgoing] | None:
        """What came between `cursor` and the connection's floor, if memory holds all of it."""
        floor = connection.floor
        if cursor > self._hub.heads.get(member.org_id, 0):
            return None
        if cursor >= floor:
            return []
        if member.since > cursor or connection in self._subscribed:
            return None
        found: list[Outgoing] = []
        for channel in member.channels:
            if channel.since > cursor:
                return None
            found.extend(_between(channel.recent or (), cursor, floor))
        found.extend(_between(member.departed, cursor, floor))
        found.sort(key=_cursor)
        size = sum(len(f.text) for item in found if (f := item.frame_for(connection)))
        return found if size <= IN_ONE_WRITE and len(found) <= self._most else None

    def _finish(
        self,
        connection: Connection,
        cursor: int,
        found: Sequence[Outgoing],
        ended: Callable[[CaughtUp], None],
    ) -> None:
        sent = _send(connection, found)
        connection.floor = min(connection.floor, cursor)
        ended(CaughtUp(max(self._reached(connection), cursor), sent))
        connection.release()

    async def _resume(
        self,
        connection: Connection,
        member: Member,
        cursor: int,
        ended: Callable[[CaughtUp], None],
        whole_org: bool,
    ) -> None:
        async with self._admitted:
            self._hub.flush()
            org_id, floor = member.org_id, connection.floor
            reason: Reason | None = await self._store.why_lost(org_id, cursor)
            had = self._subscribed.get(connection, {})
            found: list[Event] = []
            at = cursor
            while reason is None:
                if whole_org:
                    page = await self._store.events_of_org(org_id, at, floor, PAGE)
                else:
                    page = await self._store.events_for_user(
                        org_id, member.user_id, at, floor, PAGE
                    )
                found.extend(page)
                if len(found) > self._most:
                    reason = "too_many"
                elif len(page) < PAGE:
                    break
                else:
                    at = page[-1].cursor
            if reason is not None:
                self._hub.flush()
                ended(CaughtUp(self._reached(connection), 0, False, reason))
                return
            kept = [
                event for event in found if event.seq <= had.get(event.conversation_id, event.seq)
            ]
            sent = await self._send_slowly(connection, member, kept, whole_org=whole_org)
            connection.floor = min(connection.floor, cursor)
            self._hub.flush()
            ended(CaughtUp(max(self._reached(connection), cursor), sent))

    def _reached(self, connection: Connection) -> int:
        """Up to where the connection has had everything: the head, or what is still held back for
        it. A client may keep this cursor and drop before the held events reach it."""
        detour = connection.detour
        if detour is not None and detour.held:
            first = detour.held[0].event
            assert first is not None, "only events are held"
            return first.cursor - 1
        return self._hub.heads.get(_member(connection).org_id, 0)

    # One conversation after a seq.

    def subscribe(
        self,
        connection: Connection,
        conversation_id: str,
        after: int | None,
        ended: Callable[[CaughtUp], None],
        failed: Callable[[MadangError], None],
    ) -> None:
        """Send the conversation's events after `after` (a seq or a cursor) that the connection
        has not had, then call `ended`; without `after` only tell where the conversation stands.

        Calls `failed` with NotAParticipant for one that the user is not in.
        """
        member = _member(connection)
        if not self._hub.is_in(member, conversation_id):
            failed(NotAParticipant())
            return
        self._run(
            connection, self._subscribe(connection, member, conversation_id, after, ended, failed)
        )

    async def _subscribe(
        self,
        connection: Connection,
        member: Member,
        conversation_id: str,
        after: int | None,
        ended: Callable[[CaughtUp], None],
        failed: Callable[[MadangError], None],
    ) -> None:
        async with self._admitted:
            self._hub.flush()
            org_id, floor = member.org_id, connection.floor
            detour = connection.detour
            if detour is not None and conversation_id in detour.muted:
                detour.muted.discard(conversation_id)
                floor = self._hub.heads.get(org_id, 0)
            last = (await self._store.last_seqs([conversation_id])).get(conversation_id, 0)
            # Everything up to here comes from the log, everything after it live.
            live_from = await self._store.seq_at(org_id, conversation_id, floor)
            had = self._subscribed.get(connection, {}).get(conversation_id)
            seq, sent = last, 0
            if after is not None:
                after_seq = after
                if after > _LARGEST_SEQ:
                    lost = await self._store.why_lost(org_id, after)
                    if lost is not None:
                        ended(CaughtUp(0, 0, False, lost, last))
                        return
                    after_seq = await self._store.seq_at(org_id, conversation_id, after)
                if after_seq > last:
                    ended(CaughtUp(0, 0, False, "unknown_cursor", last))
                    return
                until = live_from if had is None else min(live_from, had)
                missed: list[Event] = []
                at = after_seq
                while at < until:
                    page = await self._store.events_of_conversation(
                        org_id, conversation_id, at, until, PAGE
                    )
                    missed.extend(page)
                    if len(page) < PAGE or len(missed) > self._most:
                        break
                    at = page[-1].seq
                if len(missed) > self._most:
                    ended(CaughtUp(0, 0, False, "too_many", last))
                    return
                sent = await self._send_slowly(connection, member, missed)
                lowest = after_seq if had is None else min(had, after_seq)
                if lowest < live_from:
                    self._subscribed.setdefault(connection, {})[conversation_id] = lowest
            if not self._hub.is_in(member, conversation_id):
                failed(NotAParticipant())
                return
            self._hub.flush()
            ended(CaughtUp(0, sent, seq=seq))

    # What both need.

    async def _send_slowly(
        self,
        connection: Connection,
        member: Member,
        events: Sequence[Event],
        *,
        whole_org: bool = False,
    ) -> int:
        """Send events page by page, as fast as the connection takes them."""
        sent = 0
        waited = 0.0
        for start in range(0, len(events), PAGE):
            while connection.open and connection.unsent > IN_ONE_WRITE:
                await self._clock.sleep(DRAIN_POLL_SECONDS)
                waited += DRAIN_POLL_SECONDS
                if waited > _PATIENCE_SECONDS:
                    connection.close(CloseCode.TOO_SLOW, "Too slow: reconnect and resume")
            if not connection.open:
                break
            page = events[start : start + PAGE]
            sent += _send(
                connection,
                [
                    Outgoing(0, event.conversation_id, event=event, encoders=self._hub.encoders)
                    for event in page
                    if whole_org or self._may_see(member, event)
                ],
            )
        return sent

    def _may_see(self, member: Member, event: Event) -> bool:
        """Access may have ended since the page was read."""
        if self._hub.is_in(member, event.conversation_id):
            return True
        return event.type == "participant.left" and event.user_id == member.user_id

    def _run(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        """One catch-up after the other for a connection; live events are held until the last."""
        connection.hold(self._limit)
        before = self._tasks.get(connection)
        task = asyncio.get_running_loop().create_task(self._after(before, connection, work))
        self._tasks[connection] = task

    async def _after(
        self,
        before: asyncio.Task[None] | None,
        connection: Connection,
        work: Coroutine[Any, Any, None],
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            await work
        except Unavailable:
            connection.close(CloseCode.TRY_LATER, "Temporarily unavailable")
        except Exception:
            log.exception("catch-up failed")
            connection.close(CloseCode.INTERNAL, "Internal error")
        finally:
            if self._tasks.get(connection) is asyncio.current_task():
                del self._tasks[connection]
                connection.release()


_LARGEST_SEQ = 10**9
"""A bigger `after` is a cursor: microseconds have not been this few since 1970."""
_PATIENCE_SECONDS = 60.0


def _member(connection: Connection) -> Member:
    assert connection.member is not None, "a connection catches up only after it was attached"
    return connection.member


def _between(outgoing: Iterable[Outgoing], after: int, until: int) -> list[Outgoing]:
    return [item for item in outgoing if after < _cursor(item) <= until]


def _cursor(outgoing: Outgoing) -> int:
    assert outgoing.event is not None
    return outgoing.event.cursor


def _send(connection: Connection, outgoing: Sequence[Outgoing]) -> int:
    frames = [frame for item in outgoing if (frame := item.frame_for(connection)) is not None]
    if frames:
        connection.write_frames(frames)
    return len(frames)
