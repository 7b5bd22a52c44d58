"""The bus on a Redis or Valkey server, or a cluster of them.

May open sockets and nothing else. What is told goes out once a turn over a connection of its own
and nobody waits for it; what is heard is read straight from another; what is asked has a third. All
three are made anew together when one is lost, everything followed is followed again, and then
the listener knows that it has missed something.

Channels, under the prefix: `conversation:{id}`, `user:{id}` (of all orgs: the payload says which),
`org:{org}`. Payloads are in `madang.bus.wire`, keys in `madang.bus.redis_leases`; `rate:{key}` are
shared limits, and what is acquired stands under its own name.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog

from madang.bus import wire
from madang.bus.address import address_of
from madang.bus.parts import parts_of
from madang.bus.redis_ask import Asking, scripted
from madang.bus.redis_leases import BEAT_SECONDS, LEASE_SECONDS, RENEW_SECONDS, Leases
from madang.bus.redis_link import AWAY, Link, Refused, packed
from madang.bus.redis_scripts import ACQUIRE, ALL, RELEASE, SPEND
from madang.bus.redis_servers import Doors, Servers, slot_of
from madang.clock import Clock
from madang.model.ids import uuid7
from madang.model.nouns import Batch, Event
from madang.ports.bus import Lease, Listener, PresenceTold, SignalTold, Turn
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

log = structlog.get_logger(__name__)

LARGEST_BACKLOG = 64 * 1024 * 1024
"""Bytes told that the sockets may not have taken yet. What is more is dropped: the log has it."""

FIRST_RETRY_SECONDS = 0.05
LONGEST_RETRY_SECONDS = 1.0
PING_SECONDS = 1.5
MISSED_PINGS = 2
"""A server that says nothing for so many pings is lost: after 3 to 4.5 s. Two, because the first
may be missed by a loop that stood still and looks at its clock before its sockets."""

CHANNELS_A_COMMAND = 500
CHANNELS_AT_ONCE = 20_000
"""Followed again before it is confirmed: a server closes a subscriber with megabytes unread."""

CLOSE_SECONDS = 3.0


class RedisBus:
    """`ports.bus.Bus` on a server.

    On one server what a node tells arrives in the order it was told in. On a cluster that is so
    for each channel, and a note may come before its events.

    Args:
        url: as for `madang.bus.address.address_of`. Whether it is a cluster is found out.
        clock: the time, and waiting for it.
        prefix: of all channels and keys.
        lease_seconds: how long a lease outlives its node.
        renew_seconds: how often leases are renewed.

    Raises:
        Unavailable: the URL is none.
    """

    shared = True

    def __init__(
        self,
        url: str,
        clock: Clock,
        prefix: str = "madang:",
        *,
        lease_seconds: float = LEASE_SECONDS,
        renew_seconds: float = RENEW_SECONDS,
    ) -> None:
        self.node = uuid7(clock.now())
        self.told_bytes = 0
        self.heard = 0
        """Payloads of other nodes."""
        self.dropped = 0
        """Payloads that were not told: the bus was away, or did not take them."""
        self.unreadable = 0
        self.reconnects = 0
        self.lag = 0.0
        """Seconds between telling and hearing, of what was heard last (by two machines' clocks)."""
        self._clock = clock
        self._prefix = prefix
        self._mark = wire.mark_of(self.node)
        self._address = address_of(url)
        self._doors = Doors(
            self._address,
            [script.text for script in ALL],
            pushed=self._pushed,
            ended=self._lost,
            complained=self._complained,
        )
        self._asking = Asking(lambda: None if self.away else self._servers, self._doors, self._lost)
        self._leases = Leases(self._asking, self.node, prefix, lease_seconds, renew_seconds)
        self._beat_seconds = min(BEAT_SECONDS, renew_seconds, lease_seconds / 3)
        self._listener: Listener | None = None
        self._servers: Servers | None = None
        self._in_touch = False
        self._parted = asyncio.Event()
        self._tasks = Tasks()
        # What is followed: by channel, and for users in which orgs.
        self._followed: dict[bytes, set[str] | None] = {}
        self._asked: set[bytes] = set()
        # Of a cluster: channels we let go, until it says so. What it says unasked is its own doing.
        self._ending: dict[bytes, int] = {}
        self._changed: dict[bytes, None] = {}
        self._told: list[tuple[bytes, bytes]] = []
        self._told_size = 0
        self._flushing = False

    @property
    def away(self) -> bool:
        return not self._in_touch

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        try:
            self._servers = await self._doors.open()
        except Refused as error:
            raise Unavailable(_refusal(str(self._address), str(error))) from None
        except (OSError, TimeoutError, Unavailable) as error:
            raise Unavailable(
                f"No Redis or Valkey answers at {self._address}: start one there, "
                "or give the bus URL of one that runs"
            ) from error
        self._in_touch = True
        self._tasks.start(self._stay_in_touch(), "bus: stay in touch")
        self._tasks.start(self._ping(), "bus: ping")
        self._tasks.start(self._renew(), "bus: renew leases")

    async def close(self) -> None:
        self._flush()
        await self._tasks.close()
        servers = self._servers
        if servers is not None:
            try:
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._leases.close()
                    await servers.fence()
            except (Unavailable, TimeoutError):
                pass  # Leases end by themselves; what was told is in the log.
            self._listener = None
            self._servers = None
            self._in_touch = False
            servers.close()
            await servers.closed()

    # Staying in touch.

    def _lost(self, why: str) -> None:
        """A part of it is lost: all of it is. Called on the loop, from anywhere."""
        servers, self._servers = self._servers, None
        if servers is None:
            return
        servers.close()
        self._asked.clear()
        self._ending.clear()
        self._parted.set()
        if self._in_touch:
            self._in_touch = False
            log.warning("the bus is away", why=why)
            self._call(lambda listener: listener.lost_touch())

    async def _stay_in_touch(self) -> None:
        while True:
            await self._parted.wait()
            self._parted.clear()
            wait = FIRST_RETRY_SECONDS
            while not await self._again():
                # Jittered: nodes that lost it together do not come back together.
                await self._clock.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(wait * 2, LONGEST_RETRY_SECONDS)

    async def _again(self) -> bool:
        """Connect and follow everything again; whether that went well."""
        try:
            servers = await self._doors.open()
        except (OSError, TimeoutError, Unavailable, Refused):
            return False
        self._servers = servers
        if not all(link.open for link in servers.links):
            self._lost("lost again while it came back")
        try:
            channels = list(self._followed)
            for start in range(0, len(channels), CHANNELS_AT_ONCE):
                self._changed.update(dict.fromkeys(channels[start : start + CHANNELS_AT_ONCE]))
                self._flush()
                await servers.fence()
            self._flush()
            await servers.fence()
        except Unavailable:
            return False
        if self._servers is not servers:
            return False
        # What parted meanwhile were these servers' forerunners.
        self._parted.clear()
        self._in_touch = True
        self.reconnects += 1
        log.info("the bus is back", channels=len(self._asked))
        self._call(lambda listener: listener.in_touch())
        return True

    async def _ping(self) -> None:
        while True:
            await self._clock.sleep(PING_SECONDS)
            servers = self._servers
            for link in servers.links if servers is not None else ():
                if link.missed >= MISSED_PINGS:
                    self._lost(f"{link.address} does not answer")
                    break
                link.ping()

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._beat_seconds)
            try:
                await self._leases.beat(self._clock.monotonic())
            except Unavailable:
                pass  # Next time.

    def _complained(self, words: str) -> None:
        """An error came back for what nobody waits for."""
        self._lost(f"the server refused: {words}")

    def _call(self, tell: Callable[[Listener], None]) -> None:
        """Tell the listener, whose errors are its own."""
        if self._listener is not None:
            try:
                tell(self._listener)
            except Exception:
                log.exception("hearing failed")

    # Following.

    def _channel(self, kind: str, name: str) -> bytes:
        return f"{self._prefix}{kind}:{name}".encode()

    async def follow_org(self, org_id: str) -> None:
        channel = self._channel("org", org_id)
        self._follow(channel)
        self._flush()
        servers = self._servers
        if servers is not None:
            try:
                await servers.of(channel).hear.fence()
            except Unavailable:
                pass  # Away: it is followed when the bus is back, and the listener hears of it.

    def unfollow_org(self, org_id: str) -> None:
        self._unfollow(self._channel("org", org_id))

    def follow_conversation(self, conversation_id: str) -> None:
        self._follow(self._channel("conversation", conversation_id))

    def unfollow_conversation(self, conversation_id: str) -> None:
        self._unfollow(self._channel("conversation", conversation_id))

    def follow_user(self, org_id: str, user_id: str) -> None:
        channel = self._channel("user", user_id)
        orgs = self._followed.get(channel)
        if orgs is None:
            self._follow(channel, {org_id})
        else:
            orgs.add(org_id)

    def unfollow_user(self, org_id: str, user_id: str) -> None:
        channel = self._channel("user", user_id)
        orgs = self._followed.get(channel)
        if orgs is not None:
            orgs.discard(org_id)
            if not orgs:
                self._unfollow(channel)

    async def settled(self) -> None:
        """Return when what was told so far is told and what was followed is followed.

        Raises:
            Unavailable: the bus is away.
        """
        self._flush()
        servers = self._servers
        if servers is None:
            raise Unavailable(AWAY)
        await servers.fence()

    def _follow(self, channel: bytes, orgs: set[str] | None = None) -> None:
        if channel not in self._followed:
            self._followed[channel] = orgs
            self._changed[channel] = None
            self._flush_soon()

    def _unfollow(self, channel: bytes) -> None:
        if channel in self._followed:
            del self._followed[channel]
            self._changed[channel] = None
            self._flush_soon()

    # Telling.

    def tell_commit(self, batch: Batch, users: Sequence[tuple[str, Event]]) -> None:
        told, note = parts_of(batch, users)
        org_id, mark, at = batch.org_id, self._mark, self._clock.now()
        for conversation_id, events in told.items():
            channel = self._channel("conversation", conversation_id)
            self._tell(channel, wire.encode_events, mark, at, org_id, events)
        for user_id, event in users:
            channel = self._channel("user", user_id)
            self._tell(channel, wire.encode_events, mark, at, org_id, [event])
        self._tell(self._channel("org", org_id), wire.encode_note, mark, at, note)

    def tell_signal(self, org_id: str, signal: SignalTold) -> None:
        channel = self._channel("conversation", signal.conversation_id)
        self._tell(channel, wire.encode_signal, self._mark, self._clock.now(), org_id, signal)

    def tell_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None:
        channel = self._channel("org", org_id)
        self._tell(channel, wire.encode_presence, self._mark, self._clock.now(), org_id, changes)

    def _tell(self, channel: bytes, encode: Callable[..., bytes], *arguments: Any) -> None:
        if self._servers is None or self._told_size > LARGEST_BACKLOG:
            self.dropped += 1
            return
        try:
            payload = encode(*arguments)
        except (TypeError, ValueError):
            self.dropped += 1
            log.exception("what was told cannot be written as JSON", channel=channel)
            return
        self._told.append((channel, payload))
        self._told_size += len(payload)
        self._flush_soon()

    # Once a turn.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        servers = self._servers
        if self._changed:
            changed, self._changed = self._changed, {}
            if servers is not None:
                self._subscribe(servers, changed)
        if self._told:
            told, self._told = self._told, []
            self._told_size = 0
            if servers is None:
                self.dropped += len(told)
            else:
                self._publish(servers, told)

    def _subscribe(self, servers: Servers, changed: Iterable[bytes]) -> None:
        """Ask for what is followed and was not, and the other way round."""
        begun = [one for one in changed if one in self._followed and one not in self._asked]
        ended = [one for one in changed if one not in self._followed and one in self._asked]
        self._asked.update(begun)
        self._asked.difference_update(ended)
        if servers.sharded:
            for channel in ended:
                self._ending[channel] = self._ending.get(channel, 0) + 1
        sent: dict[Link, list[bytes]] = {}
        for channels, name in ((begun, "SUBSCRIBE"), (ended, "UNSUBSCRIBE")):
            if not servers.sharded:
                groups: Iterable[list[bytes]] = [channels] if channels else []
            else:
                name = "S" + name
                slots: dict[int, list[bytes]] = {}
                for channel in channels:  # A command has channels of one slot only.
                    slots.setdefault(slot_of(channel), []).append(channel)
                groups = slots.values()
            for group in groups:
                commands = sent.setdefault(servers.of(group[0]).hear, [])
                for start in range(0, len(group), CHANNELS_A_COMMAND):
                    commands.append(packed((name, *group[start : start + CHANNELS_A_COMMAND])))
        for link, commands in sent.items():
            link.send(b"".join(commands))

    def _publish(self, servers: Servers, told: Sequence[tuple[bytes, bytes]]) -> None:
        if not servers.sharded:
            self._write(servers.all[0].tell, "PUBLISH", told)
            return
        parts: dict[Link, list[tuple[bytes, bytes]]] = {}
        for one in told:
            parts.setdefault(servers.of(one[0]).tell, []).append(one)
        for link, part in parts.items():
            self._write(link, "SPUBLISH", part)

    def _write(self, link: Link, name: str, told: Sequence[tuple[bytes, bytes]]) -> None:
        commands = b"".join([packed((name, *one)) for one in told])
        if link.unsent + len(commands) > LARGEST_BACKLOG:
            self.dropped += len(told)
            return
        self.told_bytes += len(commands)
        link.send(commands)

    # Hearing.

    def _pushed(self, push: list[Any]) -> None:
        if push[0] == b"message" or push[0] == b"smessage":
            payload = push[2]
            if not payload.startswith(self._mark) and push[1] in self._followed:
                self._heard(push[1], payload)
        elif push[0] == b"sunsubscribe":
            ending = self._ending.pop(push[1], 0)
            if ending > 1:
                self._ending[push[1]] = ending - 1
            elif not ending and push[1] in self._asked:
                self._lost("a channel has moved to another server")

    def _heard(self, channel: bytes, payload: bytes) -> None:
        try:
            kind, org_id, at, content = wire.decode(payload)
        except wire.Unreadable as error:
            self.unreadable += 1
            if self.unreadable == 1:
                log.warning("not readable, ignored from now on", channel=channel, why=str(error))
            return
        self.heard += 1
        self.lag = max(0, self._clock.now() - at) / 1_000_000
        orgs = self._followed[channel]
        listener = self._listener
        if listener is None or (orgs is not None and org_id not in orgs):
            return
        try:
            if kind == "events":
                listener.heard_events(org_id, content)
            elif kind == "note":
                listener.heard_note(content)
            elif kind == "signal":
                listener.heard_signals(org_id, [content])
            else:
                listener.heard_presence(org_id, content)
        except Exception:
            log.exception("hearing failed", channel=channel)

    # Shared by all nodes.

    async def hold(self, leases: Sequence[Lease]) -> Sequence[Turn]:
        return await self._leases.hold(leases)

    async def expired(self) -> Sequence[Turn]:
        return await self._leases.expired()

    async def present(self, org_id: str, user_ids: Sequence[str]) -> Mapping[str, Lease]:
        return await self._leases.present(org_id, user_ids)

    async def spend(self, amounts: Mapping[str, int], interval: float) -> Mapping[str, float]:
        asks = [
            scripted(SPEND, self._channel("rate", key), round(uses * interval * 1_000_000))
            for key, uses in amounts.items()
        ]
        ahead = await self._asking.ask(asks)
        return {key: due / 1_000_000 for key, due in zip(amounts, ahead, strict=True)}

    async def agree(self, name: str, value: str, seconds: float) -> bool:
        key = (self._prefix + name).encode()
        return bool(await self._asking.one(scripted(ACQUIRE, key, value, round(seconds * 1000))))

    async def acquire(self, name: str, seconds: float) -> bool:
        return await self.agree(name, self.node, seconds)

    async def release(self, name: str) -> None:
        key = (self._prefix + name).encode()
        await self._asking.one(scripted(RELEASE, key, self.node))

    async def owner(self, name: str) -> str | None:
        key = (self._prefix + name).encode()
        owner = await self._asking.one((key, ("GET", key)))
        return None if owner is None else owner.decode()


def _refusal(where: str, words: str) -> str:
    """What to do about a server's refusal: one sentence."""
    code = words.split(" ", 1)[0]
    if code in ("NOAUTH", "WRONGPASS"):
        return f"The server at {where} asks for another password: write it into the bus URL"
    if code == "NOPERM":
        return f"The server at {where} does not allow this user what a bus needs: give it {_RIGHTS}"
    if code in ("LOADING", "CLUSTERDOWN", "MASTERDOWN"):
        return f"The server at {where} is not ready ({code}): try again when it is"
    return (
        f"The server at {where} cannot be the bus, it must be Valkey or Redis 7 or newer: {words}"
    )


_RIGHTS = (
    "the commands, keys and channels under the prefix (ACL SETUSER … ~madang:* &madang:* +@all)"
)
