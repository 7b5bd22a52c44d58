"""What a commit reads: each kind with one query for the whole batch, and then from memory."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, select

from madang.model.files import file_ids
from madang.model.nouns import Conversation, Event, File, Message, Participant
from madang.ports.store import Needs
from madang.store import bulk, rows
from madang.store.run_changes import RunChanges
from madang.store.tables import conversations, events, files, messages, participants

_ROSTER = select(participants).where(
    participants.c.conversation_id == bindparam("conversation"),
    participants.c.org_id == bindparam("org"),
)
_PENDING = select(func.count()).where(
    files.c.org_id == bindparam("org"),
    files.c.owner_id == bindparam("owner"),
    files.c.expires_at.is_not(None),
)

Place = tuple[str, str]
"""(conversation_id, user_id)"""


class Counters:
    """The moving part of a conversation, kept apart so that an append changes four numbers."""

    __slots__ = ("conversation", "last_cursor", "last_message_id", "last_seq", "updated_at")

    def __init__(self, conversation: Conversation, last_cursor: int) -> None:
        self.conversation = conversation
        self.last_seq = conversation.last_seq
        self.last_cursor = last_cursor
        self.last_message_id = conversation.last_message_id
        self.updated_at = conversation.updated_at


class Loading(RunChanges):
    """The reading half of `ports.Transaction`: maps of what was read, None where nothing was
    found. Changes go into the same maps, so that a later write sees what an earlier one did."""

    def __init__(self, connection: Connection, org_id: str) -> None:
        super().__init__(connection, org_id)
        self.org_id = org_id
        self._connection = connection
        self._conversations: dict[str, Counters | None] = {}
        self._participants: dict[Place, Participant | None] = {}
        self._rosters: set[str] = set()
        self._messages: dict[str, Message | None] = {}
        self._sends: dict[tuple[str, str, str], str | None] = {}
        self._keys: dict[str, str | None] = {}
        self._published: dict[tuple[str, str], Event | None] = {}
        self._files: dict[str, File | None] = {}
        self._pending: dict[str, int] = {}

    def prefetch(self, needs: Needs) -> None:
        """Read what the batch has announced: messages first, for they name conversations."""
        self._load_messages(needs.messages)
        for message_id in needs.messages:
            found = self._messages[message_id]
            if found is not None:
                needs.conversations.add(found.conversation_id)
        for message_id, user_id in needs.message_actors:
            found = self.message(message_id)
            if found is not None:
                needs.participants.add((found.conversation_id, user_id))
        self._load_conversations(needs.conversations)
        self._load_participants(needs.participants)
        self._load_sends(needs.sends)
        self._load_keys(needs.keys)
        self._load_published(needs.published)
        for message_id in needs.message_files:
            found = self.message(message_id)
            if found is not None:
                needs.files.update(file_ids(found.attachments))
        self._load_files(needs.files)
        self.load_runs(needs.runs)
        self.load_asked_again(
            (message.conversation_id, user_id, client_id)
            for message_id, user_id, client_id in needs.asked_again
            if (message := self.message(message_id)) is not None
        )
        self.load_sessions(
            i for i in needs.conversations if (c := self.conversation(i)) and c.kind == "agent"
        )

    def _load_messages(self, ids: set[str]) -> None:
        wanted = [(i,) for i in ids if i not in self._messages]
        self._messages.update((i, None) for (i,) in wanted)
        for row in bulk.select(self._connection, messages, ("id",), wanted, reactions=True):
            if row[1] == self.org_id:
                self._messages[row[0]] = rows.message_of(row, row[rows.MESSAGE_WIDTH])

    def _load_conversations(self, ids: set[str]) -> None:
        wanted = [(i,) for i in ids if i not in self._conversations]
        self._conversations.update((i, None) for (i,) in wanted)
        for row in bulk.select(self._connection, conversations, ("id",), wanted):
            if row[1] == self.org_id:
                self._conversations[row[0]] = Counters(rows.conversation_of(row), row[8])

    def _load_participants(self, places: set[Place]) -> None:
        wanted = [
            place
            for place in places
            if place not in self._participants and place[0] not in self._rosters
        ]
        self._participants.update((place, None) for place in wanted)
        for row in bulk.select(
            self._connection, participants, ("conversation_id", "user_id"), wanted
        ):
            if row[2] == self.org_id:
                self._participants[row[0], row[1]] = rows.participant_of(row)

    def _load_sends(self, sends: set[tuple[str, str, str]]) -> None:
        wanted = [key for key in sends if key not in self._sends]
        self._sends.update((key, None) for key in wanted)
        keys = ("conversation_id", "sender_id", "client_id")
        for row in bulk.select(self._connection, messages, keys, wanted, reactions=True):
            if row[1] == self.org_id:
                self._sends[row[2], row[4], row[11]] = row[0]
                if row[0] not in self._messages:
                    self._messages[row[0]] = rows.message_of(row, row[rows.MESSAGE_WIDTH])

    def _load_keys(self, keys: set[str]) -> None:
        wanted = [(self.org_id, key) for key in keys if key not in self._keys]
        self._keys.update((key, None) for _, key in wanted)
        for row in bulk.select(self._connection, conversations, ("org_id", "direct_key"), wanted):
            self._keys[row[6]] = row[0]
            if self._conversations.get(row[0]) is None:
                self._conversations[row[0]] = Counters(rows.conversation_of(row), row[8])

    def _load_published(self, wanted: set[tuple[str, str]]) -> None:
        missing = [(self.org_id, *key) for key in wanted if key not in self._published]
        self._published.update(((actor, key), None) for _, actor, key in missing)
        names = ("org_id", "actor_id", "idempotency_key")
        found = bulk.select(self._connection, events, names, missing)
        self._load_messages({row[7] for row in found if row[7] is not None})
        for row in found:
            message = None if row[7] is None else self._messages[row[7]]
            self._published[row[5], row[9]] = rows.event_of(row, message)

    def _load_files(self, ids: set[str]) -> None:
        wanted = [(i,) for i in ids if i not in self._files]
        self._files.update((i, None) for (i,) in wanted)
        for row in bulk.select(self._connection, files, ("id",), wanted):
            if row[1] == self.org_id:
                self._files[row[0]] = rows.file_of(row)

    def conversation(self, conversation_id: str) -> Conversation | None:
        state = self._counters(conversation_id)
        if state is None:
            return None
        current = state.conversation
        if current.last_seq != state.last_seq:
            # Spelled out: this runs for each message, and `replace` takes four times as long.
            current = state.conversation = Conversation(
                current.id,
                current.org_id,
                current.kind,
                current.title,
                current.metadata,
                current.status,
                current.direct_key,
                state.last_seq,
                state.last_message_id,
                current.created_by,
                current.created_at,
                state.updated_at,
            )
        return current

    def _counters(self, conversation_id: str) -> Counters | None:
        if conversation_id not in self._conversations:
            self._load_conversations({conversation_id})
        return self._conversations[conversation_id]

    def _known(self, conversation_id: str) -> Counters:
        state = self._counters(conversation_id)
        if state is None:
            raise LookupError(f"no conversation {conversation_id} in this org")
        return state

    def participant(self, conversation_id: str, user_id: str) -> Participant | None:
        place = (conversation_id, user_id)
        if place not in self._participants:
            if conversation_id in self._rosters:
                return None
            self._load_participants({place})
        return self._participants[place]

    def participants(self, conversation_id: str) -> Sequence[Participant]:
        if conversation_id not in self._rosters:
            # What this batch changed is already in the map, and must not be overwritten.
            found = self._connection.execute(
                _ROSTER, {"conversation": conversation_id, "org": self.org_id}
            ).cursor.fetchall()
            for row in found:
                self._participants.setdefault((row[0], row[1]), rows.participant_of(row))
            self._rosters.add(conversation_id)
        roster = [
            p for p in self._participants.values() if p and p.conversation_id == conversation_id
        ]
        roster.sort(key=lambda p: (p.joined_at, p.user_id))
        return roster

    def message(self, message_id: str) -> Message | None:
        if message_id not in self._messages:
            self._load_messages({message_id})
        return self._messages[message_id]

    def sent(self, conversation_id: str, sender_id: str, client_id: str) -> Message | None:
        key = (conversation_id, sender_id, client_id)
        if key not in self._sends:
            self._load_sends({key})
        message_id = self._sends[key]
        return None if message_id is None else self._messages[message_id]

    def keyed(self, direct_key: str) -> Conversation | None:
        if direct_key not in self._keys:
            self._load_keys({direct_key})
        conversation_id = self._keys[direct_key]
        return None if conversation_id is None else self.conversation(conversation_id)

    def published(self, actor_id: str, idempotency_key: str) -> Event | None:
        key = (actor_id, idempotency_key)
        if key not in self._published:
            self._load_published({key})
        return self._published[key]

    def file(self, file_id: str) -> File | None:
        if file_id not in self._files:
            self._load_files({file_id})
        return self._files[file_id]

    def pending_files(self, owner_id: str) -> int:
        if owner_id not in self._pending:
            where = {"org": self.org_id, "owner": owner_id}
            self._pending[owner_id] = self._connection.execute(_PENDING, where).scalar_one()
        return self._pending[owner_id]
