"""Reading the log: an org's, a conversation's, and all that one user may see."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from madang.model.nouns import Event
from madang.ports.store import Loss, Missed
from madang.store import rows
from madang.store.queries.conversations import conversations_as_told
from madang.store.queries.reading import (
    JOINED_MESSAGE,
    NO_LIMIT,
    Row,
    columns,
    fetch,
    rows_query,
    scalar,
    scalar_query,
)
from madang.store.tables import events

_EPOCH = scalar_query("SELECT epoch FROM epochs")
_HEAD = scalar_query("SELECT last_cursor FROM orgs WHERE id = :org")
_HEADS = rows_query(
    "o.id, o.last_cursor",
    "FROM EACH(:orgs) AS i THEN JOIN orgs AS o ON o.id = i.value",
    lists=["orgs"],
)
_OLDEST = scalar_query("SELECT oldest_cursor FROM orgs WHERE id = :org")
_WHY = """
    CASE
        WHEN {cursor} > coalesce((SELECT last_cursor FROM orgs WHERE id = :org), 0)
        THEN 'unknown_cursor'
        WHEN {cursor} < (SELECT oldest_cursor FROM orgs WHERE id = :org)
        THEN 'expired'
        WHEN EXISTS (
            SELECT 1 FROM gaps
            WHERE org_id = :org AND {cursor} > after_cursor AND {cursor} < until_cursor
        ) OR EXISTS (
            SELECT 1 FROM gaps AS g
            WHERE g.org_id = '' AND {cursor} > g.after_cursor AND {cursor} < g.until_cursor
            AND NOT EXISTS (
                SELECT 1 FROM gaps AS o WHERE o.org_id = :org AND o.until_cursor >= g.until_cursor
            )
        )
        THEN 'other_epoch'
    END
    """
_WHY_LOST = scalar_query(f"SELECT {_WHY.format(cursor=':cursor')}")
_WHY_LOST_EACH = rows_query(
    f"c.value, {_WHY.format(cursor='CAST(c.value AS BIGINT)')}",
    "FROM EACH(:cursors) AS c LIMIT -1",
    lists=["cursors"],
)


def epoch(connection: Connection) -> str:
    return str(scalar(connection, _EPOCH))


def head(connection: Connection, org_id: str) -> int:
    return scalar(connection, _HEAD, org=org_id) or 0


def heads(connection: Connection, org_ids: Sequence[str]) -> dict[str, int]:
    return {row[0]: row[1] for row in fetch(connection, _HEADS, orgs=list(org_ids))}


def oldest_cursor(connection: Connection, org_id: str) -> int:
    return scalar(connection, _OLDEST, org=org_id) or 0


def why_lost(connection: Connection, org_id: str, cursor: int) -> Loss | None:
    found: Loss | None = scalar(connection, _WHY_LOST, org=org_id, cursor=cursor)
    return found


_EVENT = f"{columns('e', events)}, {JOINED_MESSAGE}"
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


_EVENTS_OF_ORG = rows_query(
    _EVENT,
    f"FROM events AS e {_WITH_MESSAGE} "
    "WHERE e.org_id = :org AND e.cursor > :after AND e.cursor <= :until "
    "ORDER BY e.cursor LIMIT :limit",
)

_EVENTS_OF_CONVERSATION = rows_query(
    _EVENT,
    f"FROM events AS e {_WITH_MESSAGE} "
    "WHERE e.conversation_id = :conversation AND e.org_id = :org "
    "AND e.seq > :after AND e.seq <= :until ORDER BY e.seq LIMIT :limit",
)

# The same up to the first that reaches `:most` bytes. Sizes are looked at without fetching what is
# too much; the limit bounds how many.
_SOME_OF_CONVERSATION = rows_query(
    _EVENT,
    "FROM (SELECT s.seq, s.size, sum(s.size) OVER (ORDER BY s.seq) AS total FROM ("
    "SELECT e.seq, BYTES(e.data) + coalesce(BYTES(m.content) + BYTES(m.metadata), 0) AS size "
    f"FROM events AS e {_WITH_MESSAGE} "
    "WHERE e.conversation_id = :conversation AND e.org_id = :org "
    "AND e.seq > :after AND e.seq <= :until ORDER BY e.seq LIMIT :limit) AS s) AS p "
    "THEN JOIN events AS e ON e.conversation_id = :conversation AND e.seq = p.seq "
    f"AND e.org_id = :org {_WITH_MESSAGE} "
    "WHERE p.total - p.size < :most ORDER BY e.seq LIMIT -1",
)

# `+`: by seq, which is what bounds the work; the cursors of a whole org would not.
_LATEST = rows_query(
    _EVENT,
    "FROM EACH(:ids) AS i "
    "THEN JOIN conversations AS c ON c.id = i.value AND (c.org_id = :org) IS TRUE "
    "AND c.last_cursor > :after "
    "THEN JOIN events AS e ON e.conversation_id = c.id AND e.seq > c.last_seq - :each "
    f"AND (e.org_id = :org) IS TRUE AND +e.cursor > :after {_WITH_MESSAGE} "
    "ORDER BY e.cursor LIMIT -1",
    lists=["ids"],
)
_LEFT_OF = rows_query(
    _EVENT,
    "FROM EACH(:users) AS u THEN JOIN events AS e ON e.org_id = :org AND e.user_id = u.value "
    f"AND e.type = 'participant.left' AND e.cursor > :after {_WITH_MESSAGE} "
    "ORDER BY e.cursor LIMIT -1",
    lists=["users"],
)

# `search` halves the dense seqs of a conversation until `low` is the last event up to the cursor
# and `high` the first one after it: a dozen look-ups, and no second index on every event. An event
# that is no longer kept counts as old. (`middle` is a column, and not worked out in the condition:
# behind row-level security PostgreSQL looks up only by what cannot fail, and a sum can.)
_HALVE = (
    "SELECT s.conversation_id, "
    "CASE WHEN e.cursor > :after THEN s.low ELSE s.middle END, "
    "CASE WHEN e.cursor > :after THEN s.middle ELSE s.high END, "
    "CASE WHEN e.cursor > :after THEN s.low + s.middle ELSE s.middle + s.high END / 2 "
    "FROM search AS s LEFT JOIN events AS e "
    "ON e.conversation_id = s.conversation_id AND e.seq = s.middle "
    "WHERE s.high - s.low > 1"
)

# Seqs being dense, `limit` events of each conversation from the first one on are enough to find
# the `limit` first of all: the work has a bound however far behind the user is. The `+` keeps
# SQLite from reading the whole org's log by its cursors instead.
_WANTED = f"""
    WITH RECURSIVE search (conversation_id, low, high, middle) AS (
        SELECT c.id, CAST(0 AS bigint), c.last_seq, c.last_seq / 2
        FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id
        WHERE p.org_id = :org AND p.user_id = :user AND c.last_cursor > :after
        UNION ALL {_HALVE}
    ),
    news (conversation_id, first, past) AS MATERIALIZED (
        SELECT conversation_id, high, high + :limit FROM search WHERE high - low = 1
    ),
    wanted (cursor) AS (
        SELECT e.cursor FROM news AS n THEN JOIN events AS e
        ON e.conversation_id = n.conversation_id AND e.seq >= n.first AND e.seq < n.past
        WHERE +e.cursor > :after AND +e.cursor <= :until
        UNION
        SELECT e.cursor FROM events AS e
        WHERE e.org_id = :org AND e.user_id = :user AND e.type = 'participant.left'
        AND e.cursor > :after AND +e.cursor <= :until
        ORDER BY 1 LIMIT :limit
    )
    """
_EVENTS_FOR_USER = rows_query(
    _EVENT,
    "FROM wanted AS w THEN JOIN events AS e ON e.org_id = :org AND e.cursor = w.cursor "
    # The limit says nothing new; it keeps the order of the rows an order of the result.
    f"{_WITH_MESSAGE} ORDER BY e.cursor LIMIT :limit",
    before=_WANTED,
)

_SEQ_AT = scalar_query(
    f"""
    WITH RECURSIVE search (conversation_id, low, high, middle) AS (
        SELECT id, CAST(0 AS bigint), last_seq + 1, (last_seq + 1) / 2
        FROM conversations WHERE id = :conversation AND org_id = :org
        UNION ALL {_HALVE}
    )
    SELECT low FROM search WHERE high - low = 1
    """
)

_COUNT_FOR_USER = scalar_query(f"{_WANTED} SELECT count(*) FROM wanted")


def events_of_org(
    connection: Connection, org_id: str, after: int, until: int | None, limit: int
) -> list[Event]:
    return _events(
        connection,
        org_id,
        fetch(
            connection,
            _EVENTS_OF_ORG,
            org=org_id,
            after=after,
            until=NO_LIMIT if until is None else until,
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
    most_bytes: int | None = None,
) -> list[Event]:
    where = {
        "org": org_id,
        "conversation": conversation_id,
        "after": after_seq,
        "until": NO_LIMIT if until_seq is None else until_seq,
        "limit": limit,
    }
    if most_bytes is None:
        found = fetch(connection, _EVENTS_OF_CONVERSATION, **where)
    else:
        found = fetch(connection, _SOME_OF_CONVERSATION, **where, most=most_bytes)
    return _events(connection, org_id, found)


def events_for_user(
    connection: Connection, org_id: str, user_id: str, after: int, until: int | None, limit: int
) -> list[Event]:
    return _events(
        connection,
        org_id,
        fetch(
            connection,
            _EVENTS_FOR_USER,
            org=org_id,
            user=user_id,
            after=after,
            until=NO_LIMIT if until is None else until,
            limit=limit,
        ),
    )


def missed(
    connection: Connection,
    org_id: str,
    after: int,
    conversation_ids: Sequence[str],
    each: int,
    user_ids: Sequence[str],
    cursors: Sequence[int],
) -> Missed:
    latest = fetch(
        connection, _LATEST, org=org_id, after=after, ids=list(conversation_ids), each=each
    )
    left = fetch(connection, _LEFT_OF, org=org_id, after=after, users=list(user_ids))
    why = fetch(connection, _WHY_LOST_EACH, org=org_id, cursors=[str(c) for c in cursors])
    return Missed(
        _events(connection, org_id, latest),
        _events(connection, org_id, left),
        {int(cursor): loss for cursor, loss in why if loss is not None},
    )


_COUNT_OF_ORG = scalar_query(
    "SELECT count(*) FROM (SELECT 1 FROM events WHERE org_id = :org AND cursor > :after "
    "LIMIT :limit) AS later"
)


def count_of_org(connection: Connection, org_id: str, after: int, limit: int) -> int:
    """How many events the org has after a cursor, up to `limit`."""
    return int(scalar(connection, _COUNT_OF_ORG, org=org_id, after=after, limit=limit))


def count_for_user(
    connection: Connection, org_id: str, user_id: str, after: int, limit: int
) -> int:
    """How many events the user has after a cursor, up to `limit`."""
    return int(
        scalar(
            connection,
            _COUNT_FOR_USER,
            org=org_id,
            user=user_id,
            after=after,
            until=NO_LIMIT,
            limit=limit,
        ),
    )


def seq_at(connection: Connection, org_id: str, conversation_id: str, cursor: int) -> int:
    return scalar(connection, _SEQ_AT, org=org_id, conversation=conversation_id, after=cursor) or 0
