"""Search by itself: a database is filled with messages, indexed and asked, without HTTP:
`python -m bench.search URL COUNT SEARCHES SEED`, run as a process of its own on the servers' core;
prints JSON. The schema must be there.

Words come as they do in a language: the first in every other message, most of them in a few. Half
are Korean, with endings. The one who searches is in half of the conversations.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from itertools import accumulate

import uvloop
from sqlalchemy import Connection, insert, update

from bench.straight import quantiles
from madang.clock import Clock, SystemClock
from madang.model.identity import Identity
from madang.services.limits import RateLimit
from madang.services.search.following import advance
from madang.services.search.searching import Search
from madang.store import bulk, tables
from madang.store.opening import open_store
from madang.store.postgresql import PostgresStore
from madang.store.search import SqlSearchIndex
from madang.store.sql_store import Scope
from madang.store.sqlite import SqliteStore

ORG, ME = "default", "searcher"
ROOMS, MINE, SENDERS = 200, 100, 500
WORDS = 20_000
CHUNK = 5_000
START = 1_700_000_000_000_000
BETWEEN = 30_000_000
"""Microseconds from one message to the next: a million are a year."""

_SYLLABLES = [chr(0xAC00 + n) for n in range(0, 11_172, 37)]
_LETTERS = "etaoinshrdlucmfwypvbgkq"
_ENDINGS = ("을", "를", "에", "에서", "은", "는", "입니다", "하고", "")


def vocabulary(dice: random.Random) -> list[str]:
    """The words, the most frequent first; every other one Korean."""
    found: dict[str, None] = {}
    while len(found) < WORDS:
        if len(found) % 2:
            found["".join(dice.choices(_SYLLABLES, k=dice.choice((2, 2, 3))))] = None
        else:
            found["".join(dice.choices(_LETTERS, k=dice.choice((2, 3, 4, 5, 6, 8))))] = None
    return list(found)


def texts(dice: random.Random, words: list[str]) -> Iterator[str]:
    """Messages without end."""
    weights = list(accumulate(1 / (rank + 2) for rank in range(len(words))))
    while True:
        chosen = dice.choices(words, cum_weights=weights, k=dice.randrange(3, 13))
        yield " ".join(word if word.isascii() else word + dice.choice(_ENDINGS) for word in chosen)


def room_id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-000000000001"


def people(connection: Connection) -> None:
    connection.execute(insert(tables.orgs).values(id=ORG, last_cursor=0, oldest_cursor=0))
    rooms = [
        (room_id(n), ORG, "group", "R", "{}", "active", None, 0, 0, None, "u0", START, START)
        for n in range(ROOMS)
    ]
    bulk.insert(connection, tables.conversations, rooms)
    places = [
        (room_id(n), user, ORG, "member", None, 0, START, "all", None)
        for n in range(ROOMS)
        for user in (*(f"u{n * 7 % SENDERS + k}" for k in range(9)), *((ME,) * (n < MINE)))
    ]
    bulk.insert(connection, tables.participants, places)


def messages(connection: Connection, first: int, said: list[tuple[int, str]]) -> None:
    rows, events = [], []
    for number, (room, text) in enumerate(said, first):
        message_id = f"{number:08x}-0000-7000-8000-000000000002"
        sender, at = f"u{room * 7 % SENDERS + number % 9}", START + number * BETWEEN
        seq, content = number + 1, (sender, "user", "text", text, "{}", None, "[]", None)
        rows.append((message_id, ORG, room_id(room), seq, *content, at, None, None))
        new = ("message.new", sender, None, message_id, "{}", None, at)
        events.append((ORG, at, room_id(room), seq, *new))
    bulk.insert(connection, tables.messages, rows)
    bulk.insert(connection, tables.events, events)
    connection.execute(update(tables.orgs).values(last_cursor=events[-1][1]))


def questions(dice: random.Random, words: list[str]) -> Iterator[tuple[str, str]]:
    """What is asked, and of which kind, in turns."""
    ascii_words = [word for word in words if word.isascii()]
    korean = [word for word in words if not word.isascii()]

    def frequent(of: list[str]) -> str:
        return dice.choice(of[:20])

    def usual(of: list[str]) -> str:
        return dice.choice(of[100:1500])

    kinds: dict[str, Callable[[], str]] = {
        "a rare word": lambda: dice.choice(ascii_words[4000:]),
        "a usual word": lambda: usual(ascii_words),
        "a Korean word": lambda: usual(korean),
        "a Korean syllable": lambda: dice.choice(frequent(korean)),
        "two usual words": lambda: f"{usual(ascii_words)} {usual(korean)}",
        "a usual and a frequent word": lambda: f"{usual(ascii_words)} {frequent(korean)}",
        "the most frequent words": lambda: f"{ascii_words[0]} {korean[0]}",
        "frequent words": lambda: f"{frequent(ascii_words)} {frequent(ascii_words)}",
        "a phrase of frequent words": lambda: f'"{frequent(ascii_words)} {frequent(korean)}"',
        "frequent, in one conversation": lambda: (
            f"{frequent(ascii_words)} in:{room_id(dice.randrange(MINE))}"
        ),
        "frequent, of one sender": lambda: (
            f"{frequent(korean)} from:u{dice.randrange(MINE) * 7 % SENDERS}"
        ),
        "frequent, long ago": lambda: f"{frequent(ascii_words)} before:2024-02-01",
        "frequent, without another": lambda: f"{frequent(korean)} -{frequent(ascii_words)}",
        "nothing there": lambda: f"{frequent(ascii_words)} qqzzqq",
    }
    while True:
        for kind, ask in kinds.items():
            yield kind, ask()


async def fill(
    store: SqliteStore | PostgresStore, count: int, dice: random.Random, words: list[str]
) -> None:
    await store.write(Scope(ORG), people)
    said = texts(dice, words)
    for first in range(0, count, CHUNK):
        part = [(dice.randrange(ROOMS), next(said)) for _ in range(min(CHUNK, count - first))]
        await store.write(Scope(ORG), messages, first, part)


async def index_all(index: SqlSearchIndex, clock: Clock) -> None:
    made = await index.begin(ORG, "serving")
    cursor = 0
    while (await advance(index, clock, ORG, made.generation, cursor)).events:
        (now,) = await index.indexes(ORG)
        cursor = now.cursor


async def ask(
    search: Search, searches: int, dice: random.Random, words: list[str]
) -> dict[str, float]:
    """{p50, p99} of the answers, in milliseconds."""
    me = Identity(ME, ORG, None, None, frozenset(), 2**40)
    by_kind: dict[str, list[float]] = {}
    work: dict[str, list[float]] = {}
    asked = questions(dice, words)
    answered = 0
    for number in range(searches + searches // 10):
        kind, text = next(asked)
        begun, cpu = time.perf_counter(), time.process_time()
        page = await search.find(me, text)
        elapsed, cpu = (time.perf_counter() - begun) * 1e3, (time.process_time() - cpu) * 1e3
        # The first tenth warms the caches.
        if number >= searches // 10:
            by_kind.setdefault(kind, []).append(elapsed)
            work.setdefault(kind, []).append(cpu)
            answered += bool(page.results)
        await asyncio.sleep(0)
    for kind, times in by_kind.items():
        told, cpus = quantiles(times), quantiles(work[kind])
        print(
            f"{kind:32} p50 {told['p50']:6.1f}  p99 {told['p99']:6.1f} ms, of this process's CPU "
            f"p50 {cpus['p50']:6.1f}  p99 {cpus['p99']:6.1f} ms",
            file=sys.stderr,
        )
    if answered < searches / 2:
        raise SystemExit(f"only {answered} of {searches} searches found anything")
    cpus = quantiles([each for times in work.values() for each in times])
    print(f"all: of this process's CPU p99 {cpus['p99']:.1f} ms", file=sys.stderr)
    return quantiles([each for times in by_kind.values() for each in times])


async def measure(url: str, count: int, searches: int, seed: int) -> dict[str, float]:
    dice = random.Random(seed)
    words = vocabulary(dice)
    clock = SystemClock()
    store = open_store(url, clock)
    index = SqlSearchIndex(store, clock)
    await fill(store, count, dice, words)
    print(f"filled with {count:,} messages", file=sys.stderr)
    begun, cpu = time.perf_counter(), time.process_time()
    await index_all(index, clock)
    took, spent = time.perf_counter() - begun, time.process_time() - cpu
    print(f"indexed {count / took:,.0f} messages/s", file=sys.stderr)
    found = await ask(Search(index, clock, RateLimit(None)), searches, dice, words)
    await store.close()
    return {
        "p50": found["p50"],
        "p99": found["p99"],
        "indexed": count / took,
        "indexed_cpu": count / spent,
    }


def main(url: str, count: str, searches: str, seed: str) -> None:
    print(json.dumps(uvloop.run(measure(url, int(count), int(searches), int(seed)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
