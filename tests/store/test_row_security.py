"""The second wall: with the wrong org or the wrong user PostgreSQL itself shows nothing, whatever
the SQL; and nothing of one transaction's rights is left for the next on the same connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from madang.store import migrate
from madang.store.postgresql import PostgresStore
from madang.store.queries import events as event_queries
from madang.store.queries import messages as message_queries
from madang.store.sql_store import ALL_ORGS, Scope
from madang.store.tables import metadata
from madang.store.writer import GroupWriter
from tests.postgres import Postgres
from tests.store.conftest import SteppedClock
from tests.store.writes import Create, Leave, React, Send, StartRun, Upload

ROOM, OTHER = "room-1", "room-2"
TABLES = (
    "conversations",
    "participants",
    "messages",
    "reactions",
    "events",
    "devices",
    "users",
    "files",
    "sessions",
    "runs",
)
PRIVATE = ("conversations", "messages", "reactions", "events", "files", "sessions", "runs")
"""The tables that hold what is said, and where."""


@pytest.fixture
async def store(
    postgresql_urls: tuple[str, str], clock: SteppedClock
) -> AsyncIterator[PostgresStore]:
    # One connection: whatever a transaction leaves on it meets the next.
    opened = PostgresStore(postgresql_urls[1], clock, 1)
    yield opened
    await opened.close()


@pytest.fixture
async def writer(store: PostgresStore, clock: SteppedClock) -> AsyncIterator[GroupWriter]:
    opened = GroupWriter(store, clock, lambda batch: None)
    for org in ("default", "rival"):
        room, other = (f"{org}-{ROOM}", f"{org}-{OTHER}")
        await opened.write(Create(room, ["ann", "ben"], org_id=org))
        await opened.write(Create(other, ["cat", "dan"], org_id=org))
        for place, sender in ((room, "ann"), (other, "cat")):
            message = await opened.write(Send(place, sender, "secret", org_id=org))
            await opened.write(React(message.id, sender, "👍", org_id=org))
            await opened.write(Upload(f"{place}-file", place, sender, org_id=org))
        await opened.write(Leave(other, "dan", org_id=org))
        await opened.write(StartRun(room, f"{org}-run", org_id=org))
        await opened.write(StartRun(other, f"{org}-other-run", "cat", org_id=org))
        await store.save_ack(org, "ann", "phone", 1, 1)
        await store.save_last_seen(org, {"ann": 1})
    yield opened
    await opened.close()


def _count(connection: Connection, table: str) -> int:
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def _orgs(connection: Connection, table: str) -> set[str]:
    return set(connection.exec_driver_sql(f"SELECT org_id FROM {table}").scalars())


@pytest.mark.parametrize("table", TABLES)
async def test_straight_sql_sees_one_org(
    store: PostgresStore, writer: GroupWriter, table: str
) -> None:
    assert await store.read(Scope("default"), _orgs, table) == {"default"}
    assert await store.read(Scope("rival"), _orgs, table) == {"rival"}
    for nobody in ("", "nobody", "*", "default,rival", "' OR '1'='1"):
        assert await store.read(Scope(nobody), _orgs, table) == set(), nobody


@pytest.mark.parametrize("table", PRIVATE)
async def test_straight_sql_sees_what_the_user_sees(
    store: PostgresStore, writer: GroupWriter, table: str
) -> None:
    rooms = {"conversations": "id", "reactions": "message_id"}.get(table, "conversation_id")
    query = f"SELECT {rooms} FROM {table}"

    def seen(connection: Connection) -> list[Any]:
        return sorted(connection.exec_driver_sql(query).scalars())

    everything = await store.read(Scope("default"), seen)
    of_ann = await store.read(Scope("default", "ann"), seen)
    of_cat = await store.read(Scope("default", "cat"), seen)
    assert of_ann and of_cat
    assert set(of_ann).isdisjoint(of_cat)
    assert len(of_ann) < len(everything)
    assert await store.read(Scope("default", "eve"), seen) == []
    # Somebody of that name in another org is somebody else.
    assert set(await store.read(Scope("rival", "ann"), seen)).isdisjoint(everything)
    # Who was sent away hears of that, and of nothing else.
    of_dan = await store.read(Scope("default", "dan"), seen)
    assert of_dan == ([f"default-{OTHER}"] if table == "events" else [])


async def test_the_stores_own_queries_with_the_wrong_org_or_user(
    store: PostgresStore, writer: GroupWriter
) -> None:
    """As if a query forgot to ask: its own conditions name the right ones, the scope does not."""
    room = f"default-{ROOM}"
    for scope in (Scope("rival"), Scope("rival", "ann"), Scope("default", "cat")):
        page = await store.read(
            scope, message_queries.messages_of, "default", room, "ann", None, None, None, 50
        )
        assert page is None or page.items == ()
        of_room = event_queries.events_of_conversation
        assert await store.read(scope, of_room, "default", room, 0, None, 50) == []
        of_user = event_queries.events_for_user
        assert await store.read(scope, of_user, "default", "ann", 0, None, 50) == []
    right = await store.read(Scope("default", "ann"), of_user, "default", "ann", 0, None, 50)
    assert len(right) == 3
    assert await store.messages("rival", room, "ann") is None
    assert await store.messages("default", room, "cat") is None


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO users VALUES ('rival', 'spy', 1)",
        "UPDATE users SET org_id = 'rival'",
        "INSERT INTO orgs VALUES ('another', 1, 0)",
        "INSERT INTO gaps VALUES ('rival', 2, 1)",
        "INSERT INTO gaps VALUES ('', 2, 1)",
        "INSERT INTO events VALUES ('rival', 99, 'x', 1, 't', 'a', NULL, NULL, '{}', NULL, 1)",
        "UPDATE epochs SET epoch = 'mine'",
        "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
        "DROP POLICY of_org ON users",
        "DELETE FROM alembic_version",
        "SET ROLE madang_owner",
    ],
)
async def test_what_a_server_may_not_write(
    store: PostgresStore, writer: GroupWriter, sql: str
) -> None:
    def run(connection: Connection) -> None:
        connection.exec_driver_sql(sql)

    with pytest.raises(DBAPIError, match=r"row-level security|permission denied|must be owner"):
        await store.write(Scope("default"), run)


async def test_rows_of_others_are_neither_changed_nor_deleted(
    store: PostgresStore, writer: GroupWriter, postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    def ruin(connection: Connection) -> list[int]:
        return [
            connection.exec_driver_sql(sql).rowcount
            for sql in (
                "UPDATE messages SET content = 'x' WHERE org_id = 'rival'",
                "DELETE FROM messages WHERE org_id = 'rival'",
                "UPDATE orgs SET last_cursor = 0 WHERE id = 'rival'",
            )
        ]

    assert await store.write(Scope("default"), ruin) == [0, 0, 0]
    database = postgresql_urls[0].rpartition("/")[2]
    rival = postgres.execute(
        "SELECT content FROM messages WHERE org_id = 'rival'", database=database
    )
    assert [row[0] for row in rival] == ["secret", "secret"]


async def test_a_connection_carries_nothing_over(store: PostgresStore, writer: GroupWriter) -> None:
    def settings(connection: Connection) -> tuple[str | None, ...]:
        row = connection.exec_driver_sql(
            "SELECT current_setting('madang.org', true), current_setting('madang.user', true)"
        ).one()
        return tuple(row)

    async def between() -> None:
        # A transaction in no scope at all, as a mistake would have it.
        async with store._async_engine.connect() as connection:
            assert set(await connection.run_sync(settings)) <= {"", None}
            for table in (*TABLES, "orgs", "gaps"):
                assert await connection.run_sync(_count, table) == 0, table

    await store.messages("default", f"default-{ROOM}", "ann")
    await between()
    await writer.write(Send(f"default-{ROOM}", "ann"))
    await between()
    with pytest.raises(ZeroDivisionError):
        await store.read(Scope("default", "ann"), lambda connection: 1 // 0)
    await between()
    assert await store.heads(["default", "rival"]) == {
        org: await store.head(org) for org in ("default", "rival")
    }
    await between()


async def test_all_orgs_is_heads_and_nothing_else(
    store: PostgresStore, writer: GroupWriter
) -> None:
    for table in TABLES:
        assert await store.read(ALL_ORGS, _count, table) == 0
    assert await store.read(ALL_ORGS, _count, "orgs") == 2
    # And which runs are under way: their ids.
    found = await store.unchecked_runs(2**62, 10)
    assert {org for org, _ in found} == {"default", "rival"}


async def test_requests_of_many_orgs_at_once_do_not_mix(
    postgresql_urls: tuple[str, str], clock: SteppedClock, writer: GroupWriter
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    store = PostgresStore(postgresql_urls[1], clock, 3)

    async def ask(org: str, user: str) -> None:
        found = await store.read(Scope(org, user), _orgs, "messages")
        assert found == ({org} if user in ("", "ann", "cat") else set())

    who = [
        (dice.choice(("default", "rival")), dice.choice(("", "ann", "cat", "eve")))
        for _ in range(300)
    ]
    await asyncio.gather(*(ask(*each) for each in who))
    await store.close()


async def test_the_owner_is_held_to_it_too(
    postgresql_urls: tuple[str, str], clock: SteppedClock, writer: GroupWriter
) -> None:
    owner = PostgresStore(postgresql_urls[0], clock, 1)
    assert await owner.read(Scope("nobody"), _count, "messages") == 0
    assert await owner.read(Scope("default"), _orgs, "messages") == {"default"}
    await owner.close()


async def test_every_table_is_behind_the_wall(
    postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    found = postgres.execute(
        "SELECT relname, relrowsecurity AND relforcerowsecurity, "
        "(SELECT count(*) FROM pg_policy WHERE polrelid = c.oid) "
        "FROM pg_class AS c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        database=postgresql_urls[0].rpartition("/")[2],
    )
    walls = {name: (on, policies > 0) for name, on, policies in found}
    assert walls.pop("epochs") == walls.pop("alembic_version") == (False, False)
    assert walls == {name: (True, True) for name in metadata.tables if name != "epochs"}
    for name, table in metadata.tables.items():
        assert "org_id" in table.columns or name in ("orgs", "epochs")


async def test_a_new_epoch_is_for_every_orgs_log(
    postgresql_urls: tuple[str, str],
    store: PostgresStore,
    writer: GroupWriter,
    clock: SteppedClock,
) -> None:
    owner, _ = postgresql_urls
    before = await store.epoch()
    heads = await store.heads(["default", "rival"])
    clock.time += 60_000_000
    assert await asyncio.to_thread(migrate.new_epoch, owner, clock.time) != before
    assert await store.epoch() != before
    for org in ("default", "rival", "unheard-of"):
        assert await store.why_lost(org, heads.get(org, 0)) is None
        lost = clock.time - 1
        assert await store.why_lost(org, lost) in ("other_epoch", "unknown_cursor")
    assert await store.why_lost("default", clock.time - 1) == "other_epoch"
