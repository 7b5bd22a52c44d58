"""Messages on their way: kept until the server has them on disk. No I/O.

Each carries a `client_id`; the server answers a repeat with the first message. So after a
reconnect everything without an answer is simply sent again, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass

from madang.client.errors import MadangError, OutboxFull
from madang.client.model import Message


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message that the server has not confirmed yet."""

    client_id: str
    conversation_id: str
    content: str
    encoded: bytes
    answer: asyncio.Future[Message]
    awaited: bool
    """Somebody waits for the answer (`send`); else it is retried until it is refused for good."""


class Outbox:
    """Unconfirmed messages in the order they were given, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: dict[str, Outgoing] = {}
        self._changed = asyncio.Event()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, client_id: str) -> bool:
        return client_id in self._entries

    def entries(self) -> list[Outgoing]:
        """All of them, oldest first."""
        return list(self._entries.values())

    def awaited(self) -> bool:
        """Whether somebody waits for an answer, for room, or for all to be gone."""
        return self._waiting > 0 or any(entry.awaited for entry in self._entries.values())

    def get(self, client_id: object) -> Outgoing | None:
        return self._entries.get(client_id) if isinstance(client_id, str) else None

    def add(self, entry: Outgoing) -> None:
        """Keep a message until it is answered.

        Raises:
            OutboxFull: there is no room.
        """
        if len(self._entries) >= self._limit:
            raise OutboxFull(f"The outbox holds {self._limit} messages", client_id=entry.client_id)
        self._entries[entry.client_id] = entry

    async def room(self) -> None:
        """Wait until one more fits."""
        await self._until(lambda: len(self._entries) < self._limit)

    async def empty(self) -> None:
        """Wait until every message was answered."""
        await self._until(lambda: not self._entries)

    async def _until(self, reached: Callable[[], bool]) -> None:
        self._waiting += 1
        try:
            while not reached():
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._waiting -= 1

    def largest(self) -> Outgoing | None:
        """The biggest message: the one to blame when the server closed with 1009."""
        return max(self._entries.values(), key=lambda entry: len(entry.encoded), default=None)

    def settle(self, client_id: object, message: Message) -> bool:
        """The server has it; False where nothing of that id was waiting."""
        entry = self.discard(client_id)
        if entry is not None and not entry.answer.done():
            entry.answer.set_result(message)
        return entry is not None

    def refuse(self, client_id: object, error: MadangError) -> None:
        """The server will not have it."""
        entry = self.discard(client_id)
        if entry is not None and not entry.answer.done():
            error = copy(error)  # one reason may end many messages
            error.client_id = entry.client_id
            entry.answer.set_exception(error)
            if not entry.awaited:
                entry.answer.exception()  # nobody waits: asyncio need not warn about it

    def discard(self, client_id: object) -> Outgoing | None:
        """Forget a message; whatever becomes of it, it will not be sent again."""
        entry = self._entries.pop(client_id, None) if isinstance(client_id, str) else None
        if entry is not None:
            self._changed.set()
        return entry
