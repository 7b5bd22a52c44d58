"""Reading messages: pages of a conversation, and one by its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from madang.model.nouns import Message
from madang.ports.store import Page
from madang.store import rows
from madang.store.queries.reading import (
    MESSAGE,
    NO_LIMIT,
    Query,
    Row,
    fetch,
    rows_query,
    scalar,
    scalar_query,
)

_IN = "m.conversation_id = :conversation AND m.org_id = :org"
_SEEN = (
    "EXISTS (SELECT 1 FROM participants AS p WHERE p.conversation_id = :conversation "
    "AND p.user_id = :user AND p.org_id = :org)"
)
_IS_SEEN = scalar_query(f"SELECT {_SEEN}")
_OLDER = (
    f"FROM messages AS m WHERE {_IN} AND m.seq < :place AND {_SEEN} "
    "ORDER BY m.seq DESC LIMIT :limit"
)
_BEFORE = rows_query(MESSAGE, _OLDER)
_NEWER = (
    f"FROM messages AS m WHERE {_IN} AND m.seq > :place AND {_SEEN} ORDER BY m.seq LIMIT :limit"
)
_AFTER = rows_query(MESSAGE, _NEWER)


def _some(rest: str, order: str) -> Query:
    """As `rest` says, up to the first message that reaches `:most` bytes; beside each, how many
    were looked at."""
    return rows_query(
        f"{MESSAGE}, p.looked_at",
        "FROM (SELECT s.seq, s.size, sum(s.size) OVER (ORDER BY s.seq" + order + ") AS total, "
        "count(*) OVER () AS looked_at FROM ("
        "SELECT m.seq, BYTES(m.content) + BYTES(m.metadata) + BYTES(m.attachments) AS size "
        f"{rest}) AS s) AS p "
        "THEN JOIN messages AS m ON m.conversation_id = :conversation AND m.seq = p.seq "
        f"WHERE p.total - p.size < :most ORDER BY m.seq{order} LIMIT -1",
    )


_SOME_BEFORE = _some(_OLDER, " DESC")
_SOME_AFTER = _some(_NEWER, "")
_AROUND = rows_query(
    MESSAGE,
    "FROM (SELECT * FROM (SELECT m.seq AS near "
    f"{_OLDER}) AS older UNION ALL SELECT * FROM (SELECT m.seq AS near FROM messages AS m "
    f"WHERE {_IN} AND m.seq >= :place AND {_SEEN} ORDER BY m.seq LIMIT :limit) AS newer) AS seqs "
    "JOIN messages AS m ON m.conversation_id = :conversation AND m.seq = near "
    "ORDER BY m.seq LIMIT -1",
)


def messages_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    user_id: str,
    before_seq: int | None,
    after_seq: int | None,
    around_seq: int | None,
    limit: int,
    most_bytes: int | None = None,
) -> Page | None:
    where = {"org": org_id, "conversation": conversation_id, "user": user_id}
    if around_seq is not None:
        page = _around(connection, where, around_seq, limit)
    elif after_seq is not None:
        page = _cut(connection, (_AFTER, _SOME_AFTER), where, after_seq, limit, most_bytes)
    else:
        before = NO_LIMIT if before_seq is None else before_seq
        page = _cut(connection, (_BEFORE, _SOME_BEFORE), where, before, limit, most_bytes)
        page = Page(page.items[::-1], page.has_more)
    if not page.items and not scalar(connection, _IS_SEEN, **where):
        # Nothing to see and nobody to see it look alike; still the same moment of the database.
        return None
    return page


def _cut(
    connection: Connection,
    queries: tuple[Query, Query],
    where: Mapping[str, Any],
    place: int,
    limit: int,
    most_bytes: int | None,
) -> Page:
    """A page on from a place, in the query's order: the first of the queries, or, where bytes
    count, the second."""
    where = {**where, "place": place, "limit": limit + 1}
    if most_bytes is None:
        found = fetch(connection, queries[0], **where)
        return _page(found[:limit], len(found) > limit)
    found = fetch(connection, queries[1], **where, most=most_bytes)
    looked_at = found[0][-1] if found else 0
    return _page([row[:-1] for row in found[:limit]], looked_at > len(found[:limit]))


def _page(found: Sequence[Row], more: bool) -> Page:
    return Page(tuple(rows.message_of(row, row[-1]) for row in found), more)


def _around(connection: Connection, where: Mapping[str, Any], around: int, limit: int) -> Page:
    """Half of the page older than `around`, the rest from it on; a short side leaves its room to
    the other. There is more if either side has more."""
    found = fetch(connection, _AROUND, **where, place=around, limit=limit + 1)
    older = sum(1 for row in found if row[3] < around)
    newer = len(found) - older
    take_older = max(min(older, limit // 2), min(older, limit - newer))
    start = older - take_older
    page = found[start : start + limit]
    return _page(page, len(page) < len(found))


_ONE_MESSAGE = rows_query(
    MESSAGE,
    "FROM messages AS m JOIN participants AS p "
    "ON p.conversation_id = m.conversation_id AND p.user_id = :user "
    "WHERE m.id = :message AND m.org_id = :org",
)
_LATE_ANSWERS = rows_query(
    MESSAGE,
    "FROM messages AS m JOIN messages AS q ON q.id = m.reply_to_id "
    f"AND q.conversation_id = m.conversation_id WHERE {_IN} AND m.seq > :question "
    "AND m.seq < :before AND m.message_type = 'stream' AND q.seq >= :oldest "
    f"AND q.seq < :question AND {_SEEN} ORDER BY m.seq DESC LIMIT :limit",
)
_SEQ_OF_MESSAGE = scalar_query(f"SELECT m.seq FROM messages AS m WHERE m.id = :message AND {_IN}")
_SEQ_AT_TIME = scalar_query(
    f"SELECT m.seq FROM messages AS m WHERE {_IN} AND m.created_at <= :time "
    "ORDER BY m.seq DESC LIMIT 1"
)


def message(connection: Connection, org_id: str, message_id: str, user_id: str) -> Message | None:
    found = fetch(connection, _ONE_MESSAGE, org=org_id, message=message_id, user=user_id)
    return rows.message_of(found[0], found[0][-1]) if found else None


def late_answers(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    user_id: str,
    oldest_seq: int,
    question_seq: int,
    before_seq: int,
    limit: int,
) -> list[Message]:
    where = {"org": org_id, "conversation": conversation_id, "user": user_id}
    seqs = {"oldest": oldest_seq, "question": question_seq, "before": before_seq}
    found = fetch(connection, _LATE_ANSWERS, **where, **seqs, limit=limit)
    return [rows.message_of(row, row[-1]) for row in found[::-1]]


def seq_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    message_id: str | None,
    time: int | None,
) -> int | None:
    where = {"org": org_id, "conversation": conversation_id}
    if message_id is not None:
        found = scalar(connection, _SEQ_OF_MESSAGE, **where, message=message_id)
        return None if found is None else int(found)
    return scalar(connection, _SEQ_AT_TIME, **where, time=time) or 0
