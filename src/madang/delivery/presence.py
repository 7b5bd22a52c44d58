"""Presence: who is here, told to those who share a conversation with them.

The state of a user is the best of their devices. A change is told at once, or a second after the
last one was; going offline waits for a grace, so that a reconnect is not told at all. Changes of
many users are gathered for a moment and written once to each who hears of them.

Where there are other nodes, this one holds a lease on each of its users, and what others are told
is the best of all nodes' leases: whoever's lease changes that tells it, once, on every node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import orjson

from madang import logs
from madang.clock import Clock, Timer
from madang.delivery.turns import LastTurns
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame
from madang.hub.hub import Hub, Member
from madang.model.ids import wire_user_id
from madang.model.presence import Status, best
from madang.model.times import iso
from madang.ports.bus import NO_ORG, Bus, Lease, PresenceTold, Turn
from madang.ports.store import Store
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

GATHER_SECONDS = 0.05
AT_MOST_EVERY_SECONDS = 1.0
LOOK_SECONDS = 5
"""How often each node looks for the users of nodes that are gone."""
LARGEST_AUDIENCE = 500
"""In a conversation with more members on this node presence is asked for, not told: a thousand
people arriving in a room of a thousand would be a million frames."""

_FRAME_TYPE: dict[Status, str] = {
    "online": "user.online",
    "dnd": "user.online",
    "away": "user.away",
    "offline": "user.offline",
}


class Presence:
    """Watches connections come, go and fall silent.

    Every connection of a user's counts as one of their devices, whichever surface it speaks; those
    that speak the messenger's words are told of others. Which of them closes last makes no
    difference. Nobody is here by a connection that reads the whole org: it is not `opened`.

    Args:
        away_after: seconds without a frame other than `ping` after which a device is away.
        grace: seconds after the last connection's end before its user is offline.
    """

    def __init__(
        self, hub: Hub, store: Store, bus: Bus, clock: Clock, *, away_after: int, grace: float
    ) -> None:
        self._hub = hub
        self._store = store
        self._bus = bus
        self._clock = clock
        self._away_after = away_after
        self._grace = grace
        self._changed: dict[Member, None] = {}
        self._told_at: dict[Member, float] = {}
        self._here: set[Member] = set()
        self._leaving: dict[Member, Timer] = {}
        self._left_at: dict[Member, int] = {}
        self._timer: Timer | None = None
        self._seen: dict[tuple[str, str], int] = {}
        self._saving = Tasks()
        self._held: dict[Member, tuple[Status, int]] = {}
        self._sharing = Tasks()
        self._ended: list[Turn] = []
        self._looking = False
        self._one_at_a_time = asyncio.Lock()
        self._look_at = 0
        self._watchers: list[Callable[[Turn], None]] = []
        self._others: list[Callable[[Turn], None]] = []
        self._turns = LastTurns(clock)

    def watch(self, watcher: Callable[[Turn], None]) -> None:
        """Call `watcher` with each turn of a user's that is this node's to tell: of all nodes, one
        is called. A turn that is told again after the bus was away may be one that was told."""
        self._watchers.append(watcher)

    def watch_others(self, watcher: Callable[[Turn], None]) -> None:
        """Call `watcher` with each turn of a lease of `NO_ORG` that ended with its node."""
        self._others.append(watcher)

    def _turned(self, turn: Turn) -> None:
        for watcher in self._watchers:
            watcher(turn)

    def opened(self, member: Member) -> None:
        """A connection of the member's was attached, whichever surface it speaks."""
        self._here.add(member)
        leaving = self._leaving.pop(member, None)
        if leaving is not None:
            leaving.cancel()
        self._left_at.pop(member, None)
        self._consider(member)

    def closed(self, member: Member, grace: float | None = None, *, remembers: bool = True) -> None:
        """A connection of the member's was detached. Saying it twice changes nothing. `grace` is
        in seconds, if it is not the usual one; `remembers` says whether `last_seen` is stored."""
        if member not in self._here:
            return
        if member.connections:
            self._consider(member)
            return
        self._here.discard(member)
        now = self._clock.now()
        self._left_at[member] = now
        if remembers:
            self._seen[member.org_id, member.user_id] = now
        seconds = self._grace if grace is None else grace
        self._leaving[member] = self._clock.call_later(seconds, lambda: self._left(member))

    def _left(self, member: Member) -> None:
        """The grace is over and nobody came back."""
        del self._leaving[member]
        self._consider(member)
        if member not in self._changed:
            self._left_at.pop(member, None)

    def acted(self, connection: Connection, now: int) -> None:
        """The client sent something other than a ping: a device that is away by its silence is
        back, one whose user said so stays away."""
        was_silent = now - connection.active >= self._away_after
        connection.active = now
        if was_silent and connection.status == "away":
            self.set(connection, "online")

    def set(self, connection: Connection, status: Status) -> None:
        """The user says how this device is."""
        connection.status = status
        if connection.member in self._here:
            self._consider(connection.member)

    def tick(self, now: int, connections: Iterable[Connection]) -> None:
        """Once a second: devices that fell silent are away, and `last_seen` is stored."""
        silent_since = now - self._away_after
        for connection in connections:
            if connection.active <= silent_since and connection.status == "online":
                self.set(connection, "away")
        if self._seen and not self._saving:
            self._saving.start(self.save())
        if self._bus.shared and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._sharing.start(self._look_for_ended())

    async def close(self) -> None:
        """Write what is not stored yet; nothing is under way after this."""
        if self._timer is not None:
            self._timer.cancel()
        for leaving in self._leaving.values():
            leaving.cancel()
        await self._sharing.close()
        await self._saving.close()
        await self.save()

    async def save(self) -> None:
        """Write `last_seen` of those who left since the last time."""
        by_org: dict[str, dict[str, int]] = {}
        for (org_id, user_id), at in self._seen.items():
            by_org.setdefault(org_id, {})[user_id] = at
        for org_id, users in by_org.items():
            try:
                await self._store.save_last_seen(org_id, users)
            except Unavailable:
                continue  # Kept for the next time.
            except Exception:
                log.exception("last_seen could not be stored", org=org_id, users=len(users))
                continue
            for user_id, at in users.items():
                if self._seen.get((org_id, user_id)) == at:
                    del self._seen[org_id, user_id]

    def status(self, org_id: str, user_id: str) -> tuple[Status, int]:
        """What others see of a user now, and on how many devices."""
        member = self._hub.members.get((org_id, user_id))
        if member is None:
            return "offline", 0
        if not member.connections:
            return ("offline", 0) if member not in self._leaving else (member.presence, 0)
        return best(c.status for c in member.connections), len(member.connections)

    def seen_at(self, org_id: str, user_id: str) -> int | None:
        """When the user was last here (microseconds), if that is not stored yet."""
        return self._seen.get((org_id, user_id))

    async def present(self, org_id: str, user_ids: Sequence[str]) -> Mapping[str, Lease]:
        """Users on all nodes together; who is nowhere is not in it. Of this node alone while the
        bus is away."""
        if self._bus.shared:
            try:
                return await self._bus.present(org_id, user_ids)
            except Unavailable:
                log.warning("the bus is away: presence of this node only")
        return self._here_of(org_id, user_ids)

    def _here_of(self, org_id: str, user_ids: Iterable[str]) -> Mapping[str, Lease]:
        found = {}
        for user_id in user_ids:
            status, devices = self.status(org_id, user_id)
            if devices or status != "offline":
                zones = self._zones(self._hub.members.get((org_id, user_id)))
                found[user_id] = Lease(org_id, user_id, status, devices, zones)
        return found

    async def online(self, org_id: str) -> Mapping[str, Lease]:
        """Everybody of the org who is here, as `present` tells of them."""
        if self._bus.shared:
            try:
                return await self._bus.online(org_id)
            except Unavailable:
                log.warning("the bus is away: presence of this node only")
        return self._here_of(org_id, [user for org, user in self._hub.members if org == org_id])

    def _zones(self, member: Member | None) -> tuple[str, ...]:
        identities = [c.identity for c in member.connections] if member is not None else []
        return tuple(sorted({one.zone for one in identities if one is not None and one.zone}))

    # Telling.

    def _consider(self, member: Member) -> None:
        if self._is_told(member):
            self._changed.pop(member, None)
            return
        self._changed[member] = None
        if self._timer is None:
            self._timer = self._clock.call_later(GATHER_SECONDS, self._tell)

    def _is_told(self, member: Member) -> bool:
        status = self._now(member)
        if not self._bus.shared:
            return status == member.presence
        return self._held.get(member, ("offline", 0)) == (status, self._devices(member))

    def _devices(self, member: Member) -> int:
        """What the lease says: someone who may come right back still counts as here."""
        return len(member.connections) or int(member in self._leaving)

    def _now(self, member: Member) -> Status:
        if not member.connections and member in self._leaving:
            return member.presence
        return best(connection.status for connection in member.connections)

    def _tell(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        ready = []
        for member in self._changed:
            if now - self._told_at.get(member, -AT_MOST_EVERY_SECONDS) >= AT_MOST_EVERY_SECONDS:
                ready.append(member)
        turned: list[tuple[Member, Status]] = []
        turns: list[Turn] = []
        for member in ready:
            del self._changed[member]
            status = self._now(member)
            if self._is_told(member):
                if member not in self._leaving:
                    self._left_at.pop(member, None)
                continue
            if status != member.presence:
                turns.append(Turn(member.org_id, member.user_id, member.presence, status))
                self._told_at[member] = now
                member.presence = status
            turned.append((member, status))
        if self._bus.shared:
            self._sharing.start(self._share(turned))
        else:
            self._tell_here([self._told(member, status) for member, status in turned])
            for turn in turns:
                self._turned(turn)
        self._told_at = {
            member: at for member, at in self._told_at.items() if now - at < AT_MOST_EVERY_SECONDS
        }
        if self._changed:
            self._timer = self._clock.call_later(AT_MOST_EVERY_SECONDS / 4, self._tell)

    def _told(self, member: Member, status: Status, at: int = 0) -> _Told:
        seen = self._left_at.pop(member, None) if status == "offline" else None
        frame = self._frame(member.user_id, status, seen)
        channels = [c for c in member.channels if len(c.members) <= LARGEST_AUDIENCE]
        rooms = [channel.conversation_id for channel in channels]
        return _Told(member.org_id, member.user_id, frame, rooms, at)

    def _tell_here(self, changes: Iterable[_Told]) -> None:
        """Tell those on this node who share a conversation with each: one write for each who
        hears of something."""
        heard: dict[Member, list[Frame]] = {}
        for change in changes:
            if self._turns.is_old((change.org_id, change.user_id), change.at):
                continue
            for other in self._audience(change):
                heard.setdefault(other, []).append(change.frame)
        for other, frames in heard.items():
            for connection in other.connections:
                if connection.dialect == Dialect.MESSENGER:
                    connection.write_frames(frames)

    # With other nodes.

    async def _share(self, turned: Sequence[tuple[Member, Status]]) -> None:
        """Set this node's leases, and tell everywhere what that turned."""
        async with self._one_at_a_time:
            leases = [
                Lease(
                    member.org_id,
                    member.user_id,
                    status,
                    self._devices(member),
                    self._zones(member),
                )
                for member, status in turned
            ]
            for (member, _), lease in zip(turned, leases, strict=True):
                if lease.devices:
                    self._held[member] = (lease.status, lease.devices)
                else:
                    self._held.pop(member, None)
            try:
                turns = await self._bus.hold(leases)
            except Unavailable:
                # The leases are set when the bus is back; until then people hear of this node.
                turns = [Turn(one.org_id, one.user_id, "offline", one.status) for one in leases]
            turns = [turn for turn in turns if turn.before != turn.now]
            who = {(member.org_id, member.user_id): member for member, _ in turned}
            changes = [
                self._told(who[turn.org_id, turn.user_id], turn.now, turn.at) for turn in turns
            ]
        self._tell_everywhere(changes)
        for turn in turns:
            self._turned(turn)

    async def _look_for_ended(self) -> None:
        """Tell of the users of nodes that are gone, as far as this node is given them."""
        if self._looking:
            return  # A store that is away keeps the last look waiting.
        self._looking = True
        changes = []
        try:
            # Each turn is given once: what cannot be told now is told at the next look.
            self._ended += [turn for turn in await self._bus.expired() if turn.before != turn.now]
            while self._ended:
                turn = self._ended[0]
                if turn.org_id == NO_ORG:
                    self._ended.pop(0)
                    for hear in self._others:
                        hear(turn)
                    continue
                found = await self._store.memberships(turn.org_id, [turn.user_id])
                frame = self._frame(turn.user_id, turn.now, None)
                rooms = found[turn.user_id]
                changes.append(_Told(turn.org_id, turn.user_id, frame, rooms, turn.at))
                self._ended.pop(0)
                self._turned(turn)
        except Unavailable:
            log.warning("who is gone with a node is told later", users=len(self._ended))
        finally:
            self._looking = False
        self._tell_everywhere(changes)

    def _tell_everywhere(self, changes: Sequence[_Told]) -> None:
        self._tell_here(changes)
        by_org: dict[str, list[PresenceTold]] = {}
        for change in changes:
            told = PresenceTold(
                change.user_id, change.frame.text, change.conversation_ids, change.at
            )
            by_org.setdefault(change.org_id, []).append(told)
        for org_id, told_of in by_org.items():
            self._bus.tell_presence(org_id, told_of)

    def heard(self, org_id: str, changes: Sequence[PresenceTold]) -> None:
        """Another node tells of users."""
        self._tell_here(
            _Told(org_id, change.user_id, Frame(change.text), change.conversation_ids, change.at)
            for change in changes
        )

    def share_again(self) -> None:
        """The bus is back: what it did not hear of is shared now."""
        self._held.clear()
        for member in self._here:
            self._consider(member)

    def _frame(self, user_id: str, status: Status, seen: int | None) -> Frame:
        now = self._clock.now()
        return Frame(
            orjson.dumps(
                {
                    "type": _FRAME_TYPE[status],
                    "user_id": wire_user_id(user_id),
                    "status": status,
                    "timestamp": iso(now),
                    "last_seen": iso(now if seen is None else seen),
                }
            )
        )

    def _audience(self, change: _Told) -> AbstractSet[Member]:
        heard: set[Member] = set()
        for conversation_id in change.conversation_ids:
            channel = self._hub.channels.get(conversation_id)
            if (
                channel is not None
                and channel.org_id == change.org_id
                and len(channel.members) <= LARGEST_AUDIENCE
            ):
                heard.update(channel.members)
        return {other for other in heard if other.user_id != change.user_id}


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told of a user, and in which conversations."""

    org_id: str
    user_id: str
    frame: Frame
    conversation_ids: Sequence[str]
    at: int = 0
