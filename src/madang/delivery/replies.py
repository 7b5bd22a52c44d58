"""Who asked for what an event tells: they get the event as the reply to their request, once."""

from __future__ import annotations

from collections.abc import Mapping

from madang.hub.connection import Connection
from madang.hub.frame import Reply
from madang.model.nouns import Event

MOST_ENDS = 10_000
"""Runs whose end is waited for: where nobody is left to be told of one, it stays."""


class Replies:
    """Requests whose event is still to be told here, by the event, or by the run that it ends."""

    def __init__(self) -> None:
        self._to_event: dict[tuple[str, int], dict[Connection, Reply]] = {}
        self._to_end: dict[tuple[str, str], dict[Connection, Reply]] = {}

    def to_event(self, event: Event, connection: Connection, encode: Reply) -> None:
        self._to_event.setdefault((event.org_id, event.cursor), {})[connection] = encode

    def to_end(self, org_id: str, message_id: str, connection: Connection, encode: Reply) -> None:
        """To whatever ends this run, on whichever node."""
        if len(self._to_end) >= MOST_ENDS:
            del self._to_end[next(iter(self._to_end))]
        self._to_end.setdefault((org_id, message_id), {})[connection] = encode

    def withdraw(self, org_id: str, message_id: str, connection: Connection) -> bool:
        """Whether the run's end was still to be told to it; it is not told as a reply now."""
        waiting = self._to_end.get((org_id, message_id), {})
        found = waiting.pop(connection, None) is not None
        if found and not waiting:
            del self._to_end[org_id, message_id]
        return found

    def take(self, event: Event) -> Mapping[Connection, Reply] | None:
        """To whom the event is a reply."""
        asked = self._to_event.pop((event.org_id, event.cursor), None)
        if event.type == "run.ended" and self._to_end:
            stopped = self._to_end.pop((event.org_id, event.data["message_id"]), {})
            return {**stopped, **(asked or {})}
        return asked
