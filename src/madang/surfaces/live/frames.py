"""What the log tells in a room, in the words of the live contract: once for its participants and
once for its hosts, who see more.

A frame says of a question or poll what is true of it now, and nothing of what is hidden or removed
by now, however old the event is that it tells of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from madang.hub.frame import Aside, Dialect
from madang.model.live import (
    Poll,
    Question,
    Room,
    RoomSettings,
    Seat,
    nickname_of,
    poll_of,
    private_to,
    question_of,
)
from madang.model.nouns import Event, Message
from madang.model.times import iso
from madang.surfaces.live.words import WORDS, left

Told = dict[str, Any]

MOST_WORDS = 100
"""Words of a cloud in a frame: more does not fit on any screen."""
HOSTS_ONLY = ("blocked_words", "seats_per_address", "seats_per_device")
"""Settings that participants are not told: they would show how to get around them."""


class LiveFrames:
    """Encodes events for the two dialects of a room.

    Args:
        rooms: by conversation, those that somebody is connected to here. An event of another
            conversation has no words here: whoever was invited to one by another surface hears
            nothing of it in a room.
    """

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self._rooms = rooms

    def participant(self, event: Event) -> bytes | None:
        """As participants are told; None for what is not theirs."""
        return self._encode(event, host=False)

    def host(self, event: Event) -> bytes | None:
        """As hosts are told."""
        return self._encode(event, host=True)

    def reply(
        self, event: Event, host: bool, reply_to: str | int, more: Mapping[str, Any] | None = None
    ) -> bytes:
        """As whoever asked for it is told. `more` are fields for them alone."""
        told = self._fields(event, host) or {"type": "done"}
        return orjson.dumps({**told, **_place(event), **(more or {}), "reply_to": reply_to})

    def _encode(self, event: Event, *, host: bool) -> bytes | None:
        told = self._fields(event, host)
        return None if told is None else orjson.dumps({**told, **_place(event)})

    def _fields(self, event: Event, host: bool) -> Told | None:
        room = self._rooms.get(event.conversation_id)
        if room is None:
            return None
        message = event.message
        if message is not None:
            return _of_message(room, event, message, host)
        if event.type == "room.changed":
            return room_update(room.code, event.data, host)
        if event.user_id is not None and "payload" not in event.data:
            return _of_seat(room, event, event.user_id, host)
        if "payload" in event.data:
            told = {"type": event.type, "session_code": room.code}
            return {**told, "payload": event.data["payload"], "timestamp": iso(event.created_at)}
        return None


def asides(event: Event) -> Aside | None:
    """Who asks a question is told of it as hosts are, since it is theirs; who comes or goes is not
    told so."""
    message = event.message
    if message is not None:
        # Of every message of every conversation this much is asked.
        if message.message_type != "question" or event.type not in _OF_QUESTIONS:
            return None
        return Aside(message.sender_id, _AS_HOSTS)
    if event.user_id is not None and event.type in _OF_OTHERS:
        return Aside(event.user_id, _NOTHING)
    return None


_OF_QUESTIONS = frozenset(("message.new", "message.deleted", "question.changed", "question.shown"))
_OF_OTHERS = frozenset(("participant.online", "participant.offline", "participant.left"))
_AS_HOSTS: Mapping[int, int | None] = {Dialect.LIVE: Dialect.LIVE_HOST}
_NOTHING: Mapping[int, int | None] = {Dialect.LIVE: None, Dialect.LIVE_HOST: None}


# Messages, as frames and lists show them.


def chat(room: Room, message: Message) -> Told:
    """`chat_message`."""
    return {
        "type": "chat_message",
        "message_id": message.id,
        "content": message.content,
        "participant_id": message.sender_id,
        "participant_nickname": nickname_of(message) or "",
        "timestamp": iso(message.created_at),
        "session_code": room.code,
        "client_id": message.client_id,
    }


def question(room: Room, message: Message, about: Question, host: bool) -> Told:
    """`question`. Who asks anonymously is told to hosts only, or to nobody if the room says so."""
    hidden = about.anonymous and (about.anonymous_to_host or not host)
    anonymous = WORDS[room.language].anonymous
    return {
        "type": "question",
        "message_id": message.id,
        "content": message.content,
        "participant_id": None if hidden else message.sender_id,
        "participant_nickname": anonymous if hidden else nickname_of(message) or "",
        "timestamp": iso(message.created_at),
        "session_code": room.code,
        "votes": about.votes,
        "state": about.state,
        "anonymous": about.anonymous,
        "approved": about.approved,
        "client_id": None if hidden else message.client_id,
    }


def question_update(room: Room, message: Message, about: Question) -> Told:
    """`question_update`: nothing of what was asked, or by whom."""
    return {
        "type": "question_update",
        "message_id": message.id,
        "votes": about.votes,
        "state": about.state,
        "session_code": room.code,
    }


def poll(room: Room, message: Message, about: Poll, kind: str = "poll_open") -> Told:
    """`poll_open`, or `poll_closed` with the final results."""
    return {
        "type": kind,
        "message_id": message.id,
        "question": message.content,
        "kind": about.kind,
        "options": list(about.options),
        "most": about.most,
        **_results(about),
        "participant_id": message.sender_id,
        "participant_nickname": nickname_of(message) or "",
        "timestamp": iso(message.created_at),
        "session_code": room.code,
    }


def poll_update(room: Room, message: Message, about: Poll) -> Told:
    """`poll_update`."""
    told = {"type": "poll_update", "message_id": message.id, **_results(about)}
    return {**told, "session_code": room.code}


def _results(about: Poll) -> Told:
    told: Told = {"state": about.state, "voters": about.voters}
    if about.kind == "cloud":
        most = sorted(about.counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_WORDS]
        return {**told, "words": [{"word": word, "count": count} for word, count in most]}
    return {**told, "counts": [about.counts.get(str(n), 0) for n in range(len(about.options))]}


def message_as_is(room: Room, message: Message, host: bool) -> Told | None:
    """Any message of a room as it is now; None for one that is removed."""
    if message.deleted_at is not None:
        return None
    asked, polled = question_of(message), poll_of(message)
    if asked is not None:
        return question(room, message, asked, host)
    if polled is not None:
        return poll(room, message, polled, "poll_open" if polled.state == "open" else "poll_closed")
    return chat(room, message)


def _of_message(room: Room, event: Event, message: Message, host: bool) -> Told | None:
    if not host and private_to(event) is not None:
        return None
    if event.type == "message.deleted":
        told = {"type": "message_removed", "message_id": message.id}
        return {**told, "session_code": room.code}
    if message.deleted_at is not None:
        return None
    match event.type:
        case "message.new":
            return message_as_is(room, message, host)
        case "question.shown":
            asked = question_of(message)
            if asked is None or host or not asked.visible:
                return None
            return question(room, message, asked, host)
        case "question.changed":
            asked = question_of(message)
            if asked is None:
                return None
            return question_update(room, message, asked)
        case "poll.changed":
            polled = poll_of(message)
            return None if polled is None else poll_update(room, message, polled)
        case "poll.closed":
            polled = poll_of(message)
            return None if polled is None else poll(room, message, polled, "poll_closed")
    return None


# People.


def person(room: Room, seat: Seat, is_online: bool) -> Told:
    """A seat, as its host's list shows it."""
    return {
        "participant_id": seat.participant_id,
        "participant_nickname": seat.nickname,
        "is_online": is_online,
        "is_muted": seat.muted,
        "role": seat.role,
        "joined_at": iso(seat.joined_at),
        "session_code": room.code,
    }


def _of_seat(room: Room, event: Event, participant_id: str, host: bool) -> Told | None:
    nickname = str(event.data.get("nickname", ""))
    told: Told = {"participant_id": participant_id, "participant_nickname": nickname}
    told |= {"session_code": room.code, "timestamp": iso(event.created_at)}
    match event.type:
        case "participant.online":
            text = WORDS[room.language].joined
            told |= {"message": text, "role": event.data.get("role"), "is_online": True}
            return {"type": "participant_joined", **told}
        case "participant.offline" | "participant.left":
            text = left(room.language, nickname)
            return {"type": "participant_left", **told, "message": text, "is_online": False}
        case "participant.updated" | "participant.muted" | "participant.unmuted":
            pass
        case "participant.joined":
            # That somebody has a seat is news to others when they come, and to hosts at once.
            if not host:
                return None
        case _:
            return None
    is_online = event.data.get("is_online", event.type != "participant.joined")
    told |= {"is_online": is_online, "role": event.data.get("role")}
    told["is_muted"] = event.data.get("is_muted", event.type == "participant.muted")
    return {"type": "participant_update", **told}


# The room.


def settings(given: RoomSettings | Mapping[str, Any], host: bool) -> Told:
    """A room's settings as one may see them."""
    told = asdict(given) if isinstance(given, RoomSettings) else dict(given)
    return told if host else {name: told[name] for name in told if name not in HOSTS_ONLY}


def session(room: Room, host: bool) -> Told:
    """The room as `GET /{code}` shows it, without its counts."""
    return {
        "session_code": room.code,
        "session_id": room.id,
        "title": room.title,
        "status": room.status,
        "language": room.language,
        "settings": settings(room.settings, host),
        "created_at": iso(room.created_at),
        "ended_at": None if room.ended_at is None else iso(room.ended_at),
    }


def room_update(code: str, changed: Mapping[str, Any], host: bool) -> Told:
    """`session_update`."""
    told: Told = {"type": "session_update", "session_code": code}
    for name in ("title", "status", "language"):
        if name in changed:
            told[name] = changed[name]
    if "settings" in changed:
        told["settings"] = settings(changed["settings"], host)
    return told


def _place(event: Event) -> Told:
    return {"seq": event.seq, "cursor": event.cursor}
