"""What a commit writes: all that has changed in memory, with one statement a table and kind of
change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, update

from madang.model.nouns import Message
from madang.store import bulk, rows
from madang.store.loading import Loading, Place
from madang.store.tables import (
    conversations,
    events,
    files,
    messages,
    orgs,
    participants,
    reactions,
)

_SAVE_CURSOR = (
    update(orgs).where(orgs.c.id == bindparam("org")).values(last_cursor=bindparam("cursor"))
)
_COUNTERS = ("last_seq", "last_cursor", "last_message_id", "updated_at")
_CONTENT = ("content", "metadata", "attachments", "edited_at", "deleted_at")
_PLACE = (
    "role",
    "nickname",
    "last_read_seq",
    "joined_at",
    "notification_level",
    "muted_until",
)
_FILE = tuple(column.name for column in files.columns)[1:]


class Flushing(Loading):
    """What was read, what of it is changed and not written yet, and writing that."""

    def __init__(self, connection: Connection, org_id: str, last_cursor: int) -> None:
        super().__init__(connection, org_id)
        self._cursor = last_cursor
        self._new_conversations: list[str] = []
        self._moved: set[str] = set()
        self._saved_conversations: set[str] = set()
        # Whether the database has them.
        self._changed_places: dict[Place, bool] = {}
        self._new_messages: list[str] = []
        self._saved_messages: dict[str, None] = {}
        self._new_reactions: dict[tuple[str, str, str], int] = {}
        self._old_reactions: set[tuple[str, str, str]] = set()
        self._stripped: dict[str, None] = {}
        self._event_rows: list[tuple[Any, ...]] = []
        # Whether the database has them.
        self._changed_files: dict[str, bool] = {}

    def flush(self) -> None:
        """Write everything, with one statement a table and kind of change."""
        connection = self._connection
        self._flush_conversations()
        self._flush_places()
        if self._new_messages:
            new = [rows.message_row(self._message(i)) for i in self._new_messages]
            bulk.insert(connection, messages, new)
            for message_id in self._new_messages:
                self._saved_messages.pop(message_id, None)
        if self._saved_messages:
            saved = []
            for message_id in self._saved_messages:
                row = rows.message_row(self._message(message_id))
                saved.append((row[0], row[7], row[8], row[10], row[13], row[14]))
            bulk.update(connection, messages, ("id",), _CONTENT, saved)
        key = ("message_id", "user_id", "emoji")
        bulk.delete(connection, reactions, ("message_id",), [(i,) for i in self._stripped])
        bulk.delete(connection, reactions, key, list(self._old_reactions))
        added = [(*k, self.org_id, cursor) for k, cursor in self._new_reactions.items()]
        bulk.insert(connection, reactions, added)
        if self._changed_files:
            self._flush_files()
        if self._event_rows:
            bulk.insert(connection, events, self._event_rows)
            connection.execute(_SAVE_CURSOR, {"org": self.org_id, "cursor": self._cursor})
        self.flush_runs()

    def _message(self, message_id: str) -> Message:
        message = self._messages[message_id]
        assert message is not None, "only known messages are written"
        return message

    def _flush_conversations(self) -> None:
        new = set(self._new_conversations)
        if new:
            bulk.insert(
                self._connection,
                conversations,
                [
                    rows.conversation_row(self.conversation(i) or s.conversation, s.last_cursor)
                    for i in self._new_conversations
                    if (s := self._conversations[i]) is not None
                ],
            )
        moved = []
        for conversation_id in self._moved | self._saved_conversations:
            state = self._conversations[conversation_id]
            if state is not None and conversation_id not in new:
                moved.append(
                    (
                        conversation_id,
                        state.last_seq,
                        state.last_cursor,
                        state.last_message_id,
                        state.updated_at,
                    )
                )
        bulk.update(self._connection, conversations, ("id",), _COUNTERS, moved)
        saved = []
        for conversation_id in self._saved_conversations - new:
            state = self._known(conversation_id)
            c = state.conversation
            saved.append((c.id, c.title, rows.to_json(c.metadata), c.status))
        bulk.update(
            self._connection, conversations, ("id",), ("title", "metadata", "status"), saved
        )

    def _flush_places(self) -> None:
        added, saved, removed = [], [], []
        for place, existed in self._changed_places.items():
            participant = self._participants[place]
            if participant is None:
                if existed:
                    removed.append(place)
            elif not existed:
                added.append(rows.participant_row(participant, self.org_id))
            else:
                p = participant
                saved.append(
                    (
                        *place,
                        p.role,
                        p.nickname,
                        p.last_read_seq,
                        p.joined_at,
                        p.notification_level,
                        p.muted_until,
                    )
                )
        key = ("conversation_id", "user_id")
        bulk.insert(self._connection, participants, added)
        bulk.update(self._connection, participants, key, _PLACE, saved)
        bulk.delete(self._connection, participants, key, removed)

    def _flush_files(self) -> None:
        added: list[tuple[Any, ...]] = []
        saved: list[tuple[Any, ...]] = []
        removed: list[tuple[str]] = []
        for file_id, existed in self._changed_files.items():
            file = self._files[file_id]
            if file is None:
                if existed:
                    removed.append((file_id,))
            else:
                (saved if existed else added).append(rows.file_row(file))
        bulk.insert(self._connection, files, added)
        bulk.update(self._connection, files, ("id",), _FILE, saved)
        bulk.delete(self._connection, files, ("id",), removed)
