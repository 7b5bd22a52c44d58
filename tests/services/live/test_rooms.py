"""A room's settings, its end, and its erasure, after which nothing of it is anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from madang.model.live import Room, RoomSettings
from madang.model.nouns import Event
from madang.protocol.errors import Conflict, Forbidden, Invalid, MadangError, NotFound, TooLarge
from madang.services.live import codes
from madang.services.live.chat import SendChat
from madang.services.live.moderation import RemoveMessage
from madang.services.live.polls import OpenPoll, VotePoll
from madang.services.live.questions import Vote
from madang.services.live.rooms import ChangeRoom, EraseRoom, OpenRoom
from madang.services.live.seats import ComeBack, Rename, SeatOffline, SeatOnline
from madang.store.opening import open_store
from madang.store.writer import GroupWriter
from tests.services.live.conftest import ORG, SECOND, Hall, texts
from tests.store.conftest import SteppedClock

DAY = 24 * 3600 * SECOND


@pytest.mark.parametrize(
    "settings",
    [
        {"colour": "red"},
        {"slow_mode_seconds": -1},
        {"slow_mode_seconds": 3601},
        {"slow_mode_seconds": True},
        {"slow_mode_seconds": 1.5},
        {"questions_visible": "nobody"},
        {"questions_visible": None},
        {"chat_enabled": "yes"},
        {"one_vote_per": "person"},
        {"max_seats": 0},
        {"seats_per_address": 0},
        {"blocked_words": "word"},
        {"blocked_words": [""]},
        {"blocked_words": ["x" * 51]},
        {"blocked_words": ["x"] * 501},
        {"keep_days": -1},
    ],
)
async def test_settings_that_are_none(hall: Hall, settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        await hall.open(**settings)
    room = await hall.open()
    with pytest.raises(Invalid):
        await hall.change(room, **settings)
    assert await hall.now(room) == room


async def test_settings_change_one_by_one(hall: Hall) -> None:
    room = await hall.open(slow_mode_seconds=3)
    changed = await hall.change(room, chat_enabled=False, blocked_words=["바보", " 바보 "])
    assert changed.room.settings == RoomSettings(
        slow_mode_seconds=3, chat_enabled=False, blocked_words=("바보",)
    )
    assert await hall.now(room) == changed.room
    event = changed.event
    assert event is not None and event.type == "room.changed"
    assert event.data["status"] == "active"
    assert event.data["settings"]["chat_enabled"] is False
    assert "blocked_words" not in event.data["settings"]
    assert (await hall.change(room, chat_enabled=False)).event is None
    seat = await hall.seat(room)
    with pytest.raises(Forbidden, match="Only a host can do this"):
        await hall.writer.write(ChangeRoom(ORG, room.id, seat.participant_id, "ended"))
    titled = await hall.writer.write(
        ChangeRoom(ORG, room.id, room.host_id, title=" New\ntitle ", language="en")
    )
    assert (titled.room.title, titled.room.language) == ("New title", "en")


@pytest.mark.parametrize(("title", "error"), [(" \u200b", Invalid), ("x" * 201, TooLarge)])
async def test_titles(hall: Hall, title: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await hall.writer.write(OpenRoom(ORG, "speaker", title, codes.draw(), "key"))


async def test_codes(hall: Hall) -> None:
    room = await hall.open()
    taken = await hall.store.live.taken_codes([room.code, "AAAAAA"])
    assert taken == {room.code}
    assert codes.parse(f" {room.code[:3].lower()}-{room.code[3:]} ") == room.code
    for wrong in ("", "AAAAA", "AAAAAAA", "AAAAA0", "AAAAAé", "ＡＡＡＡＡＡ"):
        assert codes.parse(wrong) is None
    found = await codes.free(hall.store.live)
    assert codes.parse(found) == found != room.code
    assert len({codes.draw() for _ in range(100)}) > 95


async def test_an_ended_room_is_read_only(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    said, question = (await hall.chat(seat)).message, await hall.ask(seat)
    poll = await hall.writer.write(
        OpenPoll(ORG, room.id, room.host_id, "Which?", "single", ("a", "b"))
    )
    await hall.vote(seat, question)
    await hall.vote(seat, question, up=False)
    assert (await hall.now(room)).untold == (question.id,)
    ended = await hall.change(room, status="ended")
    assert ended.room.ended_at == hall.clock.time
    assert ended.room.erase_at is None
    told = [event.type for event in hall.events][-3:]
    assert told == ["question.changed", "poll.closed", "room.changed"]
    assert (await hall.now(room)).untold == ()
    head = await hall.store.head(ORG)
    who = (ORG, room.id, seat.participant_id)
    host = (ORG, room.id, room.host_id)
    outcomes = await hall.all(
        [
            SendChat(*who, "x"),
            SendChat(*host, "x"),
            Vote(*who, question.id),
            VotePoll(*who, poll.message.id, (0,)),
            Rename(*who, "수진"),
            RemoveMessage(*host, said.id),
            ChangeRoom(*host, "active"),
            OpenPoll(*host, "Which?", "single", ("a", "b")),
        ]
    )
    assert [each.text for each in outcomes] == ["Session has ended"] * len(outcomes)
    assert all(isinstance(each, Conflict) for each in outcomes)
    # Who has a seat comes and reads, and nothing is told of that.
    for write in (SeatOnline(*who), SeatOffline(*who), ComeBack(ORG, room.id, seat.key)):
        assert (await hall.writer.write(write)).event is None
    assert await hall.store.head(ORG) == head
    assert (await hall.store.live.chat(ORG, room.id, before_seq=None, limit=5)).items
    view = await hall.store.conversation(ORG, room.id, seat.participant_id)
    assert view is not None and view.conversation.status == "archived"


async def test_export_pages(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    for number in range(3):
        await hall.chat(seat, f"chat {number}")
        await hall.ask(seat, f"question {number}")
    removed = (await hall.chat(seat, "gone")).message
    await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, removed.id))
    found: list[Any] = []
    more = True
    while more:
        after = found[-1].seq if found else 0
        page = await hall.store.live.export(ORG, room.id, after_seq=after, limit=2)
        found += page.items
        more = page.has_more
    assert texts(found) == [f"{kind} {n}" for n in range(3) for kind in ("chat", "question")]
    assert {message.message_type for message in found} == {"text", "question"}


async def _fill(hall: Hall, room: Room) -> str:
    """A room with something of everything; the id of one who sits in it."""
    seat = await hall.seat(room, "Minji the secret", address="secret", device="secret")
    await hall.writer.write(SeatOnline(ORG, room.id, seat.participant_id))
    await hall.chat(seat, "secret chat")
    await hall.vote(seat, await hall.ask(seat, "secret question"))
    poll = await hall.writer.write(OpenPoll(ORG, room.id, room.host_id, "secret poll", "cloud"))
    await hall.writer.write(
        VotePoll(ORG, room.id, seat.participant_id, poll.message.id, words=("secret",))
    )
    await hall.store.save_ack(ORG, seat.participant_id, "secret phone", 1, 1)
    await hall.store.save_last_seen(ORG, {seat.participant_id: 1})
    return seat.participant_id


async def test_erased_is_gone_from_the_log_too(hall: Hall) -> None:
    kept = await hall.open()
    stays = await _fill(hall, kept)
    room = await hall.open()
    person = await _fill(hall, room)
    before = await hall.store.events_of_org(ORG, 0, None, 1000)
    old = next(e for e in before if e.conversation_id == room.id)
    erased = await hall.writer.write(EraseRoom(ORG, room.id, room.host_id))
    assert erased.type == "room.erased"
    last_seq = max(e.seq for e in before if e.conversation_id == room.id)
    assert erased.seq == last_seq + 1
    after_it = (await hall.writer.write(SendChat(ORG, kept.id, stays, "more"))).event
    assert after_it.cursor > erased.cursor

    live = hall.store.live
    assert await live.room_by_code(room.code) is None
    assert await live.room(ORG, room.id) is None
    assert await live.seat(ORG, room.id, person) is None
    assert (await live.export(ORG, room.id, after_seq=0, limit=10)).items == ()
    assert await hall.store.memberships(ORG, [person]) == {person: []}
    assert await hall.store.last_seen(ORG, [person]) == {}
    assert await hall.store.devices(ORG, person) == []

    # The org's log goes on as if it had never been there, for whoever reads on from anywhere.
    others = [e.cursor for e in before if e.conversation_id == kept.id]
    wanted = [*others, erased.cursor, after_it.cursor]
    for start in (0, old.cursor, others[-1], erased.cursor - 1):
        events = await hall.store.events_of_org(ORG, start, None, 1000)
        assert [e.cursor for e in events] == [c for c in wanted if c > start]
        assert await hall.store.why_lost(ORG, start) is None
    assert await hall.store.oldest_cursor(ORG) == 0
    of_room = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    assert [(e.type, e.seq, e.data, e.message) for e in of_room] == [
        ("room.erased", erased.seq, {}, None)
    ]
    assert await hall.store.last_seqs(ORG, [room.id]) == {room.id: erased.seq}
    for cursor, seq in ((erased.cursor, erased.seq), (erased.cursor - 1, erased.seq - 1)):
        assert await hall.store.seq_at(ORG, room.id, cursor) == seq
    missed = await hall.store.missed(ORG, old.cursor, [room.id], 50, [person], [old.cursor])
    assert [e.type for e in missed.events] == ["room.erased"]
    assert (list(missed.left), missed.lost) == ([], {})
    for user in (person, stays):
        events = await hall.store.events_for_user(ORG, user, 0, None, 1000)
        assert {e.conversation_id for e in events} == ({kept.id} if user == stays else set())

    # And a write to it finds nothing.
    with pytest.raises(NotFound, match="Session not found"):
        await hall.writer.write(SendChat(ORG, room.id, person, "x"))
    assert await hall.writer.write(EraseRoom(ORG, room.id)) is None
    page = await live.questions(ORG, kept.id, seen_by=None)
    assert texts(page.items) == ["secret question"]


async def test_no_byte_is_left_in_the_file(sqlite_url: str, clock: SteppedClock) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    store = open_store(sqlite_url, clock)
    events: list[Event] = []
    writer = GroupWriter(store, clock, lambda batch: events.extend(batch.events))
    hall = Hall(store, writer, clock, events)
    room = await hall.open()
    person = await _fill(hall, room)
    await store.save_last_seen(ORG, {"somebody": 1})
    await writer.write(EraseRoom(ORG, room.id, room.host_id))
    await writer.close()
    await store.close()
    left = b"".join(file.read_bytes() for file in path.parent.glob("madang.db*"))
    for gone in (b"secret", b"Minji", person.encode(), room.code.encode()):
        assert gone not in left, gone
    assert b"somebody" in left


async def test_what_happens_in_the_batch_of_an_erasure(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    question = await hall.ask(seat)
    who = (ORG, room.id, seat.participant_id)
    first, voted, taken, erased, *late = await hall.all(
        [
            SendChat(*who, "x"),
            Vote(*who, question.id),
            hall.taking(room, "late"),
            EraseRoom(ORG, room.id, room.host_id),
            SendChat(*who, "x"),
            Vote(*who, question.id, False),
            hall.taking(room, "later"),
            EraseRoom(ORG, room.id, room.host_id),
        ]
    )
    assert not [e for e in (first, voted, taken, erased) if isinstance(e, MadangError)]
    assert [each.text for each in late] == ["Session not found"] * 4
    of_room = await hall.store.events_of_conversation(ORG, room.id, 0, None, 100)
    assert [event.type for event in of_room] == ["room.erased"]
    assert await hall.store.live.votes_of(ORG, seat.participant_id, [question.id]) == {}


async def test_erased_when_its_time_has_come(hall: Hall) -> None:
    room = await hall.open(keep_days=2)
    forever = await hall.open("rival")
    assert await hall.store.live.due_for_erasure(hall.clock.time + 1000 * DAY) == []
    await hall.change(room, status="ended")
    await hall.writer.write(ChangeRoom("rival", forever.id, forever.host_id, "ended"))
    erase_at = hall.clock.time + 2 * DAY
    assert (await hall.now(room)).erase_at == erase_at
    assert await hall.store.live.due_for_erasure(erase_at - 1) == []
    assert await hall.store.live.due_for_erasure(erase_at) == [(ORG, room.id)]
    assert await hall.writer.write(EraseRoom(ORG, room.id)) is None
    hall.clock.time = erase_at
    erased = await hall.writer.write(EraseRoom(ORG, room.id))
    assert erased.type == "room.erased"
    assert await hall.store.live.due_for_erasure(erase_at + DAY) == []
    assert await hall.store.live.room_by_code(forever.code) is not None


async def test_only_a_host_erases(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room)
    with pytest.raises(Forbidden):
        await hall.writer.write(EraseRoom(ORG, room.id, seat.participant_id))
    assert await hall.writer.write(EraseRoom(ORG, room.id)) is None
    await hall.change(room, status="ended")
    assert (await hall.writer.write(EraseRoom(ORG, room.id, room.host_id))) is not None
