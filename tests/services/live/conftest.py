"""A room on a real database, with a clock that stands still until it is moved."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from madang.model.ids import uuid7
from madang.model.live import Asked, Room, RoomChanged, Seat, Seated, nickname_of
from madang.model.nouns import Event, Message
from madang.ports.store import Write
from madang.services.live import codes, tokens
from madang.services.live.chat import SendChat
from madang.services.live.questions import Ask, SetState, Vote
from madang.services.live.rooms import ChangeRoom, OpenRoom
from madang.services.live.seats import TakeSeat
from madang.store.writer import GroupWriter
from tests.store.conftest import (
    AnyStore,
    SteppedClock,
    clock,
    delivered,
    execute,
    postgresql_urls,
    sqlite_url,
    store,
    url,
    writer,
)

__all__ = [
    "clock",
    "delivered",
    "execute",
    "postgresql_urls",
    "sqlite_url",
    "store",
    "url",
    "writer",
]

ORG = "default"
SECOND = 1_000_000


class Hall:
    """Writes to rooms, in few words."""

    def __init__(
        self, store: AnyStore, writer: GroupWriter, clock: SteppedClock, delivered: list[Event]
    ) -> None:
        self.store = store
        self.writer = writer
        self.clock = clock
        self.events = delivered
        self._numbers = itertools.count()

    async def open(self, org: str = ORG, code: str | None = None, **settings: Any) -> Room:
        self.host_token = tokens.new_token()
        opened: Seated = await self.writer.write(
            OpenRoom(
                org,
                "speaker",
                "A talk",
                code or codes.draw(),
                tokens.key_of(self.host_token),
                settings,
            )
        )
        return opened.room

    async def now(self, room: Room) -> Room:
        found = await self.store.live.room(room.org_id, room.id)
        assert found is not None
        return found

    def taking(self, room: Room, nickname: str | None = None, **more: Any) -> TakeSeat:
        nickname = nickname or f"guest{next(self._numbers)}x"
        token = more.pop("token", None) or tokens.new_token()
        return TakeSeat(
            room.org_id,
            room.id,
            uuid7(self.clock.time),
            nickname,
            tokens.key_of(token),
            **more,
        )

    async def seat(self, room: Room, nickname: str | None = None, **more: Any) -> Seat:
        seated: Seated = await self.writer.write(self.taking(room, nickname, **more))
        return seated.seat

    async def change(self, room: Room, **changes: Any) -> RoomChanged:
        status = changes.pop("status", None)
        changed: RoomChanged = await self.writer.write(
            ChangeRoom(room.org_id, room.id, room.host_id, status, changes or None)
        )
        return changed

    async def chat(self, seat: Seat, text: str = "hello", **more: Any) -> Asked:
        said: Asked = await self.writer.write(SendChat(ORG, *_where(seat), text, **more))
        return said

    async def ask(self, seat: Seat, text: str = "Why?", **more: Any) -> Message:
        asked: Asked = await self.writer.write(Ask(ORG, *_where(seat), text, **more))
        return asked.message

    async def vote(self, seat: Seat, message: Message, up: bool = True) -> Asked:
        voted: Asked = await self.writer.write(Vote(ORG, *_where(seat), message.id, up))
        return voted

    async def state(self, room: Room, message: Message, state: Any) -> Asked:
        set_to: Asked = await self.writer.write(
            SetState(ORG, room.id, room.host_id, message.id, state)
        )
        return set_to

    async def all(self, writes: Sequence[Write]) -> list[Any]:
        """All in one batch; what each gave, or its error."""
        outcomes: list[Any] = [None] * len(writes)
        for number, write in enumerate(writes):

            def done(result: Any, error: Any, at: int = number) -> None:
                outcomes[at] = result if error is None else error

            self.writer.submit(write, done)
        await self.writer.settle()
        return outcomes

    async def metadata(self, room: Room, message: Message, seen_by: str | None = None) -> Any:
        found = await self.store.live.question(ORG, room.id, message.id, seen_by=seen_by)
        assert found is not None
        return found.metadata["question"]

    def told(self, *types: str) -> list[Event]:
        """What was delivered of these types, in order."""
        return [event for event in self.events if event.type in types]


def _where(seat: Seat) -> tuple[str, str]:
    return seat.conversation_id, seat.participant_id


def names(messages: Sequence[Message]) -> list[str | None]:
    return [nickname_of(message) for message in messages]


def texts(messages: Sequence[Message]) -> list[str]:
    return [message.content for message in messages]


def shown(event: Event) -> Mapping[str, Any]:
    """The question of an event."""
    assert event.message is not None
    found: Mapping[str, Any] = event.message.metadata["question"]
    return found


@pytest.fixture
def hall(store: AnyStore, writer: GroupWriter, clock: SteppedClock, delivered: list[Event]) -> Hall:
    return Hall(store, writer, clock, delivered)
