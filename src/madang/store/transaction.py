"""One commit as a unit of work: what a batch of writes looks at is read with one query a kind,
what it changes is written with one statement a table.

Between the two everything happens in memory, in the maps of this class: a later write of the
batch sees what an earlier one did. Runs in the writer's thread, under the org's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from madang.model.nouns import (
    NO_REACTIONS,
    Conversation,
    ConversationView,
    Event,
    Message,
    Participant,
)
from madang.ports import Needs
from madang.store import bulk, rows
from madang.store.tables import (
    conversations,
    events,
    messages,
    orgs,
    participants,
    reactions,
)

_LAST_CURSOR = select(orgs.c.last_cursor).where(orgs.c.id == bindparam("org"))
_SAVE_CURSOR = (
    update(orgs).where(orgs.c.id == bindparam("org")).values(last_cursor=bindparam("cursor"))
)
_ROSTER = select(participants).where(
    participants.c.conversation_id == bindparam("conversation"),
    participants.c.org_id == bindparam("org"),
)

_ROSTER_SIZE = (
    select(func.count())
    .select_from(participants)
    .where(
        participants.c.conversation_id == bindparam("conversation"),
        participants.c.org_id == bindparam("org"),
    )
)

_QUIET = ("message.", "reaction.", "participant.", "conversation.")
"""Events of these families do not make a conversation the newest, `message.new` excepted."""

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

_Place = tuple[str, str]


class _Counters:
    """The moving part of a conversation, kept apart so that an append changes four numbers."""

    __slots__ = ("conversation", "last_cursor", "last_message_id", "last_seq", "updated_at")

    def __init__(self, conversation: Conversation, last_cursor: int) -> None:
        self.conversation = conversation
        self.last_seq = conversation.last_seq
        self.last_cursor = last_cursor
        self.last_message_id = conversation.last_message_id
        self.updated_at = conversation.updated_at


class SqlTransaction:
    """`ports.Transaction` over a connection that has begun and is the only writer of the org."""

    def __init__(self, connection: Connection, org_id: str, now: int) -> None:
        self.org_id = org_id
        self.now = now
        self.appended: list[Event] = []
        self._connection = connection
        last = connection.execute(_LAST_CURSOR, {"org": org_id}).scalar()
        if last is None:
            last = 0
            bulk.insert(connection, orgs, [(org_id, 0, 0)])
        self._cursor: int = last
        self._conversations: dict[str, _Counters | None] = {}
        self._participants: dict[_Place, Participant | None] = {}
        self._rosters: set[str] = set()
        self._messages: dict[str, Message | None] = {}
        self._sends: dict[tuple[str, str, str], str | None] = {}
        self._keys: dict[str, str | None] = {}
        self._published: dict[tuple[str, str], Event | None] = {}
        # What is not written yet. Participants and conversations: whether the database has them.
        self._new_conversations: list[str] = []
        self._moved: set[str] = set()
        self._saved_conversations: set[str] = set()
        self._changed_places: dict[_Place, bool] = {}
        self._new_messages: list[str] = []
        self._saved_messages: dict[str, None] = {}
        self._new_reactions: dict[tuple[str, str, str], int] = {}
        self._old_reactions: set[tuple[str, str, str]] = set()
        self._stripped: dict[str, None] = {}
        self._event_rows: list[tuple[Any, ...]] = []

    # Reading

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
                self._conversations[row[0]] = _Counters(rows.conversation_of(row), row[8])

    def _load_participants(self, places: set[_Place]) -> None:
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
                self._conversations[row[0]] = _Counters(rows.conversation_of(row), row[8])

    def _load_published(self, wanted: set[tuple[str, str]]) -> None:
        missing = [(self.org_id, *key) for key in wanted if key not in self._published]
        self._published.update(((actor, key), None) for _, actor, key in missing)
        names = ("org_id", "actor_id", "idempotency_key")
        found = bulk.select(self._connection, events, names, missing)
        self._load_messages({row[7] for row in found if row[7] is not None})
        for row in found:
            message = None if row[7] is None else self._messages[row[7]]
            self._published[row[5], row[9]] = rows.event_of(row, message)

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

    def _counters(self, conversation_id: str) -> _Counters | None:
        if conversation_id not in self._conversations:
            self._load_conversations({conversation_id})
        return self._conversations[conversation_id]

    def _known(self, conversation_id: str) -> _Counters:
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

    def participant_count(self, conversation_id: str) -> int:
        where = {"conversation": conversation_id, "org": self.org_id}
        count: int = self._connection.execute(_ROSTER_SIZE, where).scalar_one()
        for place, existed in self._changed_places.items():
            if place[0] == conversation_id:
                count += (self._participants[place] is not None) - existed
        return count

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

    # Changing

    def add_conversation(
        self, conversation: Conversation, participants: Sequence[Participant]
    ) -> None:
        self._conversations[conversation.id] = _Counters(conversation, 0)
        self._new_conversations.append(conversation.id)
        self._rosters.add(conversation.id)
        if conversation.direct_key is not None:
            self._keys[conversation.direct_key] = conversation.id
        for participant in participants:
            place = (conversation.id, participant.user_id)
            self._participants[place] = participant
            self._changed_places[place] = False

    def save_conversation(self, conversation: Conversation) -> None:
        state = self._known(conversation.id)
        state.updated_at = max(state.updated_at, conversation.updated_at)
        state.conversation = replace(
            state.conversation,
            title=conversation.title,
            metadata=conversation.metadata,
            status=conversation.status,
            updated_at=state.updated_at,
        )
        self._saved_conversations.add(conversation.id)

    def _change_place(self, place: _Place, participant: Participant | None) -> None:
        before = self.participant(*place)
        self._changed_places.setdefault(place, before is not None)
        self._participants[place] = participant

    def add_participant(self, participant: Participant) -> None:
        self._change_place((participant.conversation_id, participant.user_id), participant)

    def save_participant(self, participant: Participant) -> None:
        self._change_place((participant.conversation_id, participant.user_id), participant)

    def remove_participant(self, conversation_id: str, user_id: str) -> None:
        self._change_place((conversation_id, user_id), None)

    def next_seq(self, conversation_id: str) -> int:
        return self._known(conversation_id).last_seq + 1

    def add_message(self, message: Message) -> None:
        state = self._known(message.conversation_id)
        if message.seq != state.last_seq + 1:
            raise ValueError(f"seq {message.seq} is not the next of {message.conversation_id}")
        self._messages[message.id] = message
        self._new_messages.append(message.id)
        state.last_message_id = message.id
        if message.client_id is not None:
            key = (message.conversation_id, message.sender_id, message.client_id)
            self._sends[key] = message.id

    def save_message(self, message: Message) -> None:
        if message.deleted_at is not None:
            message = self._strip(message)
        self._messages[message.id] = message
        self._saved_messages[message.id] = None

    def _strip(self, message: Message) -> Message:
        """A deleted message keeps no reactions."""
        self._stripped[message.id] = None
        for key in [key for key in self._new_reactions if key[0] == message.id]:
            del self._new_reactions[key]
        return replace(message, reactions=NO_REACTIONS) if message.reactions else message

    def add_reaction(self, message: Message, user_id: str, emoji: str) -> Message:
        now = dict(self._current(message).reactions)
        now[emoji] = (*now.get(emoji, ()), user_id)
        # Every reaction is followed by its event, so this is that event's cursor.
        self._new_reactions[message.id, user_id, emoji] = self._next_cursor()
        return self._react(message, now)

    def remove_reaction(self, message: Message, user_id: str, emoji: str) -> Message:
        now = dict(self._current(message).reactions)
        left = tuple(user for user in now.get(emoji, ()) if user != user_id)
        now[emoji] = left
        if not left:
            del now[emoji]
        key = (message.id, user_id, emoji)
        if self._new_reactions.pop(key, None) is None:
            self._old_reactions.add(key)
        return self._react(message, now)

    def _current(self, message: Message) -> Message:
        return self.message(message.id) or message

    def _react(self, message: Message, now: Mapping[str, tuple[str, ...]]) -> Message:
        changed = replace(self._current(message), reactions=now)
        self._messages[message.id] = changed
        return changed

    def _next_cursor(self) -> int:
        return max(self._cursor + 1, self.now)

    def append(
        self,
        conversation_id: str,
        type: str,
        actor_id: str,
        *,
        user_id: str | None = None,
        message: Message | None = None,
        data: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        conversation: ConversationView | None = None,
    ) -> Event:
        state = self._known(conversation_id)
        # Encoded first: what cannot be written must not have moved a number.
        text = rows.to_json(data)
        cursor = self._cursor = self._next_cursor()
        seq = state.last_seq = state.last_seq + 1
        state.last_cursor = cursor
        if type == "message.new" or not type.startswith(_QUIET):
            state.updated_at = max(state.updated_at, self.now)
        self._moved.add(conversation_id)
        message_id = None if message is None else message.id
        now = self.now
        event = Event(
            self.org_id,
            cursor,
            conversation_id,
            seq,
            type,
            actor_id,
            user_id,
            message,
            data or {},
            now,
            conversation,
        )
        self._event_rows.append(
            (
                self.org_id,
                cursor,
                conversation_id,
                seq,
                type,
                actor_id,
                user_id,
                message_id,
                text,
                idempotency_key,
                now,
            )
        )
        self.appended.append(event)
        if idempotency_key is not None:
            self._published[actor_id, idempotency_key] = event
        return event

    # Writing

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
        if self._event_rows:
            bulk.insert(connection, events, self._event_rows)
            connection.execute(_SAVE_CURSOR, {"org": self.org_id, "cursor": self._cursor})

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
