"""What a messenger client gets besides what all surfaces share: events and acknowledgements."""

from __future__ import annotations

from typing import Any

import orjson

from madang.model.nouns import Event, Message
from madang.model.times import iso
from madang.surfaces.objects import event_fields, message


def encode_event(event: Event) -> bytes:
    """An event as every participant's messenger connection gets it."""
    return orjson.dumps(_event(event))


def encode_reply(event: Event, reply_to: str | int) -> bytes:
    """The same frame for the connection that asked."""
    return orjson.dumps({**_event(event), "reply_to": reply_to})


def _event(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "conversation_id": event.conversation_id,
        "seq": event.seq,
        "cursor": event.cursor,
        "timestamp": iso(event.created_at),
        **event_fields(event),
    }


def sent(done: Message, event: Event | None, reply_to: str | int | None) -> bytes:
    """The acknowledgement of `message.send`."""
    content: dict[str, Any] = {
        "type": "message.sent",
        "message_id": done.id,
        "client_id": done.client_id,
        "conversation_id": done.conversation_id,
        "seq": done.seq,
        "data": message(done),
    }
    if event is not None:
        content["cursor"] = event.cursor
    if reply_to is not None:
        content["reply_to"] = reply_to
    return orjson.dumps(content)
