"""Events as the events surface tells them: `{type, payload, conversation_id, seq, cursor,
timestamp}`, whatever they were made by."""

from __future__ import annotations

from typing import Any

import orjson

from madang.model.nouns import Event
from madang.model.times import iso
from madang.surfaces.objects import event_fields


def event(event: Event) -> dict[str, Any]:
    """A custom event with its own payload; one of the server's with what it says elsewhere."""
    payload = event.data["payload"] if "payload" in event.data else event_fields(event)
    return {
        "type": event.type,
        "payload": payload,
        "conversation_id": event.conversation_id,
        "seq": event.seq,
        "cursor": event.cursor,
        "timestamp": iso(event.created_at),
        "actor_id": event.actor_id,
    }


def encode_event(of: Event) -> bytes:
    """The frame every events connection of a participant gets."""
    return orjson.dumps(event(of))
