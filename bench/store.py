"""The store by itself: sends through the group writer, the forms of a bulk insert, reads beside a
busy thread. `python -m bench.store [sends|inserts|reads]`.

The figures and what follows from them: docs/decisions/001-bulk-writes.md.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import uvloop
from sqlalchemy import Connection, text

from madang.clock import SystemClock
from madang.model.nouns import Event
from madang.protocol.errors import MadangError
from madang.services.conversations import CreateConversation
from madang.services.messages import SendMessage
from madang.store import bulk, migrate, rows
from madang.store.queries import events as event_queries
from madang.store.sql_store import Scope
from madang.store.sqlite import SqliteStore, create_sqlite_engine
from madang.store.tables import events, messages
from madang.store.writer import GroupWriter

ROOMS = 100
PEOPLE = [f"user-{n}" for n in range(10)]
TEXT = "hello there, this is a message of a few words"
SLICE_SECONDS = 0.001
"""How long the busy thread keeps the interpreter's lock at a time."""


@contextmanager
def beside(busy: bool) -> Iterator[None]:
    """With a second thread that holds the lock in slices, as a loaded event loop does."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            until = time.perf_counter() + SLICE_SECONDS
            while time.perf_counter() < until:
                pass
            time.sleep(0)

    thread = threading.Thread(target=work, daemon=True)
    if busy:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if busy:
            thread.join()


async def sends(directory: Path, waiting: int, busy: bool, total: int = 40_000) -> str:
    """`total` sends, `waiting` of them at any time, each followed by another when it is acked."""
    url = f"sqlite:///{directory / f'sends-{uuid.uuid4()}.db'}"
    migrate.upgrade(url)
    clock = SystemClock()
    store = SqliteStore(url, clock)
    batches: list[int] = []
    writer = GroupWriter(store, clock, lambda batch: batches.append(len(batch.events)))
    rooms = [
        (
            await writer.write(
                CreateConversation("default", PEOPLE[0], "group", tuple(PEOPLE), f"Room {n}")
            )
        ).view.conversation.id
        for n in range(ROOMS)
    ]
    batches.clear()
    finished = asyncio.get_running_loop().create_future()
    ids = [str(uuid.uuid4()) for _ in range(total)]
    waits: list[float] = []
    number = 0

    def send() -> None:
        nonlocal number
        n, begun = number, time.perf_counter()
        number += 1

        def done(_result: Any, error: MadangError | None) -> None:
            if error is not None:
                raise error
            waits.append(time.perf_counter() - begun)
            if len(waits) == total:
                finished.set_result(None)
            elif number < total:
                send()

        writer.submit(
            SendMessage("default", rooms[n * 7 % ROOMS], PEOPLE[n % 10], TEXT, client_id=ids[n]),
            done,
        )

    with beside(busy):
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(waiting):
            send()
        await finished
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    await writer.close()
    await store.close()
    waits.sort()
    return (
        f"{waiting:5} waiting{', busy thread' if busy else '':13} {total / seconds:7,.0f} sends/s, "
        f"batches of {total / len(batches):4.0f}, p50 {waits[total // 2] * 1e3:5.1f} ms, "
        f"p99 {waits[total * 99 // 100] * 1e3:5.1f} ms, "
        f"processor {cpu / total * 1e6:4.1f} us a send"
    )


Row = tuple[Any, ...]


def _many(connection: Connection, table: Any, rows: list[Row]) -> None:
    columns = ", ".join(table.columns.keys())
    marks = ", ".join("?" * len(rows[0]))
    connection.exec_driver_sql(f"INSERT INTO {table.name} ({columns}) VALUES ({marks})", rows)


def _json(connection: Connection, table: Any, rows: list[Row]) -> None:
    columns = ", ".join(table.columns.keys())
    values = ", ".join(f"value ->> {n}" for n in range(len(rows[0])))
    connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM json_each(?)",
        (orjson.dumps(rows).decode(),),
    )


def _values(connection: Connection, table: Any, rows: list[Row]) -> None:
    bulk.insert(connection, table, rows)


def inserts(directory: Path, size: int, busy: bool, total: int = 20_000) -> Iterator[str]:
    """A message and an event each, in batches of `size`, by each form of statement."""
    forms: list[tuple[str, Callable[[Connection, Any, list[Row]], None]]] = [
        ("executemany", _many),
        ("json_each", _json),
        ("VALUES", _values),
    ]
    for name, form in forms:
        url = f"sqlite:///{directory / f'{name}-{uuid.uuid4()}.db'}"
        migrate.upgrade(url)
        engine = create_sqlite_engine(url)
        batches: list[tuple[list[Row], list[Row]]] = []
        for first in range(0, total, size):
            made: tuple[list[Row], list[Row]] = ([], [])
            for n in range(first, first + size):
                room, seq, id_ = f"{n * 7 % ROOMS:036}", n // ROOMS + 1, str(uuid.uuid4())
                user, now = PEOPLE[n % 10], 1_700_000_000_000_000 + n
                sender, client_id = (user, "user"), str(uuid.uuid4())
                content, rest = ("text", TEXT, "{}", None, "[]"), (now, None, None)
                made[0].append((id_, "default", room, seq, *sender, *content, client_id, *rest))
                made[1].append(
                    ("default", now, room, seq, "message.new", user, None, id_, "{}", None, now)
                )
            batches.append(made)
        with engine.connect() as connection, beside(busy):
            start, inside = time.perf_counter(), 0.0
            for of_messages, of_events in batches:
                with connection.begin():
                    begun = time.perf_counter()
                    form(connection, messages, of_messages)
                    form(connection, events, of_events)
                    inside += time.perf_counter() - begun
            seconds = time.perf_counter() - start
        engine.dispose()
        yield (
            f"{name:12} batches of {size:4}{', busy thread' if busy else '':13} "
            f"{total / seconds:7,.0f} messages/s, "
            f"statements {inside / len(batches) * 1e3:5.2f} ms a batch"
        )


async def reads(directory: Path, busy: bool) -> list[str]:
    """A page of 500 events: as 500 rows, and as the one row of JSON that the store reads."""
    url = f"sqlite:///{directory / f'reads-{uuid.uuid4()}.db'}"
    migrate.upgrade(url)
    clock = SystemClock()
    store = SqliteStore(url, clock)
    seen: list[Event] = []
    writer = GroupWriter(store, clock, lambda batch: seen.extend(batch.events))
    opened = await writer.write(CreateConversation("default", "a", "group", ("b",), "Room"))
    room = opened.view.conversation.id
    await asyncio.gather(
        *(writer.write(SendMessage("default", room, "a", TEXT)) for _ in range(2000))
    )
    plain = text(
        f"SELECT {event_queries._EVENT} FROM events AS e "
        "LEFT JOIN messages AS m ON m.id = e.message_id WHERE e.org_id = 'default' LIMIT 500"
    )

    def as_rows(connection: Connection) -> list[Event]:
        found = connection.execute(plain).fetchall()
        width = rows.EVENT_WIDTH
        return [rows.event_of(r, r[width] and rows.message_of(r[width:])) for r in found]

    found = []
    with beside(busy):
        for name in ("500 rows", "one row"):
            start = time.perf_counter()
            for _ in range(50):
                if name == "one row":
                    await store.events_of_org("default", 0, None, 500)
                else:
                    await store.read(Scope("default"), as_rows)
            took = (time.perf_counter() - start) / 50 * 1e3
            found.append(
                f"page of 500 events as {name:9}{', busy thread' if busy else '':13} {took:6.1f} ms"
            )
    await writer.close()
    await store.close()
    return found


def main() -> None:
    wanted = sys.argv[1:] or ["inserts", "sends", "reads"]
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        for busy in (False, True):
            if "inserts" in wanted:
                for size in (20, 200, 500):
                    for line in inserts(directory, size, busy):
                        print(line, flush=True)
            if "sends" in wanted:
                for waiting in (100, 500, 1000, 2000):
                    print(uvloop.run(sends(directory, waiting, busy)), flush=True)
            if "reads" in wanted:
                for line in uvloop.run(reads(directory, busy)):
                    print(line, flush=True)


if __name__ == "__main__":
    main()
