"""Presence of whoever comes and goes on whichever surface, on a real store, in time that jumps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from madang.bus.memory import MemoryBus
from madang.delivery.presence import Presence
from madang.hub.frame import Form
from madang.hub.hub import Hub, Member
from madang.ports.bus import Bus
from madang.store import migrate
from madang.store.sqlite import SqliteStore
from madang.testing.clock import JumpingClock
from tests.hub.recording import Counter, Recorder

GRACE = 5.0
AWAY_AFTER = 300


class Room:
    """One conversation's people, as the surfaces bring them in and out."""

    def __init__(self, store: SqliteStore, bus: Bus, clock: JumpingClock) -> None:
        self.clock = clock
        self.store = store
        self.hub = Hub([Counter("messenger"), Counter("events")])
        self.presence = Presence(self.hub, store, bus, clock, away_after=AWAY_AFTER, grace=GRACE)

    def member(self, user: str) -> Member:
        found = self.hub.members.get(("org", user))
        if found is None:
            found = self.hub.members["org", user] = Member("org", user, 0)
            self.hub.join(found, "room")
        return found

    def come(self, user: str, form: Form = Form.MESSENGER) -> Recorder:
        connection = Recorder(form)
        self.hub.attach(self.member(user), connection)
        self.presence.opened(self.member(user))
        return connection

    def go(self, connection: Recorder) -> None:
        member = connection.member
        assert member is not None
        self.hub.detach(connection)
        self.presence.closed(member)


def told(connection: Recorder) -> list[tuple[str, str]]:
    return [(frame["type"], frame["user_id"]) for frame in connection.told()]


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    url = f"sqlite:///{tmp_path / 'madang.db'}"
    migrate.upgrade(url)
    clock = JumpingClock()
    store = SqliteStore(url, clock)
    yield Room(store, MemoryBus(clock).end(), clock)
    await store.close()


@pytest.mark.parametrize("first", [Form.MESSENGER, Form.EVENTS, Form.EVENTS_DEFLATED])
@pytest.mark.parametrize("last", [Form.MESSENGER, Form.EVENTS])
async def test_the_last_connection_of_any_kind_makes_offline(
    room: Room, first: Form, last: Form
) -> None:
    ben = room.come("ben")
    one, other = room.come("ann", first), room.come("ann", last)
    room.clock.jump(1)
    assert told(ben) == [("user.online", "ann")]
    assert room.presence.status("org", "ann") == ("online", 2)

    room.go(one)
    room.clock.jump(GRACE + 2)
    assert told(ben) == [("user.online", "ann")]
    assert room.presence.status("org", "ann") == ("online", 1)

    room.go(other)
    room.go(other)
    left_at = room.clock.now()
    room.clock.jump(GRACE - 1)
    assert told(ben) == [("user.online", "ann")]
    assert room.presence.status("org", "ann") == ("online", 0)
    room.clock.jump(2)
    assert told(ben) == [("user.online", "ann"), ("user.offline", "ann")]
    assert room.presence.status("org", "ann") == ("offline", 0)
    assert room.presence.seen_at("org", "ann") == left_at
    # Said once more, long after: it was over then, and stays so.
    room.go(other)
    room.clock.jump(GRACE + 2)
    assert len(told(ben)) == 2
    assert room.presence.seen_at("org", "ann") == left_at


async def test_only_those_who_speak_the_messengers_words_are_told(room: Room) -> None:
    phone, feed = room.come("ben"), room.come("ben", Form.EVENTS)
    room.come("ann")
    room.clock.jump(1)
    assert told(phone) == [("user.online", "ann")]
    assert feed.told() == []


async def test_coming_back_within_the_grace_on_another_surface_is_not_told(room: Room) -> None:
    ben, ann = room.come("ben"), room.come("ann")
    room.clock.jump(1)
    room.go(ann)
    room.clock.jump(GRACE / 2)
    room.come("ann", Form.EVENTS)
    room.clock.jump(2 * GRACE)
    assert told(ben) == [("user.online", "ann")]


async def test_a_silent_device_on_any_surface_is_away_until_it_acts(room: Room) -> None:
    ben, ann = room.come("ben"), room.come("ann", Form.EVENTS)
    room.clock.jump(1)
    room.presence.tick(AWAY_AFTER, [ann])
    room.clock.jump(2)
    room.presence.acted(ann, AWAY_AFTER + 1)
    room.clock.jump(2)
    assert told(ben) == [("user.online", "ann"), ("user.away", "ann"), ("user.online", "ann")]


async def test_a_reader_of_the_whole_org_is_nobodys_presence(room: Room) -> None:
    ben, ann = room.come("ben"), room.come("ann")
    reader = Recorder(Form.EVENTS)
    room.hub.attach(room.member("ann"), reader)
    room.hub.follow_org(reader)
    room.presence.acted(reader, AWAY_AFTER)
    room.clock.jump(1)
    room.go(reader)
    room.clock.jump(GRACE + 2)
    assert told(ben) == [("user.online", "ann")]
    room.go(ann)
    room.clock.jump(GRACE + 2)
    assert told(ben) == [("user.online", "ann"), ("user.offline", "ann")]


async def test_nothing_is_kept_of_those_who_have_left(room: Room) -> None:
    room.come("ben")
    for n in range(20):
        visitor = room.come(f"user-{n}")
        if n % 2:
            room.clock.jump(1)
        room.go(visitor)
        if n % 3:
            room.clock.jump(1)
    room.clock.jump(GRACE + 10)
    presence = room.presence
    assert (presence._left_at, presence._leaving, presence._changed) == ({}, {}, {})
    assert {member.user_id for member in presence._here} == {"ben"}


async def test_last_seen_is_kept_until_it_is_stored(room: Room) -> None:
    failing = True

    @event.listens_for(room.store.engines[0], "begin")
    def _break(connection: Any) -> None:
        if failing:
            raise RuntimeError("nobody foresaw this")

    left_at = room.clock.now()
    room.go(room.come("ann"))
    await room.presence.save()
    assert room.presence.seen_at("org", "ann") == left_at
    assert await room.store.last_seen("org", ["ann"]) == {}
    failing = False
    await room.presence.save()
    assert room.presence.seen_at("org", "ann") is None
    assert await room.store.last_seen("org", ["ann"]) == {"ann": left_at}
