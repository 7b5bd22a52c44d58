"""Who is here: written to the log when a seat's first connection comes and when its last one ends.

Of all nodes the one that presence gives the turn writes it. A turn and its write may be overtaken
by the next turn on another node; whoever sees somebody called offline who is connected to it
writes that they are not. And after the first connection to a room here it is looked once whom the
log calls online who is not: those of a node that ended with nobody to notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from madang import logs
from madang.clock import Clock
from madang.delivery.presence import Presence
from madang.hub.hub import Hub, Member
from madang.model.ids import parse_uuid
from madang.model.live import Counts, Room
from madang.model.nouns import Event
from madang.ports.bus import Turn
from madang.ports.live import LiveStore
from madang.ports.store import Store, Writer
from madang.protocol.errors import MadangError, Unavailable
from madang.services.live.seats import SeatOffline, SeatOnline
from madang.surfaces.live.crowds import CROWD, KEEP_SECONDS
from madang.tasks import Tasks

log = logs.get_logger(__name__)

ROLL_CALL_SECONDS = 15.0
"""How long those who were here before a restart have to come back before they count as gone."""
AGAIN_SECONDS = 1.0
"""After which a write that the store was away for is tried again."""

_Seat = tuple[str, str, str]
"""(org_id, conversation_id, participant_id)"""


@dataclass(frozen=True, slots=True)
class Present:
    """Who is in a room, on all nodes together, and what is there."""

    online: Sequence[str]
    """The ids of the seats that are connected, in order."""
    total: int
    """Seats. Whoever opened the room has one from the beginning: it counts from the first time that
    they come themselves."""
    counts: Counts


class Attendance:
    """Writes `SeatOnline` and `SeatOffline`, and knows who is online.

    Args:
        store: for the seats of nodes that are gone, of which only the user is known here.
    """

    def __init__(
        self,
        hub: Hub,
        store: Store,
        live: LiveStore,
        writer: Writer,
        presence: Presence,
        clock: Clock,
    ) -> None:
        self._hub = hub
        self._store = store
        self._live = live
        self._writer = writer
        self._presence = presence
        self._clock = clock
        self._sitting: dict[tuple[str, str], str] = {}
        self._unwritten: set[_Seat] = set()
        self._called: set[str] = set()
        self._asked: dict[str, tuple[float, asyncio.Task[Present]]] = {}
        self._tasks = Tasks()
        presence.watch(self._turned)

    def sat_down(self, member: Member, room: Room) -> None:
        """The member is this room's: a connection of theirs was just opened."""
        self._sitting[member.org_id, member.user_id] = room.id
        if room.id not in self._called:
            self._called.add(room.id)
            self._clock.call_later(ROLL_CALL_SECONDS, lambda: self._call_the_roll(room))

    def emptied(self, room_id: str) -> None:
        """Nobody is connected to the room here any more."""
        self._called.discard(room_id)
        # Who leaves last is told of later, and then asked for; of others the turn may be elsewhere.
        self._sitting = {key: room for key, room in self._sitting.items() if room != room_id}

    def changed(self, event: Event) -> None:
        """Watches the log: see above."""
        if event.type == "participant.offline" and event.user_id is not None:
            member = self._hub.members.get((event.org_id, event.user_id))
            if member is not None and member.connections:
                self._write((event.org_id, event.conversation_id, event.user_id), True)
            else:
                self._sitting.pop((event.org_id, event.user_id), None)

    async def close(self) -> None:
        await self._tasks.close()

    # Who is online.

    async def present(self, room: Room) -> Present:
        """Who is in the room now; a crowd that asks all at once is told what was so
        `crowds.KEEP_SECONDS` ago at most, since that is thousands of names."""
        now = self._clock.monotonic()
        asked = self._asked.get(room.id)
        if asked is None or (asked[1].done() and now >= asked[0]):
            kept = now + (KEEP_SECONDS if self._is_crowd(room) else 0.0)
            self._asked = {one: it for one, it in self._asked.items() if it[0] > now}
            asked = self._asked[room.id] = (kept, self._tasks.start(self._present(room)))
        return await asyncio.shield(asked[1])

    def _is_crowd(self, room: Room) -> bool:
        channel = self._hub.channels.get(room.id)
        return channel is not None and len(channel.members) >= CROWD

    async def _present(self, room: Room) -> Present:
        # It begins in the loop's next turn: who asks from then on needs another.
        if not self._is_crowd(room):
            self._asked.pop(room.id, None)
        called = await self._live.online_seats(room.org_id, room.id)
        found = set(await self._presence.present(room.org_id, called)) if called else set()
        channel = self._hub.channels.get(room.id)
        if channel is not None:
            found.update(member.user_id for member in channel.members if member.connections)
        counts = await self._live.room_counts(room.org_id, room.id)
        total = room.seats
        if room.host_id not in found:
            seat = await self._live.seat(room.org_id, room.id, room.host_id)
            total -= int(seat is not None and seat.gone is None and seat.used_at is None)
        return Present(sorted(found), total, counts)

    # Turns.

    def _turned(self, turn: Turn) -> None:
        if "offline" not in (turn.before, turn.now):
            return
        key = (turn.org_id, turn.user_id)
        here = turn.now != "offline"
        room_id = self._sitting.get(key)
        if room_id is not None:
            self._write((turn.org_id, room_id, turn.user_id), here)
        elif not here and parse_uuid(turn.user_id) is not None:
            self._tasks.start(self._write_of(turn.org_id, turn.user_id))
        member = self._hub.members.get(key)
        if not here and (member is None or not member.connections):
            self._sitting.pop(key, None)

    async def _write_of(self, org_id: str, user_id: str) -> None:
        """Offline with their node: which seat that was is asked."""
        try:
            found = await self._store.memberships(org_id, [user_id])
        except Unavailable:
            log.warning("who left with a node is not known")
            return
        for conversation_id in found.get(user_id, ())[:1]:
            self._write((org_id, conversation_id, user_id), False)

    def _call_the_roll(self, room: Room) -> None:
        if room.id in self._called:
            self._tasks.start(self._find_gone(room))

    async def _find_gone(self, room: Room) -> None:
        try:
            called = await self._live.online_seats(room.org_id, room.id)
            here = await self._presence.present(room.org_id, called)
        except Unavailable:
            self._called.discard(room.id)  # Whoever comes next has it done.
            return
        for participant_id in called:
            if participant_id not in here:
                self._write((room.org_id, room.id, participant_id), False)

    def _write(self, seat: _Seat, here: bool) -> None:
        def done(_: Any, error: MadangError | None) -> None:
            if not isinstance(error, Unavailable):
                return  # Written, or there is no such seat any more.
            if not self._unwritten:
                self._clock.call_later(AGAIN_SECONDS, self._write_again)
            self._unwritten.add(seat)

        self._unwritten.discard(seat)
        self._writer.submit(SeatOnline(*seat) if here else SeatOffline(*seat), done)

    def _write_again(self) -> None:
        """What is true now: what failed may have been overtaken since."""
        unwritten, self._unwritten = self._unwritten, set()
        for seat in unwritten:
            status, _ = self._presence.status(seat[0], seat[2])
            self._write(seat, status != "offline")
