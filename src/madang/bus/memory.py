"""The bus of one process: what is told reaches the other nodes in the same turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import orjson

from madang.bus.parts import parts_of
from madang.clock import Clock
from madang.model.ids import uuid7
from madang.model.nouns import Batch, Event
from madang.model.presence import best
from madang.ports.bus import Lease, Listener, Note, PresenceTold, RunTold, SignalTold, Turn
from madang.protocol.errors import MadangError, Unavailable


class MemoryBus:
    """What the nodes of one process share. Loses nothing and keeps order, as long as it lives."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.ends: dict[str, MemoryEnd] = {}
        self.leases: dict[tuple[str, str], dict[str, Lease]] = {}
        self.due: dict[str, float] = {}
        self.owners: dict[str, tuple[str, float]] = {}
        self.turns = count(1)

    def end(self) -> MemoryEnd:
        """Another node's end of it."""
        return MemoryEnd(self)


class MemoryEnd:
    """`ports.bus.Bus` on a `MemoryBus`. A node that is alone on it pays nothing."""

    away = False

    def __init__(self, bus: MemoryBus) -> None:
        self.node = uuid7(bus.clock.now())
        self._bus = bus
        self._listener: Listener | None = None
        self._orgs: set[str] = set()
        self._conversations: set[str] = set()
        self._users: set[tuple[str, str]] = set()

    @property
    def shared(self) -> bool:
        return len(self._bus.ends) > 1

    async def start(self, listener: Listener) -> None:
        self._listener = listener
        self._bus.ends[self.node] = self

    async def close(self) -> None:
        if self._bus.ends.pop(self.node, None) is not None:
            for org_id, user_id in [
                key for key, held in self._bus.leases.items() if self.node in held
            ]:
                self._hold(Lease(org_id, user_id, "offline", 0))

    def _others(self) -> Sequence[MemoryEnd]:
        return [end for end in self._bus.ends.values() if end is not self]

    # Following.

    async def follow_org(self, org_id: str) -> None:
        self._orgs.add(org_id)

    def unfollow_org(self, org_id: str) -> None:
        self._orgs.discard(org_id)

    def follow_conversation(self, conversation_id: str) -> None:
        self._conversations.add(conversation_id)

    def unfollow_conversation(self, conversation_id: str) -> None:
        self._conversations.discard(conversation_id)

    def follow_user(self, org_id: str, user_id: str) -> None:
        self._users.add((org_id, user_id))

    def unfollow_user(self, org_id: str, user_id: str) -> None:
        self._users.discard((org_id, user_id))

    # Telling.

    def tell_commit(self, batch: Batch, users: Sequence[tuple[str, Event]]) -> None:
        told, note = parts_of(batch, users)
        for end in self._others():
            end.hear_commit(told, users, note)

    def hear_commit(
        self,
        told: Mapping[str, Sequence[Event]],
        users: Sequence[tuple[str, Event]],
        note: Note,
    ) -> None:
        """Hear of another node's commit what this node follows."""
        if self._listener is None:
            return
        for conversation_id, events in told.items():
            if conversation_id in self._conversations:
                self._listener.heard_events(note.org_id, events)
        for user_id, event in users:
            if (note.org_id, user_id) in self._users:
                self._listener.heard_events(note.org_id, [event])
        if note.org_id in self._orgs:
            self._listener.heard_note(note)

    def tell_signal(self, org_id: str, signal: SignalTold) -> None:
        for end in self._others():
            if end._listener is not None and signal.conversation_id in end._conversations:
                end._listener.heard_signals(org_id, [signal])

    def tell_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None:
        for end in self._others():
            if end._listener is not None and org_id in end._orgs:
                end._listener.heard_presence(org_id, changes)

    def tell_run(self, org_id: str, told: RunTold) -> None:
        for end in self._others():
            if end._listener is not None and told.conversation_id in end._conversations:
                end._listener.heard_run(org_id, told)

    # Asking one node.

    async def ask(self, node: str, topic: str, content: Any, seconds: float) -> Any:
        end = self._bus.ends.get(node)
        if end is None or end._listener is None:
            raise Unavailable
        try:
            return orjson.loads(
                orjson.dumps(end._listener.asked(topic, orjson.loads(orjson.dumps(content))))
            )
        except MadangError as error:
            raise Unavailable from error

    # Shared by all nodes.

    async def hold(self, leases: Sequence[Lease]) -> Sequence[Turn]:
        return [self._hold(lease) for lease in leases]

    def _hold(self, lease: Lease) -> Turn:
        key = (lease.org_id, lease.user_id)
        held = self._bus.leases.setdefault(key, {})
        before = best(one.status for one in held.values())
        if lease.devices:
            held[self.node] = lease
        else:
            held.pop(self.node, None)
        if not held:
            del self._bus.leases[key]
        now = best(one.status for one in held.values())
        return Turn(*key, before, now, next(self._bus.turns))

    async def expired(self) -> Sequence[Turn]:
        return ()  # The nodes of one process end together.

    async def present(self, org_id: str, user_ids: Sequence[str]) -> Mapping[str, Lease]:
        found = {}
        for user_id in user_ids:
            held = self._bus.leases.get((org_id, user_id))
            if held:
                status = best(one.status for one in held.values())
                devices = sum(one.devices for one in held.values())
                zones = {zone for one in held.values() for zone in one.zones}
                found[user_id] = Lease(org_id, user_id, status, devices, tuple(sorted(zones)))
        return found

    async def online(self, org_id: str) -> Mapping[str, Lease]:
        users = [user_id for org, user_id in self._bus.leases if org == org_id]
        return await self.present(org_id, users)

    async def spend(self, amounts: Mapping[str, int], interval: float) -> Mapping[str, float]:
        now = self._bus.clock.monotonic()
        for key, uses in amounts.items():
            due = max(self._bus.due.get(key, 0.0), now) + uses * interval
            self._bus.due[key] = max(due, now)
        return {key: self._bus.due[key] - now for key in amounts}

    async def agree(self, name: str, value: str, seconds: float) -> bool:
        now = self._bus.clock.monotonic()
        said, until = self._bus.owners.get(name, (value, 0.0))
        if said != value and until > now:
            return False
        self._bus.owners[name] = (value, now + seconds)
        return True

    async def acquire(self, name: str, seconds: float) -> bool:
        return await self.agree(name, self.node, seconds)

    async def acquire_all(self, names: Sequence[str], seconds: float) -> Sequence[bool]:
        return [await self.acquire(name, seconds) for name in names]

    async def release(self, name: str) -> None:
        if await self.owner(name) == self.node:
            del self._bus.owners[name]

    async def owner(self, name: str) -> str | None:
        node, until = self._bus.owners.get(name, (None, 0.0))
        return node if until > self._bus.clock.monotonic() else None
