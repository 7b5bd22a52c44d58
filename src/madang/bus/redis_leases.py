"""How users are on all nodes together: leases that a node renews while it lives.

Keys: `presence:{org}:{user_id}` is a hash with a field a node, `STATUS DEVICES EXPIRY ZONES` (by
the server's clock, milliseconds since the epoch; a JSON list). `presence:{org}` is the set of users
that may have one. `nodes` is a sorted set of nodes by when they are
taken for gone, `node:{node}:users` the set of users that a node has leases on: so others find them
when it is gone. `node:{node}:ended` says that others began to end a node's leases.

Whoever takes away a field that ran out is told the turn, and only they: that is what gives each
turn to one node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from madang.bus.redis_ask import AT_ONCE, Ask, Asking, scripted
from madang.bus.redis_scripts import BEAT, FORGET, GONE, HOLD, PRESENT, PRUNE
from madang.model.presence import Status
from madang.ports.bus import NO_ORG, Lease, Turn
from madang.protocol.errors import Unavailable

LEASE_SECONDS = 30.0
RENEW_SECONDS = 10.0
BEAT_SECONDS = 2.0
"""Between two signs of life of a node. The same look finds out that the server was flushed."""

LEAVING_SECONDS = 5.0
"""How long the leases of a node that stops outlive it."""

KEEP_SECONDS = 600
"""How long what a node left behind is kept, so that another node can end it and tell: longer than
all nodes together are away."""

ENDED_AT_ONCE = 5_000
"""Turns of nodes that are gone which one call of `expired` gives."""


class Leases:
    """This node's leases, and the look at all."""

    def __init__(
        self,
        asking: Asking,
        node: str,
        prefix: str,
        lease_seconds: float = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self._asking = asking
        self._node = node
        self._prefix = prefix
        self._lease = round(lease_seconds * 1000)
        self._node_lease = round((lease_seconds + min(lease_seconds, BEAT_SECONDS)) * 1000)
        self._renew_seconds = renew_seconds
        self._nodes = f"{prefix}nodes".encode()
        self._held: dict[tuple[str, str], Lease] = {}
        self._unsaid: dict[tuple[str, str], Status] = {}
        self._beaten = False
        self._turns: list[Turn] = []
        self._renewed_at: float | None = None

    def __len__(self) -> int:
        """How many this node holds."""
        return len(self._held)

    # Keys.

    def _key(self, org_id: str, user_id: str) -> bytes:
        # A colon in an org would make two users' keys one.
        org = org_id.replace("%", "%25").replace(":", "%3A")
        return f"{self._prefix}presence:{org}:{user_id}".encode()

    def _of_org(self, org_id: str) -> bytes:
        org = org_id.replace("%", "%25").replace(":", "%3A")
        return f"{self._prefix}presence:{org}".encode()

    def _users(self, node: str) -> bytes:
        return f"{self._prefix}node:{node}:users".encode()

    def _ended(self, node: str) -> bytes:
        return f"{self._prefix}node:{node}:ended".encode()

    # Holding.

    def _hold_ask(self, key: tuple[str, str]) -> Ask:
        lease = self._held.get(key)
        status, devices = ("offline", 0) if lease is None else (lease.status, lease.devices)
        zones = orjson.dumps(() if lease is None else lease.zones).decode()
        keep = KEEP_SECONDS * 1000
        return scripted(
            HOLD, self._key(*key), self._node, status, devices, self._lease, keep, zones
        )

    async def hold(self, leases: Sequence[Lease]) -> Sequence[Turn]:
        """As `ports.bus.Bus.hold`. What cannot be said now is still this node's wish: it is said
        when the bus is back, and `expired` gives the turn."""
        keys = [(lease.org_id, lease.user_id) for lease in leases]
        before = {key: held.status for key in keys if (held := self._held.get(key)) is not None}
        for key, lease in zip(keys, leases, strict=True):
            if lease.devices:
                self._held[key] = lease
            else:
                self._held.pop(key, None)
        try:
            return await self._hold(keys)
        except Unavailable:
            for key in keys:
                self._unsaid.setdefault(key, before.get(key, "offline"))
            raise

    async def _hold(self, keys: Sequence[tuple[str, str]]) -> list[Turn]:
        """Say how these users are on this node now: what is said last is so, whoever waits."""
        turns: list[Turn] = []
        index = self._users(self._node)
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            held = [key for key in part if key in self._held]
            gone = [key for key in part if key not in self._held]
            # First in the index, last out of it: a node that ends in between leaves none unfound.
            asks: list[Ask] = []
            if held:
                asks.append((index, ("SADD", index, *map(orjson.dumps, held))))
                asks.append((index, ("EXPIRE", index, KEEP_SECONDS)))
                for org_id in {org_id for org_id, _ in held} - {NO_ORG}:
                    here = self._of_org(org_id)
                    users = [user_id for org, user_id in held if org == org_id]
                    asks.append((here, ("SADD", here, *users)))
                    asks.append((here, ("EXPIRE", here, KEEP_SECONDS)))
                if not self._beaten:
                    self._beaten = True
                    asks.append(self._beat())
            first = len(asks)
            asks += map(self._hold_ask, part)
            if gone:
                asks.append((index, ("SREM", index, *map(orjson.dumps, gone))))
            replies = await self._asking.ask(asks)
            turns += [
                Turn(*key, before.decode(), now.decode(), int(at))
                for key, (before, now, at) in zip(part, replies[first:], strict=False)
            ]
        return turns

    def _beat(self) -> Ask:
        return scripted(BEAT, self._nodes, self._node, self._node_lease)

    async def beat(self, now: float) -> None:
        """A sign of life, due every `BEAT_SECONDS` or sooner; renews the leases when that is due or
        they were lost.

        Args:
            now: seconds, monotonic.

        Raises:
            Unavailable: the bus is away.
        """
        if not self._held and not self._beaten and not self._unsaid:
            return
        known = await self._asking.one(self._beat())
        lost = self._beaten and not known
        self._beaten = True
        if self._unsaid:
            await self._say()
        if self._renewed_at is None:
            self._renewed_at = now
        if lost or now - self._renewed_at >= self._renew_seconds:
            await self._renew()
            self._renewed_at = now

    async def _say(self) -> None:
        """Say what could not be said when it was so."""
        unsaid, self._unsaid = self._unsaid, {}
        try:
            turns = await self._hold(list(unsaid))
        except Unavailable:
            self._unsaid = {**self._unsaid, **unsaid}
            raise
        for turn in turns:
            # The server may have lost how the user was; the others were told by this node.
            was = unsaid[turn.org_id, turn.user_id]
            before = was if turn.before == turn.now else turn.before
            if before != turn.now:
                self._turns.append(replace(turn, before=before))

    async def _renew(self) -> None:
        """Set all leases again. Turns that this brings are told by `expired` if it was another
        node that had ended them, and told that; after a flush nobody has."""
        turns = [turn for turn in await self._hold(list(self._held)) if turn.before != turn.now]
        if turns:
            ended = self._ended(self._node)
            if await self._asking.one((ended, ("GETDEL", ended))) is not None:
                self._turns += turns

    async def close(self) -> None:
        """Let this node's leases run out soon. Its users have that long to come back on another
        node as if nothing were; of those who do not another node tells.

        Raises:
            Unavailable: the bus is away; they run out later.
        """
        if not self._beaten:
            return
        self._lease = self._node_lease = min(self._lease, round(LEAVING_SECONDS * 1000))
        await self._hold(list(self._held))
        await self._asking.one(self._beat())
        self._held.clear()

    # Looking.

    async def expired(self) -> Sequence[Turn]:
        """As `ports.bus.Bus.expired`."""
        turns, self._turns = self._turns, []
        try:
            for node in await self._asking.one(scripted(GONE, self._nodes)):
                if len(turns) >= ENDED_AT_ONCE:
                    break
                await self._end(node.decode(), turns)
        except BaseException:
            self._turns = turns + self._turns  # Given once: they go to whoever asks next here.
            raise
        return turns

    async def _end(self, node: str, turns: list[Turn]) -> None:
        """End a gone node's leases, adding the turns."""
        users, ended = self._users(node), self._ended(node)
        await self._asking.one((ended, ("SET", ended, 1, "EX", KEEP_SECONDS)))
        while len(turns) < ENDED_AT_ONCE:
            # Some at random: nodes that do this at the same time seldom take the same.
            members = await self._asking.one((users, ("SRANDMEMBER", users, AT_ONCE)))
            if not members:
                await self._asking.one(scripted(FORGET, self._nodes, node))
                return
            keys: list[tuple[str, str]] = [tuple(orjson.loads(member)) for member in members]
            replies: list[Any] = await self._asking.ask(
                [scripted(PRUNE, self._key(*key), node) for key in keys]
            )
            done = []
            for member, key, (before, now, at, holds) in zip(members, keys, replies, strict=True):
                if before != now:
                    turns.append(Turn(*key, before.decode(), now.decode(), int(at)))
                if not holds:
                    done.append(member)
            if not done:
                return  # The node is back, or its leases run a moment longer than it.
            await self._asking.one((users, ("SREM", users, *done)))

    async def present(self, org_id: str, user_ids: Sequence[str]) -> Mapping[str, Lease]:
        """As `ports.bus.Bus.present`."""
        replies = await self._asking.ask(
            [scripted(PRESENT, self._key(org_id, user_id)) for user_id in user_ids]
        )
        return {
            user_id: Lease(org_id, user_id, status.decode(), devices, _zones(zones))
            for user_id, (status, devices, zones) in zip(user_ids, replies, strict=True)
            if devices
        }

    async def online(self, org_id: str) -> Mapping[str, Lease]:
        """As `ports.bus.Bus.online`. Who is found to be nowhere is taken out of the set."""
        here = self._of_org(org_id)
        users = [user.decode() for user in await self._asking.one((here, ("SMEMBERS", here)))]
        found: dict[str, Lease] = {}
        for start in range(0, len(users), AT_ONCE):
            found |= await self.present(org_id, users[start : start + AT_ONCE])
        gone = [user for user in users if user not in found]
        if gone:
            await self._asking.one((here, ("SREM", here, *gone)))
        return found


def _zones(lists: Sequence[bytes]) -> tuple[str, ...]:
    """The zones of several leases, each a JSON list, together."""
    return tuple(sorted({zone for one in lists for zone in orjson.loads(one)}))
