"""`ports.SearchIndex` over any SQL database: the index stands beside the log, in tables of its own.

Why in plain tables and not in the full-text index of each database: docs/decisions/006-search.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from madang.clock import Clock
from madang.model.nouns import Message
from madang.ports.search import Behind, Candidates, Entry, Index, IndexState, LogPage, Wanted
from madang.store import indexing
from madang.store.queries import search
from madang.store.sql_store import ALL_ORGS, Scope, SqlStore


class SqlSearchIndex:
    """See `ports.search`. Runs where the store runs its own reads and writes."""

    def __init__(self, store: SqlStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def most_terms(self) -> int:
        # On SQLite messages wait for it; on PostgreSQL a larger one saves versions of rows.
        return 4_000 if self._store.dialect == "sqlite" else 16_000

    async def candidates(
        self, org_id: str, user_id: str, wanted: Wanted, most: int
    ) -> Candidates | None:
        return await self._store.read(
            Scope(org_id, user_id), search.candidates, org_id, user_id, wanted, most
        )

    async def found(
        self, org_id: str, user_id: str, message_ids: Sequence[str]
    ) -> dict[str, Message]:
        return await self._store.read(
            Scope(org_id, user_id), search.found, org_id, user_id, message_ids
        )

    async def may_search(self, org_id: str, user_id: str, conversation_ids: Sequence[str]) -> bool:
        return await self._store.read(
            Scope(org_id, user_id), search.may_search, org_id, user_id, conversation_ids
        )

    async def behind(self, most: int) -> Sequence[Behind]:
        return await self._store.read(ALL_ORGS, search.behind, most)

    async def indexes(self, org_id: str) -> Sequence[Index]:
        return await self._store.read(Scope(org_id), search.indexes, org_id)

    async def orgs(self) -> dict[str, int]:
        return await self._store.read(ALL_ORGS, search.heads)

    async def to_sweep(self, abandoned: int) -> Sequence[str]:
        return await self._store.read(ALL_ORGS, search.to_sweep, abandoned)

    async def log_page(self, org_id: str, after: int, limit: int) -> LogPage:
        return await self._store.read(Scope(org_id), search.log_page, org_id, after, limit)

    async def begin(self, org_id: str, state: IndexState) -> Index:
        return await self._store.write(
            Scope(org_id), indexing.begin, org_id, state, self._clock.now()
        )

    async def add(
        self,
        org_id: str,
        generation: int,
        after: int,
        cursor: int,
        entries: Sequence[Entry],
        gone: Sequence[str],
        erased: Sequence[str] = (),
    ) -> bool:
        return await self._store.write(
            Scope(org_id),
            indexing.add,
            org_id,
            generation,
            after,
            cursor,
            entries,
            gone,
            erased,
            self._clock.now(),
        )

    async def serve(self, org_id: str, generation: int) -> bool:
        return await self._store.write(
            Scope(org_id), indexing.serve, org_id, generation, self._clock.now()
        )

    async def sweep(self, org_id: str, abandoned: int, most: int) -> bool:
        return await self._store.write(Scope(org_id), indexing.sweep, org_id, abandoned, most)
