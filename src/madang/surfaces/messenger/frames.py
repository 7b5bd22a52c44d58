"""What a messenger client gets besides what all surfaces share: events and acknowledgements."""

from __future__ import annotations

from typing import Any

import orjson

from madang.model.nouns import Event, Message
from madang.model.times import iso
from madang.surfaces.objects import event_fields, message

RECENT_MESSAGES = 2048
"""Acknowledged messages whose JSON is kept for their event: two of the largest batches."""


class MessengerFrames:
    """Encodes events, each once, and shares a new message's JSON between acknowledgement and event.

    The acknowledgement of a batch of messages comes before their events (promise 1), so the JSON
    waits here in between, a turn of the loop at most unless nobody is there to be told.
    """

    def __init__(self) -> None:
        self._recent: dict[str, tuple[Message, orjson.Fragment]] = {}

    def event(self, event: Event) -> bytes:
        """An event as every participant's messenger connection gets it."""
        recent = None
        if event.type == "message.new" and event.message is not None:
            recent = self._recent.pop(event.message.id, None)
        if recent is not None and recent[0] is event.message:
            return orjson.dumps({**_place(event), "data": recent[1]})
        return orjson.dumps({**_place(event), **event_fields(event)})

    def sent(self, done: Message, event: Event | None, reply_to: str | int | None) -> bytes:
        """The acknowledgement of `message.send`. It carries no cursor: it overtakes events that
        stand before it in the log, and whoever resumes from it would miss those."""
        text = orjson.Fragment(orjson.dumps(message(done)))
        content: dict[str, Any] = {
            "type": "message.sent",
            "message_id": done.id,
            "client_id": done.client_id,
            "conversation_id": done.conversation_id,
            "seq": done.seq,
            "data": text,
        }
        if event is not None:
            if len(self._recent) >= RECENT_MESSAGES:
                self._recent.clear()
            self._recent[done.id] = (done, text)
        if reply_to is not None:
            content["reply_to"] = reply_to
        return orjson.dumps(content)


def encode_reply(event: Event, reply_to: str | int) -> bytes:
    """An event's frame for the connection that asked for what it tells."""
    return orjson.dumps({**_place(event), **event_fields(event), "reply_to": reply_to})


def _place(event: Event) -> dict[str, Any]:
    return {
        "type": event.type,
        "conversation_id": event.conversation_id,
        "seq": event.seq,
        "cursor": event.cursor,
        "timestamp": iso(event.created_at),
    }
