"""Writing to the log, as Protocols: a `Write` is a rule of a service that runs inside a commit,
against a `Transaction`; the `Writer` commits what was handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from madang.model.nouns import (
    Conversation,
    ConversationView,
    Event,
    File,
    Message,
    Participant,
)
from madang.model.runs import Run, Session
from madang.ports.room_rows import LiveNeeds, LiveTransaction
from madang.protocol.errors import MadangError


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
