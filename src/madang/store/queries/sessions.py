"""Reading sessions and runs, as one of their participants sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from madang.model.runs import Run, SessionView
from madang.store import run_rows
from madang.store.queries.conversations import SEEN, VIEW, VIEW_WIDTH, views
from madang.store.queries.reading import Row, columns, fetch, rows_query, scalar, scalar_query
from madang.store.tables import runs, sessions

_SESSION = f"{VIEW}, {columns('s', sessions)}"
_SEEN = SEEN + "JOIN sessions AS s ON s.conversation_id = c.id "
_MINE = "WHERE p.org_id = :org AND p.user_id = :user AND c.kind = 'agent' "
_CHOSEN = (
    "AND (:status = '' OR c.status = :status) AND (:agent = '' OR s.agent_id = :agent "
    "OR s.agent_id = 'agent:' || :agent) "
)
_ONE = rows_query(_SESSION, _SEEN + _MINE + "AND c.id = :conversation AND p.conversation_id = c.id")
_MANY = rows_query(
    _SESSION,
    _SEEN + _MINE + _CHOSEN + "ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit OFFSET :offset",
)
_TOTAL = scalar_query(
    "SELECT count(*) FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id "
    "JOIN sessions AS s ON s.conversation_id = c.id " + _MINE + _CHOSEN
)


def _views(
    connection: Connection, org_id: str, user_id: str, found: Sequence[Row], now: int
) -> list[SessionView]:
    told = [row[:VIEW_WIDTH] for row in found]
    seen = views(connection, org_id, user_id, told, now)
    return [
        SessionView(run_rows.session_of(row[VIEW_WIDTH:]), view)
        for row, view in zip(found, seen, strict=True)
    ]


def session(
    connection: Connection, org_id: str, conversation_id: str, user_id: str, now: int
) -> SessionView | None:
    found = fetch(connection, _ONE, org=org_id, user=user_id, conversation=conversation_id)
    return _views(connection, org_id, user_id, found, now)[0] if found else None


def sessions_of(
    connection: Connection,
    org_id: str,
    user_id: str,
    status: str | None,
    agent_id: str | None,
    limit: int,
    offset: int,
    now: int,
) -> tuple[list[SessionView], int]:
    where: dict[str, Any] = {
        "org": org_id,
        "user": user_id,
        "status": status or "",
        "agent": agent_id or "",
    }
    found = fetch(connection, _MANY, **where, limit=limit, offset=offset)
    total = scalar(connection, _TOTAL, **where)
    return _views(connection, org_id, user_id, found, now), int(total)


_IS_IN = (
    "EXISTS (SELECT 1 FROM participants AS p WHERE p.conversation_id = {0}.conversation_id "
    "AND p.user_id = :user AND p.org_id = :org)"
)
_COUNT = scalar_query(
    "SELECT count(*) FROM messages AS m WHERE m.conversation_id = :conversation "
    f"AND m.org_id = :org AND {_IS_IN.format('m')}"
)


def message_count(connection: Connection, org_id: str, conversation_id: str, user_id: str) -> int:
    where = {"org": org_id, "conversation": conversation_id, "user": user_id}
    return int(scalar(connection, _COUNT, **where) or 0)


_RUN = rows_query(
    columns("r", runs),
    f"FROM runs AS r WHERE r.message_id = :message AND r.org_id = :org AND {_IS_IN.format('r')}",
)
_UNDER_WAY = rows_query(
    columns("r", runs),
    "FROM runs AS r WHERE r.conversation_id = :conversation AND r.org_id = :org "
    "AND r.status IN ('waiting', 'streaming') ORDER BY r.message_id LIMIT -1",
)
_ANSWERING = rows_query(
    columns("r", runs),
    "FROM runs AS r WHERE r.conversation_id = :conversation AND r.org_id = :org "
    "AND r.question_id = :question AND r.alternative_of IS NULL ORDER BY r.message_id LIMIT -1",
)
_UNCHECKED = rows_query(
    "l.org_id, l.message_id",
    "FROM run_leases AS l WHERE l.checked_at < :before ORDER BY l.checked_at LIMIT :limit",
)


def run(connection: Connection, org_id: str, message_id: str, user_id: str) -> Run | None:
    found = fetch(connection, _RUN, org=org_id, message=message_id, user=user_id)
    return run_rows.run_of(found[0]) if found else None


def runs_under_way(connection: Connection, org_id: str, conversation_id: str) -> list[Run]:
    found = fetch(connection, _UNDER_WAY, org=org_id, conversation=conversation_id)
    return list(map(run_rows.run_of, found))


def unchecked_runs(connection: Connection, before: int, limit: int) -> list[tuple[str, str]]:
    found = fetch(connection, _UNCHECKED, before=before, limit=limit)
    return [(row[0], row[1]) for row in found]


def runs_answering(
    connection: Connection, org_id: str, conversation_id: str, question_id: str
) -> list[Run]:
    where = {"org": org_id, "conversation": conversation_id, "question": question_id}
    return list(map(run_rows.run_of, fetch(connection, _ANSWERING, **where)))
