"""Reading live rooms: what a page of a room shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection

from madang.model.live import Counts, PollState, QuestionState, Room, Seat
from madang.model.nouns import Message
from madang.ports.store import Page
from madang.store import room_forms as forms
from madang.store import rows
from madang.store.queries.reading import (
    MESSAGE,
    NO_LIMIT,
    Row,
    columns,
    fetch,
    rows_query,
)
from madang.store.tables import rooms, seats

_TAKEN = rows_query(
    "c.code",
    "FROM EACH(:codes) AS i THEN JOIN room_codes AS c ON c.code = i.value",
    lists=["codes"],
)
_CODE = rows_query("c.org_id, c.conversation_id", "FROM room_codes AS c WHERE c.code = :code")
_DUE_COUNTS = rows_query(
    "c.org_id, c.conversation_id",
    "FROM room_codes AS c WHERE c.untold_since < :until ORDER BY c.untold_since LIMIT :limit",
)
_DUE_FOR_ERASURE = rows_query(
    "c.org_id, c.conversation_id",
    "FROM room_codes AS c WHERE c.erase_at <= :until ORDER BY c.erase_at LIMIT :limit",
)


def taken_codes(connection: Connection, codes: Sequence[str]) -> set[str]:
    return {row[0] for row in fetch(connection, _TAKEN, codes=list(codes))}


def find_code(connection: Connection, code: str) -> tuple[str, str] | None:
    """(org_id, conversation_id) of a code, in any org."""
    found = fetch(connection, _CODE, code=code)
    return (found[0][0], found[0][1]) if found else None


def due_counts(connection: Connection, until: int, limit: int) -> list[tuple[str, str]]:
    found = fetch(connection, _DUE_COUNTS, until=until, limit=limit)
    return [(row[0], row[1]) for row in found]


def due_for_erasure(connection: Connection, now: int, limit: int) -> list[tuple[str, str]]:
    found = fetch(connection, _DUE_FOR_ERASURE, until=now, limit=limit)
    return [(row[0], row[1]) for row in found]


_ROOM = rows_query(
    columns("r", rooms),
    "FROM rooms AS r WHERE r.conversation_id = :conversation AND r.org_id = :org",
)
_OF_ROOM = "s.conversation_id = :conversation AND s.org_id = :org"
_SEAT = rows_query(
    columns("s", seats), f"FROM seats AS s WHERE {_OF_ROOM} AND s.participant_id = :participant"
)
_SEAT_BY_KEY = rows_query(columns("s", seats), f"FROM seats AS s WHERE {_OF_ROOM} AND s.key = :key")
_SEATS = rows_query(
    columns("s", seats),
    f"FROM seats AS s WHERE {_OF_ROOM} AND s.gone IS NULL "
    "AND (s.joined_at, s.participant_id) > (:joined_at, :last) "
    "ORDER BY s.joined_at, s.participant_id LIMIT :limit",
)
_ONLINE = rows_query(
    "s.participant_id",
    f"FROM seats AS s WHERE {_OF_ROOM} AND s.online = 1 AND s.gone IS NULL "
    "ORDER BY s.joined_at, s.participant_id LIMIT -1",
)


def room(connection: Connection, org_id: str, conversation_id: str) -> Room | None:
    found = fetch(connection, _ROOM, org=org_id, conversation=conversation_id)
    return forms.room_of(found[0]) if found else None


def seat(
    connection: Connection, org_id: str, conversation_id: str, participant_id: str
) -> Seat | None:
    found = fetch(
        connection,
        _SEAT,
        org=org_id,
        conversation=conversation_id,
        participant=participant_id,
    )
    return forms.seat_of(found[0]) if found else None


def seat_by_key(connection: Connection, org_id: str, conversation_id: str, key: str) -> Seat | None:
    found = fetch(connection, _SEAT_BY_KEY, org=org_id, conversation=conversation_id, key=key)
    return forms.seat_of(found[0]) if found else None


def seats_of(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    after: tuple[int, str] | None,
    limit: int,
) -> Page:
    joined_at, last = after or (-1, "")
    found = fetch(
        connection,
        _SEATS,
        org=org_id,
        conversation=conversation_id,
        joined_at=joined_at,
        last=last,
        limit=limit + 1,
    )
    return Page(tuple(map(forms.seat_of, found[:limit])), len(found) > limit)


def online_seats(connection: Connection, org_id: str, conversation_id: str) -> list[str]:
    found = fetch(connection, _ONLINE, org=org_id, conversation=conversation_id)
    return [row[0] for row in found]


_COUNTS = rows_query(
    "q.kind, q.state, q.visible, count(*)",
    "FROM questions AS q WHERE q.conversation_id = :conversation AND q.org_id = :org "
    "GROUP BY q.kind, q.state, q.visible",
)


def counts(connection: Connection, org_id: str, conversation_id: str) -> Counts:
    found = room(connection, org_id, conversation_id)
    by_state: dict[str, int] = {}
    visible = polls = 0
    for kind, state, is_visible, number in fetch(
        connection, _COUNTS, org=org_id, conversation=conversation_id
    ):
        if kind == "poll":
            polls += number
        else:
            by_state[state] = by_state.get(state, 0) + number
            visible += number if is_visible else 0
    return Counts(0 if found is None else found.seats, visible, polls, by_state)


_CHAT = rows_query(
    MESSAGE,
    "FROM messages AS m WHERE m.conversation_id = :conversation AND m.org_id = :org "
    "AND m.seq < :before AND m.message_type = 'text' AND m.deleted_at IS NULL "
    "ORDER BY m.seq DESC LIMIT :limit",
)
_EXPORT = rows_query(
    MESSAGE,
    "FROM messages AS m WHERE m.conversation_id = :conversation AND m.org_id = :org "
    "AND m.seq > :after AND m.deleted_at IS NULL ORDER BY m.seq LIMIT :limit",
)


def chat(
    connection: Connection, org_id: str, conversation_id: str, before_seq: int | None, limit: int
) -> Page:
    found = fetch(
        connection,
        _CHAT,
        org=org_id,
        conversation=conversation_id,
        before=NO_LIMIT if before_seq is None else before_seq,
        limit=limit + 1,
    )
    return Page(_messages(found[:limit][::-1]), len(found) > limit)


def export(
    connection: Connection, org_id: str, conversation_id: str, after_seq: int, limit: int
) -> Page:
    found = fetch(
        connection,
        _EXPORT,
        org=org_id,
        conversation=conversation_id,
        after=after_seq,
        limit=limit + 1,
    )
    return Page(_messages(found[:limit]), len(found) > limit)


def _messages(found: Sequence[Row]) -> tuple[Message, ...]:
    return tuple(rows.message_of(row, row[rows.MESSAGE_WIDTH]) for row in found)


# A host sees all; a participant (`:everything` 0) what is visible, and their own.
_SEEN = (
    "FROM questions AS q THEN JOIN messages AS m ON m.id = q.message_id "
    "WHERE q.conversation_id = :conversation AND q.org_id = :org AND q.kind = 'question' "
    "AND (:everything = 1 OR q.visible = 1 OR q.asked_by = :participant) "
)
_IN_STATE = _SEEN + "AND (:state = '' OR q.state = :state) "
_TOP = rows_query(
    MESSAGE,
    _IN_STATE + "AND (q.votes < :votes OR (q.votes = :votes AND q.seq > :seq)) "
    "ORDER BY q.votes DESC, q.seq LIMIT :limit",
)
_NEW = rows_query(MESSAGE, _IN_STATE + "AND q.seq < :seq ORDER BY q.seq DESC LIMIT :limit")
_ONE = rows_query(MESSAGE, _SEEN + "AND q.message_id = :message LIMIT 1")
_MOST_VOTES = 2**31 - 1


def questions(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    seen_by: str | None,
    sort: Literal["top", "new"],
    state: QuestionState | None,
    after: tuple[int, int] | None,
    limit: int,
) -> Page:
    where = {
        "org": org_id,
        "conversation": conversation_id,
        "everything": int(seen_by is None),
        "participant": seen_by or "",
        "state": state or "",
        "limit": limit + 1,
    }
    if sort == "top":
        votes, seq = after or (_MOST_VOTES, 0)
        found = fetch(connection, _TOP, **where, votes=votes, seq=seq)
    else:
        found = fetch(connection, _NEW, **where, seq=after[1] if after else NO_LIMIT)
    return Page(_messages(found[:limit]), len(found) > limit)


def question(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    message_id: str,
    seen_by: str | None,
) -> Message | None:
    found = fetch(
        connection,
        _ONE,
        org=org_id,
        conversation=conversation_id,
        message=message_id,
        everything=int(seen_by is None),
        participant=seen_by or "",
    )
    return _messages(found)[0] if found else None


_POLLS = rows_query(
    MESSAGE,
    "FROM questions AS q THEN JOIN messages AS m ON m.id = q.message_id "
    "WHERE q.conversation_id = :conversation AND q.org_id = :org AND q.kind = 'poll' "
    "AND (:state = '' OR q.state = :state) ORDER BY q.seq DESC LIMIT :limit",
)
_VOTES = rows_query(
    "v.message_id, v.choice",
    "FROM EACH(:messages) AS i THEN JOIN votes AS v ON v.message_id = i.value "
    "AND v.participant_id = :participant AND (v.org_id = :org) IS TRUE "
    "ORDER BY v.message_id, v.choice LIMIT -1",
    lists=["messages"],
)


def polls(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    state: PollState | None,
    limit: int,
) -> tuple[Message, ...]:
    found = fetch(
        connection,
        _POLLS,
        org=org_id,
        conversation=conversation_id,
        state=state or "",
        limit=limit,
    )
    return _messages(found)


def votes_of(
    connection: Connection, org_id: str, participant_id: str, message_ids: Sequence[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for message_id, choice in fetch(
        connection, _VOTES, org=org_id, participant=participant_id, messages=list(message_ids)
    ):
        found.setdefault(message_id, []).append(choice)
    return found
