"""Ends of a bus of each kind, and who listens at them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from madang.bus.memory import MemoryBus, MemoryEnd
from madang.bus.redis import RedisBus
from madang.clock import Clock, SystemClock
from madang.model.nouns import Batch, Event
from madang.ports.bus import Note, PresenceTold, RunTold, SignalTold
from madang.protocol.errors import Unavailable
from tests.valkey import Valkey

End = MemoryEnd | RedisBus


class Heard:
    """A listener that keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []
        self._more = asyncio.Event()

    def _add(self, kind: str, what: Any) -> None:
        self.all.append((kind, what))
        self._more.set()

    def heard_events(self, org_id: str, events: Sequence[Event]) -> None:
        for event in events:
            assert event.org_id == org_id
            self._add("event", event)

    def heard_note(self, note: Note) -> None:
        self._add("note", note)

    def heard_signals(self, org_id: str, signals: Sequence[SignalTold]) -> None:
        for signal in signals:
            self._add("signal", (org_id, signal))

    def heard_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None:
        for change in changes:
            self._add("presence", (org_id, change))

    def heard_run(self, org_id: str, told: RunTold) -> None:
        self._add("run", (org_id, told))

    def asked(self, topic: str, content: Any) -> Any:
        self._add("asked", (topic, content))
        if topic == "nothing":
            raise Unavailable
        return {"echo": content}

    def lost_touch(self) -> None:
        self._add("lost", None)

    def in_touch(self) -> None:
        self._add("in", None)

    def of(self, kind: str) -> list[Any]:
        return [what for one, what in self.all if one == kind]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.all]

    async def until(self, check: Callable[[], bool], seconds: float = 10) -> None:
        """Wait until what was heard makes `check` true."""
        async with asyncio.timeout(seconds):
            while not check():
                self._more.clear()
                await self._more.wait()

    async def note(self, until: int) -> None:
        """Wait for the note of the commit that ends there."""
        await self.until(lambda: any(note.until == until for note in self.of("note")))


class Ends:
    """Makes ends of one bus, and closes them."""

    def __init__(self, kind: str, make: Callable[..., End]) -> None:
        self.kind = kind
        self._make = make
        self._open: list[End] = []

    async def start(self, clock: Clock | None = None, **settings: Any) -> tuple[Any, Heard]:
        """Another end that has started, and its listener."""
        end, heard = self._make(clock or SystemClock(), **settings), Heard()
        self._open.append(end)
        await end.start(heard)
        return end, heard

    async def close(self) -> None:
        for end in self._open:
            await end.close()


@pytest.fixture(params=["memory", "redis", "cluster"])
async def ends(request: pytest.FixtureRequest) -> AsyncIterator[Ends]:
    """Ends of a bus of every kind."""
    if request.param == "memory":
        bus = MemoryBus(SystemClock())
        made = Ends("memory", lambda clock, **_: bus.end())
    else:
        name = "valkey" if request.param == "redis" else "valkey_cluster"
        url = request.getfixturevalue(name).url
        made = Ends(request.param, lambda clock, **settings: RedisBus(url, clock, **settings))
    yield made
    await made.close()


@pytest.fixture
async def redis_ends(valkey: Valkey) -> AsyncIterator[Ends]:
    """Ends of a bus on one server."""
    made = Ends("redis", lambda clock, **settings: RedisBus(valkey.url, clock, **settings))
    yield made
    await made.close()


async def confirmed(end: Any) -> None:
    """Wait until a server has confirmed all that the end follows."""
    if isinstance(end, RedisBus):
        await end.settled()


def event(
    cursor: int, conversation_id: str = "c1", seq: int = 1, org_id: str = "org", **fields: Any
) -> Event:
    values: dict[str, Any] = {
        "type": "message.new",
        "actor_id": "ann",
        "user_id": None,
        "message": None,
        "data": {},
        "created_at": cursor,
        **fields,
    }
    return Event(org_id, cursor, conversation_id, seq, **values)


def commit(after: int, *events: Event) -> Batch:
    return Batch(events[0].org_id, after, events[-1].cursor, events)
