"""When many come back at once: what they have missed is read for all of them together.

The conversations of those who wait are read once, into the memory that the channels keep for those
who come back soon; from there each is served as if they had never been away for long. What does
not fit there is left to a read of one's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from madang.hub.frame import Outgoing
from madang.hub.hub import RECENT_EVENTS, Channel, Hub, Member
from madang.model.nouns import Event
from madang.ports.store import Loss, Store
from madang.tasks import Tasks

TOGETHER = 200
"""Members who are served by one read, at most."""
CHANNELS_A_READ = 50
EACH = 100
"""Events of a conversation that are read. A read is 5,000 of them at most."""
MOST_CHANNELS = 1_000
"""Conversations that are read for those who are served together; the rest is not shared."""


@dataclass(eq=False, slots=True)
class _Waiting:
    member: Member
    cursor: int
    lost: asyncio.Future[Loss | None]


class Storm:
    """Fills the memory of channels for those who wait."""

    def __init__(self, hub: Hub, store: Store) -> None:
        self.reads = 0
        self._hub = hub
        self._store = store
        self._waiting: dict[str, list[_Waiting]] = {}
        self._tasks = Tasks()
        # What was changed while a read was under way: it may have them as they were.
        self._changed: list[Event] | None = None
        self._reading = 0

    async def fill(self, member: Member, cursor: int) -> Loss | None:
        """Read what the member has missed after the cursor, with others who wait for the same.
        Returns why the cursor is lost, if it is.

        Raises:
            Unavailable: the store is away.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(member, cursor, loop.create_future())
        queue = self._waiting.get(member.org_id)
        if queue is None:
            self._waiting[member.org_id] = [waiting]
            self._tasks.start(self._serve(member.org_id), "storm")
        else:
            queue.append(waiting)
        return await waiting.lost

    def changed(self, event: Event) -> None:
        """A message or a conversation was changed by this event."""
        if self._changed is not None:
            self._changed.append(event)

    async def close(self) -> None:
        await self._tasks.close()

    async def _serve(self, org_id: str) -> None:
        queue = self._waiting[org_id]
        while queue:
            # Those who are nearest to the present first: their reads are the smallest.
            queue.sort(key=_cursor, reverse=True)
            together, queue[:] = queue[:TOGETHER], queue[TOGETHER:]
            try:
                lost = await self._read(org_id, together)
            except BaseException as failure:
                for waiting in together:
                    if not waiting.lost.done():
                        waiting.lost.set_exception(failure)
                        waiting.lost.exception()  # Whoever waited may be gone.
                if not isinstance(failure, Exception):
                    raise
                continue
            for waiting in together:
                if not waiting.lost.done():
                    waiting.lost.set_result(lost.get(waiting.cursor))
        del self._waiting[org_id]

    async def _read(self, org_id: str, together: Sequence[_Waiting]) -> dict[int, Loss]:
        after = min(waiting.cursor for waiting in together)
        members = {waiting.member: None for waiting in together}
        lacking = {
            channel: channel.since
            for member in members
            for channel in member.channels
            if channel.since > after
        }
        channels = list(lacking)[:MOST_CHANNELS]
        users = [member.user_id for member in members if member.since > after]
        cursors = sorted({waiting.cursor for waiting in together})
        lost: dict[int, Loss] = {}
        for start in range(0, max(len(channels), 1), CHANNELS_A_READ):
            part = channels[start : start + CHANNELS_A_READ]
            self._reading += 1
            if self._changed is None:
                self._changed = []
            try:
                self.reads += 1
                missed = await self._store.missed(
                    org_id, after, [c.conversation_id for c in part], EACH, users, cursors
                )
                self._fill(part, lacking, missed.events, after)
                self._fill_left(members, users, missed.left, after)
            finally:
                self._reading -= 1
                if not self._reading:
                    self._changed = None
            lost |= missed.lost
            users, cursors = [], []  # Once is enough.
        return lost

    def _fill(
        self,
        channels: Sequence[Channel],
        since: dict[Channel, int],
        events: Sequence[Event],
        after: int,
    ) -> None:
        found: dict[str, list[Event]] = {}
        for event in events:
            found.setdefault(event.conversation_id, []).append(event)
        for channel in channels:
            if channel.since != since[channel]:
                continue  # It has forgotten something meanwhile, or somebody filled it.
            # The read may have cut the oldest off; what is newer was told here.
            latest = found.get(channel.conversation_id, [])
            whole = len(latest) < EACH
            older = [event for event in latest if event.cursor <= channel.since]
            room = RECENT_EVENTS - len(channel.recent or ())
            if len(older) > room:
                older, whole = older[len(older) - room :], False
            if not whole and not older:
                continue
            begins = after if whole else older[0].cursor - 1
            self._hub.remember_before(channel, [self._outgoing(event) for event in older], begins)

    def _fill_left(
        self,
        members: dict[Member, None],
        asked: Sequence[str],
        left: Sequence[Event],
        after: int,
    ) -> None:
        by_user: dict[str, list[Event]] = {}
        for event in left:
            if event.user_id is not None:
                by_user.setdefault(event.user_id, []).append(event)
        for member in members:
            if member.user_id in asked and member.since > after:
                earlier = [e for e in by_user.get(member.user_id, ()) if e.cursor <= member.since]
                member.departed = (*map(self._outgoing, earlier), *member.departed)
                member.since = after

    def _outgoing(self, event: Event) -> Outgoing:
        outgoing = self._hub.outgoing(event)
        for changed in self._changed or ():
            outgoing.bring_up(changed)
        return outgoing


def _cursor(waiting: _Waiting) -> int:
    return waiting.cursor
