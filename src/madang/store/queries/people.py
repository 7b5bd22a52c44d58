"""Reads and small writes about people and their devices, and counts for the statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from madang.store.queries import events
from madang.store.queries.reading import fetch, rows_query

MAX_BEHIND = 1000

_ACKED = text(
    "SELECT cursor FROM devices WHERE org_id = :org AND user_id = :user AND client_id = :client"
)
_SAVE_ACK = text(
    "INSERT INTO devices (org_id, user_id, client_id, cursor, updated_at) "
    "VALUES (:org, :user, :client, :cursor, :now) "
    "ON CONFLICT (org_id, user_id, client_id) DO UPDATE "
    "SET cursor = excluded.cursor, updated_at = excluded.updated_at "
    "WHERE excluded.cursor > devices.cursor"
)
_DEVICES = text(
    "SELECT user_id, client_id, cursor, updated_at FROM devices "
    "WHERE org_id = :org ORDER BY user_id, client_id"
)
_DEVICES_OF = text(
    "SELECT user_id, client_id, cursor, updated_at FROM devices "
    "WHERE org_id = :org AND user_id = :user ORDER BY client_id"
)
_LAST_SEEN = rows_query(
    "u.id, u.last_seen",
    "FROM users AS u WHERE u.org_id = :org AND u.id AMONG(:users)",
    lists=["users"],
)
_SAVE_LAST_SEEN = text(
    "INSERT INTO users (org_id, id, last_seen) VALUES (:org, :user, :time) "
    "ON CONFLICT (org_id, id) DO UPDATE SET last_seen = excluded.last_seen "
    "WHERE excluded.last_seen > users.last_seen"
)
_CONTACTS = text(
    "SELECT DISTINCT o.user_id FROM participants AS p "
    "JOIN participants AS o ON o.conversation_id = p.conversation_id "
    "WHERE p.org_id = :org AND p.user_id = :user AND o.user_id <> :user"
)
_COUNTS = text(
    "SELECT (SELECT count(*) FROM conversations WHERE org_id = :org AND updated_at >= :since), "
    "(SELECT count(*) FROM conversations WHERE org_id = :org), "
    "(SELECT count(*) FROM messages WHERE org_id = :org), "
    "(SELECT count(*) FROM events WHERE org_id = :org), "
    "(SELECT count(DISTINCT user_id) FROM participants WHERE org_id = :org)"
)


def acked_cursor(connection: Connection, org_id: str, user_id: str, client_id: str) -> int | None:
    found = connection.execute(
        _ACKED, {"org": org_id, "user": user_id, "client": client_id}
    ).scalar()
    return None if found is None else int(found)


def save_acks(connection: Connection, acks: Sequence[Mapping[str, Any]]) -> None:
    """Each {org, user, client, cursor, now}."""
    connection.execute(_SAVE_ACK, acks)


def devices(connection: Connection, org_id: str, user_id: str | None) -> list[Mapping[str, Any]]:
    query = _DEVICES if user_id is None else _DEVICES_OF
    found = connection.execute(
        query, {"org": org_id, "user": user_id} if user_id else {"org": org_id}
    )
    return [
        {
            "user_id": user,
            "client_id": client,
            "cursor": cursor,
            "updated_at": updated_at,
            "behind": events.count_for_user(connection, org_id, user, cursor, MAX_BEHIND),
        }
        for user, client, cursor, updated_at in found.all()
    ]


def last_seen(connection: Connection, org_id: str, user_ids: Sequence[str]) -> dict[str, int]:
    found = fetch(connection, _LAST_SEEN, org=org_id, users=list(user_ids))
    return {row[0]: row[1] for row in found}


def save_last_seen(connection: Connection, seen: Sequence[Mapping[str, Any]]) -> None:
    """Each {org, user, time}."""
    connection.execute(_SAVE_LAST_SEEN, seen)


def contacts(connection: Connection, org_id: str, user_id: str) -> set[str]:
    return set(connection.execute(_CONTACTS, {"org": org_id, "user": user_id}).scalars())


def counts(connection: Connection, org_id: str, active_since: int) -> Mapping[str, int]:
    row = connection.execute(_COUNTS, {"org": org_id, "since": active_since}).one()
    names = ("active_conversations", "conversations", "messages", "events", "users")
    return dict(zip(names, row, strict=True))
