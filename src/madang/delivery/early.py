"""What other nodes tell of runs before their beginning is told here: kept until then."""

from __future__ import annotations

from madang.ports.bus import RunTold

MOST_EARLY = 2_000
"""Chunks and steps of all runs."""


class Early:
    """What came early, by session and run; `len` is how much."""

    def __init__(self) -> None:
        self._told: dict[str, dict[str, list[RunTold]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def keep(self, told: RunTold) -> None:
        """Keep it; where that is too much, nothing: whoever it was for asks for what is missing."""
        if self._count >= MOST_EARLY:
            self._told.clear()
            self._count = 0
        self._count += 1
        of = self._told.setdefault(told.conversation_id, {})
        of.setdefault(told.message_id, []).append(told)

    def take(self, conversation_id: str, message_id: str) -> list[RunTold]:
        """What came of a run, in the order in which it came."""
        of = self._told.get(conversation_id, {})
        early = of.pop(message_id, [])
        if early and not of:
            del self._told[conversation_id]
        self._count -= len(early)
        return early

    def forget(self, conversation_id: str) -> None:
        """Whatever came of a session."""
        for early in self._told.pop(conversation_id, {}).values():
            self._count -= len(early)
