"""Counts that are held back while a connection says where it stands: of several that tell of the
same thing the last one says all that the others would, and nobody is to get a burst of them."""

from __future__ import annotations

from collections.abc import Sequence

from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Outgoing
from madang.model.nouns import Event

_IN_ROOMS = (Dialect.LIVE, Dialect.LIVE_HOST)
"""Those who read the log itself are told all of it."""
_AS_IT_IS_NOW = frozenset(("question.changed", "poll.changed"))
"""Told of its message as that is when it is sent, whenever it was written."""


def without_overtaken(outgoing: Sequence[Outgoing], connection: Connection) -> Sequence[Outgoing]:
    """The same in the same order, without counts that a later one among them tells again: who comes
    into a vote hears how it stands, and not each of its last steps. Answers stay."""
    if connection.dialect not in _IN_ROOMS:
        return outgoing
    told: set[tuple[str, str, bool]] = set()
    kept = []
    for item in reversed(outgoing):
        about = None if item.event is None else _about(item.event)
        if about is not None and not (item.instead and connection in item.instead):
            if about in told:
                continue
            told.add(about)
        kept.append(item)
    kept.reverse()
    return kept


def _about(event: Event) -> tuple[str, str, bool] | None:
    """What the event tells of, and whether it is hidden from some, who hear the last that is not.
    None where it says more than how something is now."""
    if event.message is None or event.type not in _AS_IT_IS_NOW:
        return None
    return event.type, event.message.id, bool(event.data.get("hidden"))
