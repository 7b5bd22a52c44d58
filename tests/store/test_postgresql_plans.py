"""How PostgreSQL goes about the queries: by index, although nothing has told the planner what is in
the tables. What it must not do is read a whole table, or a whole org."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, TextClause, create_engine

from madang.store import loading, tables
from madang.store.dialects import postgresql as dialect
from madang.store.postgresql import PostgresStore
from madang.store.queries import conversations, events, files, messages, people
from madang.store.sql_store import Scope
from tests.postgres import Postgres
from tests.store.conftest import SteppedClock, statements

# A hundred rooms of ten with a hundred messages each, straight into the tables.
FILL = """
    INSERT INTO orgs VALUES ('default', 10000, 0);
    INSERT INTO conversations SELECT 'room-' || n, 'default', 'group', 'Room', '{}', 'active', NULL,
        100, 10000 - n, NULL, 'ann', 1, 1 FROM generate_series(0, 99) AS n;
    INSERT INTO participants SELECT 'room-' || n % 100, 'user-' || n / 10, 'default', 'member',
        NULL, 0, n, 'all', NULL FROM generate_series(0, 999) AS n;
    INSERT INTO messages SELECT 'message-' || n, 'default', 'room-' || n % 100, n / 100 + 1, 'user',
        'user', 'text', 'hello', '{}', NULL, '[]', 'c' || n, n FROM generate_series(0, 9999) AS n;
    INSERT INTO events SELECT 'default', n + 1, 'room-' || n % 100, n / 100 + 1, 'message.new',
        'user', NULL, 'message-' || n, '{}', NULL, n FROM generate_series(0, 9999) AS n;
    INSERT INTO users SELECT 'default', 'user-' || n, n FROM generate_series(0, 999) AS n;
    INSERT INTO reactions SELECT 'message-' || n, 'user', 'x', 'default', n
        FROM generate_series(0, 999) AS n;
    INSERT INTO files SELECT 'file-' || n, 'default', 'room-' || n % 100, 'user-' || n / 10,
        'message-' || n, 'a', 'text/plain', 1, 1, 'ready', NULL, '{}', n,
        CASE WHEN n % 100 = 0 THEN n END, 1 FROM generate_series(0, 9999) AS n;
"""


@pytest.fixture(scope="module")
def full(postgres: Postgres) -> Iterator[str]:
    """A server's address of a database with rows."""
    owner, app = postgres.fresh_database()
    postgres.script(FILL, database=owner.rpartition("/")[2])
    yield app
    postgres.drop(owner)


@pytest.fixture
async def store(full: str, clock: SteppedClock) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(full, clock)
    yield opened
    await opened.close()


def _plan(connection: Connection, query: str) -> str:
    values = max(int(number) for number in re.findall(r"\$(\d+)", query))
    connection.exec_driver_sql(f"PREPARE looked_at AS {query}")
    nothing = ", ".join(["NULL"] * values)
    found = connection.exec_driver_sql(f"EXPLAIN EXECUTE looked_at ({nothing})").scalars()
    plan = "\n".join(found)
    connection.exec_driver_sql("DEALLOCATE looked_at")
    return plan


def _numbered(query: TextClause) -> str:
    """With `$1` for every name, as the driver is given it."""
    names: dict[str, int] = {}
    return re.sub(
        r"(?<!:):(\w+)", lambda m: f"${names.setdefault(m[1], len(names) + 1)}", query.text
    )


QUERIES: dict[str, Any] = {
    "events_for_user": events._EVENTS_FOR_USER,
    "events_of_org": events._EVENTS_OF_ORG,
    "events_of_conversation": events._EVENTS_OF_CONVERSATION,
    "some_of_conversation": events._SOME_OF_CONVERSATION,
    "seq_at": events._SEQ_AT,
    "heads": events._HEADS,
    "memberships": conversations._MEMBERSHIPS,
    "last_seqs": conversations._LAST_SEQS,
    "conversation": conversations._CONVERSATION,
    "conversations": conversations._CONVERSATIONS,
    "rosters": conversations._ROSTERS,
    "participants": conversations._PARTICIPANTS,
    "last_seen": people._LAST_SEEN,
    "told": conversations._TOLD,
    "messages_before": messages._BEFORE,
    "messages_after": messages._AFTER,
    "some_messages_before": messages._SOME_BEFORE,
    "some_messages_after": messages._SOME_AFTER,
    "messages_around": messages._AROUND,
    "message": messages._ONE_MESSAGE,
    "late_answers": messages._LATE_ANSWERS,
    "file": files._READY,
    "own_file": files._OWN,
    "due_files": files._DUE,
}
BULK = {
    "messages": dialect._select(tables.messages, ("id",), True),
    "sends": dialect._select(tables.messages, ("conversation_id", "sender_id", "client_id"), True),
    "participants": dialect._select(tables.participants, ("conversation_id", "user_id"), False),
    "counters": dialect._update(tables.conversations, ("id",), ("last_seq",)),
    "reads": dialect._update(
        tables.participants, ("conversation_id", "user_id"), ("last_read_seq",)
    ),
    "reactions": dialect._delete(tables.reactions, ("message_id",)),
    "files": dialect._select(tables.files, ("id",), False),
    "pending_files": str(
        loading._PENDING.compile(dialect=create_engine("postgresql+asyncpg://").dialect)
    ),
}


@pytest.mark.parametrize("name", [*QUERIES, *BULK])
@pytest.mark.parametrize("user", ["", "ann"])
async def test_every_query_goes_by_index(
    store: PostgresStore, clock: SteppedClock, name: str, user: str
) -> None:
    query = BULK.get(name) or _numbered(QUERIES[name]["postgresql"])
    plan = await store.read(Scope("default", user), _plan, query)
    print(plan)
    assert "Seq Scan" not in plan
    assert "Hash Join" not in plan
    lines = plan.splitlines()
    for number, line in enumerate(lines):
        if "Index" in line and "Scan" in line:
            condition = lines[number + 1]
            assert "Index Cond" in condition, line
            # The org alone is no condition: that is the whole log.
            assert "AND" in condition or "org_id" not in condition, condition


async def test_plans_are_made_anew_while_tables_fill(
    postgresql_urls: tuple[str, str], clock: SteppedClock
) -> None:
    store = PostgresStore(postgresql_urls[1], clock)
    # At these ages of the connection, in seconds.
    told = []
    with statements(store.engines[0]) as seen:
        for age in range(40):
            clock.seconds = float(age)
            await store.head("default")
            if "DISCARD PLANS" in seen:
                told.append(age)
                seen.clear()
    assert told == [1, 2, 4, 8, 16, 32]
    await store.close()
