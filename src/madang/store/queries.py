"""The reads, as plain functions of a connection: one query a page.

They run on a reader's connection and see one moment of the database. Every one names the org.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text
from sqlalchemy.sql.sqltypes import JSON

from madang.model.nouns import MAX_UNREAD, ConversationView, Event, Message, Participant
from madang.ports import Page
from madang.store import rows
from madang.store.bulk import REACTIONS
from madang.store.tables import conversations, events, messages, participants

Row = tuple[Any, ...]


def _columns(alias: str, table: Any) -> str:
    return ", ".join(f"{alias}.{column.name}" for column in table.columns)


_LIST = JSON(none_as_null=True)
"""A list of strings bound as one JSON text, read with `json_each`."""


def _sql(query: str, **lists: JSON) -> TextClause:
    return text(query).bindparams(*(bindparam(name, type_=kind) for name, kind in lists.items()))


def _fetch(connection: Connection, query: TextClause, **values: Any) -> Sequence[Row]:
    # Plain tuples: these rows are turned into nouns at once.
    return connection.execute(query, values).cursor.fetchall()


def _scalar(connection: Connection, query: TextClause, **values: Any) -> Any:
    found = _fetch(connection, query, **values)
    return found[0][0] if found else None


_EPOCH = text("SELECT epoch FROM epochs")
_HEAD = text("SELECT last_cursor FROM orgs WHERE id = :org")
_OLDEST = text("SELECT oldest_cursor FROM orgs WHERE id = :org")


def epoch(connection: Connection) -> str:
    return str(_scalar(connection, _EPOCH))


def head(connection: Connection, org_id: str) -> int:
    return _scalar(connection, _HEAD, org=org_id) or 0


def oldest_cursor(connection: Connection, org_id: str) -> int:
    return _scalar(connection, _OLDEST, org=org_id) or 0


_MEMBERSHIPS = _sql(
    "SELECT p.user_id, p.conversation_id FROM json_each(:users) AS u "
    "CROSS JOIN participants AS p ON p.org_id = :org AND p.user_id = u.value",
    users=_LIST,
)


def memberships(
    connection: Connection, org_id: str, user_ids: Sequence[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
    for user_id, conversation_id in _fetch(connection, _MEMBERSHIPS, org=org_id, users=list(found)):
        found[user_id].append(conversation_id)
    return found


_LAST_SEQS = _sql(
    "SELECT c.id, c.last_seq FROM json_each(:ids) AS i "
    "CROSS JOIN conversations AS c ON c.id = i.value",
    ids=_LIST,
)


def last_seqs(connection: Connection, conversation_ids: Sequence[str]) -> dict[str, int]:
    return dict(_fetch(connection, _LAST_SEQS, ids=list(conversation_ids)))


# Events

_EVENT = (
    f"{_columns('e', events)}, {_columns('m', messages)}, "
    f"CASE WHEN m.id IS NULL THEN NULL ELSE ({REACTIONS.format(message='m.id')}) END"
)
_JOINED = rows.EVENT_WIDTH
"""Where the joined message begins in the row of an event."""

TELLS_CONVERSATION = frozenset(
    {"conversation.created", "conversation.updated", "conversation.archived"}
)
"""The events that carry their conversation, as it is when they are read."""

_WITH_MESSAGE = "LEFT JOIN messages AS m ON m.id = e.message_id"


def _events(connection: Connection, org_id: str, found: Sequence[Row]) -> list[Event]:
    told = {row[2] for row in found if row[4] in TELLS_CONVERSATION}
    views = conversations_as_told(connection, org_id, told) if told else {}
    return [
        rows.event_of(
            row,
            None if row[_JOINED] is None else rows.message_of(row[_JOINED:], row[-1]),
            views.get(row[2]) if row[4] in TELLS_CONVERSATION else None,
        )
        for row in found
    ]


_EVENTS_OF_ORG = text(
    f"SELECT {_EVENT} FROM events AS e {_WITH_MESSAGE} "
    "WHERE e.org_id = :org AND e.cursor > :after AND e.cursor <= :until "
    "ORDER BY e.cursor LIMIT :limit"
)

_EVENTS_OF_CONVERSATION = text(
    f"SELECT {_EVENT} FROM events AS e {_WITH_MESSAGE} "
    "WHERE e.conversation_id = :conversation AND e.org_id = :org "
    "AND e.seq > :after AND e.seq <= :until ORDER BY e.seq LIMIT :limit"
)

# `search` halves the dense seqs of a conversation until `low` is the last event up to the cursor
# and `high` the first one after it: a dozen look-ups, and no second index on every event. An event
# that is no longer kept counts as old.
_HALVE = (
    "SELECT s.conversation_id, "
    "CASE WHEN e.cursor > :after THEN s.low ELSE (s.low + s.high) / 2 END, "
    "CASE WHEN e.cursor > :after THEN (s.low + s.high) / 2 ELSE s.high END "
    "FROM search AS s LEFT JOIN events AS e "
    "ON e.conversation_id = s.conversation_id AND e.seq = (s.low + s.high) / 2 "
    "WHERE s.high - s.low > 1"
)

# Seqs being dense, `limit` events of each conversation from the first one on are enough to find
# the `limit` first of all: the work has a bound however far behind the user is.
_WANTED = f"""
    WITH RECURSIVE search (conversation_id, low, high) AS (
        SELECT c.id, 0, c.last_seq
        FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id
        WHERE p.org_id = :org AND p.user_id = :user AND c.last_cursor > :after
        UNION ALL {_HALVE}
    ),
    wanted (cursor) AS (
        SELECT e.cursor FROM search AS s CROSS JOIN events AS e
        ON e.conversation_id = s.conversation_id AND e.org_id = :org
        AND e.seq >= s.high AND e.seq < s.high + :limit
        WHERE s.high - s.low = 1 AND e.cursor > :after AND e.cursor <= :until
        UNION
        SELECT e.cursor FROM events AS e
        WHERE e.org_id = :org AND e.user_id = :user AND e.type = 'participant.left'
        AND e.cursor > :after AND e.cursor <= :until
        ORDER BY 1 LIMIT :limit
    )
    """
_EVENTS_FOR_USER = text(
    f"""{_WANTED}
    SELECT {_EVENT} FROM wanted AS w
    CROSS JOIN events AS e ON e.org_id = :org AND e.cursor = w.cursor
    {_WITH_MESSAGE} ORDER BY e.cursor
    """
)

_SEQ_AT = text(
    f"""
    WITH RECURSIVE search (conversation_id, low, high) AS (
        SELECT id, 0, last_seq + 1 FROM conversations WHERE id = :conversation AND org_id = :org
        UNION ALL {_HALVE}
    )
    SELECT low FROM search WHERE high - low = 1
    """
)

_COUNT_FOR_USER = text(f"{_WANTED} SELECT count(*) FROM wanted")

_NO_LIMIT = 2**63 - 1


def events_of_org(
    connection: Connection, org_id: str, after: int, until: int | None, limit: int
) -> list[Event]:
    return _events(
        connection,
        org_id,
        _fetch(
            connection,
            _EVENTS_OF_ORG,
            org=org_id,
            after=after,
            until=_NO_LIMIT if until is None else until,
            limit=limit,
        ),
    )


def events_of_conversation(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    after_seq: int,
    until_seq: int | None,
    limit: int,
) -> list[Event]:
    return _events(
        connection,
        org_id,
        _fetch(
            connection,
            _EVENTS_OF_CONVERSATION,
            org=org_id,
            conversation=conversation_id,
            after=after_seq,
            until=_NO_LIMIT if until_seq is None else until_seq,
            limit=limit,
        ),
    )


def events_for_user(
    connection: Connection, org_id: str, user_id: str, after: int, until: int | None, limit: int
) -> list[Event]:
    return _events(
        connection,
        org_id,
        _fetch(
            connection,
            _EVENTS_FOR_USER,
            org=org_id,
            user=user_id,
            after=after,
            until=_NO_LIMIT if until is None else until,
            limit=limit,
        ),
    )


def count_for_user(
    connection: Connection, org_id: str, user_id: str, after: int, limit: int
) -> int:
    """How many events the user has after a cursor, up to `limit`."""
    return int(
        _scalar(
            connection,
            _COUNT_FOR_USER,
            org=org_id,
            user=user_id,
            after=after,
            until=_NO_LIMIT,
            limit=limit,
        ),
    )


def seq_at(connection: Connection, org_id: str, conversation_id: str, cursor: int) -> int:
    return _scalar(connection, _SEQ_AT, org=org_id, conversation=conversation_id, after=cursor) or 0


# Conversations

_UNREAD = (
    "SELECT count(*) FROM (SELECT 1 FROM messages AS u "
    "WHERE u.conversation_id = c.id AND u.seq > p.last_read_seq "
    f"AND u.sender_id <> p.user_id AND u.deleted_at IS NULL LIMIT {MAX_UNREAD})"
)
_VIEW = (
    f"SELECT {_columns('c', conversations)}, {_columns('p', participants)}, "
    f"({_UNREAD}), {_columns('m', messages)}, "
    f"CASE WHEN m.id IS NULL THEN NULL ELSE ({REACTIONS.format(message='m.id')}) END "
    "FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id "
    "LEFT JOIN messages AS m ON m.id = c.last_message_id "
)
_CONVERSATION = text(
    _VIEW + "WHERE p.conversation_id = :conversation AND p.user_id = :user AND p.org_id = :org"
)
_CONVERSATIONS = text(
    _VIEW + "WHERE p.org_id = :org AND p.user_id = :user AND c.kind IN ('direct', 'group') "
    "AND (c.updated_at, c.id) < (:updated_at, :id) "
    "ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit"
)
_ROSTERS = _sql(
    f"SELECT {_columns('p', participants)} FROM json_each(:ids) AS i "
    "CROSS JOIN participants AS p ON p.conversation_id = i.value AND p.org_id = :org "
    "ORDER BY p.joined_at, p.user_id",
    ids=_LIST,
)
_PAST_ALL_IDS = "~"
"""Sorts after every id."""


def _rosters(
    connection: Connection, org_id: str, ids: Sequence[str]
) -> dict[str, list[Participant]]:
    found: dict[str, list[Participant]] = {i: [] for i in ids}
    for row in _fetch(connection, _ROSTERS, org=org_id, ids=list(ids)):
        found[row[0]].append(rows.participant_of(row))
    return found


def _views(
    connection: Connection, org_id: str, found: Sequence[Row], now: int
) -> tuple[ConversationView, ...]:
    rosters = _rosters(connection, org_id, [row[0] for row in found])
    views = []
    for row in found:
        me = rows.participant_of(row[rows.CONVERSATION_WIDTH :])
        unread_at = rows.CONVERSATION_WIDTH + rows.PARTICIPANT_WIDTH
        last = row[unread_at + 1 :]
        views.append(
            ConversationView(
                conversation=rows.conversation_of(row),
                participants=tuple(rosters[row[0]]),
                last_message=None if last[0] is None else rows.message_of(last, last[-1]),
                unread_count=row[unread_at],
                muted=me.notification_level == "none"
                or (me.muted_until is not None and me.muted_until > now),
            )
        )
    return tuple(views)


def conversation(
    connection: Connection, org_id: str, conversation_id: str, user_id: str, now: int
) -> ConversationView | None:
    found = _fetch(
        connection, _CONVERSATION, org=org_id, conversation=conversation_id, user=user_id
    )
    views = _views(connection, org_id, found, now) if found else ()
    return views[0] if views else None


def conversations_of(
    connection: Connection,
    org_id: str,
    user_id: str,
    before: tuple[int, str] | None,
    limit: int,
    now: int,
) -> Page:
    updated_at, last_id = before or (_NO_LIMIT, _PAST_ALL_IDS)
    found = _fetch(
        connection,
        _CONVERSATIONS,
        org=org_id,
        user=user_id,
        updated_at=updated_at,
        id=last_id,
        limit=limit + 1,
    )
    return Page(_views(connection, org_id, found[:limit], now), len(found) > limit)


_TOLD = _sql(
    f"SELECT {_columns('c', conversations)}, {_columns('m', messages)}, "
    f"CASE WHEN m.id IS NULL THEN NULL ELSE ({REACTIONS.format(message='m.id')}) END "
    "FROM json_each(:ids) AS i "
    "CROSS JOIN conversations AS c ON c.id = i.value AND c.org_id = :org "
    "LEFT JOIN messages AS m ON m.id = c.last_message_id",
    ids=_LIST,
)


def conversations_as_told(
    connection: Connection, org_id: str, ids: Iterable[str]
) -> dict[str, ConversationView]:
    """The conversations as events tell of them: as nobody in particular sees them."""
    found = _fetch(connection, _TOLD, org=org_id, ids=list(ids))
    rosters = _rosters(connection, org_id, [row[0] for row in found])
    views = {}
    for row in found:
        last = row[rows.CONVERSATION_WIDTH :]
        message = None if last[0] is None else rows.message_of(last, last[-1])
        roster = tuple(rosters[row[0]])
        views[row[0]] = ConversationView(rows.conversation_of(row), roster, message, 0, False)
    return views


def participants_of(connection: Connection, org_id: str, conversation_id: str) -> list[Participant]:
    return _rosters(connection, org_id, [conversation_id])[conversation_id]


_PARTICIPANT = text(
    f"SELECT {_columns('p', participants)} FROM participants AS p "
    "WHERE p.conversation_id = :conversation AND p.user_id = :user AND p.org_id = :org"
)


def participant(
    connection: Connection, org_id: str, conversation_id: str, user_id: str
) -> Participant | None:
    found = _fetch(connection, _PARTICIPANT, conversation=conversation_id, user=user_id, org=org_id)
    return rows.participant_of(found[0]) if found else None


# Messages

_MESSAGE = f"{_columns('m', messages)}, ({REACTIONS.format(message='m.id')})"
_IN = "m.conversation_id = :conversation AND m.org_id = :org"
_OLDER = (
    f"SELECT {_MESSAGE} FROM messages AS m WHERE {_IN} AND m.seq < :before "
    "ORDER BY m.seq DESC LIMIT :limit"
)
_BEFORE = text(_OLDER)
_AFTER = text(
    f"SELECT {_MESSAGE} FROM messages AS m WHERE {_IN} AND m.seq > :after "
    "ORDER BY m.seq LIMIT :limit"
)
_AROUND = text(
    f"SELECT * FROM ({_OLDER}) UNION ALL "
    f"SELECT * FROM (SELECT {_MESSAGE} FROM messages AS m WHERE {_IN} AND m.seq >= :before "
    "ORDER BY m.seq LIMIT :newer)"
)


def messages_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    before_seq: int | None,
    after_seq: int | None,
    around_seq: int | None,
    limit: int,
) -> Page:
    where = {"org": org_id, "conversation": conversation_id}
    if around_seq is not None:
        return _around(connection, where, around_seq, limit)
    if after_seq is not None:
        found = list(_fetch(connection, _AFTER, **where, after=after_seq, limit=limit + 1))
        more = len(found) > limit
        found = found[:limit]
    else:
        before = _NO_LIMIT if before_seq is None else before_seq
        found = list(_fetch(connection, _BEFORE, **where, before=before, limit=limit + 1))
        more = len(found) > limit
        found = found[:limit][::-1]
    return Page(tuple(rows.message_of(row, row[-1]) for row in found), more)


def _around(connection: Connection, where: Mapping[str, Any], around: int, limit: int) -> Page:
    """Half of the page older than `around`, the rest from it on; a short side leaves its room to
    the other. There is more if either side has more."""
    found = sorted(
        _fetch(connection, _AROUND, **where, before=around, limit=limit + 1, newer=limit + 1),
        key=lambda row: row[3],
    )
    older = sum(1 for row in found if row[3] < around)
    newer = len(found) - older
    take_older = max(min(older, limit // 2), min(older, limit - newer))
    start = older - take_older
    page = found[start : start + limit]
    return Page(tuple(rows.message_of(row, row[-1]) for row in page), len(page) < len(found))


_ONE_MESSAGE = text(
    f"SELECT {_MESSAGE} FROM messages AS m JOIN participants AS p "
    "ON p.conversation_id = m.conversation_id AND p.user_id = :user "
    "WHERE m.id = :message AND m.org_id = :org"
)
_SEQ_OF_MESSAGE = text(f"SELECT m.seq FROM messages AS m WHERE m.id = :message AND {_IN}")
_SEQ_AT_TIME = text(
    f"SELECT m.seq FROM messages AS m WHERE {_IN} AND m.created_at <= :time "
    "ORDER BY m.seq DESC LIMIT 1"
)


def message(connection: Connection, org_id: str, message_id: str, user_id: str) -> Message | None:
    found = _fetch(connection, _ONE_MESSAGE, org=org_id, message=message_id, user=user_id)
    return rows.message_of(found[0], found[0][-1]) if found else None


def seq_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    message_id: str | None,
    time: int | None,
) -> int | None:
    where = {"org": org_id, "conversation": conversation_id}
    if message_id is not None:
        found = _scalar(connection, _SEQ_OF_MESSAGE, **where, message=message_id)
        return None if found is None else int(found)
    return _scalar(connection, _SEQ_AT_TIME, **where, time=time) or 0
