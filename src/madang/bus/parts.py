"""A commit in the pieces that a bus tells. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from madang.model.nouns import Batch, Event
from madang.ports.bus import Note


def parts_of(
    batch: Batch, users: Sequence[tuple[str, Event]]
) -> tuple[Mapping[str, list[Event]], Note]:
    """A commit as a bus tells it: the events of each conversation, and the note of them all."""
    told: dict[str, list[Event]] = {}
    for event in batch.events:
        told.setdefault(event.conversation_id, []).append(event)
    conversations = [(conversation_id, len(events)) for conversation_id, events in told.items()]
    named = [(user_id, event.cursor) for user_id, event in users]
    return told, Note(batch.org_id, batch.after, batch.until, conversations, named)
