"""What every store must answer: pages, views, catch-up, devices; and with how many queries."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from sqlalchemy import text

from madang.model import nouns
from madang.model.nouns import ConversationView, Event, Message
from madang.ports.store import Write
from madang.store.queries import conversations as conversation_queries
from madang.store.queries import events as event_queries
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.store.conftest import AnyStore, SteppedClock, statements
from tests.store.writes import (
    Create,
    Edit,
    Join,
    Leave,
    Publish,
    React,
    Read,
    Rename,
    Send,
)

ROOM = "room-1"
SQLITE = "sqlite"


async def _talk(writer: GroupWriter, count: int, room: str = ROOM) -> list[Message]:
    return [await writer.write(Send(room, "ann", f"text {n}")) for n in range(count)]


async def test_pages_of_messages(store: AnyStore, writer: GroupWriter) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    sent = await _talk(writer, 10)  # seq 2 to 11

    async def page(limit: int = 4, **where: int) -> tuple[list[int], bool]:
        found = await store.messages("default", ROOM, "ann", limit=limit, **where)
        assert found is not None
        return [message.seq for message in found.items], found.has_more

    assert await page() == ([8, 9, 10, 11], True)
    assert await page(limit=10) == (list(range(2, 12)), False)
    assert await page(before_seq=8) == ([4, 5, 6, 7], True)
    assert await page(before_seq=6) == ([2, 3, 4, 5], False)
    assert await page(before_seq=2) == ([], False)
    assert await page(after_seq=5) == ([6, 7, 8, 9], True)
    assert await page(after_seq=7) == ([8, 9, 10, 11], False)
    assert await page(after_seq=0, limit=1) == ([2], True)
    assert await page(around_seq=6) == ([4, 5, 6, 7], True)
    assert await page(around_seq=6, limit=5) == ([4, 5, 6, 7, 8], True)
    assert await page(around_seq=2) == ([2, 3, 4, 5], True)
    assert await page(around_seq=11) == ([8, 9, 10, 11], True)
    assert await page(around_seq=6, limit=50) == (list(range(2, 12)), False)
    for org, room, user in (
        ("other", ROOM, "ann"),
        ("default", "nowhere", "ann"),
        ("default", ROOM, "eve"),
    ):
        for where in ({}, {"before_seq": 8}, {"after_seq": 1}, {"around_seq": 6}):
            assert await store.messages(org, room, user, **where) is None
    assert await store.participants("default", ROOM, "eve") is None
    people = await store.participants("default", ROOM, "ben")
    assert people is not None
    assert [p.user_id for p in people.items] == ["ann", "ben"]
    with statements(store.engines[1]) as seen:
        await page(around_seq=6)
    assert len(seen) == 2, seen  # BEGIN and one query

    assert await store.message("default", sent[3].id, "ben") == sent[3]
    assert await store.message("default", sent[3].id, "eve") is None
    assert await store.message("other", sent[3].id, "ben") is None


async def test_finding_a_seq(store: AnyStore, writer: GroupWriter, clock: SteppedClock) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    await writer.write(Create("room-2", ["ann"]))
    start = clock.time
    sent = []
    for _ in range(5):
        clock.time += 1_000
        sent.append(await writer.write(Send(ROOM, "ann")))
        await writer.write(Send("room-2", "ann"))

    assert await store.seq_of("default", ROOM, message_id=sent[2].id, time=None) == 4
    assert await store.seq_of("default", "room-2", message_id=sent[2].id, time=None) is None
    assert await store.seq_of("default", ROOM, message_id=None, time=start) == 0
    assert await store.seq_of("default", ROOM, message_id=None, time=start + 2_500) == 3
    assert await store.seq_of("default", ROOM, message_id=None, time=start + 10**9) == 6

    log = await store.events_of_conversation("default", ROOM, 0, None, 100)
    for event in log:
        assert await store.seq_at("default", ROOM, event.cursor) == event.seq
        assert await store.seq_at("default", ROOM, event.cursor - 1) == event.seq - 1
    assert await store.seq_at("default", ROOM, 2**60) == 6
    assert await store.seq_at("other", ROOM, 2**60) == 0
    assert await store.last_seqs("default", [ROOM, "nowhere"]) == {ROOM: 6}
    assert await store.last_seqs("other", [ROOM]) == {}
    assert await store.heads(["default", "other"]) == {"default": await store.head("default")}


async def test_events_are_joined_with_what_is_true_now(
    store: AnyStore, writer: GroupWriter
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    first, second = await _talk(writer, 2)
    await writer.write(Edit(first.id, "ann", "better"))
    await writer.write(React(first.id, "ben", "👍"))
    await writer.write(React(first.id, "ann", "👍"))
    await writer.write(React(first.id, "ann", "🎉"))
    await writer.write(React(first.id, "ben", "👍", remove=True))
    await writer.write(React(first.id, "ben", "👍"))
    await writer.write(Edit(second.id, "ann", "", delete=True))
    await writer.write(Rename(ROOM, "New name"))

    log = await store.events_of_org("default", 0, None, 100)
    assert await store.events_of_conversation("default", ROOM, 0, None, 100) == log
    assert await store.events_for_user("default", "ben", 0, None, 100) == log
    of_first = [event.message for event in log if event.message and event.message.id == first.id]
    assert len(of_first) == 7
    for message in of_first:
        assert message.content == "better"
        assert dict(message.reactions) == {"👍": ("ann", "ben"), "🎉": ("ann",)}
    assert [e.message.content for e in log if e.type == "message.deleted" and e.message] == [""]
    told = [e for e in log if e.type.startswith("conversation.")]
    for event in told:
        view = event.conversation
        assert view is not None
        assert view.conversation.title == "New name"
        assert [p.user_id for p in view.participants] == ["ann", "ben"]
        assert view.last_message is not None
        assert view.last_message.deleted_at is not None
    assert len(told) == 2

    with statements(store.engines[1]) as seen:
        await store.events_for_user("default", "ben", 0, None, 100)
    assert len(seen) == 4, seen  # BEGIN, the page, its conversations, their people


async def test_catch_up_of_a_user_is_what_the_log_says(
    store: AnyStore, writer: GroupWriter
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    users = ["ann", "ben", "cat"]
    rooms = [f"room-{n}" for n in range(6)]
    for room in rooms:
        await writer.write(Create(room, ["boss", *dice.sample(users, dice.randint(0, 3))]))
    for _ in range(40):
        writes = []
        for _ in range(10):
            room, user = dice.choice(rooms), dice.choice(users)
            kinds: list[Write] = [
                Send(room, "boss"),
                Join(room, user),
                Leave(room, user),
                Publish(room, "x"),
            ]
            writes.append(writer.write(dice.choices(kinds, [6, 1, 1, 2])[0]))
        await asyncio.gather(*writes, return_exceptions=True)

    log: list[Event] = []
    while page := await store.events_of_org("default", log[-1].cursor if log else 0, None, 100):
        log += page
    mine = await store.memberships("default", users)
    for user in users:
        visible = [
            e
            for e in log
            if e.conversation_id in mine[user]
            or (e.type == "participant.left" and e.user_id == user)
        ]
        for _ in range(20):
            after, until = sorted(dice.choices([e.cursor - dice.randint(0, 1) for e in log], k=2))
            limit = dice.choice([1, 3, 10, 1000])
            wanted = [e for e in visible if after < e.cursor <= until][:limit]
            assert await store.events_for_user("default", user, after, until, limit) == wanted
        seen: list[Event] = []
        while page := await store.events_for_user(
            "default", user, seen[-1].cursor if seen else 0, None, 7
        ):
            seen += page
        assert seen == visible


async def test_catch_up_goes_by_index_and_skips_what_has_nothing_new(
    sqlite_url: str, clock: SteppedClock
) -> None:
    store = SqliteStore(sqlite_url, clock)
    values = {"org": "default", "user": "ann", "after": 0, "until": 2**62, "limit": 10}
    with store.engines[1].connect() as connection:
        query = text(f"EXPLAIN QUERY PLAN {event_queries._EVENTS_FOR_USER[SQLITE].text}")
        plan = [str(row[3]) for row in connection.execute(query, values)]
        for index, columns in (
            ("COVERING INDEX ix_participants_org_id_user_id", "org_id=? AND user_id=?"),
            (
                "COVERING INDEX uq_events_conversation_id_seq",
                "conversation_id=? AND seq>? AND seq<?",
            ),
            ("INDEX ix_events_left", "org_id=? AND user_id=? AND cursor>?"),
        ):
            assert any(f"USING {index} ({columns})" in step for step in plan), plan
        # The org's log is only looked into for the events that were found.
        assert [s for s in plan if "PRIMARY KEY (org_id=? AND cursor>" in s] == [], plan
        tables = ("SCAN e", "SCAN m", "SCAN c", "SCAN p")
        assert [s for s in plan if s.startswith(tables) or "MATERIALIZE m" in s] == []
        query = text(f"EXPLAIN QUERY PLAN {conversation_queries._CONVERSATIONS[SQLITE].text}")
        rosters = text(f"EXPLAIN QUERY PLAN {conversation_queries._ROSTERS[SQLITE].text}")
        where: dict[str, object] = {"org": "default", "ids": '["room-1"]'}
        plan = [str(row[3]) for row in connection.execute(rosters, where)]
        index = "INDEX ix_participants_conversation_id_joined_at_user_id"
        for step in (
            f"SEARCH l USING COVERING {index} (conversation_id=?)",
            f"SEARCH p USING {index} (conversation_id=? AND (joined_at,user_id)<(?,?))",
        ):
            assert step in plan, plan
        where = {"org": "default", "user": "ann", "updated_at": 0, "id": "", "limit": 1}
        plan = [str(row[3]) for row in connection.execute(query, where)]
        assert [s for s in plan if s.startswith(tables)] == [], plan
    await store.close()


async def test_conversations_newest_first_with_a_constant_number_of_queries(
    store: AnyStore, writer: GroupWriter, clock: SteppedClock
) -> None:
    rooms = [f"room-{n}" for n in range(7)]
    for room in rooms:
        clock.time += 1_000
        await writer.write(Create(room, ["ann", "ben"]))
    await writer.write(Create("inbox", ["ann"], kind="inbox", title=None))
    clock.time += 1_000
    for room in ("room-2", "room-5"):
        clock.time += 1_000
        last = await writer.write(Send(room, "ben", room))
    # Reading, reactions and edits are no activity; a custom event is.
    clock.time += 1_000
    await writer.write(React(last.id, "ann", "👍"))
    await writer.write(Read(last.id, "ann"))
    await writer.write(Publish("room-0", "boss"))
    order = ["room-0", "room-5", "room-2", "room-6", "room-4", "room-3", "room-1"]

    seen: list[ConversationView] = []
    before = None
    while True:
        with statements(store.engines[1]) as queries:
            page = await store.conversations("default", "ann", before=before, limit=3)
        assert len(queries) == 3, queries  # BEGIN, the page, its people
        seen += page.items
        if not page.has_more:
            break
        before = (seen[-1].conversation.updated_at, seen[-1].conversation.id)
    assert [view.conversation.id for view in seen] == order
    by_id = {view.conversation.id: view for view in seen}
    assert by_id["room-2"].unread_count == 1
    assert by_id["room-2"].last_message is not None
    assert by_id["room-2"].last_message.content == "room-2"
    assert by_id["room-5"].unread_count == 0
    assert by_id["room-5"].last_message is not None
    assert dict(by_id["room-5"].last_message.reactions) == {"👍": ("ann",)}
    assert by_id["room-6"].last_message is None
    for view in seen:
        assert [p.user_id for p in view.participants] == ["ann", "ben"]
        assert await store.conversation("default", view.conversation.id, "ann") == view
    assert await store.conversation("default", "room-1", "eve") is None
    assert await store.conversation("other", "room-1", "ann") is None
    assert await store.conversation("default", "inbox", "ann") is not None


async def test_unread_counts_others_living_messages_up_to_a_limit(
    store: AnyStore, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))

    async def unread(user: str) -> int:
        view = await store.conversation("default", ROOM, user)
        assert view is not None
        return view.unread_count

    sent = await _talk(writer, 3)
    await writer.write(Send(ROOM, "ben"))
    assert (await unread("ann"), await unread("ben")) == (1, 3)
    await writer.write(Edit(sent[1].id, "ann", "", delete=True))
    assert await unread("ben") == 2
    await writer.write(Read(sent[0].id, "ben"))
    assert await unread("ben") == 1
    await writer.write(Read(sent[2].id, "ben"))
    assert await unread("ben") == 0
    await asyncio.gather(*(writer.write(Send(ROOM, "ann")) for _ in range(nouns.MAX_UNREAD + 5)))
    assert await unread("ben") == nouns.MAX_UNREAD


async def test_people_and_devices(
    store: AnyStore, writer: GroupWriter, clock: SteppedClock
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    await writer.write(Create("room-2", ["ann", "cat"]))
    await _talk(writer, 3)
    assert await store.contacts("default", "ann") == {"ben", "cat"}
    assert await store.contacts("default", "ben") == {"ann"}
    assert await store.contacts("other", "ann") == set()

    head = await store.head("default")
    assert await store.acked_cursor("default", "ben", "phone") is None
    await asyncio.gather(
        *(store.save_ack("default", "ben", "phone", cursor, 5) for cursor in (head - 1, head - 2))
    )
    await store.save_ack("default", "ben", "phone", 1, 9)
    await store.save_ack("default", "ann", "laptop", 0, 7)
    assert await store.acked_cursor("default", "ben", "phone") == head - 1
    phone = {
        "user_id": "ben",
        "client_id": "phone",
        "cursor": head - 1,
        "updated_at": 5,
        "behind": 1,
    }
    assert await store.devices("default", "ben") == [phone]
    assert [(d["user_id"], d["behind"]) for d in await store.devices("default", None)] == [
        ("ann", 5),
        ("ben", 1),
    ]

    await asyncio.gather(
        store.save_last_seen("default", {"ann": 5, "ben": 6}),
        store.save_last_seen("default", {"ann": 9}),
        store.save_last_seen("default", {"ann": 7}),
    )
    assert await store.last_seen("default", ["ann", "ben", "eve"]) == {"ann": 9, "ben": 6}
    assert await store.counts("default", clock.time) == {
        "active_conversations": 2,
        "conversations": 2,
        "messages": 3,
        "events": 5,
        "users": 3,
    }
    assert (await store.counts("default", clock.time + 1))["active_conversations"] == 0


async def test_events_that_are_no_longer_kept_count_as_old(
    store: AnyStore, writer: GroupWriter, execute: Callable[[str], None]
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    await _talk(writer, 9)
    log = await store.events_of_org("default", 0, None, 100)
    execute("DELETE FROM events WHERE seq <= 4")
    execute(f"UPDATE orgs SET oldest_cursor = {log[3].cursor}")
    assert await store.oldest_cursor("default") == log[3].cursor
    assert await store.oldest_cursor("other") == 0
    assert await store.events_for_user("default", "ann", log[3].cursor, None, 3) == log[4:7]
    assert await store.seq_at("default", ROOM, log[5].cursor) == 6


async def test_pages_end_where_they_have_bytes_enough(store: AnyStore, writer: GroupWriter) -> None:
    """One at least, and the same ones again from there on: none is left out."""
    await writer.write(Create(ROOM, ["ann"]))
    sizes = (10, 10, 5_000, 1, 2_500, 2_500, 3, 9_000, 9_000, 1)
    sent = [await writer.write(Send(ROOM, "ann", "안" * size)) for size in sizes]
    log = await store.events_of_conversation("default", ROOM, 0, None, 100)
    found, pages, at = [], [], 0
    while page := await store.events_of_conversation("default", ROOM, at, None, 4, 15_000):
        found += page
        pages.append(sum(len(e.message.content) for e in page if e.message))
        at = page[-1].seq
    assert found == log
    assert pages == [5_020, 5_001, 9_003, 9_000, 1]

    ids = [message.id for message in sent]
    back: list[str] = []
    counts, before, more = [], None, True
    while more:
        newest = await store.messages(
            "default", ROOM, "ann", before_seq=before, limit=4, most_bytes=15_000
        )
        assert newest is not None
        back = [message.id for message in newest.items] + back
        counts.append(len(newest.items))
        before, more = newest.items[0].seq, newest.has_more
    assert back == ids
    assert counts == [2, 1, 3, 2, 2]
    forth, counts, after, more = [], [], 0, True
    while more:
        oldest = await store.messages(
            "default", ROOM, "ann", after_seq=after, limit=4, most_bytes=15_000
        )
        assert oldest is not None
        forth += [message.id for message in oldest.items]
        counts.append(len(oldest.items))
        after, more = oldest.items[-1].seq, oldest.has_more
    assert forth == ids
    assert counts == [3, 3, 2, 1, 1]
    for user in ("ben", "nobody"):
        assert await store.messages("default", ROOM, user, most_bytes=1) is None
    whole = await store.messages("default", ROOM, "ann", limit=100, most_bytes=10**9)
    assert whole is not None and [one.id for one in whole.items] == ids and not whole.has_more
