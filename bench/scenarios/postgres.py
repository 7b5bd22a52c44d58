"""Durable messages on PostgreSQL, beside one insert and one commit for each message; and a page
out of a conversation of a million, beside the query alone. PostgreSQL is on the load's core."""

import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.load.driver import LoadFailed
from bench.paths import REPOSITORY
from bench.peers.base import Peer
from bench.peers.madang import BASE, Madang, make_rooms
from bench.peers.nodes import MadangOnPostgres, Straight
from bench.processes import cores, end, spawn
from bench.records import Record
from bench.scenarios.base import Effort, served
from bench.scenarios.durable import Durable
from bench.services import Postgres, postgres
from bench.straight import PAGE, TEXT, quantiles
from bench.tokens import mint

LIMIT_SECONDS = 120


def aside(program: str, *arguments: object) -> dict[str, float]:
    """What a program of the bench finds, on the servers' core."""
    process = spawn(
        [sys.executable, "-m", program, *map(str, arguments)],
        core=cores()[0],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    try:
        out, _ = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        end(process)
    if process.returncode:
        raise LoadFailed(f"{program} {arguments[0]} failed")
    found: dict[str, float] = json.loads(out)
    return found


@dataclass(frozen=True, slots=True)
class OnPostgres:
    """Acked messages a second in rooms of ten, and inserts that are committed one by one."""

    name: str = "postgres"
    title: str = "Durable messages on PostgreSQL"
    in_flight: tuple[int, ...] = (256, 1024, 4096)
    writers: tuple[int, ...] = (1, 8, 32)

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang | Straight)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        with postgres() as database:
            if isinstance(peer, Madang):
                durable = Durable(name=self.name, size=10, in_flight=self.in_flight)
                yield from durable.run(MadangOnPostgres(database), effort)
                return
            for what in ("insert", "message"):
                for writers in self.writers:
                    arguments = (f"{what}s", database.superuser_url, effort.seconds, writers)
                    runs = tuple(
                        aside("bench.straight", *arguments)["rate"] for _ in range(effort.repeats)
                    )
                    case = f"one {what}, one commit, {writers} connections"
                    yield Record(self.name, case, peer.name, "acked messages", "/s", runs)


@dataclass(frozen=True, slots=True)
class History:
    """Pages of 50 from random places of a long conversation, one after another."""

    name: str = "history"
    title: str = "A page out of a long conversation"
    messages: int = 1_000_000
    pages: int = 2000
    seed: int = 7

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        count = effort.sized(self.messages)
        pages = effort.sized(self.pages)
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        with postgres() as database, served(MadangOnPostgres(database)) as server:
            (room,) = make_rooms(server.port, [["reader", "writer"]])
            fill(database, room, count)
            for at in range(effort.repeats):
                seed = self.seed + at
                runs = {
                    ("madang", "page over HTTP"): self._pages(
                        server.port, room, count, pages, seed
                    ),
                    ("madang", "page"): aside(
                        "bench.pages", database.app_url, room, "reader", pages, seed
                    ),
                    ("asyncpg", "page"): aside(
                        "bench.straight", "pages", database.superuser_url, room, pages, seed
                    ),
                }
                for what, run in runs.items():
                    found.setdefault(what, []).append(run)
        case = f"{PAGE} of {count:,} messages"
        for (name, metric), taken in found.items():
            for key in ("p50", "p99"):
                values = tuple(run[key] for run in taken)
                note = "the query alone" if name == "asyncpg" else ""
                yield Record(
                    self.name, case, name, f"{metric} {key}", "ms", values, False, note=note
                )

    def _pages(self, port: int, room: str, count: int, pages: int, seed: int) -> dict[str, float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        head = {"Authorization": f"Bearer {mint('reader')}"}
        places, took = random.Random(seed), []
        for number in range(pages + pages // 10):
            before = places.randrange(PAGE + 10, count)
            path = f"{BASE}/conversations/{room}/messages?limit={PAGE}&before={before}"
            begun = time.perf_counter()
            connection.request("GET", path, headers=head)
            answer = connection.getresponse()
            body = answer.read()
            elapsed = time.perf_counter() - begun
            if answer.status != 200:
                raise LoadFailed(f"GET {path}: {answer.status} {body[:200]!r}")
            if number >= pages // 10:
                took.append(elapsed * 1e3)
        held: dict[str, Any] = json.loads(body)
        if len(held["messages"]) != PAGE:
            raise LoadFailed(f"a page of {len(held['messages'])}")
        connection.close()
        return quantiles(took)


def fill(database: Postgres, room: str, count: int) -> None:
    """Put `count` messages and their events behind what the conversation holds, in bulk."""
    ids = "lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000'"
    base = f"(SELECT last_seq FROM conversations WHERE id = '{room}')"
    start = "(SELECT last_cursor FROM orgs WHERE id = 'default')"
    text = TEXT.replace("'", "''")
    database.ask(
        "INSERT INTO messages (id, org_id, conversation_id, seq, sender_id, sender_type, "
        "message_type, content, metadata, attachments, client_id, created_at) "
        f"SELECT {ids}, 'default', '{room}', {base} + n, 'writer', 'user', 'text', '{text}', "
        f"'{{}}', '[]', 'fill-' || n, {start} + n FROM generate_series(1, {count}) AS n; "
        "INSERT INTO events (org_id, cursor, conversation_id, seq, type, actor_id, message_id, "
        f"data, created_at) SELECT 'default', {start} + n, '{room}', {base} + n, 'message.new', "
        f"'writer', {ids}, '{{}}', {start} + n FROM generate_series(1, {count}) AS n; "
        f"UPDATE conversations SET last_seq = last_seq + {count}, last_cursor = {start} + {count} "
        f"WHERE id = '{room}'; "
        f"UPDATE orgs SET last_cursor = last_cursor + {count} WHERE id = 'default'"
    )
    database.ask("VACUUM (ANALYZE) messages")
    database.ask("VACUUM (ANALYZE) events")
    database.ask("CHECKPOINT")
