"""Which events are new: every durable event once and in the order of its conversation. No I/O.

The server promises that order; this is the client's own check of it, because a repeat or a hole
must not reach the program even where a proxy, a restart or a race of catch-up and live lets one
through. Two rules:

- While a resume is being answered, an event from after the moment of connecting may come before
  the ones that were missed. Those are held back until `resumed`, then merged by cursor.
- A live event that leaves out a `seq` is not taken. The client asks again from where it was; if
  the server then leaves out the same numbers, they are not for us and it is believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from madang.client.model import Event


class Verdict(Enum):
    """What to do with an event."""

    NEW = "new"
    REPEAT = "repeat"
    HOLE = "hole"
    """Something before it is missing: catch up by cursor first."""


@dataclass(slots=True)
class _Mark:
    """What was seen of one conversation: every seq from `first` to `last`."""

    first: int
    last: int
    back: int | None = None
    """While an older part is being read again: the last seq of it."""
    loose: bool = False
    """The user was removed: if let in again, what happened in between is not for them."""


class Order:
    """The marks of every conversation, and what is held back while a resume is being answered."""

    __slots__ = (
        "_doubted",
        "_head",
        "_held",
        "_limit",
        "_marks",
        "_sparse",
        "overflowed",
        "resuming",
    )

    def __init__(self, limit: int) -> None:
        """`limit`: events held back at most; beyond it they are let go and asked for again."""
        self._limit = limit
        self._marks: dict[str, _Mark] = {}
        self._held: dict[tuple[str, int], Event] = {}
        self._doubted: dict[str, int] = {}
        self._sparse: set[str] = set()
        self._head: int | None = None
        self.resuming = False
        self.overflowed = False

    def connected(self, head: int | None, *, resuming: bool) -> None:
        """A new connection; `head` is the log's cursor at that moment."""
        self._held.clear()
        self._head = head
        self.resuming = resuming
        self.overflowed = False

    def hold(self, event: Event) -> bool:
        """Whether the event has to wait for `resumed` (it is kept here then)."""
        if not self.resuming or self._head is None or event.cursor <= self._head:
            return False
        if len(self._held) >= self._limit:
            self._held.clear()
            self.overflowed = True
        if not self.overflowed:
            self._held[event.conversation_id, event.seq] = event
        return True

    def held(self) -> list[Event]:
        """What was held back, in the order of the log; it is forgotten here."""
        waiting = sorted(self._held.values(), key=lambda event: event.cursor)
        self._held.clear()
        return waiting

    def place(self, event: Event) -> Verdict:
        """Judge an event and remember it where it is new."""
        mark = self._marks.get(event.conversation_id)
        if mark is None:
            self._marks[event.conversation_id] = _Mark(event.seq, event.seq)
            return Verdict.NEW
        if event.seq <= mark.last:
            if mark.back is not None and mark.back < event.seq < mark.first:
                mark.back = event.seq
                return Verdict.NEW
            return Verdict.REPEAT
        if event.seq > mark.last + 1 and not self._may_skip(event.conversation_id, mark):
            self._doubted[event.conversation_id] = mark.last
            return Verdict.HOLE
        mark.last = event.seq
        return Verdict.NEW

    def _may_skip(self, conversation_id: str, mark: _Mark) -> bool:
        if mark.loose:
            mark.loose = False
            return True
        if self.resuming:
            # Asked again, same answer: this conversation has numbers that are not for us.
            if self._doubted.pop(conversation_id, None) == mark.last:
                self._sparse.add(conversation_id)
            return True
        return conversation_id in self._sparse

    def removed(self, conversation_id: str) -> None:
        """The user left or was removed."""
        if (mark := self._marks.get(conversation_id)) is not None:
            mark.loose = True

    def reread(self, conversation_id: str, after: int) -> None:
        """An older part of a conversation is about to come: everything after `after`."""
        if (mark := self._marks.get(conversation_id)) is not None:
            mark.back = after

    def reread_ended(self, conversation_id: str) -> None:
        """The older part has come whole."""
        if (mark := self._marks.get(conversation_id)) is not None and mark.back is not None:
            mark.first = min(mark.first, mark.back)
            mark.back = None

    def last(self, conversation_id: str) -> int | None:
        """The last seq seen of a conversation."""
        mark = self._marks.get(conversation_id)
        return None if mark is None else mark.last

    def forget(self) -> None:
        """The server could not tell what was missed: nothing seen so far says what comes next."""
        self._marks.clear()
        self._doubted.clear()
