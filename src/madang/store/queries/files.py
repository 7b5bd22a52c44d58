"""Reading files: one, as somebody may see it, and those that are to be deleted."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from madang.model.nouns import File
from madang.store import rows
from madang.store.queries.reading import Query, columns, fetch, rows_query
from madang.store.tables import files

_FILE = columns("f", files)
_SEEN = (
    "FROM files AS f JOIN participants AS p "
    "ON p.conversation_id = f.conversation_id AND p.user_id = :user "
    "WHERE f.id = :file AND f.org_id = :org AND "
)
_READY = rows_query(
    _FILE,
    f"{_SEEN} f.status = 'ready' AND (f.message_id IS NOT NULL OR f.owner_id = :user)",
)
_OWN = rows_query(_FILE, f"{_SEEN} f.status <> 'deleted' AND f.owner_id = :user")
_DUE = rows_query(
    _FILE,
    "FROM files AS f WHERE f.org_id = :org AND f.expires_at <= :now "
    "ORDER BY f.expires_at LIMIT :limit",
)
_ORGS = text("SELECT id FROM orgs WHERE id > :after ORDER BY id LIMIT :limit")


def file(connection: Connection, org_id: str, file_id: str, user_id: str) -> File | None:
    return _one(connection, _READY, {"org": org_id, "file": file_id, "user": user_id})


def own_file(connection: Connection, org_id: str, file_id: str, owner_id: str) -> File | None:
    return _one(connection, _OWN, {"org": org_id, "file": file_id, "user": owner_id})


def _one(connection: Connection, query: Query, where: Mapping[str, str]) -> File | None:
    found = fetch(connection, query, **where)
    return rows.file_of(found[0]) if found else None


def due_files(connection: Connection, org_id: str, now: int, limit: int) -> list[File]:
    return [rows.file_of(row) for row in fetch(connection, _DUE, org=org_id, now=now, limit=limit)]


def orgs(connection: Connection, after: str, limit: int) -> list[str]:
    return list(connection.execute(_ORGS, {"after": after, "limit": limit}).scalars())
