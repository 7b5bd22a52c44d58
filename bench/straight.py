"""The statement and nothing around it: `python -m bench.straight inserts|messages|pages URL …`, run
as a process of its own on the servers' core; prints one JSON object.

- `inserts URL SECONDS CONNECTIONS`: each connection inserts a message, waits for its commit, and
  inserts the next one: what a server without group commit does.
- `messages URL SECONDS CONNECTIONS`: the same with all that a message is (the org's lock, message,
  event, counters), one transaction each.
- `pages URL CONVERSATION COUNT SEED`: pages of 50 messages from random places, one after another.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from importlib import import_module
from typing import Any

import uvloop

# It has no types of its own.
asyncpg: Any = import_module("asyncpg")

TEXT = "The lanterns are up: come by at seven, bring someone, stay for soup. 마당에서 봐요."
PAGE = 50
MESSAGE = (
    "id, org_id, conversation_id, seq, sender_id, sender_type, message_type, content, metadata, "
    "reply_to_id, attachments, client_id, created_at, edited_at, deleted_at"
)
INSERT = (
    f"INSERT INTO messages ({MESSAGE}) VALUES "
    "($1, 'default', $2, $3, $4, 'user', 'text', $5, '{}', NULL, '[]', $6, $7, NULL, NULL)"
)
ORG = "INSERT INTO orgs (id, last_cursor) VALUES ('one-by-one', 0) ON CONFLICT DO NOTHING"
CONVERSATION = (
    "INSERT INTO conversations (id, org_id, kind, metadata, status, last_seq, last_cursor, "
    "created_by, created_at, updated_at) "
    "VALUES ($1, 'one-by-one', 'group', '{}', 'active', 0, 0, $2, 0, 0)"
)
# The row's lock orders the log, as in the server: it is held until the commit.
LOCK = (
    "UPDATE orgs SET last_cursor = greatest(last_cursor + 1, $1) WHERE id = 'one-by-one' "
    "RETURNING last_cursor"
)
EVENT = (
    "INSERT INTO events (org_id, cursor, conversation_id, seq, type, actor_id, message_id, data, "
    "created_at) VALUES ('one-by-one', $1, $2, $3, 'message.new', $4, $5, '{}', $6)"
)
COUNTERS = (
    "UPDATE conversations SET last_seq = $2, last_cursor = $3, last_message_id = $4, "
    "updated_at = $5 WHERE id = $1"
)
SELECT = (
    f"SELECT {MESSAGE} FROM messages WHERE conversation_id = $1 AND seq < $2 "
    f"ORDER BY seq DESC LIMIT {PAGE}"
)


async def inserts(url: str, seconds: float, connections: int, whole: bool) -> dict[str, float]:
    until = 0.0

    async def one(number: int) -> int:
        connection = await asyncpg.connect(url)
        conversation, user = str(uuid.uuid4()), f"user-{number}"
        insert = await connection.prepare(INSERT)
        if whole:
            await connection.execute(ORG)
            await connection.execute(CONVERSATION, conversation, user)
            lock, event, counters = [await connection.prepare(s) for s in (LOCK, EVENT, COUNTERS)]
        done = 0
        while time.perf_counter() < until:
            now = time.time_ns() // 1000
            ids = str(uuid.uuid4()), str(uuid.uuid4())
            message = (ids[0], conversation, done + 1, user, TEXT, ids[1], now)
            if whole:
                async with connection.transaction():
                    cursor = await lock.fetchval(now)
                    await insert.fetch(*message)
                    await event.fetch(cursor, conversation, done + 1, user, ids[0], now)
                    await counters.fetch(conversation, done + 1, cursor, ids[0], now)
            else:
                await insert.fetch(*message)
            done += 1
        await connection.close()
        return done

    begun = time.perf_counter()
    until = begun + seconds
    counts = await asyncio.gather(*(one(number) for number in range(connections)))
    return {"rate": sum(counts) / (time.perf_counter() - begun)}


async def pages(url: str, conversation: str, count: int, seed: int) -> dict[str, float]:
    connection = await asyncpg.connect(url)
    statement = await connection.prepare(SELECT)
    last = await connection.fetchval(
        "SELECT max(seq) FROM messages WHERE conversation_id = $1", conversation
    )
    places = random.Random(seed)
    took = []
    for number in range(count + count // 10):
        before = places.randrange(PAGE + 10, last)
        begun = time.perf_counter()
        rows = await statement.fetch(conversation, before)
        elapsed = time.perf_counter() - begun
        if len(rows) != PAGE:
            raise SystemExit(f"a page of {len(rows)} before {before}")
        # The first tenth warms the caches.
        if number >= count // 10:
            took.append(elapsed * 1e3)
    await connection.close()
    return quantiles(took)


def quantiles(milliseconds: list[float]) -> dict[str, float]:
    """{p50, p99} of the times."""
    ordered = sorted(milliseconds)
    return {"p50": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100]}


def main(what: str, url: str, *rest: str) -> None:
    if what in ("inserts", "messages"):
        found = uvloop.run(inserts(url, float(rest[0]), int(rest[1]), what == "messages"))
    else:
        found = uvloop.run(pages(url, rest[0], int(rest[1]), int(rest[2])))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
