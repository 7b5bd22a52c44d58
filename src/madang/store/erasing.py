"""Erasing a room: rows, and not marks on them. What was deleted is gone from the log, too."""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, text

from madang.model.files import file_ids
from madang.model.live import Room

_ITS_MESSAGES = "(SELECT id FROM messages WHERE conversation_id = :room)"
_ITS_QUESTIONS = "(SELECT message_id FROM questions WHERE conversation_id = :room)"
_ITS_SEATS = "(SELECT participant_id FROM seats WHERE conversation_id = :room)"

# In this order: each finds by what the later ones delete.
_STATEMENTS = [
    text(sql)
    for sql in (
        f"DELETE FROM reactions WHERE message_id IN {_ITS_MESSAGES}",
        f"DELETE FROM votes WHERE message_id IN {_ITS_QUESTIONS}",
        f"DELETE FROM devices WHERE org_id = :org AND user_id IN {_ITS_SEATS}",
        f"DELETE FROM users WHERE org_id = :org AND id IN {_ITS_SEATS}",
        "DELETE FROM questions WHERE conversation_id = :room",
        "DELETE FROM seats WHERE conversation_id = :room",
        "DELETE FROM participants WHERE conversation_id = :room",
        "DELETE FROM messages WHERE conversation_id = :room",
        # The log's numbers go on after them: cursors are not dense, and of a conversation whose
        # first events are gone the rest is found all the same, as of one whose log expired.
        "DELETE FROM events WHERE conversation_id = :room AND type <> 'room.erased'",
        "UPDATE conversations SET last_message_id = NULL WHERE id = :room",
        "DELETE FROM rooms WHERE conversation_id = :room",
        "DELETE FROM room_codes WHERE code = :code",
    )
]


# Found by what names them: rooms take no files, and those of other conversations are many.
_ATTACHMENTS = text(
    "SELECT attachments FROM messages WHERE conversation_id = :room AND attachments <> '[]'"
)
# Their blobs are to follow; the row goes when they have.
_DELETE_FILE = text(
    "UPDATE files SET status = 'deleted', name = '', metadata = '{}', expires_at = 0 "
    "WHERE id = :file AND conversation_id = :room"
)


def erase(connection: Connection, room: Room) -> None:
    """Delete all rows of a room but its conversation's own and the event that tells of this; its
    files are marked for whoever deletes blobs."""
    for (attachments,) in connection.execute(_ATTACHMENTS, {"room": room.id}).all():
        for file_id in file_ids(orjson.loads(attachments)):
            connection.execute(_DELETE_FILE, {"file": file_id, "room": room.id})
    for statement in _STATEMENTS:
        names = statement.compile().params
        values = {"org": room.org_id, "room": room.id, "code": room.code}
        connection.execute(statement, {name: values[name] for name in names})
