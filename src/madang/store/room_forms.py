"""Rows of a live room's tables as nouns and back, in the order of the tables' columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from madang.model.live import Poll, Question, Room, Seat, poll_of, question_of, settings_of
from madang.model.nouns import Message
from madang.store.rows import mapping, to_json

Row = Sequence[Any]


def room_row(room: Room) -> tuple[Any, ...]:
    return (
        room.id,
        room.org_id,
        room.code,
        room.title,
        room.status,
        to_json(asdict(room.settings)),
        room.language,
        room.host_key,
        room.host_id,
        room.created_by,
        room.created_at,
        room.seats,
        room.questions,
        room.live_question_id,
        room.ended_at,
        room.erase_at,
        room.counts_told_at,
        orjson.dumps(room.untold).decode(),
    )


def room_of(row: Row) -> Room:
    return Room(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        settings_of(mapping(row[5])),
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        tuple(orjson.loads(row[17])),
    )


def code_row(room: Room) -> tuple[Any, ...]:
    return (room.code, room.org_id, room.id, untold_since(room), room.erase_at)


def untold_since(room: Room) -> int | None:
    """When counts were last told, where others wait."""
    return room.counts_told_at if room.untold else None


def seat_row(seat: Seat, org_id: str) -> tuple[Any, ...]:
    return (
        seat.conversation_id,
        seat.participant_id,
        org_id,
        seat.role,
        seat.nickname,
        seat.skeleton,
        seat.number,
        seat.key,
        seat.joined_at,
        seat.address,
        seat.device,
        int(seat.muted),
        seat.gone,
        int(seat.online),
        seat.used_at,
        seat.last_chat_at,
        seat.last_asked_at,
    )


def seat_of(row: Row) -> Seat:
    return Seat(
        row[0],
        row[1],
        row[3],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        bool(row[11]),
        row[12],
        bool(row[13]),
        row[14],
        row[15],
        row[16],
    )


def question_row(message: Message) -> tuple[Any, ...]:
    """Of a question or poll that is not removed."""
    asked: Question | Poll | None = question_of(message) or poll_of(message)
    assert asked is not None, "only questions and polls are listed"
    votes, visible = (
        (asked.votes, asked.visible) if isinstance(asked, Question) else (asked.voters, True)
    )
    return (
        message.id,
        message.org_id,
        message.conversation_id,
        message.message_type,
        message.seq,
        message.sender_id,
        asked.state,
        votes,
        int(visible),
    )
