"""How PostgreSQL goes about the queries: by index, whatever it believed of a table when it made a
plan. What it must not do is read a whole table."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Connection, TextClause

from madang.store import tables
from madang.store.dialects import postgresql as dialect
from madang.store.postgresql import PostgresStore
from madang.store.queries import conversations, events, messages
from madang.store.sql_store import Scope
from madang.store.writer import GroupWriter
from tests.store.conftest import SteppedClock
from tests.store.writes import Create, Send


@pytest.fixture
async def store(
    postgresql_urls: tuple[str, str], clock: SteppedClock
) -> AsyncIterator[PostgresStore]:
    opened = PostgresStore(postgresql_urls[1], clock)
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
    "seq_at": events._SEQ_AT,
    "heads": events._HEADS,
    "memberships": conversations._MEMBERSHIPS,
    "last_seqs": conversations._LAST_SEQS,
    "conversation": conversations._CONVERSATION,
    "conversations": conversations._CONVERSATIONS,
    "rosters": conversations._ROSTERS,
    "participants": conversations._PARTICIPANTS,
    "messages_before": messages._BEFORE,
    "messages_after": messages._AFTER,
    "messages_around": messages._AROUND,
    "message": messages._ONE_MESSAGE,
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
}


@pytest.mark.parametrize("name", [*QUERIES, *BULK])
@pytest.mark.parametrize("user", ["", "ann"])
async def test_every_query_goes_by_index(
    store: PostgresStore, clock: SteppedClock, name: str, user: str
) -> None:
    query = BULK.get(name) or _numbered(QUERIES[name]["postgresql"])
    # On a database without a row: when it knows least.
    plan = await store._read(Scope("default", user), _plan, query)
    print(plan)
    assert "Seq Scan" not in plan
    assert "Hash Join" not in plan
    # An index without a condition is read as a whole too.
    lines = plan.splitlines()
    for number, line in enumerate(lines):
        if "Index" in line and "Scan" in line:
            assert "Index Cond" in lines[number + 1], line


async def test_a_plan_made_on_empty_tables_is_good_for_full_ones(
    store: PostgresStore, clock: SteppedClock
) -> None:
    writer = GroupWriter(store, clock, lambda batch: None)
    await writer.write(Create("room", ["ann"]))
    first = [writer.write(Send("room", "ann", client_id=str(n))) for n in range(500)]
    await asyncio.gather(*first)
    again = [writer.write(Send("room", "ann", client_id=str(n))) for n in range(500)]
    assert [m.seq for m in await asyncio.gather(*again)] == list(range(2, 502))
    await writer.close()
