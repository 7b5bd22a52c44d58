"""Small writes for the store's own tests: the rules of the services are not here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from madang.model.ids import uuid7
from madang.model.nouns import (
    Conversation,
    ConversationKind,
    Event,
    File,
    Message,
    Participant,
    Role,
)
from madang.model.runs import Run, RunStatus, Session
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, NotAParticipant, NotFound

SIZE = 1024
"""Bytes that each of them counts for while it waits."""


def _conversation(tx: Transaction, conversation_id: str) -> Conversation:
    found = tx.conversation(conversation_id)
    if found is None:
        raise NotFound("Conversation not found")
    return found


def _message(tx: Transaction, message_id: str) -> Message:
    found = tx.message(message_id)
    if found is None:
        raise NotFound("Message not found")
    return found


@dataclass(frozen=True, slots=True)
class Create:
    """A conversation of these users; the first is its admin."""

    id: str
    users: Sequence[str]
    org_id: str = "default"
    kind: ConversationKind = "group"
    title: str | None = "Room"
    direct_key: str | None = None

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.id)

    def apply(self, tx: Transaction) -> Conversation:
        if self.direct_key is not None and (found := tx.keyed(self.direct_key)) is not None:
            return found
        conversation = Conversation(
            id=self.id,
            org_id=self.org_id,
            kind=self.kind,
            title=self.title,
            metadata={},
            status="active",
            direct_key=self.direct_key,
            last_seq=0,
            last_message_id=None,
            created_by=self.users[0],
            created_at=tx.now,
            updated_at=tx.now,
        )
        tx.add_conversation(
            conversation,
            [
                Participant(self.id, user, "admin" if n == 0 else "member", None, 0, tx.now)
                for n, user in enumerate(self.users)
            ],
        )
        tx.append(self.id, "conversation.created", self.users[0])
        return _conversation(tx, self.id)


@dataclass(frozen=True, slots=True)
class Send:
    conversation_id: str
    sender_id: str
    content: str = "hello"
    client_id: str | None = None
    org_id: str = "default"
    answers: str | None = None
    """The message that it answers, as an agent's stream."""

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.sender_id))
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.sender_id, self.client_id))

    def apply(self, tx: Transaction) -> Message:
        if tx.participant(self.conversation_id, self.sender_id) is None:
            raise NotAParticipant
        if _conversation(tx, self.conversation_id).status != "active":
            raise Conflict("archived")
        if self.client_id is not None:
            first = tx.sent(self.conversation_id, self.sender_id, self.client_id)
            if first is not None:
                return first
        message = Message(
            id=uuid7(tx.now),
            org_id=self.org_id,
            conversation_id=self.conversation_id,
            seq=tx.next_seq(self.conversation_id),
            sender_id=self.sender_id,
            sender_type="user",
            message_type="text" if self.answers is None else "stream",
            content=self.content,
            metadata={},
            reply_to_id=self.answers,
            attachments=(),
            client_id=self.client_id,
            created_at=tx.now,
        )
        tx.add_message(message)
        tx.append(self.conversation_id, "message.new", self.sender_id, message=message)
        return message


@dataclass(frozen=True, slots=True)
class Edit:
    message_id: str
    user_id: str
    content: str
    delete: bool = False
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))

    def apply(self, tx: Transaction) -> Message:
        message = _message(tx, self.message_id)
        if tx.participant(message.conversation_id, self.user_id) is None:
            raise NotFound("Message not found")
        if self.delete:
            changed = replace(message, content="", deleted_at=tx.now)
        else:
            changed = replace(message, content=self.content, edited_at=tx.now)
        tx.save_message(changed)
        type_ = "message.deleted" if self.delete else "message.edited"
        tx.append(message.conversation_id, type_, self.user_id, message=changed)
        return _message(tx, self.message_id)


@dataclass(frozen=True, slots=True)
class Read:
    message_id: str
    user_id: str
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))

    def apply(self, tx: Transaction) -> None:
        message = _message(tx, self.message_id)
        me = tx.participant(message.conversation_id, self.user_id)
        if me is None:
            raise NotFound("Message not found")
        if me.last_read_seq < message.seq:
            tx.save_participant(replace(me, last_read_seq=message.seq))
            tx.append(
                message.conversation_id,
                "message.read",
                self.user_id,
                user_id=self.user_id,
                message=message,
            )


@dataclass(frozen=True, slots=True)
class React:
    message_id: str
    user_id: str
    emoji: str
    remove: bool = False
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))

    def apply(self, tx: Transaction) -> Message:
        message = _message(tx, self.message_id)
        there = self.user_id in message.reactions.get(self.emoji, ())
        if there != self.remove:
            return message
        change = tx.remove_reaction if self.remove else tx.add_reaction
        changed = change(message, self.user_id, self.emoji)
        tx.append(
            message.conversation_id,
            "reaction.removed" if self.remove else "reaction.added",
            self.user_id,
            user_id=self.user_id,
            message=changed,
            data={"emoji": self.emoji},
        )
        return changed


@dataclass(frozen=True, slots=True)
class Join:
    conversation_id: str
    user_id: str
    role: Role = "member"
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))

    def apply(self, tx: Transaction) -> Sequence[Participant]:
        _conversation(tx, self.conversation_id)
        if tx.participant(self.conversation_id, self.user_id) is None:
            tx.add_participant(
                Participant(self.conversation_id, self.user_id, self.role, None, 0, tx.now)
            )
            tx.append(self.conversation_id, "participant.joined", "boss", user_id=self.user_id)
        return _roster(tx, self.conversation_id)


@dataclass(frozen=True, slots=True)
class Leave:
    conversation_id: str
    user_id: str
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))

    def apply(self, tx: Transaction) -> Sequence[Participant]:
        if tx.participant(self.conversation_id, self.user_id) is None:
            raise NotAParticipant
        tx.remove_participant(self.conversation_id, self.user_id)
        tx.append(self.conversation_id, "participant.left", "boss", user_id=self.user_id)
        return _roster(tx, self.conversation_id)


@dataclass(frozen=True, slots=True)
class Rename:
    conversation_id: str
    title: str
    status: str = "active"
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)

    def apply(self, tx: Transaction) -> Conversation:
        found = _conversation(tx, self.conversation_id)
        tx.save_conversation(
            replace(found, title=self.title, status=self.status, updated_at=tx.now)  # type: ignore[arg-type]
        )
        tx.append(self.conversation_id, "conversation.updated", "boss")
        return _conversation(tx, self.conversation_id)


@dataclass(frozen=True, slots=True)
class Upload:
    id: str
    conversation_id: str
    owner_id: str
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.files.add(self.id)

    def apply(self, tx: Transaction) -> File:
        file = File(
            self.id,
            self.org_id,
            self.conversation_id,
            self.owner_id,
            None,
            "a name",
            "text/plain",
            10,
            10,
            "ready",
            None,
            {"message": "hello"},
            tx.now,
            tx.now,
        )
        tx.add_file(file)
        return file


@dataclass(frozen=True, slots=True)
class Publish:
    conversation_id: str
    actor_id: str
    type: str = "task_done"
    payload: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)

    def apply(self, tx: Transaction) -> Event:
        _conversation(tx, self.conversation_id)
        if self.key is not None and (first := tx.published(self.actor_id, self.key)) is not None:
            return first
        return tx.append(
            self.conversation_id,
            self.type,
            self.actor_id,
            data=self.payload,
            idempotency_key=self.key,
        )


@dataclass(frozen=True, slots=True)
class Break:
    """Fails in a way that nobody foresaw."""

    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        pass

    def apply(self, tx: Transaction) -> None:
        raise ZeroDivisionError


@dataclass(frozen=True, slots=True)
class Clash:
    """Adds a message under an id that is taken: the database refuses the whole statement."""

    conversation_id: str
    id: str
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)

    def apply(self, tx: Transaction) -> None:
        message = Message(
            id=self.id,
            org_id=self.org_id,
            conversation_id=self.conversation_id,
            seq=tx.next_seq(self.conversation_id),
            sender_id="clash",
            sender_type="user",
            message_type="text",
            content="clash",
            metadata={},
            reply_to_id=None,
            attachments=(),
            client_id=None,
            created_at=tx.now,
        )
        tx.add_message(message)
        tx.append(self.conversation_id, "message.new", "clash", message=message)


def _roster(tx: Transaction, conversation_id: str) -> Sequence[Participant]:
    """All of them; the ways that do not read all of them must say the same."""
    first = [tx.longest_there(conversation_id, most) for most in (1, 3)]
    admins = tx.admins(conversation_id)
    people = tx.participants(conversation_id)
    assert first == [people[:1], people[:3]]
    assert admins == [person for person in people if person.role == "admin"]
    return people


@dataclass(frozen=True, slots=True)
class StartRun:
    """A session of a conversation that is there, and a run in it."""

    conversation_id: str
    message_id: str
    asked_by: str = "ann"
    org_id: str = "default"
    status: RunStatus = "streaming"
    client_id: str | None = None

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)

    def apply(self, tx: Transaction) -> Run:
        place = (self.message_id, self.org_id, self.conversation_id)
        if tx.session(self.conversation_id) is None:
            tx.add_session(Session(self.conversation_id, self.org_id, "agent:echo", "0" * 32))
        first = None if self.client_id is None else "run-0"
        run = Run(
            *place,
            "agent:echo",
            self.asked_by,
            None,
            self.status,
            tx.now,
            tx.now,
            alternative_of=first,
            client_id=self.client_id,
        )
        tx.add_run(run)
        return run


@dataclass(frozen=True, slots=True)
class ChangeRun:
    """A run in another state."""

    message_id: str
    status: RunStatus
    org_id: str = "default"
    ends: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> Run:
        run = tx.run(self.message_id)
        if run is None:
            raise NotFound("Message not found")
        over = self.status not in ("waiting", "streaming")
        ended = tx.now if over else None
        changed = replace(
            run, status=self.status, checked_at=tx.now, ended_at=ended, ends=self.ends
        )
        tx.save_run(changed)
        return changed


@dataclass(frozen=True, slots=True)
class CountRuns:
    """How many are under way, as the commit knows it."""

    asked_by: str
    org_id: str = "default"

    @property
    def size(self) -> int:
        return SIZE

    def needs(self, needs: Needs) -> None:
        """Nothing."""

    def apply(self, tx: Transaction) -> tuple[int, int]:
        return tx.run_counts(self.asked_by)
