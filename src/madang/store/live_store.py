"""`ports.live.LiveStore` over any SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from madang.model.live import Counts, PollState, QuestionState, Room, Seat
from madang.model.nouns import Message
from madang.ports.store import Page
from madang.store.queries import live
from madang.store.scope import ALL_ORGS, Scope

if TYPE_CHECKING:
    from madang.store.sql_store import SqlStore


class SqlLiveStore:
    """The reads of live rooms, run as the store runs its own."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def taken_codes(self, codes: Sequence[str]) -> set[str]:
        return await self._store.read(ALL_ORGS, live.taken_codes, codes)

    async def room_by_code(self, code: str) -> Room | None:
        found = await self._store.read(ALL_ORGS, live.find_code, code)
        return None if found is None else await self.room(*found)

    async def room(self, org_id: str, conversation_id: str) -> Room | None:
        return await self._store.read(Scope(org_id), live.room, org_id, conversation_id)

    async def seat(self, org_id: str, conversation_id: str, participant_id: str) -> Seat | None:
        return await self._store.read(
            Scope(org_id), live.seat, org_id, conversation_id, participant_id
        )

    async def seat_by_key(self, org_id: str, conversation_id: str, key: str) -> Seat | None:
        return await self._store.read(Scope(org_id), live.seat_by_key, org_id, conversation_id, key)

    async def seats(
        self, org_id: str, conversation_id: str, *, after: tuple[int, str] | None, limit: int
    ) -> Page:
        return await self._store.read(
            Scope(org_id), live.seats_of, org_id, conversation_id, after, limit
        )

    async def online_seats(self, org_id: str, conversation_id: str) -> list[str]:
        return await self._store.read(Scope(org_id), live.online_seats, org_id, conversation_id)

    async def room_counts(self, org_id: str, conversation_id: str) -> Counts:
        return await self._store.read(Scope(org_id), live.counts, org_id, conversation_id)

    async def chat(
        self, org_id: str, conversation_id: str, *, before_seq: int | None, limit: int
    ) -> Page:
        return await self._store.read(
            Scope(org_id), live.chat, org_id, conversation_id, before_seq, limit
        )

    async def questions(
        self,
        org_id: str,
        conversation_id: str,
        *,
        seen_by: str | None,
        sort: Literal["top", "new"] = "top",
        state: QuestionState | None = None,
        after: tuple[int, int] | None = None,
        limit: int = 50,
    ) -> Page:
        return await self._store.read(
            Scope(org_id),
            live.questions,
            org_id,
            conversation_id,
            seen_by,
            sort,
            state,
            after,
            limit,
        )

    async def question(
        self, org_id: str, conversation_id: str, message_id: str, *, seen_by: str | None
    ) -> Message | None:
        return await self._store.read(
            Scope(org_id), live.question, org_id, conversation_id, message_id, seen_by
        )

    async def polls(
        self,
        org_id: str,
        conversation_id: str,
        *,
        state: PollState | None = None,
        before_seq: int | None = None,
        limit: int = 50,
    ) -> Page:
        return await self._store.read(
            Scope(org_id), live.polls, org_id, conversation_id, state, before_seq, limit
        )

    async def votes_of(
        self, org_id: str, participant_id: str, message_ids: Sequence[str]
    ) -> dict[str, list[str]]:
        return await self._store.read(
            Scope(org_id), live.votes_of, org_id, participant_id, message_ids
        )

    async def export(
        self,
        org_id: str,
        conversation_id: str,
        *,
        kind: Literal["question"] | None = None,
        after_seq: int,
        limit: int,
    ) -> Page:
        return await self._store.read(
            Scope(org_id), live.export, org_id, conversation_id, kind, after_seq, limit
        )

    async def due_counts(self, until: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        return await self._store.read(ALL_ORGS, live.due_counts, until, limit)

    async def due_for_erasure(self, now: int, limit: int = 100) -> Sequence[tuple[str, str]]:
        return await self._store.read(ALL_ORGS, live.due_for_erasure, now, limit)
