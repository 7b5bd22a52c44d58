"""The reads of `ports.Store` that are about agents."""

from __future__ import annotations

from collections.abc import Sequence

from madang.model.runs import Run, SessionView
from madang.store.queries import sessions
from madang.store.sql_store import ALL_ORGS, Scope, SqlStore


class RunReads(SqlStore):
    """Sessions and runs."""

    async def session(self, org_id: str, conversation_id: str, user_id: str) -> SessionView | None:
        return await self.read(
            Scope(org_id, user_id),
            sessions.session,
            org_id,
            conversation_id,
            user_id,
            self._clock.now(),
        )

    async def sessions(
        self,
        org_id: str,
        user_id: str,
        *,
        status: str | None = None,
        agent_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Sequence[SessionView], int]:
        return await self.read(
            Scope(org_id, user_id),
            sessions.sessions_of,
            org_id,
            user_id,
            status,
            agent_id,
            limit,
            offset,
            self._clock.now(),
        )

    async def message_count(self, org_id: str, conversation_id: str, user_id: str) -> int:
        return await self.read(
            Scope(org_id, user_id), sessions.message_count, org_id, conversation_id, user_id
        )

    async def run(self, org_id: str, message_id: str, user_id: str) -> Run | None:
        return await self.read(Scope(org_id, user_id), sessions.run, org_id, message_id, user_id)

    async def runs_under_way(self, org_id: str, conversation_id: str) -> Sequence[Run]:
        return await self.read(Scope(org_id), sessions.runs_under_way, org_id, conversation_id)

    async def runs_answering(
        self, org_id: str, conversation_id: str, question_id: str
    ) -> Sequence[Run]:
        return await self.read(
            Scope(org_id), sessions.runs_answering, org_id, conversation_id, question_id
        )

    async def unchecked_runs(self, before: int, limit: int) -> Sequence[tuple[str, str]]:
        return await self.read(ALL_ORGS, sessions.unchecked_runs, before, limit)
