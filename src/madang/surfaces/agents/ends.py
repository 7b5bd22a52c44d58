"""How an answer ended, for somebody who comes after its end: as everybody was told, with its place
in the log."""

from __future__ import annotations

from typing import Any

from madang.model.nouns import Event, Message
from madang.model.runs import Run
from madang.ports.store import Store
from madang.surfaces.agents import frames

LOOKED_THROUGH = 500
"""Events since an end's time that are looked through for its own. It is among the first, but where
the machine's clock was set back."""
FIRST_PAGE = 8
PAGE_BYTES = 64 * 1024


async def end_of(store: Store, run: Run, message: Message | None) -> dict[str, Any]:
    """The `stream_end` of a run that is over, and its message's (None: it never began). Where its
    event is no longer kept it has no `seq`, `cursor` and `timestamp`.

    Raises:
        Unavailable: the store is away.
    """
    event = await _event(store, run)
    told = None if event is None else frames.tell(event)
    return frames.end_of(run, message) if told is None else told


async def _event(store: Store, run: Run) -> Event | None:
    assert run.ended_at is not None
    room = run.conversation_id
    # No event's cursor is before its time.
    first = seq = await store.seq_at(run.org_id, room, run.ended_at - 1)
    limit = FIRST_PAGE
    while seq - first < LOOKED_THROUGH:
        page = await store.events_of_conversation(run.org_id, room, seq, None, limit, PAGE_BYTES)
        for event in page:
            if event.type == "run.ended" and event.data.get("message_id") == run.message_id:
                return event
        if not page:
            break
        seq, limit = page[-1].seq, 4 * limit
    return None
