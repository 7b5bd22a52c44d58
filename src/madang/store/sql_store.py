"""`ports.Store` over any SQL database: every read is a function of a connection, run wherever the
database's own store runs such functions."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import Connection

from madang.clock import Clock
from madang.metrics import SECONDS, Histogram
from madang.model.nouns import ConversationView, Event, File, Message, Participant
from madang.ports.store import Loss, Missed, Page, Write
from madang.store.live_store import SqlLiveStore
from madang.store.queries import conversations, events, files, messages, people
from madang.store.scope import ALL_ORGS, Scope
from madang.store.writer import Committed

__all__ = ["ALL_ORGS", "Scope", "SqlStore"]

P = ParamSpec("P")
T = TypeVar("T")
Key = tuple[str, ...]


class _Latest:
    """Small values of which only the newest counts (a device's cursor, a last seen), by keys that
    begin with their org: those that come while a write runs are written together, in one
    transaction an org.

    All who put into a batch share what becomes of it. Values that could not be written are theirs
    to put again, and are not kept here.
    """

    def __init__(self, save: Callable[[str, Sequence[Mapping[str, Any]]], Awaitable[None]]) -> None:
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
            # In the same order everywhere: two nodes that write the same rows do not block each
            # other for ever.
            for org_id, keys in groupby(sorted(batch), itemgetter(0)):
                await self._save(org_id, [batch[key] for key in keys])


class SqlStore(ABC):
    """The reads of `ports.Store`; a database adds how functions are run."""

    dialect: ClassVar[Literal["sqlite", "postgresql"]]
    """Whose SQL it speaks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.read_seconds = Histogram(SECONDS)
        self.live = SqlLiveStore(self)
        self._acks = _Latest(lambda org, acks: self.write(Scope(org), people.save_acks, acks))
        self._seen = _Latest(lambda org, seen: self.write(Scope(org), people.save_last_seen, seen))

    async def _measured(self, read: Awaitable[T]) -> T:
        """Wait for a read, and count the time that it took; one that fails too."""
        begun = self._clock.monotonic()
        try:
            return await read
        finally:
            self.read_seconds.observe(self._clock.monotonic() - begun)

    @abstractmethod
    async def read(
        self,
        scope: Scope,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `query` on a read-only connection, in `scope` and at one moment of the database,
        `_measured`.

        Raises:
            Unavailable: the database is away.
        """

    @abstractmethod
    async def write(
        self,
        scope: Scope,
        change: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run `change` in a transaction of its own, in `scope`.

        Raises:
            Unavailable: the database is away, full or read-only; nothing was changed.
        """

    @abstractmethod
    def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Awaitable[Committed]: ...

    @abstractmethod
    async def close(self) -> None: ...

    async def epoch(self) -> str:
        return await self.read(ALL_ORGS, events.epoch)

    async def head(self, org_id: str) -> int:
        return await self.read(Scope(org_id), events.head, org_id)

    async def heads(self, org_ids: Sequence[str]) -> dict[str, int]:
        return await self.read(ALL_ORGS, events.heads, org_ids)

    async def memberships(self, org_id: str, user_ids: Sequence[str]) -> dict[str, list[str]]:
        return await self.read(Scope(org_id), conversations.memberships, org_id, user_ids)

    async def seats_among(self, org_id: str, user_ids: Sequence[str]) -> set[str]:
        return await self.read(Scope(org_id), conversations.seats_among, org_id, user_ids)

    async def last_seqs(self, org_id: str, conversation_ids: Sequence[str]) -> dict[str, int]:
        return await self.read(Scope(org_id), conversations.last_seqs, org_id, conversation_ids)

    async def events_for_user(
        self, org_id: str, user_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]:
        return await self.read(
            Scope(org_id, user_id), events.events_for_user, org_id, user_id, after, until, limit
        )

    async def events_of_org(
        self, org_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]:
        return await self.read(Scope(org_id), events.events_of_org, org_id, after, until, limit)

    async def events_of_conversation(
        self,
        org_id: str,
        conversation_id: str,
        after_seq: int,
        until_seq: int | None,
        limit: int,
        most_bytes: int | None = None,
    ) -> list[Event]:
        return await self.read(
            Scope(org_id),
            events.events_of_conversation,
            org_id,
            conversation_id,
            after_seq,
            until_seq,
            limit,
            most_bytes,
        )

    async def seq_at(self, org_id: str, conversation_id: str, cursor: int) -> int:
        return await self.read(Scope(org_id), events.seq_at, org_id, conversation_id, cursor)

    async def oldest_cursor(self, org_id: str) -> int:
        return await self.read(Scope(org_id), events.oldest_cursor, org_id)

    async def conversation(
        self, org_id: str, conversation_id: str, user_id: str
    ) -> ConversationView | None:
        return await self.read(
            Scope(org_id, user_id),
            conversations.conversation,
            org_id,
            conversation_id,
            user_id,
            self._clock.now(),
        )

    async def conversations(
        self, org_id: str, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Page:
        return await self.read(
            Scope(org_id, user_id),
            conversations.conversations_of,
            org_id,
            user_id,
            before,
            limit,
            self._clock.now(),
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
        most_bytes: int | None = None,
    ) -> Page | None:
        return await self.read(
            Scope(org_id, user_id),
            messages.messages_of,
            org_id,
            conversation_id,
            user_id,
            before_seq,
            after_seq,
            around_seq,
            limit,
            most_bytes,
        )

    async def message(self, org_id: str, message_id: str, user_id: str) -> Message | None:
        return await self.read(
            Scope(org_id, user_id), messages.message, org_id, message_id, user_id
        )

    async def late_answers(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        oldest_seq: int,
        question_seq: int,
        before_seq: int,
        limit: int,
    ) -> list[Message]:
        return await self.read(
            Scope(org_id, user_id),
            messages.late_answers,
            org_id,
            conversation_id,
            user_id,
            oldest_seq,
            question_seq,
            before_seq,
            limit,
        )

    async def seq_of(
        self, org_id: str, conversation_id: str, *, message_id: str | None, time: int | None
    ) -> int | None:
        return await self.read(
            Scope(org_id), messages.seq_of, org_id, conversation_id, message_id, time
        )

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
        return await self.read(
            Scope(org_id, user_id),
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
        return await self.read(
            Scope(org_id, user_id), conversations.participant, org_id, conversation_id, user_id
        )

    async def count_events(self, org_id: str, user_id: str | None, after: int, most: int) -> int:
        if user_id is None:
            return await self.read(Scope(org_id), events.count_of_org, org_id, after, most)
        return await self.read(
            Scope(org_id, user_id), events.count_for_user, org_id, user_id, after, most
        )

    async def why_lost(self, org_id: str, cursor: int) -> Loss | None:
        return await self.read(Scope(org_id), events.why_lost, org_id, cursor)

    async def missed(
        self,
        org_id: str,
        after: int,
        conversation_ids: Sequence[str],
        each: int,
        user_ids: Sequence[str],
        cursors: Sequence[int],
    ) -> Missed:
        return await self.read(
            Scope(org_id), events.missed, org_id, after, conversation_ids, each, user_ids, cursors
        )

    async def file(self, org_id: str, file_id: str, user_id: str) -> File | None:
        return await self.read(Scope(org_id, user_id), files.file, org_id, file_id, user_id)

    async def own_file(self, org_id: str, file_id: str, owner_id: str) -> File | None:
        return await self.read(Scope(org_id, owner_id), files.own_file, org_id, file_id, owner_id)

    async def due_files(self, org_id: str, now: int, limit: int) -> list[File]:
        return await self.read(Scope(org_id), files.due_files, org_id, now, limit)

    async def orgs(self, after: str, limit: int) -> list[str]:
        return await self.read(ALL_ORGS, files.orgs, after, limit)

    async def acked_cursor(self, org_id: str, user_id: str, client_id: str) -> int | None:
        return await self.read(Scope(org_id), people.acked_cursor, org_id, user_id, client_id)

    async def save_ack(
        self, org_id: str, user_id: str, client_id: str, cursor: int, now: int
    ) -> None:
        ack = {"org": org_id, "user": user_id, "client": client_id, "cursor": cursor, "now": now}
        await self._acks.put({(org_id, user_id, client_id): ack}, "cursor")

    async def devices(self, org_id: str, user_id: str | None) -> list[Mapping[str, Any]]:
        return await self.read(Scope(org_id), people.devices, org_id, user_id)

    async def last_seen(self, org_id: str, user_ids: Sequence[str]) -> dict[str, int]:
        return await self.read(Scope(org_id), people.last_seen, org_id, user_ids)

    async def save_last_seen(self, org_id: str, seen: Mapping[str, int]) -> None:
        rows: dict[Key, Mapping[str, Any]] = {
            (org_id, user): {"org": org_id, "user": user, "time": time}
            for user, time in seen.items()
        }
        await self._seen.put(rows, "time")

    async def contacts(self, org_id: str, user_id: str) -> set[str]:
        return await self.read(Scope(org_id), people.contacts, org_id, user_id)

    async def counts(self, org_id: str, active_since: int) -> Mapping[str, int]:
        return await self.read(Scope(org_id), people.counts, org_id, active_since)
