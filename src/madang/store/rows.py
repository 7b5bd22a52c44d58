"""Rows of the tables as nouns and back. The order of values is the order of the table's columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from madang.model.nouns import (
    NO_REACTIONS,
    Conversation,
    ConversationView,
    Event,
    File,
    Message,
    Participant,
)

Row = Sequence[Any]

_NOTHING: Mapping[str, Any] = {}


def to_json(value: Any) -> str:
    return orjson.dumps(value).decode() if value else "{}"


def mapping(text: str) -> Mapping[str, Any]:
    # Most rows have an empty one: they share it.
    return _NOTHING if text == "{}" else orjson.loads(text)


def message_row(message: Message) -> tuple[Any, ...]:
    return (
        message.id,
        message.org_id,
        message.conversation_id,
        message.seq,
        message.sender_id,
        message.sender_type,
        message.message_type,
        message.content,
        to_json(message.metadata),
        message.reply_to_id,
        orjson.dumps(message.attachments).decode() if message.attachments else "[]",
        message.client_id,
        message.created_at,
        message.edited_at,
        message.deleted_at,
    )


MESSAGE_WIDTH = 15


def message_of(row: Row, reactions: Sequence[Row] | None = None) -> Message:
    """A message from its 15 columns, and its reactions for `reactions_of`."""
    attachments = row[10]
    return Message(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        mapping(row[8]),
        row[9],
        () if attachments == "[]" else tuple(orjson.loads(attachments)),
        row[11],
        row[12],
        row[13],
        row[14],
        reactions_of(reactions),
    )


def reactions_of(found: Sequence[Row] | None) -> Mapping[str, tuple[str, ...]]:
    """(cursor, emoji, user_id) in any order as {emoji: users in order of reacting}."""
    if not found:
        return NO_REACTIONS
    return gather_reactions((emoji, user) for _, emoji, user in sorted(map(tuple, found)))


def gather_reactions(pairs: Iterable[tuple[str, str]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for emoji, user in pairs:
        found[emoji] = (*found.get(emoji, ()), user)
    return found


def conversation_row(conversation: Conversation, last_cursor: int) -> tuple[Any, ...]:
    return (
        conversation.id,
        conversation.org_id,
        conversation.kind,
        conversation.title,
        to_json(conversation.metadata),
        conversation.status,
        conversation.direct_key,
        conversation.last_seq,
        last_cursor,
        conversation.last_message_id,
        conversation.created_by,
        conversation.created_at,
        conversation.updated_at,
    )


CONVERSATION_WIDTH = 13


def conversation_of(row: Row) -> Conversation:
    return Conversation(
        row[0],
        row[1],
        row[2],
        row[3],
        mapping(row[4]),
        row[5],
        row[6],
        row[7],
        row[9],
        row[10],
        row[11],
        row[12],
    )


def participant_row(participant: Participant, org_id: str) -> tuple[Any, ...]:
    return (
        participant.conversation_id,
        participant.user_id,
        org_id,
        participant.role,
        participant.nickname,
        participant.last_read_seq,
        participant.joined_at,
        participant.notification_level,
        participant.muted_until,
    )


PARTICIPANT_WIDTH = 9


def participant_of(row: Row) -> Participant:
    return Participant(row[0], row[1], row[3], row[4], row[5], row[6], row[7], row[8])


def file_row(file: File) -> tuple[Any, ...]:
    return (
        file.id,
        file.org_id,
        file.conversation_id,
        file.owner_id,
        file.message_id,
        file.name,
        file.type,
        file.size,
        file.received,
        file.status,
        file.thumbnail_size,
        to_json(file.metadata),
        file.created_at,
        file.expires_at,
        file.messages,
    )


def file_of(row: Row) -> File:
    return File(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        mapping(row[11]),
        row[12],
        row[13],
        row[14],
    )


EVENT_WIDTH = 11


def event_of(
    row: Row, message: Message | None, conversation: ConversationView | None = None
) -> Event:
    """An event from its 11 columns; the caller has joined what it tells of."""
    return Event(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        row[6],
        message,
        mapping(row[8]),
        row[10],
        conversation,
    )
