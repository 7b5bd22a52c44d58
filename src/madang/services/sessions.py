"""Sessions: a person (and whoever else is let in) and agents. Create, change (archive, restore),
let in, send out, hand over."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from madang.model.ids import uuid7
from madang.model.nouns import (
    Conversation,
    ConversationStatus,
    ConversationView,
    Event,
    Participant,
)
from madang.model.runs import ANYBODY, Answers, Session, WhenBusy, is_own_agent
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotAParticipant, NotFound
from madang.services import access, asking, titles
from madang.services.sizes import PERSON, SMALL, json_size
from madang.services.viewing import seen_by_all

MOST_IN_A_SESSION = 200
"""People and agents."""


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session, and whether this call created it (`event`) or found it."""

    session: Session
    conversation: Conversation
    event: Event | None


@dataclass(frozen=True, slots=True)
class CreateSession:
    """A session of its creator with an agent. With a `key` there is one: creating it again gives
    the first."""

    org_id: str
    creator: str
    agent_id: str
    title: str | None = None
    metadata: Mapping[str, Any] | None = None
    when_busy: WhenBusy = "queue"
    answers: Answers = "always"
    others: tuple[str, ...] = ()
    key: str | None = None

    @property
    def size(self) -> int:
        return SMALL + PERSON * (2 + len(self.others)) + json_size(self.metadata)

    def needs(self, needs: Needs) -> None:
        if self.key is not None:
            needs.keys.add(self.key)

    def apply(self, tx: Transaction) -> OpenedSession:
        if self.agent_id == self.creator:
            raise Invalid("agent_id: nobody has a session with themselves")
        if self.key is not None:
            found = tx.keyed(self.key)
            session = None if found is None else tx.session(found.id)
            if found is not None and session is not None:
                return OpenedSession(session, found, None)
        conversation = Conversation(
            uuid7(tx.now),
            self.org_id,
            "agent",
            self.title,
            self.metadata or {},
            "active",
            self.key,
            0,
            None,
            self.creator,
            tx.now,
            tx.now,
        )
        others = list(dict.fromkeys((self.agent_id, *self.others)))
        people = (
            Participant(conversation.id, self.creator, "admin", None, 0, tx.now),
            *(
                Participant(conversation.id, user, "member", None, 0, tx.now)
                for user in others
                if user != self.creator
            ),
        )
        session = Session(
            conversation.id,
            self.org_id,
            self.agent_id,
            secrets.token_hex(16),
            None,
            self.when_busy,
            self.answers,
        )
        tx.add_conversation(conversation, people)
        tx.add_session(session)
        view = ConversationView(
            replace(conversation, last_seq=1), people, None, 0, False, len(people)
        )
        event = tx.append(conversation.id, "conversation.created", self.creator, conversation=view)
        return OpenedSession(session, conversation, event)


@dataclass(frozen=True, slots=True)
class _OnSession:
    """A write about one session by one user."""

    org_id: str
    conversation_id: str
    user_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.user_id))

    def _found(
        self, tx: Transaction, *, admin: bool = False, archived: bool = False
    ) -> tuple[Session, Conversation]:
        conversation, me = access.participant_in(tx, self.conversation_id, self.user_id)
        session = tx.session(self.conversation_id)
        if session is None:
            raise NotAParticipant
        if admin and me.role != "admin":
            raise Forbidden("Only an admin of the session can do this")
        if not archived:
            access.check_open(conversation)
        return session, conversation

    def _told(
        self,
        tx: Transaction,
        kind: str,
        changed: Conversation,
        data: Mapping[str, Any] | None = None,
    ) -> Event:
        tx.save_conversation(changed)
        view = seen_by_all(replace(changed, last_seq=tx.next_seq(changed.id)), tx)
        return tx.append(changed.id, kind, self.user_id, conversation=view, data=data)

    def _stopping(self, tx: Transaction) -> dict[str, Any]:
        """End what waits; what runs is stopped by whoever commits this."""
        ids = tuple(run.message_id for run in tx.runs_under_way(self.conversation_id))
        asking.stop_waiting(tx, self.conversation_id, ids)
        return {"stop": list(ids)} if ids else {}


@dataclass(frozen=True, slots=True)
class ChangeSession(_OnSession):
    """Change a session, all of it at once: None stays, `set_title` with None clears the title.

    `archived`, it is read-only until it is `active` again, and what its agents are answering is
    stopped. Whoever asks for the status that it has, and nothing else, changes nothing.
    """

    title: str | None = None
    metadata: Mapping[str, Any] | None = None
    when_busy: WhenBusy | None = None
    answers: Answers | None = None
    set_title: bool = False
    status: ConversationStatus | None = None

    @property
    def size(self) -> int:
        return SMALL + json_size(self.metadata)

    def apply(self, tx: Transaction) -> Event | None:
        session, conversation = self._found(tx, admin=True, archived=True)
        status = self.status or conversation.status
        fields = (self.metadata, self.when_busy, self.answers)
        if not self.set_title and not any(field is not None for field in fields):
            if status == conversation.status:
                return None
        elif status == "archived":
            access.check_open(conversation)
        tx.save_session(
            replace(
                session,
                when_busy=self.when_busy or session.when_busy,
                answers=self.answers or session.answers,
            )
        )
        if self.set_title:
            titles.keep_title(tx, conversation)
        changed = replace(
            conversation,
            title=self.title if self.set_title else conversation.title,
            metadata=conversation.metadata if self.metadata is None else self.metadata,
            status=status,
            updated_at=tx.now,
        )
        if status == "archived":
            return self._told(tx, "conversation.archived", changed, self._stopping(tx))
        return self._told(tx, "conversation.updated", changed)


@dataclass(frozen=True, slots=True)
class LetIn(_OnSession):
    """People and agents come into the session. Whoever is in it already stays as they are."""

    joining: tuple[str, ...]

    @property
    def size(self) -> int:
        return SMALL + PERSON * len(self.joining)

    def apply(self, tx: Transaction) -> tuple[Event, ...]:
        self._found(tx, admin=True)
        room = self.conversation_id
        new = [user for user in dict.fromkeys(self.joining) if tx.participant(room, user) is None]
        if new and tx.participant_count(room) + len(new) > MOST_IN_A_SESSION:
            raise Invalid(f"A session holds at most {MOST_IN_A_SESSION} participants")
        events = []
        for user in new:
            tx.add_participant(Participant(room, user, "member", None, 0, tx.now))
            events.append(
                tx.append(
                    room, "participant.joined", self.user_id, user_id=user, data={"role": "member"}
                )
            )
        return tuple(events)


@dataclass(frozen=True, slots=True)
class SendOut(_OnSession):
    """An admin sends somebody out, or anyone but the last admin leaves. An agent's runs stop."""

    leaving: str

    def apply(self, tx: Transaction) -> Event:
        room = self.conversation_id
        me = tx.participant(room, self.user_id)
        if self.leaving != self.user_id and me is not None and me.role != "admin":
            raise Forbidden("Only an admin of the session can do this")
        session, _ = self._found(tx, archived=True)
        gone = tx.participant(room, self.leaving)
        if gone is None:
            raise NotFound("Participant not found")
        if gone.role == "admin" and len(tx.admins(room)) == 1:
            raise Conflict("A session keeps its last admin")
        tx.remove_participant(room, self.leaving)
        if session.handler == self.leaving:
            tx.save_session(replace(session, handler=ANYBODY))
        stop = tuple(
            run.message_id for run in tx.runs_under_way(room) if run.agent_id == self.leaving
        )
        asking.stop_waiting(tx, room, stop)
        return tx.append(
            room,
            "participant.left",
            self.user_id,
            user_id=self.leaving,
            data={"by": self.user_id, **({"stop": list(stop)} if stop else {})},
        )


@dataclass(frozen=True, slots=True)
class HandOver(_OnSession):
    """A person takes over from the agent (`to` a person, or `ANYBODY`), or it answers again
    (None). Whoever asks for what is so already changes nothing."""

    to: str | None
    note: str | None = None

    def apply(self, tx: Transaction) -> Event | None:
        session, _ = self._found(tx)
        if self.to is not None and self.to != ANYBODY:
            taking = tx.participant(self.conversation_id, self.to)
            if taking is None or is_own_agent(self.to) or self.to == session.agent_id:
                raise NotFound("Participant not found")
        if session.handler == self.to:
            return None
        tx.save_session(replace(session, handler=self.to))
        # An agent that hands over says its last words itself.
        by_agent = is_own_agent(self.user_id) or self.user_id == session.agent_id
        stopping = self._stopping(tx) if self.to is not None and not by_agent else {}
        return tx.append(
            self.conversation_id,
            "handover",
            self.user_id,
            data={"to": self.to, "note": self.note, **stopping},
        )
