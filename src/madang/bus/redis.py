"""The bus on a Redis or Valkey server, or a cluster of them.

May open sockets and nothing else. What is told goes out once a turn over a connection of its own
and nobody waits for it; what is heard is read straight from another; what is asked has a third. All
three are made anew together when one is lost, everything followed is followed again, and then
the listener knows that it has missed something.

Channels, under the prefix: `conversation:{id}`, `user:{id}` (of all orgs: the payload says which),
`org:{org}`, `node:{node}` (what one node is asked, and answered); in another database than 0 with
`db{number}:` before it. Payloads are in `madang.bus.wire`, keys in `madang.bus.redis_leases`;
`rate:{key}` are shared limits, and what is acquired stands under its own name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from madang import logs
from madang.bus import wire
from madang.bus.address import Address, address_of
from madang.bus.parts import parts_of
from madang.bus.redis_ask import AT_ONCE, Asking, scripted
from madang.bus.redis_following import Following
from madang.bus.redis_leases import BEAT_SECONDS, LEASE_SECONDS, RENEW_SECONDS, Leases
from madang.bus.redis_link import AWAY, Link, packed
from madang.bus.redis_scripts import ACQUIRE, ALL, RELEASE, SPEND
from madang.bus.redis_servers import Servers
from madang.bus.redis_touch import Touch
from madang.clock import Clock
from madang.model.ids import uuid7
from madang.model.nouns import Batch, Event
from madang.ports.bus import Lease, Listener, PresenceTold, RunTold, SignalTold, Turn
from madang.protocol.errors import MadangError, Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

LARGEST_BACKLOG = 64 * 1024 * 1024
"""Bytes told that the sockets may not have taken yet. What is more is dropped: the log has it."""

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
        self.lag = 0.0
        """Seconds between telling and hearing, of what was heard last (by two machines' clocks)."""
        self._clock = clock
        self._prefix = prefix
        self._mark = wire.mark_of(self.node)
        self._unusable: Unavailable | None = None
        try:
            address = address_of(url)
        except Unavailable as error:
            address, self._unusable = Address(), error  # Starting says so: whoever starts it asks.
        # A server's databases share its channels: installations must not hear each other.
        self._channels = f"{prefix}db{address.database}:" if address.database else prefix
        self._touch = Touch(
            address,
            [script.text for script in ALL],
            clock,
            pushed=self._pushed,
            back=self._back,
            lost_touch=self._lost_touch,
            in_touch=lambda: self._call(lambda listener: listener.in_touch()),
        )
        self._asking = Asking(self._touch)
        self._leases = Leases(self._asking, self.node, prefix, lease_seconds, renew_seconds)
        self._beat_seconds = min(BEAT_SECONDS, renew_seconds, lease_seconds / 3)
        self._listener: Listener | None = None
        self._following = Following()
        self._asked = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        """Questions to other nodes that are not answered yet."""
        self._told: list[tuple[bytes, bytes]] = []
        self._told_size = 0
        self._flushing = False
        self._tasks = Tasks()

    @property
    def away(self) -> bool:
        return self._touch.away

    @property
    def reconnects(self) -> int:
        """How often touch was lost and is back."""
        return self._touch.reconnects

    @property
    def refused(self) -> int:
        """Commands that the server refused and nobody waits for."""
        return self._touch.refused

    async def start(self, listener: Listener) -> None:
        if self._unusable is not None:
            raise self._unusable
        self._listener = listener
        self._following.follow(self._channel("node", self.node))
        await self._touch.start()
        try:
            await self.settled()  # From here on it can be asked.
        except Unavailable:
            pass  # Lost again: it is followed when the bus is back.
        self._tasks.start(self._renew(), "bus: renew leases")

    async def close(self) -> None:
        self._flush()
        await self._tasks.close()
        await self._touch.rest()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._leases.close()
                await self.settled()
        except (Unavailable, TimeoutError):
            pass  # Leases end by themselves; what was told is in the log.
        self._listener = None
        await self._touch.close()

    async def settled(self) -> None:
        """Return when what was told so far is told, and what was followed is followed.

        Raises:
            Unavailable: the bus is away.
        """
        self._flush()
        servers = self._touch.servers
        if servers is None:
            raise Unavailable(AWAY)
        await servers.fence()

    # In touch and out of it.

    async def _back(self, servers: Servers) -> None:
        await self._following.again(servers)

    def _lost_touch(self) -> None:
        self._call(lambda listener: listener.lost_touch())

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._beat_seconds)
            try:
                await self._leases.beat(self._clock.monotonic())
            except Unavailable:
                pass  # Next time.
            except Exception:
                log.exception("leases could not be renewed")

    def _call(self, tell: Callable[[Listener], None]) -> None:
        """Tell the listener, whose errors are its own."""
        if self._listener is not None:
            try:
                tell(self._listener)
            except Exception:
                log.exception("hearing failed")

    # Following.

    def _channel(self, kind: str, name: str) -> bytes:
        return f"{self._channels}{kind}:{name}".encode()

    async def follow_org(self, org_id: str) -> None:
        channel = self._channel("org", org_id)
        self._following.follow(channel)
        self._flush()
        servers = self._touch.servers
        if servers is not None:
            try:
                await servers.of(channel).hear.fence()
            except Unavailable:
                pass  # Away: it is followed when the bus is back, and the listener hears of it.

    def unfollow_org(self, org_id: str) -> None:
        self._following.unfollow(self._channel("org", org_id))
        self._flush_soon()

    def follow_conversation(self, conversation_id: str) -> None:
        self._following.follow(self._channel("conversation", conversation_id))
        self._flush_soon()

    def unfollow_conversation(self, conversation_id: str) -> None:
        self._following.unfollow(self._channel("conversation", conversation_id))
        self._flush_soon()

    def follow_user(self, org_id: str, user_id: str) -> None:
        self._following.follow(self._channel("user", user_id), org_id)
        self._flush_soon()

    def unfollow_user(self, org_id: str, user_id: str) -> None:
        self._following.unfollow(self._channel("user", user_id), org_id)
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

    def tell_run(self, org_id: str, told: RunTold) -> None:
        channel = self._channel("conversation", told.conversation_id)
        self._tell(channel, wire.encode_run, self._mark, self._clock.now(), org_id, told)

    def _tell(self, channel: bytes, encode: Callable[..., bytes], *arguments: Any) -> None:
        if self._touch.servers is None or self._told_size > LARGEST_BACKLOG:
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

    # Asking one node.

    async def ask(self, node: str, topic: str, content: Any, seconds: float) -> Any:
        if self._touch.servers is None:
            raise Unavailable(AWAY)
        number = next(self._asked)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        channel = self._channel("node", node)
        self._tell(channel, wire.encode_ask, self._mark, self._clock.now(), number, topic, content)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise Unavailable("A node does not answer") from error
        finally:
            del self._waiting[number]

    def _heard_ask(self, node: str, number: int, topic: str, content: Any) -> None:
        answer, is_one = None, True
        try:
            answer = None if self._listener is None else self._listener.asked(topic, content)
        except MadangError:
            is_one = False
        channel = self._channel("node", node)
        at = self._clock.now()
        self._tell(channel, wire.encode_answer, self._mark, at, number, answer, is_one)

    def _heard_answer(self, number: int, content: Any, is_one: bool) -> None:
        waiting = self._waiting.get(number)
        if waiting is None or waiting.done():
            return
        if is_one:
            waiting.set_result(content)
        else:
            waiting.set_exception(Unavailable())

    # Once a turn.

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        servers = self._touch.servers
        self._following.send(servers)
        if self._told:
            told, self._told = self._told, []
            self._told_size = 0
            if servers is None:
                self.dropped += len(told)
            else:
                self._publish(servers, told)

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
            _, channel, payload = push
            # An own one comes back to who follows what it tells; who let go may get some yet.
            if not payload.startswith(self._mark) and channel in self._following:
                self._heard(channel, payload)
        elif push[0] == b"sunsubscribe" and not self._following.let_go(push[1]):
            self._touch.lost("a channel has moved to another server")

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
        listener = self._listener
        if listener is None:
            return
        try:
            if kind == "ask":
                self._heard_ask(org_id, *content)
            elif kind == "answer":
                self._heard_answer(*content)
            elif not self._following.heeds(channel, org_id):
                return
            elif kind == "events":
                listener.heard_events(org_id, content)
            elif kind == "note":
                listener.heard_note(content)
            elif kind == "signal":
                listener.heard_signals(org_id, [content])
            elif kind == "run":
                listener.heard_run(org_id, content)
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

    async def online(self, org_id: str) -> Mapping[str, Lease]:
        return await self._leases.online(org_id)

    async def spend(self, amounts: Mapping[str, int], interval: float) -> Mapping[str, float]:
        asks = [
            scripted(
                SPEND, f"{self._prefix}rate:{key}".encode(), round(uses * interval * 1_000_000)
            )
            for key, uses in amounts.items()
        ]
        ahead = await self._asking.ask(asks)
        return {key: due / 1_000_000 for key, due in zip(amounts, ahead, strict=True)}

    async def agree(self, name: str, value: str, seconds: float) -> bool:
        key = (self._prefix + name).encode()
        return bool(
            await self._asking.one(scripted(ACQUIRE, key, value, max(1, round(seconds * 1000))))
        )

    async def acquire(self, name: str, seconds: float) -> bool:
        return await self.agree(name, self.node, seconds)

    async def acquire_all(self, names: Sequence[str], seconds: float) -> Sequence[bool]:
        lasts = max(1, round(seconds * 1000))
        keys = [(self._prefix + name).encode() for name in names]
        asks = [scripted(ACQUIRE, key, self.node, lasts) for key in keys]
        won: list[bool] = []
        for start in range(0, len(asks), AT_ONCE):
            won += map(bool, await self._asking.ask(asks[start : start + AT_ONCE]))
        return won

    async def release(self, name: str) -> None:
        key = (self._prefix + name).encode()
        await self._asking.one(scripted(RELEASE, key, self.node))

    async def owner(self, name: str) -> str | None:
        key = (self._prefix + name).encode()
        owner = await self._asking.one((key, ("GET", key)))
        return None if owner is None else owner.decode()
