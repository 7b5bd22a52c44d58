"""What a client has said before it can be heard: nothing of it is lost, and however much it says,
little of it waits here. The rest is left where it is until the client is heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from madang.hub.connection import Connection

T = TypeVar("T")

MOST = 64
"""What waits before its connection is not read any more; what was read with it still comes."""
MOST_CHARACTERS = 256 * 1024


class Unheard(Generic[T]):
    """What one connection has said, in order."""

    __slots__ = ("_characters", "_deaf", "_said")

    def __init__(self) -> None:
        self._said: deque[T] = deque()
        self._characters = 0
        self._deaf = False

    def __len__(self) -> int:
        return len(self._said)

    def keep(self, connection: Connection, said: T, characters: int) -> None:
        """It has said more, of so many characters."""
        self._said.append(said)
        self._characters += characters
        if len(self._said) >= MOST or self._characters >= MOST_CHARACTERS:
            # Also where that is so already: something else may have let it be read meanwhile.
            self._deaf = True
            connection.listen(False)

    def hear(self, connection: Connection) -> Iterator[T]:
        """All of it, and what is kept meanwhile. The connection is read again."""
        if self._deaf:
            # First: whoever cannot hear what comes out of here has it stop again.
            self._deaf = False
            connection.listen(True)
        while self._said:
            yield self._said.popleft()
        self._characters = 0
