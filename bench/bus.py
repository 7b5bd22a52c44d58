"""The Redis bus by itself: the wire, hearing, telling, the way from one node to another, leases.
`python -m bench.bus [wire|hear|tell|way|leases]`.

The figures and what follows from them: docs/decisions/004-redis-bus.md. CPU is this process's, per
message; the server and whoever publishes are others.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop
from redis.asyncio import Redis

from madang.bus import wire
from madang.bus.redis import RedisBus
from madang.bus.redis_link import packed
from madang.clock import SystemClock
from madang.model.ids import uuid7
from madang.model.nouns import Batch, Event, Message
from madang.ports.bus import Lease, Note, PresenceTold, RunTold, SignalTold
from tests.valkey import Valkey

MESSAGES = 100_000
CHANNEL = "madang:conversation:c1"


def _event(cursor: int, conversation_id: str = "c1") -> Event:
    """A message as it mostly is: 496 bytes of payload."""
    id_ = uuid7(cursor)
    message = Message(
        id_, "default", conversation_id, cursor, "user-1", "user", "text",
        "x" * 145, {}, None, (), id_, cursor,
    )  # fmt: skip
    return Event(
        "default", cursor, conversation_id, cursor, "message.new", "user-1", None, message, {}, 1
    )


EVENT = _event(1_767_225_600_000_000)
PAYLOAD = wire.encode_events(wire.mark_of(uuid7(EVENT.cursor)), EVENT.cursor, "default", [EVENT])


class Counting:
    """A listener that waits for so many calls."""

    def __init__(self, expected: int) -> None:
        self.left = expected
        self.done = asyncio.Event()

    def _one(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.done.set()

    def heard_events(self, org_id: str, events: Sequence[Event]) -> None:
        self._one()

    def heard_note(self, note: Note) -> None:
        self._one()

    def heard_signals(self, org_id: str, signals: Sequence[SignalTold]) -> None: ...
    def heard_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None: ...
    def heard_run(self, org_id: str, told: RunTold) -> None: ...
    def asked(self, topic: str, content: Any) -> Any: ...
    def in_touch(self) -> None: ...

    def lost_touch(self) -> None:
        raise RuntimeError("the bus was lost while it was measured")


def _micros(work: Callable[[], object], times: int) -> float:
    """The best of seven rounds, per call."""
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - start) / times)
    return best * 1e6


def wire_() -> None:
    mark = wire.mark_of(uuid7(1))
    fifty = [_event(n + 1) for n in range(50)]
    many = wire.encode_events(mark, 1, "default", fifty)
    encode = _micros(lambda: wire.encode_events(mark, 1, "default", [EVENT]), 10_000)
    decode = _micros(lambda: wire.decode(PAYLOAD), 10_000)
    print(f"one event of {len(PAYLOAD)} bytes: encode {encode:.2f} µs, decode {decode:.2f} µs")
    encode = _micros(lambda: wire.encode_events(mark, 1, "default", fifty), 500) / 50
    decode = _micros(lambda: wire.decode(many), 500) / 50
    print(f"of fifty in a payload, each: encode {encode:.2f} µs, decode {decode:.2f} µs")


def _publish(port: int, count: int) -> None:
    """In a process of its own: publish as fast as the server takes it."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        block = packed(("PUBLISH", CHANNEL, PAYLOAD)) * 500

        def drain() -> None:
            while connection.recv(1 << 16):
                pass

        threading.Thread(target=drain, daemon=True).start()
        for _ in range(count // 500):
            connection.sendall(block)
        time.sleep(60)


async def _hear(valkey: Valkey, what: str, read: bool = True) -> None:
    publisher = multiprocessing.Process(target=_publish, args=(valkey.port, MESSAGES))
    if what == "redis-py":
        client = Redis.from_url(valkey.url, protocol=3)
        channels = client.pubsub(ignore_subscribe_messages=True)
        await channels.subscribe(CHANNEL)
        cpu = time.process_time()
        publisher.start()
        left = MESSAGES
        async for _ in channels.listen():
            left -= 1
            if not left:
                break
        cpu = time.process_time() - cpu
        await channels.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()
    else:
        bus, counting = RedisBus(valkey.url, SystemClock()), Counting(MESSAGES)
        await bus.start(counting)
        bus.follow_conversation("c1")
        await bus.settled()
        decode = wire.decode
        if not read:
            told = decode(PAYLOAD)
            wire.decode = lambda payload: told
        cpu = time.process_time()
        publisher.start()
        await counting.done.wait()
        cpu = time.process_time() - cpu
        wire.decode = decode
        await bus.close()
    publisher.kill()
    publisher.join()
    publisher.close()
    print(f"hear, {what:22} {cpu / MESSAGES * 1e6:5.2f} µs, {MESSAGES / cpu:9,.0f}/s of one core")


async def _tell(valkey: Valkey) -> None:
    bus = RedisBus(valkey.url, SystemClock())
    await bus.start(Counting(0))
    for rooms in (1, 20, 200):
        events = tuple(_event(n + 1, f"c{n % rooms}") for n in range(200))
        batch = Batch("default", 0, 200, events)
        cpu = time.process_time()
        for _ in range(100):
            bus.tell_commit(batch, [])
            await bus.settled()
        cpu = (time.process_time() - cpu) / 20_000
        print(f"tell, 200 events in {rooms:3} conversations  {cpu * 1e6:5.2f} µs an event")
    await bus.close()


async def _way(valkey: Valkey) -> None:
    one, other = RedisBus(valkey.url, SystemClock()), RedisBus(valkey.url, SystemClock())
    await one.start(Counting(0))
    counting = Counting(0)
    await other.start(counting)
    other.follow_conversation("c1")
    await other.follow_org("default")
    took = []
    for _ in range(3000):
        counting.left = 2
        counting.done.clear()
        start = time.perf_counter()
        one.tell_commit(Batch("default", 0, EVENT.cursor, (EVENT,)), [])
        await counting.done.wait()
        took.append((time.perf_counter() - start) * 1e6)
    cuts = statistics.quantiles(took, n=100)
    print(
        f"way, a commit to its note at another node: p50 {cuts[49]:.0f} µs, p99 {cuts[98]:.0f} µs"
    )
    await one.close()
    await other.close()


async def _leases(valkey: Valkey) -> None:
    bus = RedisBus(valkey.url, SystemClock())
    await bus.start(Counting(0))
    names = [f"user-{n}" for n in range(20_000)]
    leases = [Lease("default", name, "online", 1) for name in names]

    def server_cpu() -> float:
        text: str = valkey.ask("INFO", "cpu").decode()
        return sum(float(line.split(":")[1]) for line in text.splitlines() if "used_cpu_" in line
                   and line.startswith(("used_cpu_user:", "used_cpu_sys:")))  # fmt: skip

    async def measure(what: str, work: Callable[[], object], count: int) -> None:
        here, there, start = time.process_time(), server_cpu(), time.perf_counter()
        await work()  # type: ignore[misc]
        wall = time.perf_counter() - start
        each = [
            (value / count * 1e6) for value in (time.process_time() - here, server_cpu() - there)
        ]
        print(f"{what:28} {each[0]:5.1f} µs here, {each[1]:5.1f} µs there, {count / wall:9,.0f}/s")

    await measure("leases begun", lambda: bus.hold(leases), len(leases))
    await measure("leases renewed", lambda: bus.hold(leases), len(leases))
    await measure("present", lambda: bus.present("default", names), len(names))
    await measure("limits spent", lambda: bus.spend(dict.fromkeys(names, 1), 0.1), len(names))
    await bus.close()


def main() -> None:
    wanted = sys.argv[1:] or ["wire", "hear", "tell", "way", "leases"]
    if "wire" in wanted:
        wire_()
    # A server closes a subscriber with 32 MB unread, which a flood of 100,000 makes.
    valkey = Valkey(client_output_buffer_limit="pubsub 0 0 0")
    valkey.start()
    try:
        if "hear" in wanted:
            uvloop.run(_hear(valkey, "redis-py"))
            uvloop.run(_hear(valkey, "here, not read", read=False))
            uvloop.run(_hear(valkey, "here, events made"))
        if "tell" in wanted:
            uvloop.run(_tell(valkey))
        if "way" in wanted:
            uvloop.run(_way(valkey))
        if "leases" in wanted:
            uvloop.run(_leases(valkey))
    finally:
        valkey.stop()


if __name__ == "__main__":
    main()
