"""The store's side of the log, as Protocols with two real implementations.

A `Write` is a rule of a service that runs inside a commit, against a `Transaction`. Reads are
methods of `Store`. The hub and delivery are not here: services never see them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from madang.model.nouns import (
    Conversation,
    ConversationView,
    Event,
    File,
    Message,
    Participant,
)
from madang.model.runs import Run, Session, SessionView
from madang.ports.live import LiveStore
from madang.ports.paging import Page
from madang.ports.room_rows import LiveNeeds, LiveTransaction
from madang.protocol.errors import MadangError

__all__ = ["Loss", "Missed", "Needs", "Page", "Store", "Transaction", "Write", "Writer"]


@dataclass(slots=True)
class Needs:
    """What a batch of writes is going to look at, so that it is read with one query a kind.

    A hint and nothing more: what was not announced is read when it is asked for.
    """

    conversations: set[str] = field(default_factory=set)
    participants: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, user_id)"""
    messages: set[str] = field(default_factory=set)
    """The conversation of each, and `message_actors` in it, are read with it."""
    message_actors: set[tuple[str, str]] = field(default_factory=set)
    """(message_id, user_id): that user's participant row in the message's conversation."""
    sends: set[tuple[str, str, str]] = field(default_factory=set)
    """(conversation_id, sender_id, client_id)"""
    keys: set[str] = field(default_factory=set)
    """Direct keys, for `keyed`."""
    published: set[tuple[str, str]] = field(default_factory=set)
    """(actor_id, idempotency_key)"""
    live: LiveNeeds = field(default_factory=LiveNeeds)
    files: set[str] = field(default_factory=set)
    message_files: set[str] = field(default_factory=set)
    """Ids of messages: the files that are part of them."""
    runs: set[str] = field(default_factory=set)
    """By their message. Sessions, and the runs under way in them, are read with conversations."""
    asked_again: set[tuple[str, str, str]] = field(default_factory=set)
    """(message_id, user_id, client_id), for `asked_again` in the message's conversation"""


class Transaction(Protocol):
    """The store inside one commit, under the org's lock: what is read here cannot change before
    the commit, and what is written here becomes visible with it, whole or not at all.

    Rows of other orgs do not exist here. Check first, then write: a write that raises
    `MadangError` must not have changed anything.
    """

    org_id: str
    now: int
    """Microseconds; the `created_at` of every event of this commit."""

    @property
    def moment(self) -> int:
        """The cursor of the event that is appended next. It tells the time in microseconds: `now`,
        or a moment later, for no two events of an org have the same. The `created_at` of a message
        that the event tells of."""
        ...

    @property
    def live(self) -> LiveTransaction:
        """The rows of live rooms."""
        ...

    def conversation(self, conversation_id: str) -> Conversation | None: ...
    def participant(self, conversation_id: str, user_id: str) -> Participant | None: ...
    def participants(self, conversation_id: str) -> Sequence[Participant]:
        """All of them, in order of joining."""
        ...

    def participant_count(self, conversation_id: str) -> int:
        """How many they are, without reading them."""
        ...

    def longest_there(self, conversation_id: str, most: int) -> Sequence[Participant]:
        """The first of them in order of joining, without reading the others."""
        ...

    def admins(self, conversation_id: str) -> Sequence[Participant]:
        """Those with the role `admin`, without reading the others."""
        ...

    def message(self, message_id: str) -> Message | None:
        """The message as it is now, with its reactions; a deleted one too."""
        ...

    def sent(self, conversation_id: str, sender_id: str, client_id: str) -> Message | None:
        """The message that this sender sent here under this `client_id` before."""
        ...

    def said_after(self, conversation_id: str, seq: int) -> Sequence[Message]:
        """What people said with words after this place and is not deleted, in order: the first
        few, and none that is far."""
        ...

    def keyed(self, direct_key: str) -> Conversation | None:
        """The direct conversation or inbox with this key."""
        ...

    def published(self, actor_id: str, idempotency_key: str) -> Event | None:
        """The event that this actor published under this key before."""
        ...

    def file(self, file_id: str) -> File | None:
        """The file as it is now; one whose blobs are still to be deleted too."""
        ...

    def pending_files(self, owner_id: str) -> int:
        """How many files of this owner are part of no message: unfinished, unsent or deleted."""
        ...

    def session(self, conversation_id: str) -> Session | None:
        """What a conversation of the kind `agent` has besides."""
        ...

    def run(self, message_id: str) -> Run | None: ...
    def asked_again(self, conversation_id: str, asked_by: str, client_id: str) -> Run | None:
        """The answer that this user had made again here under this `client_id` before."""
        ...

    def runs_under_way(self, conversation_id: str) -> Sequence[Run]:
        """Those of a session that wait or stream, oldest first."""
        ...

    def run_counts(self, asked_by: str) -> tuple[int, int]:
        """How many runs under way this user has asked for, and everybody in the org."""
        ...

    def add_session(self, session: Session) -> None: ...
    def save_session(self, session: Session) -> None: ...
    def add_run(self, run: Run) -> None: ...
    def save_run(self, run: Run) -> None: ...

    def add_conversation(
        self, conversation: Conversation, participants: Sequence[Participant]
    ) -> None: ...
    def save_conversation(self, conversation: Conversation) -> None:
        """Title, metadata, status and `updated_at`. Counters are the transaction's own."""
        ...

    def add_participant(self, participant: Participant) -> None: ...
    def save_participant(self, participant: Participant) -> None: ...
    def remove_participant(self, conversation_id: str, user_id: str) -> None: ...

    def next_seq(self, conversation_id: str) -> int:
        """The `seq` that the next `append` to this conversation will assign."""
        ...

    def add_message(self, message: Message) -> None:
        """A new message; its `seq` must be `next_seq`, and `append` of its event must follow."""
        ...

    def save_message(self, message: Message) -> None:
        """Content, metadata, attachments, `edited_at` and `deleted_at`. A deleted message loses
        its reactions."""
        ...

    def add_reaction(self, message: Message, user_id: str, emoji: str) -> Message:
        """The message with the reaction; the caller has checked that it is not there."""
        ...

    def remove_reaction(self, message: Message, user_id: str, emoji: str) -> Message: ...

    def add_file(self, file: File) -> None: ...
    def save_file(self, file: File) -> None: ...
    def remove_file(self, file_id: str) -> None:
        """Forget it: its blobs must be gone."""
        ...

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
        """Add an event to the log: assigns the conversation's next `seq` and the org's next
        `cursor`, and sets the conversation's `last_seq` and, for a message or custom event,
        `updated_at`."""
        ...


class Write(Protocol):
    """One change, decided inside the commit. It may be applied twice if the first commit failed
    as a whole, and must not keep anything between."""

    @property
    def org_id(self) -> str: ...

    @property
    def size(self) -> int:
        """About how many bytes it takes while it waits: the writer bounds what waits."""
        ...

    def needs(self, needs: Needs) -> None:
        """Announce what `apply` will read."""
        ...

    def apply(self, tx: Transaction) -> Any:
        """Check, then change; the result goes to whoever submitted the write.

        Raises:
            MadangError: refused; nothing was changed, the rest of the batch goes through.
        """
        ...


class Writer(Protocol):
    """Group commit: writes are committed in the order they were submitted, as many at once as
    have gathered while the last commit ran."""

    def submit(self, write: Write, done: Callable[[Any, MadangError | None], None]) -> None:
        """Hand in a write without waiting. `done(result, error)` is called on the event loop
        after the commit, before its events are delivered.

        A store that is away or full answers with `Unavailable`; nothing was changed then.
        """
        ...

    async def write(self, write: Write) -> Any:
        """Submit and wait. Raises the `MadangError` that refused it."""
        ...


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
