"""What a session's connection is told: events in the words of this surface, and the shapes that
its REST answers share with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from madang.agents.catalog import Catalog, Offered
from madang.delivery.stream import Stream
from madang.model.nouns import Event, Message
from madang.model.runs import Run, Session, SessionView, agent_name
from madang.model.times import iso
from madang.services.approvals import approvals_of
from madang.surfaces import objects

HISTORY_TYPES = {
    ("user", "file"): "file_attachment",
    ("agent", "file"): "file_attachment",
    ("user", "text"): "user_message",
    ("user", "question"): "user_message",
    ("agent", "text"): "agent_message",
    ("agent", "stream"): "agent_message",
    ("agent", "question"): "agent_message",
}
"""What a message is in history; everything else is a `system_message`."""

FIRST_WORDS = 1_000
"""Characters of a last message in a list of sessions: they may be many, and answers long."""


def encode_event(event: Event) -> bytes | None:
    """An event as every connection of the session gets it."""
    told = tell(event)
    return None if told is None else orjson.dumps(told)


def encode_reply(event: Event, reply_to: str | int) -> bytes:
    """The same for the connection that asked for what it tells."""
    return orjson.dumps({**(tell(event) or {}), "reply_to": reply_to})


def tell(event: Event) -> dict[str, Any] | None:
    """What is said of an event; None where this surface has no word for it."""
    fields = _told(event)
    if fields is None:
        return None
    # Of a message its own time, which history is paged by.
    message = event.message if event.type == "message.new" else None
    return {
        **fields,
        "seq": event.seq,
        "cursor": event.cursor,
        "timestamp": iso(event.created_at if message is None else message.created_at),
    }


def _told(event: Event) -> dict[str, Any] | None:
    message = event.message
    match event.type:
        case "message.new":
            assert message is not None
            if message.message_type == "stream":
                # Its beginning, however far it is by now: where the log is read late it refers to
                # the message as it is then.
                return stream_start(message)
            return message_fields(message)
        case "run.ended":
            return _stream_end(
                event.data["message_id"],
                event.data["tokens_used"],
                event.data["latency_ms"],
                event.data["status"],
                message,
            )
        case "message.edited" | "message.deleted" | "message.read":
            assert message is not None
            if event.type == "message.read":
                return {
                    "type": "read",
                    "message_id": message.id,
                    "user_id": event.user_id or "",
                }
            kind = "message_edited" if event.type == "message.edited" else "message_deleted"
            return {
                "type": kind,
                "message_id": message.id,
                "content": message.content,
                "user_id": event.actor_id,
            }
        case "reaction.added" | "reaction.removed":
            return {"type": event.type.replace(".", "_"), **objects.event_fields(event, str)}
        case "participant.joined" | "participant.left":
            return {
                "type": "system",
                "event": event.type.replace(".", "_"),
                **objects.event_fields(event, str),
            }
        case "conversation.updated" | "conversation.archived":
            assert event.conversation is not None
            row = event.conversation.conversation
            return {
                "type": "system",
                "event": "session_updated",
                "title": row.title,
                "status": row.status,
                "metadata": row.metadata,
            }
        case "approval_request":
            assert message is not None
            request_id = event.data["request_id"]
            return approval_request(message, request_id, approvals_of(message).get(request_id, {}))
        case "approval_answer":
            assert message is not None
            asked = approvals_of(message).get(event.data["request_id"], {})
            return {
                "type": "approval_answer",
                "request_id": event.data["request_id"],
                "message_id": message.id,
                "answer": asked.get("answer"),
                "note": asked.get("note"),
                "user_id": event.actor_id,
            }
        case "handover":
            to = event.data.get("to")
            return {
                "type": "handover",
                "to": to,
                "by": event.actor_id,
                "note": event.data.get("note"),
            }
        case "run.chosen":
            assert message is not None
            return {
                "type": "answer_chosen",
                "message_id": message.id,
                "question_id": event.data.get("question_id"),
                "user_id": event.actor_id,
            }
        case "conversation.created":
            return None
        case _:
            return {"type": event.type, **objects.event_fields(event, str)}


def approval_request(message: Message, request_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What a run asks people."""
    return {
        "type": "approval_request",
        "request_id": request_id,
        "message_id": message.id,
        "agent_id": agent_name(message.sender_id),
        "question": asked.get("question", ""),
        "options": asked.get("options", []),
        "details": asked.get("details", {}),
    }


def stream_start(message: Message) -> dict[str, Any]:
    """The beginning of an answer."""
    first = message.metadata.get("alternative_of")
    start = _start(message.id, message.sender_id, message.reply_to_id, first)
    return start if message.client_id is None else {**start, "client_id": message.client_id}


def start_so_far(stream: Stream) -> dict[str, Any]:
    """The same, for somebody who comes while it is written."""
    return _start(stream.message_id, stream.agent_id, stream.question_id, stream.alternative_of)


def _start(
    message_id: str, agent_id: str, question_id: str | None, alternative_of: str | None
) -> dict[str, Any]:
    start = {
        "type": "stream_start",
        "message_id": message_id,
        "sender_type": "agent",
        "sender_id": agent_id,
        "agent_id": agent_name(agent_id),
        "reply_to_id": question_id,
    }
    return start if alternative_of is None else {**start, "alternative_of": alternative_of}


def end_of(run: Run, message: Message | None) -> dict[str, Any]:
    """The end of an answer, as its event told it. One that never began has no message."""
    return _stream_end(run.message_id, run.tokens_used, run.latency_ms, run.status, message)


def _stream_end(
    message_id: str,
    tokens_used: int | None,
    latency_ms: int | None,
    status: str,
    message: Message | None,
) -> dict[str, Any]:
    end = {
        "type": "stream_end",
        "message_id": message_id,
        "tokens_used": tokens_used,
        "latency_ms": latency_ms,
        "status": status,
        "length": 0 if message is None else len(message.content),
    }
    error = None if message is None else message.metadata.get("error")
    return end if error is None else {**end, "error": error}


def message_fields(message: Message) -> dict[str, Any]:
    """A message, as the WebSocket tells of it."""
    return {
        "type": "message",
        "message_id": message.id,
        "sender_type": message.sender_type,
        "sender_id": message.sender_id,
        "content": message.content,
        "timestamp": iso(message.created_at),
        "message_type": message.message_type,
        "metadata": message.metadata,
        "reply_to_id": message.reply_to_id,
        "attachments": message.attachments,
        "client_id": message.client_id,
        "session_id": message.conversation_id,
    }


def history(message: Message) -> dict[str, Any]:
    """A message in a session's history."""
    kind = HISTORY_TYPES.get((message.sender_type, message.message_type), "system_message")
    return {
        **objects.message(message, str),
        "message_id": message.id,
        "session_id": message.conversation_id,
        "kind": kind,
        "timestamp": iso(message.created_at),
    }


def agent(offered: Offered) -> dict[str, Any]:
    """An agent on offer."""
    return {
        "id": offered.name,
        "name": offered.title,
        "description": offered.description,
        "avatar_url": offered.avatar_url,
        "user_id": offered.user_id,
    }


def agent_of(session: Session, catalog: Catalog) -> Offered:
    """A session's agent: one on offer, or one that nobody here knows more of than its user id."""
    name = agent_name(session.agent_id)
    for offered in catalog.agents.values():
        if offered.user_id == session.agent_id:
            return offered
    return Offered(name, session.agent_id, None, name)


def session_line(seen: SessionView, catalog: Catalog) -> dict[str, Any]:
    """A session in a list."""
    row, last = seen.view.conversation, seen.view.last_message
    offered = agent_of(seen.session, catalog)
    return {
        "session_id": row.id,
        "title": row.title,
        "agent_id": offered.name,
        "agent_name": offered.title,
        "last_message": None if last is None else last.content[:FIRST_WORDS],
        "last_message_at": None if last is None else iso(last.created_at),
        "unread_count": seen.view.unread_count,
        "status": row.status,
        "created_at": iso(row.created_at),
        "last_activity": iso(row.updated_at),
    }


def session(seen: SessionView, catalog: Catalog, message_count: int) -> dict[str, Any]:
    """A session, whole."""
    row, own = seen.view.conversation, seen.session
    offered = agent_of(own, catalog)
    participants: list[Mapping[str, Any]] = [
        objects.participant(person, str) for person in seen.view.participants
    ]
    return {
        **session_line(seen, catalog),
        "trace_id": own.trace_id,
        "user_id": row.created_by,
        "agent": agent(offered),
        "metadata": row.metadata,
        "participants": participants,
        "message_count": message_count,
        "handler": own.handler,
        "choices": dict(own.choices or {}),
        "when_busy": own.when_busy,
        "answers": own.answers,
        "last_seq": row.last_seq,
    }
