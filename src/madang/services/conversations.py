"""Conversations and who is in them: create, change, archive, invite, remove, leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from madang.model.ids import uuid7
from madang.model.nouns import (
    Conversation,
    ConversationView,
    Event,
    NotificationLevel,
    Participant,
    Role,
)
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotFound
from madang.services import access, titles
from madang.services.sizes import PERSON, SMALL, json_size
from madang.services.viewing import seen_by_all

MAX_PARTICIPANTS = 50_000
"""In one conversation; a commit that adds them all stays under a second."""


def _too_many() -> Invalid:
    return Invalid(f"A conversation holds at most {MAX_PARTICIPANTS} participants")


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation, and whether this call created it (`event`) or found it."""

    view: ConversationView
    event: Event | None


def direct_key(user_id: str, other_id: str) -> str:
    """The same for both orders, different for every other pair."""
    first, second = sorted((user_id, other_id))
    return f"direct:{len(first)}:{first}:{second}"


def inbox_key(user_id: str) -> str:
    """The key of a user's inbox."""
    return f"inbox:{user_id}"


def _new(
    tx: Transaction,
    kind: Literal["direct", "group", "inbox"],
    creator: str,
    *,
    title: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    key: str | None = None,
) -> Conversation:
    return Conversation(
        uuid7(tx.now),
        tx.org_id,
        kind,
        title,
        metadata or {},
        "active",
        key,
        0,
        None,
        creator,
        tx.now,
        tx.now,
    )


def open_inbox(tx: Transaction, user_id: str) -> Conversation:
    """The user's inbox, made at its first use. It has one participant, and no event of its own:
    what is put into it is the first its owner hears of it."""
    inbox = tx.keyed(inbox_key(user_id))
    if inbox is None:
        inbox = _new(tx, "inbox", user_id, key=inbox_key(user_id))
        tx.add_conversation(inbox, [Participant(inbox.id, user_id, "member", None, 0, tx.now)])
    return inbox


@dataclass(frozen=True, slots=True)
class CreateConversation:
    """A direct conversation of two or a group. Two people have one direct conversation: creating
    it again gives the first, whoever asks."""

    org_id: str
    creator: str
    kind: Literal["direct", "group"]
    participant_ids: tuple[str, ...]
    title: str | None = None
    metadata: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        return SMALL + PERSON * len(self.participant_ids) + json_size(self.metadata)

    def needs(self, needs: Needs) -> None:
        for other in self.participant_ids if self.kind == "direct" else ():
            needs.keys.add(direct_key(self.creator, other))

    def apply(self, tx: Transaction) -> Opened:
        others = [user for user in dict.fromkeys(self.participant_ids) if user != self.creator]
        if len(others) >= MAX_PARTICIPANTS:
            raise _too_many()
        key = None
        if self.kind == "direct":
            if len(others) != 1:
                raise Invalid("A direct conversation has exactly one other participant")
            key = direct_key(self.creator, others[0])
            found = tx.keyed(key)
            if found is not None:
                return Opened(seen_by_all(found, tx), None)
        conversation = _new(
            tx, self.kind, self.creator, title=self.title, metadata=self.metadata, key=key
        )
        creator_role: Role = "admin" if self.kind == "group" else "member"
        people = (
            Participant(conversation.id, self.creator, creator_role, None, 0, tx.now),
            *(Participant(conversation.id, user, "member", None, 0, tx.now) for user in others),
        )
        tx.add_conversation(conversation, people)
        first = replace(conversation, last_seq=1)
        view = ConversationView(first, people, None, 0, False, len(people))
        event = tx.append(conversation.id, "conversation.created", self.creator, conversation=view)
        return Opened(view, event)


@dataclass(frozen=True, slots=True)
class _OnConversation:
    """A write about one conversation by one user."""

    org_id: str
    conversation_id: str
    user_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))

    def _told(self, tx: Transaction, kind: str, changed: Conversation) -> Event:
        tx.save_conversation(changed)
        view = seen_by_all(replace(changed, last_seq=tx.next_seq(changed.id)), tx)
        return tx.append(changed.id, kind, self.user_id, conversation=view)


@dataclass(frozen=True, slots=True)
class UpdateConversation(_OnConversation):
    """A new title or new metadata; what is not `set_*` stays."""

    title: str | None = None
    metadata: Mapping[str, Any] | None = None
    set_title: bool = False

    @property
    def size(self) -> int:
        return SMALL + json_size(self.metadata)

    def apply(self, tx: Transaction) -> Event:
        conversation, _ = access.admin_of(tx, self.conversation_id, self.user_id)
        if self.set_title:
            titles.keep_title(tx, conversation)
        changed = replace(
            conversation,
            title=self.title if self.set_title else conversation.title,
            metadata=conversation.metadata if self.metadata is None else self.metadata,
            updated_at=tx.now,
        )
        return self._told(tx, "conversation.updated", changed)


@dataclass(frozen=True, slots=True)
class ArchiveConversation(_OnConversation):
    """Read-only from now on. Archiving what is archived changes nothing."""

    def apply(self, tx: Transaction) -> Event | None:
        conversation, _ = access.admin_of(tx, self.conversation_id, self.user_id, archived=True)
        if conversation.status == "archived":
            return None
        changed = replace(conversation, status="archived", updated_at=tx.now)
        return self._told(tx, "conversation.archived", changed)


@dataclass(frozen=True, slots=True)
class AddParticipants(_OnConversation):
    """People into a group, each with one `participant.joined`. Whoever is in it already keeps
    their place, or gets the new role if one was named."""

    joining: tuple[str, ...]
    role: Role | None = None

    @property
    def size(self) -> int:
        return SMALL + PERSON * len(self.joining)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))
        needs.participants.update((self.conversation_id, user) for user in self.joining)

    def apply(self, tx: Transaction) -> tuple[Event, ...]:
        conversation, _ = access.open_to(tx, self.conversation_id, self.user_id)
        if conversation.kind != "group":
            raise Forbidden("Only a group can be joined")
        access.admin_of(tx, self.conversation_id, self.user_id)
        joining = dict.fromkeys(self.joining)
        # Whoever asks is an admin, and stays one unless they name themselves.
        leaves_admin = self.role == "member" and self.user_id in joining
        if leaves_admin and all(a.user_id in joining for a in tx.admins(self.conversation_id)):
            raise Conflict("A group keeps at least one admin")
        new = sum(tx.participant(self.conversation_id, user) is None for user in joining)
        if new and tx.participant_count(self.conversation_id) + new > MAX_PARTICIPANTS:
            raise _too_many()
        return tuple(event for user in joining if (event := self._join(tx, user)))

    def _join(self, tx: Transaction, user_id: str) -> Event | None:
        present = tx.participant(self.conversation_id, user_id)
        if present is None:
            role: Role = self.role or "member"
            tx.add_participant(Participant(self.conversation_id, user_id, role, None, 0, tx.now))
        elif self.role is None or self.role == present.role:
            return None
        else:
            role = self.role
            tx.save_participant(replace(present, role=role))
        return tx.append(
            self.conversation_id,
            "participant.joined",
            self.user_id,
            user_id=user_id,
            data={"role": role},
        )


@dataclass(frozen=True, slots=True)
class RemoveParticipant(_OnConversation):
    """An admin removes someone from a group, or anyone leaves it. When the last admin leaves, the
    one who has been there longest becomes admin, so that a group is never without one."""

    leaving: str

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))
        needs.participants.add((self.conversation_id, self.leaving))

    def apply(self, tx: Transaction) -> Event:
        conversation, actor = access.participant_in(tx, self.conversation_id, self.user_id)
        if conversation.kind != "group":
            raise Forbidden("Only a group can be left")
        if self.leaving != self.user_id and actor.role != "admin":
            raise Forbidden("Only an admin of the conversation can do this")
        gone = tx.participant(self.conversation_id, self.leaving)
        if gone is None:
            raise NotFound("Participant not found")
        tx.remove_participant(self.conversation_id, self.leaving)
        event = tx.append(
            self.conversation_id,
            "participant.left",
            self.user_id,
            user_id=self.leaving,
            data={"by": self.user_id},
        )
        if gone.role == "admin":
            self._keep_an_admin(tx)
        return event

    def _keep_an_admin(self, tx: Transaction) -> None:
        people = tx.longest_there(self.conversation_id, 1)
        if not people or tx.admins(self.conversation_id):
            return
        heir = people[0]
        tx.save_participant(replace(heir, role="admin"))
        tx.append(
            self.conversation_id,
            "participant.joined",
            self.user_id,
            user_id=heir.user_id,
            data={"role": "admin"},
        )


@dataclass(frozen=True, slots=True)
class SetNotifications(_OnConversation):
    """How much of a conversation one wants to be told of. One's own affair: no event."""

    level: NotificationLevel
    muted_until: int | None

    def apply(self, tx: Transaction) -> Participant:
        _, participant = access.participant_in(tx, self.conversation_id, self.user_id)
        changed = replace(participant, notification_level=self.level, muted_until=self.muted_until)
        tx.save_participant(changed)
        return changed
