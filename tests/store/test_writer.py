"""Group commit: order, idempotence, refusals, and what happens when a batch breaks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from madang.model.nouns import Event
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import MadangError, NotAParticipant, Unavailable
from madang.store import writer as writer_module
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.store.conftest import SteppedClock
from tests.store.writes import Break, Clash, Create, Join, Leave, Publish, Send

ROOM = "room-1"


async def test_send_read_back_and_catch_up(store: SqliteStore, writer: GroupWriter) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    sent = [await writer.write(Send(ROOM, "ann", f"text {n}")) for n in range(3)]

    page = await store.messages("default", ROOM)
    assert list(page.items) == sent
    assert not page.has_more
    assert await store.memberships("default", ["ann", "eve"]) == {"ann": [ROOM], "eve": []}
    events = await store.events_for_user("default", "ben", 0, None, 100)
    assert [e.type for e in events] == ["conversation.created"] + ["message.new"] * 3
    assert [e.seq for e in events] == [1, 2, 3, 4]
    assert [e.message for e in events[1:]] == sent
    assert await store.head("default") == events[-1].cursor
    assert await store.events_for_user("default", "eve", 0, None, 100) == []
