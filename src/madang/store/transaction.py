"""One commit as a unit of work: what a batch of writes looks at is read with one query a kind
(`loading`), what it changes is written with one statement a table (`flushing`).

Between the two everything happens in memory, in the maps that this class changes: a later write
of the batch sees what an earlier one did. Runs in the writer's thread, under the org's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select, text

from madang.model.nouns import (
    NO_REACTIONS,
    Conversation,
    ConversationView,
    Event,
    File,
    Message,
    Participant,
)
from madang.ports.store import Needs
from madang.store import rows
from madang.store.flushing import Flushing
from madang.store.live_rows import LiveRows
from madang.store.loading import Counters, Place
from madang.store.tables import messages, orgs, participants

# The org's lock, held until the end: whoever commits for it next waits here, and then sees all
# that this commit has written. (SQLite has one writer at a time anyway, and no such words.)
_LAST_CURSOR = select(orgs.c.last_cursor).where(orgs.c.id == bindparam("org")).with_for_update()
_NEW_ORG = text(
    "INSERT INTO orgs (id, last_cursor, oldest_cursor) VALUES (:org, 0, 0) ON CONFLICT DO NOTHING"
)
_ROSTER_SIZE = (
    select(func.count())
    .select_from(participants)
    .where(
        participants.c.conversation_id == bindparam("conversation"),
        participants.c.org_id == bindparam("org"),
    )
)
_IN_ORDER = (
    select(participants)
    .where(participants.c.conversation_id == bindparam("conversation"))
    .where(participants.c.org_id == bindparam("org"))
    .order_by(participants.c.joined_at, participants.c.user_id)
)
_LONGEST_THERE = _IN_ORDER.limit(bindparam("most"))
_ADMINS = _IN_ORDER.where(participants.c.role == "admin")

_FAR = 1_000
_FEW = 20
_SAID_AFTER = (
    select(messages.c.id)
    .where(
        messages.c.conversation_id == bindparam("conversation"),
        messages.c.org_id == bindparam("org"),
        messages.c.seq > bindparam("after"),
        messages.c.seq <= bindparam("until"),
        messages.c.sender_type == "user",
        messages.c.content != "",
        messages.c.deleted_at.is_(None),
    )
    .order_by(messages.c.seq)
    .limit(_FEW)
)

_QUIET = ("message.", "reaction.", "participant.", "conversation.")
"""Events of these families do not make a conversation the newest, `message.new` excepted."""


class SqlTransaction(Flushing):
    """`ports.Transaction` over a connection that has begun and is the only writer of the org."""

    def __init__(self, connection: Connection, org_id: str, now: int) -> None:
        last = connection.execute(_LAST_CURSOR, {"org": org_id}).scalar()
        if last is None:
            connection.execute(_NEW_ORG, {"org": org_id})
            last = connection.execute(_LAST_CURSOR, {"org": org_id}).scalar_one()
        super().__init__(connection, org_id, last)
        self.head: int = last
        self.now = now
        self.appended: list[Event] = []
        self.live = LiveRows(connection, org_id, self._as_known)

    def prefetch(self, needs: Needs) -> None:
        super().prefetch(needs)
        self.live.prefetch(needs.live)

    def flush(self) -> None:
        super().flush()
        self.live.flush()

    def _as_known(self, message: Message) -> Message:
        """A message that was just read, as this commit has it."""
        return self._messages.setdefault(message.id, message) or message

    def participant_count(self, conversation_id: str) -> int:
        where = {"conversation": conversation_id, "org": self.org_id}
        count: int = self._connection.execute(_ROSTER_SIZE, where).scalar_one()
        for place, existed in self._changed_places.items():
            if place[0] == conversation_id:
                count += (self._participants[place] is not None) - existed
        return count

    def longest_there(self, conversation_id: str, most: int) -> Sequence[Participant]:
        # Each change of this batch may take one of those found away.
        enough = most + sum(place[0] == conversation_id for place in self._changed_places)
        return self._as_changed(_LONGEST_THERE, conversation_id, most=enough)[:most]

    def admins(self, conversation_id: str) -> Sequence[Participant]:
        found = self._as_changed(_ADMINS, conversation_id)
        return [person for person in found if person.role == "admin"]

    def _as_changed(
        self, query: Select[Any], conversation_id: str, **values: int
    ) -> list[Participant]:
        """The participants found, and all that this batch changed as they are now, in order."""
        where = {"conversation": conversation_id, "org": self.org_id, **values}
        people: dict[str, Participant | None] = {
            row[1]: rows.participant_of(row)
            for row in self._connection.execute(query, where).cursor.fetchall()
        }
        for place in self._changed_places:
            if place[0] == conversation_id:
                people[place[1]] = self._participants[place]
        return sorted(filter(None, people.values()), key=lambda p: (p.joined_at, p.user_id))

    def said_after(self, conversation_id: str, seq: int) -> Sequence[Message]:
        where = {"conversation": conversation_id, "org": self.org_id, "after": seq}
        found = self._connection.execute(_SAID_AFTER, {**where, "until": seq + _FAR}).cursor
        ids = {row[0] for row in found.fetchall()} | set(self._new_messages)
        self._load_messages(ids)
        said = [
            message
            for message in filter(None, map(self.message, ids))
            if message.conversation_id == conversation_id
            and message.seq > seq
            and message.sender_type == "user"
            and message.deleted_at is None
        ]
        return sorted(said, key=lambda message: message.seq)

    def add_conversation(
        self, conversation: Conversation, participants: Sequence[Participant]
    ) -> None:
        self._conversations[conversation.id] = Counters(conversation, 0)
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

    def _change_place(self, place: Place, participant: Participant | None) -> None:
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
        self._new_reactions[message.id, user_id, emoji] = self.moment
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

    @property
    def moment(self) -> int:
        return max(self._cursor + 1, self.now)

    def add_file(self, file: File) -> None:
        self._files[file.id] = file
        self._changed_files[file.id] = False
        if file.expires_at is not None:
            self._pending[file.owner_id] = self.pending_files(file.owner_id) + 1

    def save_file(self, file: File) -> None:
        self._change_file(file.id, file)

    def remove_file(self, file_id: str) -> None:
        self._change_file(file_id, None)

    def _change_file(self, file_id: str, file: File | None) -> None:
        before = self.file(file_id)
        self._changed_files.setdefault(file_id, before is not None)
        self._files[file_id] = file
        owner = file or before
        if owner is not None and owner.owner_id in self._pending:
            for change, one in ((-1, before), (1, file)):
                if one is not None and one.expires_at is not None:
                    self._pending[owner.owner_id] += change

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
        cursor = self._cursor = self.moment
        seq = state.last_seq = state.last_seq + 1
        state.last_cursor = cursor
        if type == "message.new" or not type.startswith(_QUIET):
            state.updated_at = max(state.updated_at, self.now)
        self._moved.add(conversation_id)
        message_id = None if message is None else message.id
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
            self.now,
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
                self.now,
            )
        )
        self.appended.append(event)
        if idempotency_key is not None:
            self._published[actor_id, idempotency_key] = event
        return event
