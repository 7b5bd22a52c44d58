"""What came and was not yet handed to the program: bounded, and never the cause of a deadlock.

When it is full, the reader of the socket waits (backpressure reaches the server by TCP). Only
while somebody waits for an answer that stands behind the events, reading has to go on: then
further events are let go (`spilled`), because they are in the server's log, and are asked for
again by cursor once the program has caught up. Memory is bounded either way and no event is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from madang.client.errors import MadangError

Item = TypeVar("Item")


@dataclass(slots=True, frozen=True)
class _Entry(Generic[Item]):
    item: Item | None
    """None moves the cursor only."""
    cursor: int | None
    exact: bool
    """The cursor is where the program is now, even if that lies further back."""


class Inbox(Generic[Item]):
    """Items with their cursors, from one reader of the socket to one consumer.

    `received` is the cursor up to which everything is in here or was handed over: where to resume.
    `cursor` is that of the last item handed over: what a program stores.
    """

    def __init__(
        self,
        limit: int,
        cursor: int | None,
        *,
        awaited: Callable[[], bool],
        refill: Callable[[], None],
    ) -> None:
        """`limit` items at most (0: keep none); `awaited()` tells whether somebody waits for an
        answer; `refill()` is called when what was let go is wanted again."""
        self._limit = limit
        self._entries: deque[_Entry[Item]] = deque()
        self._awaited = awaited
        self._refill = refill
        self._changed = asyncio.Event()
        self._arrived = asyncio.Event()
        self._taking = False
        self._ended: MadangError | bool = False
        self.received = cursor
        self.cursor = cursor
        self.spilled = False
        self.deaf = limit == 0

    def __len__(self) -> int:
        return len(self._entries)

    def nudge(self) -> None:
        """What `awaited` answers has changed."""
        self._changed.set()

    async def room(self) -> bool:
        """Wait until one more item may be put; False where it is let go instead."""
        while len(self._entries) >= self._limit and not self.spilled and not self.deaf:
            if self._ended or self._awaited():
                self.spilled = True
                break
            self._changed.clear()
            await self._changed.wait()
        return not self.spilled

    def refilling(self) -> None:
        """What was let go is coming again."""
        self.spilled = False

    def full(self) -> bool:
        """Whether reading on would be pointless now."""
        return 0 < self._limit <= len(self._entries) and not self._awaited()

    async def wait_while_full(self) -> None:
        """Return when there is room, or somebody waits for an answer."""
        while self.full() and not self._ended:
            self._changed.clear()
            await self._changed.wait()

    def put(self, item: Item | None, cursor: int | None = None, *, exact: bool = False) -> None:
        """Add an item after `room` allowed it; None with a cursor only moves the cursor."""
        if cursor is not None:
            self.received = cursor if exact else max(cursor, self.received or 0)
        if self.deaf or (item is None and not self._entries):
            self.cursor = self.received
            return
        self._entries.append(_Entry(item, cursor, exact))
        self._arrived.set()

    def pass_by(self, item: Item) -> None:
        """Add something that may be lost: dropped where there is no room."""
        if len(self._entries) < self._limit and not self.spilled:
            self.put(item)

    def end(self, error: MadangError | None) -> None:
        """Nothing more will come: the consumer stops after what is left, with `error` if given."""
        self._ended = error or True
        self._arrived.set()
        self._changed.set()

    async def take(self) -> Item:
        """The next item; the cursor moves with it.

        Raises:
            StopAsyncIteration: ended.
            MadangError: ended by an error.
        """
        if self._taking:
            raise RuntimeError("only one consumer at a time: each event is handed over once")
        self._taking = True
        try:
            while True:
                while self._entries:
                    entry = self._entries.popleft()
                    self._changed.set()
                    if entry.cursor is not None:
                        self.cursor = (
                            entry.cursor if entry.exact else max(entry.cursor, self.cursor or 0)
                        )
                    if entry.item is not None:
                        return entry.item
                if isinstance(self._ended, MadangError):
                    raise self._ended
                if self._ended:
                    raise StopAsyncIteration
                if self.spilled:
                    self._refill()
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._taking = False


class Handed(Generic[Item]):
    """The consumer's side: an async iterator that may be left and entered again."""

    __slots__ = ("_inbox",)

    def __init__(self, inbox: Inbox[Item]) -> None:
        self._inbox = inbox

    def __aiter__(self) -> Handed[Item]:
        return self

    async def __anext__(self) -> Item:
        return await self._inbox.take()
