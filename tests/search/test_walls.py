"""PostgreSQL itself keeps the index of one org from another, and a message's number from who may
not see it; and goes by index, whatever it believes of the tables."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection, TextClause
from sqlalchemy.exc import DBAPIError

from madang.ports.search import Wanted
from madang.store import indexing
from madang.store.queries import search as queries
from madang.store.sql_store import ALL_ORGS, Scope
from tests.search.conftest import Archive, MovingClock, archive_on

TABLES = ("search_indexes", "search_blocks", "search_postings", "search_entries")


@pytest.fixture
async def archive(postgresql_urls: tuple[str, str], clock: MovingClock) -> AsyncIterator[Archive]:
    opened = archive_on(postgresql_urls[1], clock)
    for org in ("default", "rival"):
        room = await opened.room("ann", "ben", org=org)
        other = await opened.room("cat", org=org)
        await opened.say("ann", room, f"secret of {org}", org=org)
        await opened.say("cat", other, f"secret of a cat in {org}", org=org)
    await opened.follower.look()
    yield opened
    await opened.writer.close()
    await opened.store.close()


def _orgs(connection: Connection, table: str) -> set[str]:
    return set(connection.exec_driver_sql(f"SELECT org_id FROM {table}").scalars())


def _growth(connection: Connection) -> tuple[object, ...]:
    return tuple(
        connection.exec_driver_sql(
            "SELECT c.reloptions, a.attstorage FROM pg_class AS c JOIN pg_attribute AS a "
            "ON a.attrelid = c.oid AND a.attname = 'documents' WHERE c.relname = 'search_postings'"
        ).one()
    )


async def test_lists_have_room_to_grow(archive: Archive) -> None:
    """Else PostgreSQL indexes half as fast: updates leave their pages, and long lists are
    compressed each time."""
    options, storage = await archive.store.read(ALL_ORGS, _growth)
    assert options == ["fillfactor=70"]
    assert storage in (b"e", "e")


@pytest.mark.parametrize("table", TABLES)
async def test_straight_sql_sees_one_org(archive: Archive, table: str) -> None:
    read = archive.store.read
    assert await read(Scope("default"), _orgs, table) == {"default"}
    assert await read(Scope("rival"), _orgs, table) == {"rival"}
    for nobody in ("", "nobody", "default,rival", "' OR '1'='1"):
        assert await read(Scope(nobody), _orgs, table) == set(), nobody
    # How far each index is may be read for all at once: numbers, and nothing that is in it.
    everything = {"default", "rival"} if table == "search_indexes" else set()
    assert await read(ALL_ORGS, _orgs, table) == everything


async def test_straight_sql_sees_entries_of_what_the_user_sees(archive: Archive) -> None:
    def seen(connection: Connection) -> set[str]:
        query = "SELECT message_id FROM search_entries"
        return set(connection.exec_driver_sql(query).scalars())

    def seen_messages(connection: Connection) -> set[str]:
        return set(connection.exec_driver_sql("SELECT id FROM messages").scalars())

    read = archive.store.read
    assert len(await read(Scope("default"), seen)) == 2
    for user, count in (("ann", 1), ("cat", 1), ("eve", 0)):
        scope = Scope("default", user)
        assert await read(scope, seen) == await read(scope, seen_messages)
        assert len(await read(scope, seen)) == count


async def test_a_search_that_forgot_to_ask(archive: Archive) -> None:
    """Its own conditions name the right org and user, the scope does not."""
    wanted = Wanted(["secret"], [], [], None, None, None)
    read = archive.store.read
    right = await read(Scope("default", "ann"), queries.candidates, "default", "ann", wanted, 10)
    assert right is not None and len(right.items) == 1
    for scope in (Scope("rival", "ann"), Scope("rival"), Scope("nobody")):
        assert await read(scope, queries.candidates, "default", "ann", wanted, 10) is None
    for user in ("cat", "eve"):
        found = await read(Scope("default", user), queries.candidates, "default", "ann", wanted, 10)
        assert found is not None and not found.items
        (ids,) = [[item.message_id for item in right.items]]
        assert await read(Scope("default", user), queries.found, "default", "ann", ids) == {}


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO search_indexes VALUES ('rival', 9, 'serving', 0, 0, 0)",
        "INSERT INTO search_blocks VALUES ('rival', 9, 0, 0, 0)",
        "INSERT INTO search_postings VALUES ('rival', 9, 0, 'x', '')",
        "INSERT INTO search_entries VALUES ('rival', 9, 0, 'x')",
        "UPDATE search_postings SET org_id = 'rival'",
        "ALTER TABLE search_postings DISABLE ROW LEVEL SECURITY",
        "DROP POLICY of_org ON search_postings",
    ],
)
async def test_what_a_server_may_not_write(archive: Archive, sql: str) -> None:
    with pytest.raises(DBAPIError, match=r"row-level security|must be owner"):
        await archive.store.write(Scope("default"), Connection.exec_driver_sql, sql)


async def test_rows_of_others_stay(archive: Archive) -> None:
    def ruin(connection: Connection) -> list[int]:
        return [
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE org_id = 'rival'").rowcount
            for table in TABLES
        ]

    assert await archive.store.write(Scope("default"), ruin) == [0, 0, 0, 0]
    assert await archive.found("ann", "secret", org="rival") == ["secret of rival"]


def _numbered(query: TextClause) -> str:
    names: dict[str, int] = {}
    return re.sub(
        r"(?<!:):(\w+)", lambda m: f"${names.setdefault(m[1], len(names) + 1)}", query.text
    )


def _plan(connection: Connection, query: str) -> str:
    values = ", ".join(["NULL"] * max(int(n) for n in re.findall(r"\$(\d+)", query)))
    connection.exec_driver_sql(f"PREPARE looked_at AS {query}")
    found = connection.exec_driver_sql(f"EXPLAIN EXECUTE looked_at ({values})").scalars()
    plan = "\n".join(found)
    connection.exec_driver_sql("DEALLOCATE looked_at")
    return plan


BY_KEY = {
    "postings": (queries._POSTINGS, "search_postings", "block"),
    "candidates": (queries._CANDIDATES, "search_entries", "number"),
    "found": (queries._FOUND, "messages", "id"),
    "numbers": (indexing._NUMBERS, "search_entries", "message_id"),
    "blocks": (queries._BLOCKS, "search_blocks", "block"),
    "postings_of_block": (indexing._POSTINGS_OF_BLOCK, "search_postings", "block"),
    "long_lists": (indexing._LONG_LISTS, "search_postings", "block"),
    "log": (queries._LOG, "events", "cursor"),
}


@pytest.mark.parametrize("name", BY_KEY)
async def test_every_query_looks_up_by_key(archive: Archive, name: str) -> None:
    query, table, column = BY_KEY[name]
    plan = await archive.store.read(Scope("default", "ann"), _plan, _numbered(query["postgresql"]))
    print(plan)
    assert "Seq Scan" not in plan
    assert "Hash Join" not in plan
    lines = plan.splitlines()
    conditions = [
        lines[number + 1]
        for number, line in enumerate(lines)
        if f" on {table} " in line and "Index" in line
    ]
    assert conditions
    for condition in conditions:
        assert "Index Cond" in condition and column in condition, condition
