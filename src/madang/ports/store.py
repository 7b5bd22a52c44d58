"""The store's side of the log, as Protocols with two real implementations.

Reads are methods of `Store`; what writes is a `Write` (`ports.transaction`). The hub and delivery
are not here: services never see them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from madang.model.nouns import (
    ConversationView,
    Event,
    File,
    Message,
    Participant,
)
from madang.model.runs import Run, SessionView
from madang.ports.live import LiveStore
from madang.ports.paging import Page
from madang.ports.transaction import Needs, Transaction, Write, Writer

__all__ = ["Loss", "Missed", "Needs", "Page", "Store", "Transaction", "Write", "Writer"]

Loss = Literal["unknown_cursor", "expired", "other_epoch"]
"""A cursor beyond the log; one whose events are no longer kept; one that was given out for an event
that a restored backup did not have."""


@dataclass(frozen=True, slots=True)
class Missed:
    """What many users have missed, read together: the latest events of conversations, those that
    ended a membership, and why single cursors are lost, if they are."""

    events: Sequence[Event]
    left: Sequence[Event]
    lost: Mapping[int, Loss]


class Store(Protocol):
    """Reading the durable side. Every method is confined to one org; those that take `user_id`
    return only what that user may see.

    Events come back whole: `message` joined as it is now, and for `conversation.created`,
    `.updated` and `.archived` the `conversation` as it is now (with unread_count 0, muted False:
    nobody's in particular), with a constant number of queries a page.
    """

    @property
    def live(self) -> LiveStore:
        """Reading live rooms."""
        ...

    async def epoch(self) -> str: ...

    async def head(self, org_id: str) -> int:
        """The cursor of the last event, or 0."""
        ...

    async def heads(self, org_ids: Sequence[str]) -> dict[str, int]:
        """The cursor of the last event of each org that has any."""
        ...

    async def memberships(self, org_id: str, user_ids: Sequence[str]) -> dict[str, list[str]]:
        """The ids of the conversations (of every kind, archived ones too) each user is in."""
        ...

    async def seats_among(self, org_id: str, user_ids: Sequence[str]) -> set[str]:
        """Those of the users who are seats of live rooms."""
        ...

    async def last_seqs(self, org_id: str, conversation_ids: Sequence[str]) -> dict[str, int]: ...

    async def events_for_user(
        self, org_id: str, user_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]:
        """The user's events with after < cursor <= until, oldest first: those of the
        conversations the user is in now, and each `participant.left` about the user."""
        ...

    async def events_of_org(
        self, org_id: str, after: int, until: int | None, limit: int
    ) -> list[Event]: ...

    async def events_of_conversation(
        self,
        org_id: str,
        conversation_id: str,
        after_seq: int,
        until_seq: int | None,
        limit: int,
        most_bytes: int | None = None,
    ) -> list[Event]:
        """With `most_bytes`, no more after those whose messages have so many: one at least."""
        ...

    async def seq_at(self, org_id: str, conversation_id: str, cursor: int) -> int:
        """The seq of the conversation's last event with a cursor up to `cursor`, or 0."""
        ...

    async def oldest_cursor(self, org_id: str) -> int:
        """Events up to this cursor are no longer kept (0: all are)."""
        ...

    async def count_events(self, org_id: str, user_id: str | None, after: int, most: int) -> int:
        """How many events of the user (None: of the org) have a cursor after `after`; counting
        stops at `most`."""
        ...

    async def why_lost(self, org_id: str, cursor: int) -> Loss | None:
        """Why the events after this cursor cannot be told whole, if so."""
        ...

    async def conversation(
        self, org_id: str, conversation_id: str, user_id: str
    ) -> ConversationView | None:
        """None where it does not exist or the user is not in it."""
        ...

    async def conversations(
        self, org_id: str, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> Page:
        """`ConversationView`s of kinds direct, group, newest activity first; `before` is the
        (updated_at, id) of the last one of the page before."""
        ...

    async def messages(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        before_seq: int | None = None,
        after_seq: int | None = None,
        around_seq: int | None = None,
        limit: int = 50,
        most_bytes: int | None = None,
    ) -> Page | None:
        """Messages newest last; the newest ones where nothing is asked for. `before` and `after`
        exclude, `around` puts the seq in the middle. Tombstones included. With `most_bytes` (not
        for `around`), no more beyond those that have so many: one at least.

        None where the conversation does not exist or the user is not in it."""
        ...

    async def message(self, org_id: str, message_id: str, user_id: str) -> Message | None:
        """None where it does not exist or the user is not in its conversation."""
        ...

    async def late_answers(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        oldest_seq: int,
        question_seq: int,
        before_seq: int,
        limit: int,
    ) -> Sequence[Message]:
        """The agents' answers that came after a question although they answer what was said before
        it, from `oldest_seq` on: those before `before_seq`, the latest so many, newest last. None
        where the user is not in the conversation."""
        ...

    async def seq_of(
        self, org_id: str, conversation_id: str, *, message_id: str | None, time: int | None
    ) -> int | None:
        """The seq of a message, or of the last message created up to a time (0 if none)."""
        ...

    async def participants(
        self,
        org_id: str,
        conversation_id: str,
        user_id: str,
        *,
        after: tuple[int, str] | None = None,
        read_seq: int = 0,
        limit: int = 50,
    ) -> Page | None:
        """Those who have read up to `read_seq`, in order of joining, after (joined_at, user_id).

        None where the conversation does not exist or the user is not in it."""
        ...

    async def participant(
        self, org_id: str, conversation_id: str, user_id: str
    ) -> Participant | None:
        """None where the conversation does not exist or the user is not in it."""
        ...

    async def missed(
        self,
        org_id: str,
        after: int,
        conversation_ids: Sequence[str],
        each: int,
        user_ids: Sequence[str],
        cursors: Sequence[int],
    ) -> Missed:
        """In one moment of the log: of each conversation the events among its `each` latest that
        have a cursor after `after`, each `participant.left` about the users after it, both in
        order, and `why_lost` of the cursors."""
        ...

    async def file(self, org_id: str, file_id: str, user_id: str) -> File | None:
        """One that is ready, and part of a message or the user's own; None where there is none or
        the user is not in its conversation."""
        ...

    async def own_file(self, org_id: str, file_id: str, owner_id: str) -> File | None:
        """One that its owner uploads or has uploaded; None where there is none, it is deleted or
        the owner is not in its conversation any more."""
        ...

    async def due_files(self, org_id: str, now: int, limit: int) -> list[File]:
        """Those whose `expires_at` has come: deleted, abandoned or never sent."""
        ...

    async def orgs(self, after: str, limit: int) -> list[str]:
        """The ids of orgs, sorted, after this one: the one thing about orgs that all nodes know."""
        ...

    async def acked_cursor(self, org_id: str, user_id: str, client_id: str) -> int | None: ...
    async def save_ack(
        self, org_id: str, user_id: str, client_id: str, cursor: int, now: int
    ) -> None:
        """Keep a device's cursor; never moves back."""
        ...

    async def devices(self, org_id: str, user_id: str | None) -> list[Mapping[str, Any]]:
        """{user_id, client_id, cursor, updated_at, behind}: `behind` counts the user's events after
        `cursor`, up to 1000."""
        ...

    async def last_seen(self, org_id: str, user_ids: Sequence[str]) -> dict[str, int]: ...
    async def save_last_seen(self, org_id: str, seen: Mapping[str, int]) -> None: ...

    async def contacts(self, org_id: str, user_id: str) -> set[str]:
        """Users who share a conversation with this user."""
        ...

    async def counts(self, org_id: str, active_since: int) -> Mapping[str, int]:
        """{active_conversations (updated since), conversations, messages, events, users}."""
        ...

    async def session(self, org_id: str, conversation_id: str, user_id: str) -> SessionView | None:
        """None where it does not exist, is none, or the user is not in it."""
        ...

    async def sessions(
        self,
        org_id: str,
        user_id: str,
        *,
        status: str | None = None,
        agent_id: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Sequence[SessionView], int]:
        """A part of the user's sessions, newest activity first, and how many there are in all."""
        ...

    async def message_count(self, org_id: str, conversation_id: str, user_id: str) -> int:
        """Messages in the conversation, deleted ones too; 0 where the user is not in it."""
        ...

    async def run(self, org_id: str, message_id: str, user_id: str) -> Run | None:
        """None where it does not exist or the user is not in its session."""
        ...

    async def runs_answering(
        self, org_id: str, conversation_id: str, question_id: str
    ) -> Sequence[Run]:
        """The runs that a message has asked for, oldest first; none of those made again."""
        ...

    async def runs_under_way(self, org_id: str, conversation_id: str) -> Sequence[Run]:
        """Those of a session that wait or stream, oldest first."""
        ...

    async def unchecked_runs(self, before: int, limit: int) -> Sequence[tuple[str, str]]:
        """Of all orgs: runs that stream and were last checked before this time, each as
        (org_id, message_id)."""
        ...
