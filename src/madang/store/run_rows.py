"""Rows of sessions and runs as nouns and back. The order of values is the order of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from madang.model.runs import Run, Session
from madang.store.rows import mapping, to_json

Row = Sequence[Any]


def session_row(session: Session) -> tuple[Any, ...]:
    return (
        session.conversation_id,
        session.org_id,
        session.agent_id,
        session.trace_id,
        session.handler,
        session.when_busy,
        session.answers,
        to_json(session.choices),
        session.titled_by,
    )


def session_of(row: Row) -> Session:
    return Session(row[0], row[1], row[2], row[3], row[4], row[5], row[6], mapping(row[7]), row[8])


def run_row(run: Run) -> tuple[Any, ...]:
    return (
        run.message_id,
        run.org_id,
        run.conversation_id,
        run.agent_id,
        run.asked_by,
        run.question_id,
        run.status,
        run.created_at,
        run.checked_at,
        run.ended_at,
        run.tokens_used,
        run.latency_ms,
        ends_text(run.ends),
        run.alternative_of,
        run.client_id,
    )


def run_of(row: Row) -> Run:
    return Run(
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
        row[11],
        ends_of(row[12]),
        row[13],
        row[14],
    )


def ends_text(ends: Sequence[int]) -> str:
    """Where chunks end, as how long each is: short numbers."""
    return orjson.dumps(
        [end - start for start, end in zip((0, *ends), ends, strict=False)]
    ).decode()


def ends_of(text: str) -> tuple[int, ...]:
    ends = []
    at = 0
    for length in orjson.loads(text):
        at += length
        ends.append(at)
    return tuple(ends)
