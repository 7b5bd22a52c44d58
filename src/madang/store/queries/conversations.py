"""Reading conversations: whose they are, who is in them, and how each looks to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from madang.model.nouns import MAX_UNREAD, PARTICIPANTS_TOLD, ConversationView, Participant
from madang.ports.store import Page
from madang.store import rows
from madang.store.queries.reading import (
    JOINED_MESSAGE,
    NO_LIMIT,
    Row,
    columns,
    fetch,
    rows_query,
)
from madang.store.tables import conversations, participants

_MEMBERSHIPS = rows_query(
    "p.user_id, p.conversation_id",
    "FROM participants AS p WHERE p.org_id = :org AND p.user_id AMONG(:users)",
    lists=["users"],
)


def memberships(
    connection: Connection, org_id: str, user_ids: Sequence[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {user_id: [] for user_id in user_ids}
    for user_id, conversation_id in fetch(connection, _MEMBERSHIPS, org=org_id, users=list(found)):
        found[user_id].append(conversation_id)
    return found


_SEATS_AMONG = rows_query(
    "p.user_id",
    "FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id "
    "WHERE p.org_id = :org AND p.user_id AMONG(:users) AND c.kind = 'live'",
    lists=["users"],
)


def seats_among(connection: Connection, org_id: str, user_ids: Sequence[str]) -> set[str]:
    found = fetch(connection, _SEATS_AMONG, org=org_id, users=list(user_ids))
    return {row[0] for row in found}


_LAST_SEQS = rows_query(
    "c.id, c.last_seq",
    "FROM EACH(:ids) AS i THEN JOIN conversations AS c ON c.id = i.value AND c.org_id = :org",
    lists=["ids"],
)


def last_seqs(
    connection: Connection, org_id: str, conversation_ids: Sequence[str]
) -> dict[str, int]:
    found = fetch(connection, _LAST_SEQS, org=org_id, ids=list(conversation_ids))
    return {row[0]: row[1] for row in found}


_UNREAD = (
    "SELECT count(*) FROM (SELECT 1 FROM messages AS u "
    "WHERE u.conversation_id = c.id AND u.seq > p.last_read_seq "
    f"AND u.sender_id <> p.user_id AND u.deleted_at IS NULL LIMIT {MAX_UNREAD}) AS unread"
)
_COUNT = "SELECT count(*) FROM participants AS n WHERE n.conversation_id = c.id"
VIEW = (
    f"{columns('c', conversations)}, {columns('p', participants)}, ({_UNREAD}), ({_COUNT}), "
    f"{JOINED_MESSAGE}"
)
VIEW_WIDTH = rows.CONVERSATION_WIDTH + rows.PARTICIPANT_WIDTH + 2 + rows.MESSAGE_WIDTH + 1
SEEN = (
    "FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id "
    "LEFT JOIN messages AS m ON m.id = c.last_message_id "
)
_CONVERSATION = rows_query(
    VIEW,
    SEEN + "WHERE p.conversation_id = :conversation AND p.user_id = :user AND p.org_id = :org",
)
_CONVERSATIONS = rows_query(
    VIEW,
    SEEN + "WHERE p.org_id = :org AND p.user_id = :user AND c.kind IN ('direct', 'group') "
    "AND (c.updated_at, c.id) < (:updated_at, :id) "
    "ORDER BY c.updated_at DESC, c.id DESC LIMIT :limit",
)
# Who is the last one told of each, if they are that many; then all up to them, by the same index.
_LAST_TOLD = (
    "(SELECT {column} FROM participants AS l WHERE l.conversation_id = i.value "
    f"ORDER BY l.joined_at, l.user_id LIMIT 1 OFFSET {PARTICIPANTS_TOLD - 1})"
)
_ROSTERS = rows_query(
    columns("p", participants),
    "FROM told AS t "
    # The org is no way to look up by here: that would be all its participants.
    "THEN JOIN participants AS p ON p.conversation_id = t.id AND (p.org_id = :org) IS TRUE "
    "AND (p.joined_at, p.user_id) <= (t.joined_at, t.user_id) "
    "ORDER BY p.joined_at, p.user_id LIMIT -1",
    before="WITH told (id, joined_at, user_id) AS MATERIALIZED (SELECT i.value, "
    f"coalesce({_LAST_TOLD.format(column='l.joined_at')}, {NO_LIMIT}), "
    f"coalesce({_LAST_TOLD.format(column='l.user_id')}, '') FROM EACH(:ids) AS i) ",
    lists=["ids"],
)
_PAST_ALL_IDS = "~"
"""Sorts after every id."""


def _rosters(
    connection: Connection, org_id: str, ids: Sequence[str]
) -> dict[str, list[Participant]]:
    """Of each conversation the `PARTICIPANTS_TOLD` who have been in it longest."""
    found: dict[str, list[Participant]] = {i: [] for i in ids}
    for row in fetch(connection, _ROSTERS, org=org_id, ids=list(ids)):
        found[row[0]].append(rows.participant_of(row))
    return found


def views(
    connection: Connection, org_id: str, user_id: str, found: Sequence[Row], now: int
) -> tuple[ConversationView, ...]:
    """The rows of a query of `VIEW`, as the user sees them."""
    rosters = _rosters(connection, org_id, [row[0] for row in found])
    made = []
    for row in found:
        me = rows.participant_of(row[rows.CONVERSATION_WIDTH :])
        roster = rosters[row[0]]
        if len(roster) == PARTICIPANTS_TOLD and me not in roster:
            roster.append(me)
        unread_at = rows.CONVERSATION_WIDTH + rows.PARTICIPANT_WIDTH
        last = row[unread_at + 2 :]
        made.append(
            ConversationView(
                conversation=rows.conversation_of(row),
                participants=tuple(roster),
                last_message=None if last[0] is None else rows.message_of(last, last[-1]),
                unread_count=row[unread_at],
                muted=me.notification_level == "none"
                or (me.muted_until is not None and me.muted_until > now),
                participant_count=row[unread_at + 1],
            )
        )
    return tuple(made)


def conversation(
    connection: Connection, org_id: str, conversation_id: str, user_id: str, now: int
) -> ConversationView | None:
    found = fetch(connection, _CONVERSATION, org=org_id, conversation=conversation_id, user=user_id)
    seen = views(connection, org_id, user_id, found, now) if found else ()
    return seen[0] if seen else None


def conversations_of(
    connection: Connection,
    org_id: str,
    user_id: str,
    before: tuple[int, str] | None,
    limit: int,
    now: int,
) -> Page:
    updated_at, last_id = before or (NO_LIMIT, _PAST_ALL_IDS)
    found = fetch(
        connection,
        _CONVERSATIONS,
        org=org_id,
        user=user_id,
        updated_at=updated_at,
        id=last_id,
        limit=limit + 1,
    )
    return Page(views(connection, org_id, user_id, found[:limit], now), len(found) > limit)


_TOLD = rows_query(
    f"{columns('c', conversations)}, ({_COUNT}), {JOINED_MESSAGE}",
    "FROM EACH(:ids) AS i "
    "THEN JOIN conversations AS c ON c.id = i.value AND c.org_id = :org "
    "LEFT JOIN messages AS m ON m.id = c.last_message_id",
    lists=["ids"],
)


def conversations_as_told(
    connection: Connection, org_id: str, ids: Iterable[str]
) -> dict[str, ConversationView]:
    """The conversations as events tell of them: as nobody in particular sees them."""
    found = fetch(connection, _TOLD, org=org_id, ids=list(ids))
    rosters = _rosters(connection, org_id, [row[0] for row in found])
    views = {}
    for row in found:
        count, *last = row[rows.CONVERSATION_WIDTH :]
        message = None if last[0] is None else rows.message_of(last, last[-1])
        roster = tuple(rosters[row[0]])
        views[row[0]] = ConversationView(
            rows.conversation_of(row), roster, message, 0, False, count
        )
    return views


_PARTICIPANTS = rows_query(
    columns("p", participants),
    "FROM participants AS p WHERE p.conversation_id = :conversation AND p.org_id = :org "
    "AND (p.joined_at, p.user_id) > (:joined_at, :last) AND p.last_read_seq >= :read_seq "
    "AND EXISTS (SELECT 1 FROM participants AS me WHERE me.conversation_id = :conversation "
    "AND me.user_id = :user AND me.org_id = :org) "
    "ORDER BY p.joined_at, p.user_id LIMIT :limit",
)


def participants_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    user_id: str,
    after: tuple[int, str] | None,
    read_seq: int,
    limit: int,
) -> Page | None:
    joined_at, last = after or (-1, "")
    found = fetch(
        connection,
        _PARTICIPANTS,
        org=org_id,
        conversation=conversation_id,
        user=user_id,
        joined_at=joined_at,
        last=last,
        read_seq=read_seq,
        limit=limit + 1,
    )
    if not found and participant(connection, org_id, conversation_id, user_id) is None:
        return None
    return Page(tuple(map(rows.participant_of, found[:limit])), len(found) > limit)


_PARTICIPANT = rows_query(
    columns("p", participants),
    "FROM participants AS p "
    "WHERE p.conversation_id = :conversation AND p.user_id = :user AND p.org_id = :org",
)


def participant(
    connection: Connection, org_id: str, conversation_id: str, user_id: str
) -> Participant | None:
    found = fetch(connection, _PARTICIPANT, conversation=conversation_id, user=user_id, org=org_id)
    return rows.participant_of(found[0]) if found else None
