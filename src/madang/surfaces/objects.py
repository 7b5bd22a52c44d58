"""The words all surfaces share: messages, conversations, what an event says, errors. Each shape is
written in one place, so that what one surface tells another tells alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import nsmallest
from typing import Any

import orjson

from madang.model.ids import wire_user_id
from madang.model.nouns import (
    PARTICIPANTS_TOLD,
    ConversationView,
    Event,
    Message,
    Participant,
)
from madang.model.times import iso
from madang.protocol.errors import MadangError

WriteId = Callable[[str], str | int]
"""How a surface writes the ids of users: the messenger those of digits as integers
(`wire_user_id`), others as they are (`str`)."""


def message(message: Message, write_id: WriteId = wire_user_id) -> dict[str, Any]:
    """MESSAGE."""
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "seq": message.seq,
        "sender_id": write_id(message.sender_id),
        "sender_type": message.sender_type,
        "message_type": message.message_type,
        "content": message.content,
        "metadata": message.metadata,
        "reply_to_id": message.reply_to_id,
        "attachments": message.attachments,
        "reactions": {
            emoji: [write_id(user) for user in users] for emoji, users in message.reactions.items()
        }
        if message.reactions
        else {},
        "created_at": iso(message.created_at),
        "edited_at": None if message.edited_at is None else iso(message.edited_at),
        "deleted_at": None if message.deleted_at is None else iso(message.deleted_at),
        "client_id": message.client_id,
    }


def participant(person: Participant, write_id: WriteId = wire_user_id) -> dict[str, Any]:
    """One of CONVERSATION's `participants`."""
    return {
        "user_id": write_id(person.user_id),
        "role": person.role,
        "nickname": person.nickname,
        "last_read_seq": person.last_read_seq,
        "joined_at": iso(person.joined_at),
    }


def _longest_there(view: ConversationView) -> Sequence[Participant]:
    people = view.participants
    if len(people) <= PARTICIPANTS_TOLD:
        return people
    return nsmallest(PARTICIPANTS_TOLD, people, key=lambda p: (p.joined_at, p.user_id))


def conversation(
    view: ConversationView, listed: Sequence[Participant] | None = None
) -> dict[str, Any]:
    """CONVERSATION: with the `participants` of the view, or those `listed`."""
    row = view.conversation
    people = view.participants if listed is None else listed
    return {
        "id": row.id,
        "kind": row.kind,
        "title": row.title,
        "metadata": row.metadata,
        "status": row.status,
        "participants": [participant(person) for person in people],
        "participant_count": view.participant_count,
        "last_message": None if view.last_message is None else message(view.last_message),
        "last_seq": row.last_seq,
        "unread_count": view.unread_count,
        "muted": view.muted,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def _shared(view: ConversationView) -> dict[str, Any]:
    """CONVERSATION without what differs from one participant to the next."""
    told = conversation(view, _longest_there(view))
    del told["unread_count"], told["muted"]
    return told


def event_fields(event: Event, write_id: WriteId = wire_user_id) -> dict[str, Any]:
    """What an event says besides its type and place: the same words on every surface."""
    fields: dict[str, Any] = {}
    about = event.message
    match event.type:
        case "message.new":
            assert about is not None
            fields["data"] = message(about, write_id)
        case "message.edited":
            assert about is not None
            fields["message_id"] = about.id
            fields["data"] = message(about, write_id)
        case "message.deleted":
            assert about is not None
            fields["message_id"] = about.id
            fields["user_id"] = write_id(event.actor_id)
        case "message.read":
            assert about is not None
            assert event.user_id is not None
            fields["message_id"] = about.id
            fields["user_id"] = write_id(event.user_id)
            fields["last_read_seq"] = event.data["last_read_seq"]
        case "reaction.added" | "reaction.removed":
            assert about is not None
            assert event.user_id is not None
            fields["message_id"] = about.id
            fields["user_id"] = write_id(event.user_id)
            fields["emoji"] = event.data["emoji"]
        case "conversation.created":
            assert event.conversation is not None
            fields["data"] = conversation(event.conversation, _longest_there(event.conversation))
        case "conversation.updated" | "conversation.archived":
            assert event.conversation is not None
            fields["data"] = _shared(event.conversation)
        case "participant.joined":
            assert event.user_id is not None
            fields["user_id"] = write_id(event.user_id)
            fields["role"] = event.data["role"]
        case "participant.left":
            assert event.user_id is not None
            fields["user_id"] = write_id(event.user_id)
            fields["by"] = write_id(event.data["by"])
        case "run.ended":
            # One that waited, and never began, has no message.
            fields["message_id"] = event.data["message_id"]
            fields["data"] = None if about is None else message(about, write_id)
            fields["status"] = event.data["status"]
        case "run.chosen" | "approval_request" | "approval_answer":
            # What is asked and answered stands in the message.
            assert about is not None
            fields["message_id"] = about.id
            fields["data"] = message(about, write_id)
            fields["user_id"] = write_id(event.actor_id)
            fields.update(event.data)
        case "handover":
            to = event.data.get("to")
            fields["to"] = None if to is None else write_id(to)
            fields["by"] = write_id(event.actor_id)
            fields["note"] = event.data.get("note")
        case _:
            if event.user_id is not None:
                fields["user_id"] = write_id(event.user_id)
            fields["payload"] = event.data.get("payload")
    return fields


def frame(kind: str, reply_to: str | int | None = None, /, **fields: Any) -> bytes:
    """A frame that is not an event."""
    content: dict[str, Any] = {"type": kind, **fields}
    if reply_to is not None:
        content["reply_to"] = reply_to
    return orjson.dumps(content)


def error(
    problem: MadangError, reply_to: Any = None, fields: Mapping[str, Any] | None = None
) -> bytes:
    """An error frame."""
    content: dict[str, Any] = {"type": "error", "code": problem.code, "message": problem.text}
    if problem.retry_after is not None:
        content["retry_after"] = problem.retry_after
    if fields:
        content.update(fields)
    if reply_to is not None:
        content["reply_to"] = reply_to
    return orjson.dumps(content)
