"""What people do with messages: send, edit, delete, read, react.

Each is a write whose `apply` runs inside the commit: the check first, then the change, so the
rules hold against what is true at that moment and not against what a cache believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Any

from madang.model.ids import uuid7
from madang.model.nouns import Event, Message, MessageType, SenderType
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, NotFound
from madang.services import access, alternatives, asking, files, titles
from madang.services.asking import USUAL_LIMITS, RunLimits
from madang.services.sizes import SMALL, json_size

MAX_REACTION_KINDS = 50
"""Different emoji on one message: more than a screen can show is noise, and every reader pays."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a write: the message as it is now, and the event that tells of it.

    `event` is None where nothing changed (a repeat); whoever asked gets the same answer anyway.
    """

    message: Message
    event: Event | None
    runs: tuple[str, ...] = ()
    """The answers that it asked for, of the server's agents: their message ids."""
    outside: bool = False
    """Whether it asks the session's agent, which is outside and answers by itself."""


@dataclass(frozen=True, slots=True)
class SendMessage:
    """A message into a conversation. A repeated `client_id` gives the first message again.

    An attachment with a `file_id` sends a file that the sender has uploaded here.
    """

    org_id: str
    conversation_id: str
    sender_id: str
    content: str
    sender_type: SenderType = "user"
    message_type: MessageType = "text"
    client_id: str | None = None
    reply_to_id: str | None = None
    attachments: tuple[Mapping[str, Any], ...] = ()
    metadata: Mapping[str, Any] | None = None
    run_limits: RunLimits = USUAL_LIMITS
    """For the runs that it starts in a session."""

    @property
    def size(self) -> int:
        size = SMALL + getsizeof(self.content)
        if self.attachments or self.metadata:
            size += json_size(self.attachments) + json_size(self.metadata)
        return size

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.sender_id))
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.sender_id, self.client_id))
        if self.reply_to_id is not None:
            needs.messages.add(self.reply_to_id)
        if self.attachments:
            files.need_attached(needs, self.attachments)

    def apply(self, tx: Transaction) -> Done:
        conversation_id, sender_id = self.conversation_id, self.sender_id
        conversation, _ = access.participant_in(tx, conversation_id, sender_id)
        if self.client_id is not None:
            first = tx.sent(conversation_id, sender_id, self.client_id)
            if first is not None:
                return Done(first, None)
        access.check_open(conversation)
        if self.reply_to_id is not None:
            parent = tx.message(self.reply_to_id)
            if parent is None or parent.conversation_id != conversation_id:
                raise NotFound("Message not found")
        message_id, attachments = uuid7(tx.now), self.attachments
        sent = files.check_attached(tx, conversation_id, sender_id, attachments)
        planned = None
        if conversation.kind == "agent":
            planned = asking.plan(
                tx, conversation, sender_id, self.sender_type, self.content, self.run_limits
            )
        # Nothing is refused from here on.
        attachments = files.attach(tx, sent, message_id, attachments)
        message = Message(
            message_id,
            self.org_id,
            conversation_id,
            tx.next_seq(conversation_id),
            sender_id,
            self.sender_type,
            self.message_type,
            self.content,
            self.metadata or {},
            self.reply_to_id,
            attachments,
            self.client_id,
            tx.moment,
        )
        tx.add_message(message)
        if planned is None:
            event = tx.append(conversation_id, "message.new", sender_id, message=message)
            return Done(message, event)
        event = tx.append(
            conversation_id, "message.new", sender_id, message=message, data=planned.data
        )
        runs = asking.begin(tx, conversation, planned, message)
        return Done(message, event, runs, planned.outside)


@dataclass(frozen=True, slots=True)
class _OnMessage:
    """A write about one message by one user."""

    org_id: str
    message_id: str
    user_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))


@dataclass(frozen=True, slots=True)
class EditMessage(_OnMessage):
    """New content for a message; only its sender may."""

    content: str

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.content)

    def apply(self, tx: Transaction) -> Done:
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        if message.sender_id != self.user_id:
            raise Forbidden("Only sender can edit message")
        edited = replace(message, content=self.content, edited_at=tx.now)
        tx.save_message(edited)
        event = tx.append(message.conversation_id, "message.edited", self.user_id, message=edited)
        titles.make_anew(tx, edited, self.user_id)
        return Done(edited, event)


@dataclass(frozen=True, slots=True)
class DeleteMessage(_OnMessage):
    """Soft deletion by the sender or a conversation admin: the place stays, the content goes.

    Deleting what is deleted changes nothing and succeeds. Its files go with it.
    """

    def needs(self, needs: Needs) -> None:
        _OnMessage.needs(self, needs)
        needs.message_files.add(self.message_id)

    def apply(self, tx: Transaction) -> Done:
        message, conversation, participant = access.message_seen_by(
            tx, self.message_id, self.user_id
        )
        if message.sender_id != self.user_id and participant.role != "admin":
            raise Forbidden("Only sender or admin can delete message")
        if message.deleted_at is not None:
            return Done(message, None)
        if conversation.status != "active":
            raise Conflict("Conversation is archived")
        deleted = replace(
            message, content="", metadata={}, attachments=(), reactions={}, deleted_at=tx.now
        )
        files.delete_attached(tx, message)
        tx.save_message(deleted)
        event = tx.append(message.conversation_id, "message.deleted", self.user_id, message=deleted)
        titles.make_anew(tx, deleted, self.user_id)
        if conversation.kind == "agent":
            alternatives.forget(tx, deleted)
        return Done(deleted, event)


@dataclass(frozen=True, slots=True)
class ReadMessage(_OnMessage):
    """Read up to this message. Reading is monotonic: an older one moves nothing and confirms."""

    conversation_id: str | None = None
    """Where the caller named the conversation too, the message must be in it."""

    def apply(self, tx: Transaction) -> Done:
        message, _, participant = access.message_seen_by(tx, self.message_id, self.user_id)
        if self.conversation_id not in (None, message.conversation_id):
            raise NotFound("Message not found")
        if participant.last_read_seq >= message.seq:
            return Done(message, None)
        tx.save_participant(replace(participant, last_read_seq=message.seq))
        event = tx.append(
            message.conversation_id,
            "message.read",
            self.user_id,
            user_id=self.user_id,
            message=message,
            data={"last_read_seq": message.seq},
        )
        return Done(message, event)


@dataclass(frozen=True, slots=True)
class AddReaction(_OnMessage):
    """An emoji on a message, once a user; adding it again changes nothing."""

    emoji: str

    def apply(self, tx: Transaction) -> Done:
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        users = message.reactions.get(self.emoji, ())
        if self.user_id in users:
            return Done(message, None)
        if not users and len(message.reactions) >= MAX_REACTION_KINDS:
            raise Conflict("Too many different reactions on this message")
        return self._told(tx, "reaction.added", tx.add_reaction(message, self.user_id, self.emoji))

    def _told(self, tx: Transaction, kind: str, message: Message) -> Done:
        event = tx.append(
            message.conversation_id,
            kind,
            self.user_id,
            user_id=self.user_id,
            message=message,
            data={"emoji": self.emoji},
        )
        return Done(message, event)


@dataclass(frozen=True, slots=True)
class RemoveReaction(AddReaction):
    """Take one's own reaction away; one that is not there changes nothing."""

    def apply(self, tx: Transaction) -> Done:
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        if self.user_id not in message.reactions.get(self.emoji, ()):
            return Done(message, None)
        changed = tx.remove_reaction(message, self.user_id, self.emoji)
        return self._told(tx, "reaction.removed", changed)
