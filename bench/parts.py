"""What the parts of a fleet carry by themselves: `python -m bench.parts [commits|publish|channels|
presence|disk]`. The figures stand in docs/scaling.md and in `bench.figures`.

PostgreSQL and Valkey are on the second core, this process is on the first. What a part costs is
read from its own CPU time, so that the speed of this process does not matter.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import uvloop

from bench.processes import cores
from bench.services import Postgres, Valkey, postgres, valkey
from bench.straight import TEXT
from madang.bus.redis import RedisBus
from madang.clock import SystemClock
from madang.ports.bus import Lease
from madang.protocol.errors import MadangError
from madang.services.conversations import CreateConversation
from madang.services.messages import SendMessage
from madang.store.postgresql import PostgresStore
from madang.store.writer import GroupWriter

ROOMS = 100
PEOPLE = [f"user-{n}" for n in range(10)]
PAYLOAD_BYTES = 700


async def commits(database: Postgres, waiting: int, total: int) -> str:
    """`total` messages through the group writer, `waiting` of them at any time."""
    clock = SystemClock()
    store = PostgresStore(database.app_url, clock)
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
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    started = done = 0

    def send() -> None:
        nonlocal started
        number, started = started, started + 1
        room, user = rooms[number * 7 % ROOMS], PEOPLE[number % 10]
        client_id = f"{waiting}-{number}-{time.time_ns()}"
        writer.submit(SendMessage("default", room, user, TEXT, client_id=client_id), acked)

    def acked(_result: object, error: MadangError | None) -> None:
        nonlocal done
        if error is not None:
            raise error
        done += 1
        if done == total:
            finished.set_result(None)
        elif started < total:
            send()

    begun, cpu, used = time.perf_counter(), time.process_time(), database.server.usage()
    for _ in range(waiting):
        send()
    await finished
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    theirs = database.server.usage().cpu_seconds - used.cpu_seconds
    await writer.close()
    await store.close()
    return (
        f"{waiting:5} waiting: {total / seconds:7,.0f} messages/s, {len(batches) / seconds:5,.0f} "
        f"commits/s of {total / len(batches):6.1f}, {seconds / len(batches) * 1e3:6.2f} ms each; "
        f"a message takes {cpu / total * 1e6:5.1f} us here, {theirs / total * 1e6:5.1f} us of "
        "PostgreSQL"
    )


def _say(*words: str | bytes) -> bytes:
    """A command as Valkey reads it (RESP)."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    head = f"*{len(parts)}\r\n".encode()
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


def _connect(bus: Valkey) -> socket.socket:
    return socket.create_connection(("127.0.0.1", bus.server.port), 30)


def _drain(one: socket.socket) -> threading.Thread:
    def read() -> None:
        with suppress(OSError):
            while one.recv(1 << 20):
                continue

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def publish(bus: Valkey, subscribers: int, batch: int, seconds: float = 3.0) -> str:
    """Envelopes to one channel with so many subscribers, `batch` of them in one write, the next
    when all are answered."""
    payload = b"x" * PAYLOAD_BYTES
    with ExitStack() as ends:
        for _ in range(subscribers):
            one = ends.enter_context(_connect(bus))
            one.sendall(_say("SUBSCRIBE", "conversation"))
            one.recv(1000)
            _drain(one)
        publisher = ends.enter_context(_connect(bus))
        command = _say("PUBLISH", "conversation", payload) * batch
        begun, used, count = time.perf_counter(), bus.server.usage().cpu_seconds, 0
        while time.perf_counter() - begun < seconds:
            publisher.sendall(command)
            answers = 0
            while answers < batch:
                answers += publisher.recv(65536).count(b"\n")
            count += batch
        took = time.perf_counter() - begun
        cpu = bus.server.usage().cpu_seconds - used
    return (
        f"{subscribers:3} subscribers, {batch:3} in a write: {count / took:9,.0f} PUBLISH/s, "
        f"{count * subscribers / took:9,.0f} heard/s, {cpu / count * 1e6:6.2f} us of Valkey each, "
        f"Valkey {cpu / took:4.0%} of its core"
    )


def channels(bus: Valkey, count: int = 200_000) -> str:
    """Memory that Valkey takes for a channel that one client follows."""
    with _connect(bus) as one:
        before = bus.stat("used_memory")
        for first in range(0, count, 1000):
            numbers = range(first, first + 1000)
            names = [f"madang:conversation:{n:08x}-0000-7000-8000-000000000000" for n in numbers]
            one.sendall(_say("SUBSCRIBE", *names))
            answers = 0
            while answers < 1000:
                answers += one.recv(1 << 20).count(b"subscribe\r\n")
        grown = bus.stat("used_memory") - before
    return f"{count:,} channels of one subscriber: {grown / count:.0f} bytes each"


async def presence(bus: Valkey, batch: int, total: int = 20_000) -> str:
    """Leases on users set by one node, `batch` of them with each call."""
    one = RedisBus(bus.url, SystemClock())

    class Nobody:
        def __getattr__(self, _name: str) -> object:
            return lambda *_: None

    await one.start(Nobody())  # type: ignore[arg-type]
    begun, used = time.perf_counter(), bus.server.usage().cpu_seconds
    for first in range(0, total, batch):
        users = range(first, first + batch)
        await one.hold([Lease("default", f"user-{n}", "online", 1) for n in users])
    took = time.perf_counter() - begun
    cpu = bus.server.usage().cpu_seconds - used
    await one.close()
    return (
        f"{batch:4} leases a call: {total / took:7,.0f} leases/s, "
        f"{cpu / total * 1e6:5.1f} us of Valkey each"
    )


def disk(database: Postgres) -> Iterator[str]:
    """Bytes on disk for each message that is there, by table, and of these in indexes."""
    database.ask("VACUUM")
    count = int(database.ask("SELECT count(*) FROM messages")[0][0])
    for table in ("messages", "events"):
        sizes = database.ask(
            f"SELECT pg_relation_size('{table}'), pg_indexes_size('{table}'), "
            f"(SELECT count(*) FROM {table})"
        )[0]
        rows, indexes, held = map(int, sizes)
        yield f"{table}: {rows / held:.0f} bytes a row, {indexes / held:.0f} in indexes ({held:,})"
    names = database.ask(
        "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes "
        "WHERE relname IN ('messages', 'events') ORDER BY 2 DESC"
    )
    for name, size in names:
        yield f"    {name}: {int(size) / count:.0f} bytes a message"


def main() -> None:
    wanted = sys.argv[1:] or ["commits", "disk", "publish", "channels", "presence"]
    os.sched_setaffinity(0, {cores()[0]})
    if {"commits", "disk"} & set(wanted):
        with postgres() as database:
            for waiting, total in ((1, 1000), (10, 5000), (100, 30_000), (1000, 60_000)):
                print(uvloop.run(commits(database, waiting, total)), flush=True)
            for line in disk(database):
                print(line, flush=True)
    with valkey() as bus:
        if "publish" in wanted:
            for subscribers in (0, 1, 8, 32):
                for batch in (1, 100):
                    print(publish(bus, subscribers, batch), flush=True)
        if "channels" in wanted:
            print(channels(bus), flush=True)
        if "presence" in wanted:
            for batch in (1, 100):
                print(uvloop.run(presence(bus, batch)), flush=True)


if __name__ == "__main__":
    main()
