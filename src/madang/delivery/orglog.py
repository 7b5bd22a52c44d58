"""One org's log as this node tells it on: commits of this node and of others, put in the order of
their cursors. Pure: says what may be told and what is missing; telling and reading is delivery's.

Why in one order for the whole org: a client shows one cursor. Had it been told cursor 7 of one
conversation while cursor 6 of another was lost on the bus, and dropped then, it would never get 6.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

from madang.model.nouns import Batch, Event
from madang.ports.bus import Note

MOST_PARTS = 20_000
"""Heard events kept for notes that have not come; beyond that they are read from the log."""


class Here(Protocol):
    """Whom this node tells of an org."""

    def has_conversation(self, conversation_id: str) -> bool: ...
    def has_user(self, org_id: str, user_id: str) -> bool: ...
    def has_followers(self, org_id: str) -> bool: ...


class OrgLog:
    """What has come of an org's log beyond its head, and is not told yet.

    `head` is the cursor up to which everything was told here. `seen` is a cursor that the store
    is known to have reached.
    """

    __slots__ = ("_entries", "_parts", "_parts_count", "head", "org_id", "seen")

    def __init__(self, org_id: str, head: int) -> None:
        self.org_id = org_id
        self.head = head
        self.seen = head
        self._entries: list[Batch | Note] = []
        self._parts: dict[str, dict[int, Event]] = {}
        self._parts_count = 0

    @property
    def waits(self) -> bool:
        """Whether there is a commit that cannot be told yet."""
        return bool(self._entries) or self.seen > self.head

    def follows(self, batch: Batch) -> bool:
        """Whether the batch can be told as it is: nothing waits, and nothing lies between."""
        return not self._entries and batch.after == self.head

    def put(self, commit: Batch | Note) -> None:
        """A commit, this node's own with its events or another's by its note."""
        if commit.until > self.head:
            insort(self._entries, commit, key=_after)
            self.seen = max(self.seen, commit.until)

    def hear(self, events: Sequence[Event]) -> None:
        """Events of commits whose notes may be still to come."""
        for event in events:
            if event.cursor > self.head:
                parts = self._parts.setdefault(event.conversation_id, {})
                self._parts_count += event.cursor not in parts
                parts[event.cursor] = event
        if self._parts_count > MOST_PARTS:
            self._forget_parts()

    def next(self, here: Here) -> Sequence[Event] | None:
        """The next commit's events, as far as they concern this node, in order; None where there
        is none, or something of it or before it is missing. Moves the head on."""
        while self._entries and self._entries[0].until <= self.head:
            self._entries.pop(0)
        if not self._entries or self._entries[0].after > self.head:
            return None
        first = self._entries[0]
        events = first.events if isinstance(first, Batch) else self._parts_of(first, here)
        if events is None:
            return None
        self._entries.pop(0)
        told = [event for event in events if event.cursor > self.head]
        self.reach(first.until)
        return told

    def reach(self, cursor: int) -> None:
        """Everything up to this cursor is told."""
        self.head = max(self.head, cursor)
        self.seen = max(self.seen, self.head)
        if self._parts_count and not any(isinstance(entry, Note) for entry in self._entries):
            self._keep_later_parts()

    @property
    def until(self) -> int:
        """Up to where the log must be read, for what waits to go on: the gap before the first
        commit, or what is missing of it, or what the store is known to have beyond them all."""
        if not self._entries:
            return self.seen
        first = self._entries[0]
        return first.after if first.after > self.head else first.until

    def _parts_of(self, note: Note, here: Here) -> Sequence[Event] | None:
        """The events of a note that concern this node, if all of them have been heard."""
        found: dict[int, Event] = {}
        whole = here.has_followers(note.org_id)
        for conversation_id, count in note.conversations:
            if not whole and not here.has_conversation(conversation_id):
                continue
            heard = [
                event
                for cursor, event in self._parts.get(conversation_id, {}).items()
                if note.after < cursor <= note.until
            ]
            if len(heard) < count:
                return None
            found.update((event.cursor, event) for event in heard)
        entered: Counter[str] = Counter()
        named = {cursor for user, cursor in note.users if here.has_user(note.org_id, user)}
        for cursor in named - found.keys():
            event = next((p[cursor] for p in self._parts.values() if cursor in p), None)
            if event is None:
                return None
            found[cursor] = event
            entered[event.conversation_id] += 1
        # Who comes into what was not followed here: what follows in this commit is theirs, too.
        counts = dict(note.conversations)
        if any(counts.get(room, 0) > heard_of for room, heard_of in entered.items()):
            return None
        return [found[cursor] for cursor in sorted(found)]

    def _keep_later_parts(self) -> None:
        kept = {
            conversation_id: later
            for conversation_id, parts in self._parts.items()
            if (later := {c: event for c, event in parts.items() if c > self.head})
        }
        self._parts = kept
        self._parts_count = sum(map(len, kept.values()))

    def _forget_parts(self) -> None:
        self._parts.clear()
        self._parts_count = 0


_after = attrgetter("after")
