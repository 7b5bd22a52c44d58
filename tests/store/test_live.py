"""Live rooms in the store: a batch costs a few statements however large, PostgreSQL keeps orgs
apart in their tables too, and goes by index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from madang.model.live import Room, Seat
from madang.model.nouns import Event
from madang.protocol.errors import MadangError
from madang.services.live import tokens
from madang.services.live.chat import SendChat
from madang.services.live.counts import TellCounts
from madang.services.live.moderation import Ban, Kick
from madang.services.live.polls import OpenPoll, VotePoll
from madang.services.live.questions import Ask, Vote
from madang.services.live.rooms import EraseRoom
from madang.services.live.seats import Rename, SeatOnline, TakeSeat
from madang.store import live_rows, question_rows, tables
from madang.store.dialects import postgresql as dialect
from madang.store.postgresql import PostgresStore
from madang.store.queries import live
from madang.store.sql_store import ALL_ORGS, Scope
from madang.store.writer import GroupWriter
from tests.postgres import Postgres
from tests.services.live.conftest import ORG, Hall
from tests.store.conftest import AnyStore, SteppedClock, statements
from tests.store.test_postgresql_plans import _numbered, _plan

LIVE_TABLES = ("rooms", "room_codes", "seats", "questions", "votes")
FEW = 16
"""Statements of a commit, its BEGIN and scope with it: reads and writes of each kind."""


@pytest.fixture
def hall(store: AnyStore, writer: GroupWriter, clock: SteppedClock, delivered: list[Event]) -> Hall:
    return Hall(store, writer, clock, delivered)


async def _count(hall: Hall, writes: list[Any]) -> tuple[int, list[Any]]:
    """How many statements a batch takes, and what its writes gave. Bulk statements of SQLite hold
    256 rows each: there they are counted as one."""
    engine = hall.store.engines[0]
    with statements(engine) as seen:
        outcomes = await hall.all(writes)
    refused = [each for each in outcomes if isinstance(each, MadangError)]
    assert refused == []
    kinds = [sql.split(" VALUES ")[0].split("(VALUES ")[0] for sql in seen]
    return len(set(kinds)) if engine.dialect.name == "sqlite" else len(kinds), outcomes


async def test_a_batch_of_votes_is_a_few_statements(hall: Hall) -> None:
    rooms = [await hall.open(), await hall.open(one_vote_per="address")]
    seats: list[Seat] = []
    for room in rooms:
        address = tokens.hashed(room, "203.0.113.7")
        writes = [hall.taking(room, device=f"phone {n}") for n in range(500)]
        number, outcomes = await _count(hall, writes)
        assert number <= FEW
        seats += [each.seat for each in outcomes]
        assert len({seat.nickname for seat in seats}) == len(seats)
        assert (await hall.seat(room, address=address)).address == address
    questions = {room.id: await hall.ask(await hall.seat(room)) for room in rooms}
    counted = []
    for some in (seats[:10], seats):
        votes = [
            Vote(ORG, s.conversation_id, s.participant_id, questions[s.conversation_id].id)
            for s in some
        ]
        number, outcomes = await _count(hall, votes)
        counted.append(number)
    # As many for a thousand as for ten (only with both rooms in it there are more kinds).
    assert max(counted) <= FEW
    for room in rooms:
        assert (await hall.metadata(room, questions[room.id]))["votes"] == 500


async def test_every_kind_of_write_is_a_few_statements_a_batch(hall: Hall) -> None:
    room = await hall.open(slow_mode_seconds=1, one_vote_per="device", blocked_words=["x"])
    taking = [
        TakeSeat(ORG, room.id, f"{n:036}", "민지", f"key {n}", "network", f"device {n}")
        for n in range(300)
    ]
    number, outcomes = await _count(hall, list(taking))
    assert number <= FEW
    assert [each.seat.number for each in outcomes] == list(range(1, 301))
    who = [(ORG, room.id, each.seat.participant_id) for each in outcomes]
    poll = await hall.writer.write(OpenPoll(ORG, room.id, room.host_id, "?", "cloud"))
    for kind in (
        [SeatOnline(*each) for each in who],
        [SendChat(*each, "hello", client_id="1") for each in who],
        [Ask(*each, "Why?", client_id="2") for each in who],
        [VotePoll(*each, poll.message.id, words=("a", "b")) for each in who],
        [Rename(*each, "수진") for each in who],
        [TellCounts(ORG, room.id)],
        [Kick(ORG, room.id, room.host_id, person) for _, _, person in who[:100]],
    ):
        hall.clock.time += 10_000_000
        number, _ = await _count(hall, list(kind))
        assert number <= FEW, kind[0]
    # Whom else a ban sends away is looked for then: hosts ban by hand.
    for _, _, person in who[100:]:
        number, _ = await _count(hall, [Ban(ORG, room.id, room.host_id, person)])
        assert number <= FEW + 2
    assert (await hall.now(room)).seats == 1
    number, _ = await _count(hall, [EraseRoom(ORG, room.id, room.host_id)])
    assert number <= FEW + 12


async def test_what_was_not_announced_is_found_all_the_same(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Needs` are hints: with none at all everything is decided as with all."""
    monkeypatch.setattr(live_rows.LiveRows, "prefetch", lambda self, needs: None)
    room = await hall.open(seats_per_address=2, one_vote_per="address")
    first = hall.taking(room, "민지", address="network")
    seat = (await hall.writer.write(first)).seat
    outcomes = await hall.all(
        [
            hall.taking(room, "민지", address="network"),
            hall.taking(room, "민지", address="network"),
            Kick(ORG, room.id, room.host_id, seat.participant_id),
            hall.taking(room, "민지", address="network"),
            Rename(ORG, room.id, room.host_id, "민지"),
        ]
    )
    assert [isinstance(each, MadangError) for each in outcomes] == [
        False,
        True,
        False,
        False,
        False,
    ]
    given = [each.seat.nickname for each in outcomes if not isinstance(each, MadangError)]
    assert given == ["민지 2", "민지", "민지 3", "민지 4"]
    two, three = outcomes[0].seat, outcomes[3].seat
    question = await hall.ask(two)
    votes = [
        Vote(ORG, room.id, s.participant_id, question.id, up)
        for s, up in ((two, True), (three, True), (two, False), (three, True), (two, True))
    ]
    refused = [isinstance(each, MadangError) for each in await hall.all(votes)]
    assert refused == [False, True, False, False, True]
    ban = await hall.all(
        [
            Ban(ORG, room.id, room.host_id, two.participant_id),
            Ban(ORG, room.id, room.host_id, three.participant_id),
            hall.taking(room, address="network"),
        ]
    )
    assert [isinstance(each, MadangError) for each in ban] == [False, False, True]


# PostgreSQL's own.


@pytest.fixture
async def apart(
    postgresql_urls: tuple[str, str], clock: SteppedClock
) -> AsyncIterator[tuple[PostgresStore, Room, Room]]:
    """A store, and a room with a bit of everything in each of two orgs."""
    store = PostgresStore(postgresql_urls[1], clock, 1)
    writer = GroupWriter(store, clock, lambda batch: None)
    hall = Hall(store, writer, clock, [])
    rooms = []
    for org in (ORG, "rival"):
        room = await hall.open(org)
        taking = hall.taking(room)
        await writer.write(taking)
        asked = await writer.write(Ask(org, room.id, taking.participant_id, "secret?"))
        await writer.write(Vote(org, room.id, taking.participant_id, asked.message.id))
        rooms.append(room)
    yield store, rooms[0], rooms[1]
    await writer.close()
    await store.close()


def _orgs(connection: Connection, table: str) -> set[str]:
    return set(connection.exec_driver_sql(f"SELECT org_id FROM {table}").scalars())


@pytest.mark.parametrize("table", LIVE_TABLES)
async def test_straight_sql_sees_one_org(
    apart: tuple[PostgresStore, Room, Room], table: str
) -> None:
    store, _, _ = apart
    assert await store.read(Scope(ORG), _orgs, table) == {ORG}
    assert await store.read(Scope("rival"), _orgs, table) == {"rival"}
    for nobody in ("", "nobody", "default,rival"):
        assert await store.read(Scope(nobody), _orgs, table) == set()
    every = {ORG, "rival"} if table == "room_codes" else set()
    assert await store.read(ALL_ORGS, _orgs, table) == every

    def ruin(connection: Connection) -> int:
        return connection.exec_driver_sql(f"DELETE FROM {table}").rowcount

    # Every org's codes may be read together, and not touched.
    assert await store.write(ALL_ORGS, ruin) == 0
    await store.write(Scope(ORG), ruin)
    assert await store.read(Scope("rival"), _orgs, table) == {"rival"}


async def test_the_stores_own_reads_in_the_wrong_org(
    apart: tuple[PostgresStore, Room, Room],
) -> None:
    store, mine, theirs = apart
    assert await store.live.room(ORG, theirs.id) is None
    assert await store.live.seat(ORG, theirs.id, theirs.host_id) is None
    assert (await store.live.questions(ORG, theirs.id, seen_by=None)).items == ()
    assert (await store.live.export(ORG, theirs.id, after_seq=0, limit=9)).items == ()
    # As if a query forgot to ask: its conditions name the right org, the scope does not.
    assert await store.read(Scope("rival"), live.room, ORG, mine.id) is None
    found = await store.read(Scope("rival"), live.export, ORG, mine.id, None, 0, 9)
    assert found.items == ()
    assert await store.live.room_by_code(theirs.code) is not None


FILL = """
    INSERT INTO rooms SELECT 'room-' || n, 'default', 'code-' || n, 'A talk', 'active', '{}', 'ko',
        'key', 'host', 'ann', 1, 50, 20, NULL, NULL, NULL, 1, '[]' FROM generate_series(0, 99) AS n;
    INSERT INTO room_codes SELECT 'code-' || n, 'default', 'room-' || n, n, n
        FROM generate_series(0, 999) AS n;
    INSERT INTO seats SELECT 'room-' || n % 100, 'user-' || n, 'default', 'participant', 'n',
        'n' || n, 1, 'key-' || n, n, 'a', 'd', 0, NULL, 1, NULL, 0, 0
        FROM generate_series(0, 4999) AS n;
    INSERT INTO messages SELECT 'message-' || n, 'default', 'room-' || n % 100, n / 100 + 1, 'user',
        'user', 'text', 'hello', '{}', NULL, '[]', NULL, n FROM generate_series(0, 4999) AS n;
    INSERT INTO questions SELECT 'message-' || n, 'default', 'room-' || n % 100, 'question',
        n / 100 + 1, 'user', 'open', n % 7, 1 FROM generate_series(0, 1999) AS n;
    INSERT INTO votes SELECT 'message-' || n % 2000, 'user-' || n, '', 'default', 'd:' || n
        FROM generate_series(0, 9999) AS n;
"""

QUERIES: dict[str, Any] = {
    "taken": live._TAKEN,
    "code": live._CODE,
    "due_counts": live._DUE_COUNTS,
    "due_for_erasure": live._DUE_FOR_ERASURE,
    "room": live._ROOM,
    "seat": live._SEAT,
    "seat_by_key": live._SEAT_BY_KEY,
    "seats": live._SEATS,
    "online": live._ONLINE,
    "counts": live._COUNTS,
    "chat": live._CHAT,
    "export": live._EXPORT,
    "export questions": live._EXPORT_QUESTIONS,
    "top": live._TOP,
    "new": live._NEW,
    "one": live._ONE,
    "polls": live._POLLS,
    "votes": live._VOTES,
    "runs": live_rows._RUNS,
    "asked": question_rows._ASKED,
    "tally": question_rows._TALLY,
    "addresses": live_rows._CROWDS["address"],
    "questions": question_rows._QUESTIONS,
}
BULK = {
    "names": dialect._select(tables.seats, ("conversation_id", "skeleton", "number"), False),
    "keys": dialect._select(tables.seats, ("conversation_id", "key"), False),
    "votes of": dialect._select(tables.votes, ("message_id", "participant_id"), False),
    "devices": dialect._select(tables.seats, ("conversation_id", "device"), False),
    "voters": dialect._select(tables.votes, ("message_id", "voter"), False),
    "save_seats": dialect._update(
        tables.seats, ("conversation_id", "participant_id"), ("nickname",)
    ),
    "untold": dialect._update(tables.room_codes, ("code",), ("untold_since",)),
}


@pytest.fixture(scope="module")
def full(postgres: Postgres) -> Iterator[str]:
    """A server's address of a database with rows."""
    owner, app = postgres.fresh_database()
    postgres.script(FILL, database=owner.rpartition("/")[2])
    yield app
    postgres.drop(owner)


@pytest.mark.parametrize("name", [*QUERIES, *BULK])
async def test_every_query_goes_by_index(full: str, clock: SteppedClock, name: str) -> None:
    store = PostgresStore(full, clock)
    query = BULK.get(name) or _numbered(QUERIES[name]["postgresql"])
    scope = ALL_ORGS if name in ("taken", "code", "due_counts", "due_for_erasure") else Scope(ORG)
    plan = await store.read(scope, _plan, query)
    await store.close()
    print(plan)
    assert "Seq Scan" not in plan
    assert "Hash Join" not in plan
