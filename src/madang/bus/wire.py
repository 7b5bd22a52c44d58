"""What goes over the bus as JSON, and back. Pure: no I/O, no clock.

The outer object has names, for whoever looks with `redis-cli`:

    {"node": ID, "v": 1, "at": MICROSECONDS, "org": ORG, "events": [[...], ...]}
    {"node": ID, "v": 1, "at": MICROSECONDS, "org": ORG,
     "note": {"after": C, "until": C, "conversations": [[ID, COUNT], ...], "users": [[ID, CURSOR]]}}
    ... "signal": [CONVERSATION, TEXT, OMITTED USER OR null, ONLY USER OR null, DIALECT OR null]
    ... "run": [CONVERSATION, MESSAGE, INDEX, OFFSET, TEXT, STEP OR null]
    ... "ask": [NUMBER, TOPIC, CONTENT]
    ... "answer": [NUMBER, CONTENT, WHETHER THERE IS AN ANSWER]
    ... "presence": [[USER, TEXT, [CONVERSATION, ...]], ...]

Events, messages and views are arrays in the order of their nouns' fields, without what their place
says already: the org is the outer object's, and a message, a participant or a last message is of
its event's conversation. Longer arrays than known are read, so that fields may be added at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import orjson

from madang.model.nouns import (
    NO_REACTIONS,
    Conversation,
    ConversationKind,
    ConversationView,
    Event,
    Message,
    MessageType,
    Participant,
    SenderType,
)
from madang.ports.bus import Note, PresenceTold, RunTold, SignalTold

VERSION = 1
"""Raised when an older node could read a payload wrongly; what has another is ignored."""

_NOTHING: Mapping[str, Any] = {}

Kind = Literal["events", "note", "signal", "presence", "run", "ask", "answer"]


class Unreadable(Exception):
    """A payload that no node of this version has sent."""


def mark_of(node: str) -> bytes:
    """What every payload of this node begins with: one look tells whose it is."""
    return b'{"node":%b,' % orjson.dumps(node)


def encode_events(mark: bytes, at: int, org_id: str, events: Sequence[Event]) -> bytes:
    return _encode(mark, at, org_id, b"events", list(map(_event, events)))


def encode_note(mark: bytes, at: int, note: Note) -> bytes:
    told = {
        "after": note.after,
        "until": note.until,
        "conversations": note.conversations,
        "users": note.users,
    }
    return _encode(mark, at, note.org_id, b"note", told)


def encode_signal(mark: bytes, at: int, org_id: str, signal: SignalTold) -> bytes:
    told = (
        signal.conversation_id,
        signal.text.decode(),
        signal.omit_user_id,
        signal.only_user_id,
        signal.dialect,
        signal.at,
    )
    return _encode(mark, at, org_id, b"signal", told)


def encode_presence(mark: bytes, at: int, org_id: str, changes: Sequence[PresenceTold]) -> bytes:
    told = [(one.user_id, one.text.decode(), list(one.conversation_ids), one.at) for one in changes]
    return _encode(mark, at, org_id, b"presence", told)


def encode_run(mark: bytes, at: int, org_id: str, run: RunTold) -> bytes:
    told = (run.conversation_id, run.message_id, run.index, run.offset, run.text, run.step)
    return _encode(mark, at, org_id, b"run", told)


def encode_ask(mark: bytes, at: int, number: int, topic: str, content: Any) -> bytes:
    return _encode(mark, at, "", b"ask", (number, topic, content))


def encode_answer(mark: bytes, at: int, number: int, content: Any, is_one: bool) -> bytes:
    return _encode(mark, at, "", b"answer", (number, content, is_one))


def _encode(mark: bytes, at: int, org_id: str, name: bytes, told: Any) -> bytes:
    return b'%b"v":%d,"at":%d,"org":%b,"%b":%b}' % (
        mark,
        VERSION,
        at,
        orjson.dumps(org_id),
        name,
        orjson.dumps(told),
    )


def _event(event: Event) -> tuple[Any, ...]:
    message = event.message
    view = event.conversation
    return (
        event.cursor,
        event.conversation_id,
        event.seq,
        event.type,
        event.actor_id,
        event.user_id,
        event.data,
        event.created_at,
        None if message is None else _message(message),
        None if view is None else _view(view),
    )


def _message(message: Message) -> tuple[Any, ...]:
    return (
        message.id,
        message.seq,
        message.sender_id,
        message.sender_type,
        message.message_type,
        message.content,
        message.metadata,
        message.reply_to_id,
        message.attachments,
        message.client_id,
        message.created_at,
        message.edited_at,
        message.deleted_at,
        message.reactions,
    )


def _view(view: ConversationView) -> tuple[Any, ...]:
    conversation = view.conversation
    last = view.last_message
    return (
        (
            conversation.kind,
            conversation.title,
            conversation.metadata,
            conversation.status,
            conversation.direct_key,
            conversation.last_seq,
            conversation.last_message_id,
            conversation.created_by,
            conversation.created_at,
            conversation.updated_at,
        ),
        [
            (
                one.user_id,
                one.role,
                one.nickname,
                one.last_read_seq,
                one.joined_at,
                one.notification_level,
                one.muted_until,
            )
            for one in view.participants
        ],
        None if last is None else _message(last),
        view.unread_count,
        view.muted,
        view.participant_count,
    )


def decode(payload: bytes) -> tuple[Kind, str, int, Any]:
    """A payload as (kind, org_id, when it was told in microseconds, what was told): a list of
    `Event`, a `Note`, a `SignalTold`, a list of `PresenceTold`, a `RunTold`; of a question, in the
    place of the org, the node that asks.

    Raises:
        Unreadable: it is not one, or one of another version.
    """
    try:
        outer = orjson.loads(payload)
        if outer["v"] != VERSION:
            raise Unreadable(f"version {outer['v']!r}")
        org_id, at = outer["org"], outer["at"]
        if type(org_id) is not str or type(at) is not int:
            raise Unreadable("the org or the time is none")
        if "events" in outer:
            return "events", org_id, at, [_event_of(org_id, row) for row in _list(outer["events"])]
        if "note" in outer:
            return "note", org_id, at, _note_of(org_id, outer["note"])
        if "signal" in outer:
            return "signal", org_id, at, _signal_of(outer["signal"])
        if "run" in outer:
            return "run", org_id, at, _run_of(outer["run"])
        if "ask" in outer:
            number, topic, content = _list(outer["ask"])[:3]
            return "ask", outer["node"], at, (_number(number), _text(topic), content)
        if "answer" in outer:
            number, content, is_one = _list(outer["answer"])[:3]
            return "answer", org_id, at, (_number(number), content, is_one is True)
        return "presence", org_id, at, [_presence_of(row) for row in _list(outer["presence"])]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _event_of(org_id: str, row: Sequence[Any]) -> Event:
    cursor, conversation_id, seq, type_, actor_id, user_id, data, created_at, message, view = row[
        :10
    ]
    if (
        type(cursor) is not int
        or type(conversation_id) is not str
        or type(seq) is not int
        or type(type_) is not str
        or type(actor_id) is not str
        or type(data) is not dict
        or type(created_at) is not int
        or (user_id is not None and type(user_id) is not str)
    ):
        raise Unreadable("an event's field has a wrong type")
    return Event(
        org_id,
        cursor,
        conversation_id,
        seq,
        type_,
        actor_id,
        user_id,
        None if message is None else _message_of(org_id, conversation_id, message),
        data or _NOTHING,
        created_at,
        None if view is None else _view_of(org_id, conversation_id, view),
    )


def _message_of(org_id: str, conversation_id: str, row: Sequence[Any]) -> Message:
    id_, seq, sender_id, sender_type, message_type, content, metadata, reply_to_id = row[:8]
    attachments, client_id, created_at, edited_at, deleted_at, reactions = row[8:14]
    if (
        type(id_) is not str
        or type(seq) is not int
        or type(sender_id) is not str
        or type(sender_type) is not str
        or type(message_type) is not str
        or type(content) is not str
        or type(metadata) is not dict
        or type(attachments) is not list
        or type(created_at) is not int
        or type(reactions) is not dict
    ):
        raise Unreadable("a message's field has a wrong type")
    return Message(
        id_,
        org_id,
        conversation_id,
        seq,
        sender_id,
        cast(SenderType, sender_type),
        cast(MessageType, message_type),
        content,
        metadata or _NOTHING,
        reply_to_id,
        tuple(attachments) if attachments else (),
        client_id,
        created_at,
        edited_at,
        deleted_at,
        {emoji: tuple(users) for emoji, users in reactions.items()} if reactions else NO_REACTIONS,
    )


def _view_of(org_id: str, conversation_id: str, row: Sequence[Any]) -> ConversationView:
    own, people, last, unread_count, muted, participant_count = row[:6]
    kind, title, metadata, status, direct_key, last_seq = own[:6]
    last_message_id, created_by, created_at, updated_at = own[6:10]
    if (
        type(kind) is not str
        or type(metadata) is not dict
        or type(last_seq) is not int
        or type(updated_at) is not int
        or type(people) is not list
        or type(unread_count) is not int
        or type(muted) is not bool
        or type(participant_count) is not int
    ):
        raise Unreadable("a conversation's field has a wrong type")
    return ConversationView(
        Conversation(
            conversation_id,
            org_id,
            cast(ConversationKind, kind),
            title,
            metadata or _NOTHING,
            status,
            direct_key,
            last_seq,
            last_message_id,
            created_by,
            created_at,
            updated_at,
        ),
        tuple(Participant(conversation_id, *one[:7]) for one in people),
        None if last is None else _message_of(org_id, conversation_id, last),
        unread_count,
        muted,
        participant_count,
    )


def _note_of(org_id: str, told: Mapping[str, Any]) -> Note:
    after, until = told["after"], told["until"]
    conversations = [(_text(id_), _number(count)) for id_, count in _list(told["conversations"])]
    users = [(_text(id_), _number(cursor)) for id_, cursor in _list(told["users"])]
    return Note(org_id, _number(after), _number(until), conversations, users)


def _signal_of(row: Sequence[Any]) -> SignalTold:
    conversation_id, text, omit, only, dialect, at = (*_list(row), None, None, None)[:6]
    return SignalTold(
        _text(conversation_id),
        _text(text).encode(),
        None if omit is None else _text(omit),
        None if only is None else _text(only),
        None if dialect is None else _number(dialect),
        _number(at or 0),
    )


def _run_of(row: Sequence[Any]) -> RunTold:
    conversation_id, message_id, index, offset, text, step = _list(row)[:6]
    if step is not None and type(step) is not dict:
        raise Unreadable("a step is none")
    return RunTold(
        _text(conversation_id),
        _text(message_id),
        _number(index),
        _number(offset),
        _text(text),
        step,
    )


def _presence_of(row: Sequence[Any]) -> PresenceTold:
    user_id, text, conversation_ids, *at = _list(row)[:4]
    return PresenceTold(
        _text(user_id),
        _text(text).encode(),
        [_text(id_) for id_ in _list(conversation_ids)],
        _number(at[0]) if at else 0,
    )


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unreadable("a text is none")
    return value


def _list(value: Any) -> list[Any]:
    if type(value) is not list:
        raise Unreadable("a list is none")
    return value


def _number(value: Any) -> int:
    if type(value) is not int:
        raise Unreadable("a number is none")
    return value
