"""`ports.Store` over any SQL database: every read is a function of a connection, run wherever the
database's own store runs such functions."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from madang.clock import Clock
from madang.model.nouns import ConversationView, Event, Message, Participant
from madang.ports.store import Loss, Page, Write
from madang.store.queries import conversations, events, messages, people
from madang.store.writer import Committed

P = ParamSpec("P")
T = TypeVar("T")
Key = tuple[str, ...]


class _Latest:
    """Small values of which only the newest counts (a device's cursor, a last seen): those that
    come while a write runs are written together, in one transaction.

    All who put into a batch share what becomes of it. Values that could not be written are theirs
    to put again, and are not kept here.
    """

    def __init__(self, save: Callable[[Mapping[Key, Mapping[str, Any]]], Awaitable[None]]) -> None:
        self._save = save
        self._waiting: dict[Key, Mapping[str, Any]] = {}
        self._next: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def put(self, values: Mapping[Key, Mapping[str, Any]], newest: str) -> None:
        """Returns when the values, or newer ones, are on disk; raises what kept them off it."""
        for key, value in values.items():
            before = self._waiting.get(key)
            if before is None or before[newest] <= value[newest]:
                self._waiting[key] = value
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._save_waiting())
        # Whoever stops waiting must not take the others' write with them.
        await asyncio.shield(self._next)

    async def _save_waiting(self) -> None:
        async with self._one_at_a_time:
            batch, self._waiting = self._waiting, {}
            self._next = None
            await self._save(batch)


class SqlStore(ABC):
    """The reads of `ports.Store`; a database adds how functions are run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._acks = _Latest(lambda acks: self._write(people.save_acks, list(acks.values())))
        self._seen = _Latest(lambda seen: self._write(people.save_last_seen, list(seen.values())))

    @abstractmethod
    async def _read(
        self,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `query` on a read-only connection, at one moment of the database.

        Raises:
            Unavailable: the database is away.
        """

    @abstractmethod
    async def _write(
        self,
        change: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `change` in a transaction of its own.

        Raises:
            Unavailable: the database is away, full or read-only; nothing was changed.
        """

    @abstractmethod
    def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Awaitable[Committed]: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def epoch(self) -> str:
        return await self._read(events.epoch)

    async def head(self, org_id: str) -> int:
        return await self._read(events.head, org_id)

    async def heads(self, org_ids: Sequence[str]) -> dict[str, int]:
        return await self._read(events.heads, org_ids)

    async def memberships(self, org_id: str, user_ids: Sequence[str]) -> dict[str, list[str]]:
        return await self._read(conversations.memberships, org_id, user_ids)

    async def last_seqs(self, org_id: str, conversation_ids: Sequence[str]) -> dict[str, int]:
        return await self._read(conversations.last_seqs, org_id, conversation_ids)

    async def events_for_user(
        self, org_id: str, user_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]:
        return await self._read(events.events_for_user, org_id, user_id, after, until, limit)

    async def events_of_org(
        self, org_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]:
        return await self._read(events.events_of_org, org_id, after, until, limit)

    async def events_of_conversation(
        self, org_id: str, conversation_id: str, after_seq: int, until_seq: int | None, limit: int
    ) -> list[Event]:
        return await self._read(
            events.events_of_conversation, org_id, conversation_id, after_seq, until_seq, limit
        )

    async def seq_at(self, org_id: str, conversation_id: str, cursor: int) -> int:
        return await self._read(events.seq_at, org_id, conversation_id, cursor)

    async def oldest_cursor(self, org_id: str) -> int:
        return await self._read(events.oldest_cursor, org_id)

    async def conversation(
        self, org_id: str, conversation_id: str, user_id: str
    ) -> ConversationView | None:
        return await self._read(
            conversations.conversation, org_id, conversation_id, user_id, self._clock.now()
        )

    async def conversations(
        self, org_id: str, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Page:
        return await self._read(
            conversations.conversations_of, org_id, user_id, before, limit, self._clock.now()
        )

    async def messages(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_seq: int | None = None,
        limit: int = 50,
    ) -> Page | None:
        return await self._read(
            messages.messages_of,
            org_id,
            conversation_id,
            user_id,
            before_seq,
            after_seq,
            around_seq,
            limit,
        )

    async def message(self, org_id: str, message_id: str, user_id: str) -> Message | None:
        return await self._read(messages.message, org_id, message_id, user_id)

    async def seq_of(
        self, org_id: str, conversation_id: str, *, message_id: str | None, time: int | None
    ) -> int | None:
        return await self._read(messages.seq_of, org_id, conversation_id, message_id, time)

    async def participants(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        after: tuple[int, str] | None = None,
        read_seq: int = 0,
        limit: int = 50,
    ) -> Page | None:
        return await self._read(
            conversations.participants_of,
            org_id,
            conversation_id,
            user_id,
            after,
            read_seq,
            limit,
        )

    async def participant(
        self, org_id: str, conversation_id: str, user_id: str
    ) -> Participant | None:
        return await self._read(conversations.participant, org_id, conversation_id, user_id)

    async def count_events(self, org_id: str, user_id: str | None, after: int, most: int) -> int:
        if user_id is None:
            return await self._read(events.count_of_org, org_id, after, most)
        return await self._read(events.count_for_user, org_id, user_id, after, most)

    async def why_lost(self, org_id: str, cursor: int) -> Loss | None:
        return await self._read(events.why_lost, org_id, cursor)

    async def acked_cursor(self, org_id: str, user_id: str, client_id: str) -> int | None:
        return await self._read(people.acked_cursor, org_id, user_id, client_id)

    async def save_ack(
        self, org_id: str, user_id: str, client_id: str, cursor: int, now: int
    ) -> None:
        ack = {"org": org_id, "user": user_id, "client": client_id, "cursor": cursor, "now": now}
        await self._acks.put({(org_id, user_id, client_id): ack}, "cursor")

    async def devices(self, org_id: str, user_id: str | None) -> list[Mapping[str, Any]]:
        return await self._read(people.devices, org_id, user_id)

    async def last_seen(self, org_id: str, user_ids: Sequence[str]) -> dict[str, int]:
        return await self._read(people.last_seen, org_id, user_ids)

    async def save_last_seen(self, org_id: str, seen: Mapping[str, int]) -> None:
        rows: dict[Key, Mapping[str, Any]] = {
            (org_id, user): {"org": org_id, "user": user, "time": time}
            for user, time in seen.items()
        }
        await self._seen.put(rows, "time")

    async def contacts(self, org_id: str, user_id: str) -> set[str]:
        return await self._read(people.contacts, org_id, user_id)

    async def counts(self, org_id: str, active_since: int) -> Mapping[str, int]:
        return await self._read(people.counts, org_id, active_since)
