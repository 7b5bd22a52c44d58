"""Search while people talk: how long what was said takes to be found, on a server that confirms a
steady number of messages a second besides. If the index fell behind, it would take ever longer."""

import http.client
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any

from bench.load.driver import LoadFailed, loading
from bench.measure import Measured, measured, with_shares
from bench.peers.base import Peer
from bench.peers.madang import BASE, Madang, make_rooms
from bench.peers.nodes import MadangOnPostgres
from bench.records import Record
from bench.scenarios.base import Effort, served
from bench.services import postgres
from bench.straight import quantiles
from bench.tokens import mint

FINDER = "finder"
LOOK_SECONDS = 0.05
LONGEST_SECONDS = 120.0
"""As long as it is looked for one message."""


@dataclass(frozen=True, slots=True)
class Indexing:
    """Rooms of two that send at `rate`, and one who says a word that was never said and searches
    for it until it is found, again and again. On SQLite and on PostgreSQL."""

    name: str = "indexing"
    title: str = "Search while people talk"
    rooms: int = 500
    rate: int = 5000
    seconds: float = 30.0

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        yield from self._on("SQLite", Madang(), effort)
        with postgres() as database:
            yield from self._on("PostgreSQL", MadangOnPostgres(database), effort)

    def _on(self, database: str, peer: Peer, effort: Effort) -> Iterator[Record]:
        rooms, rate = effort.sized(self.rooms), effort.sized(self.rate)
        seconds = self.seconds * effort.scale
        with (
            served(peer) as server,
            loading(peer.rooms(server, rooms, 2), port=server.port) as load,
        ):
            load.connect()
            load.command("quiet 60", limit_seconds=65)
            runs: list[Measured] = []
            found: list[dict[str, float]] = []
            for _ in range(effort.repeats):
                with finding(server.port) as took:
                    command = f"paced {rate} {effort.warm} {seconds}"
                    limit = effort.warm + seconds + 20
                    runs.append(measured(load, server, command, limit_seconds=limit))
                found.append({**quantiles(took), "max": max(took)})
        case = f"{rate:,} messages/s on {database}"
        rates = tuple(run.result["landed"] / run.seconds for run in runs)
        yield with_shares(Record(self.name, case, "madang", "acked messages", "/s", rates), runs)
        for key in ("p50", "max"):
            values = tuple(one[key] * 1e3 for one in found)
            yield Record(self.name, case, "madang", f"found after {key}", "ms", values, False)
        values = tuple(run.result["p99_ms"] for run in runs)
        yield Record(self.name, case, "madang", "ack p99", "ms", values, False)


@contextmanager
def finding(port: int) -> Iterator[list[float]]:
    """Seconds from each word's confirmation to the first search that finds it, one after another
    while the block runs. A word that was said before its end is looked for until it is found.

    Raises:
        LoadFailed: one was not found within `LONGEST_SECONDS`, or an answer was no answer.
    """
    took: list[float] = []
    failed: list[Exception] = []
    over = Event()

    def find() -> None:
        try:
            client = _Client(port)
            (room,) = make_rooms(port, [[FINDER, "listener"]])
            while not over.is_set():
                took.append(client.until_found(room))
        except Exception as error:
            failed.append(error)

    thread = Thread(target=find)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join()
    if failed:
        raise LoadFailed(str(failed[0])) from failed[0]


class _Client:
    """One kept-alive connection of who searches."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._head = {
            "Authorization": f"Bearer {mint(FINDER)}",
            "Content-Type": "application/json",
        }

    def until_found(self, room: str) -> float:
        word = "".join(chr(ord("a") + int(digit, 16)) for digit in secrets.token_hex(8))
        self._ask("POST", f"/conversations/{room}/messages", {"content": f"we say {word} now"})
        said = time.perf_counter()
        while not self._ask("GET", f"/search?q={word}")["results"]:
            if time.perf_counter() - said > LONGEST_SECONDS:
                raise LoadFailed(f"not found within {LONGEST_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)
        return time.perf_counter() - said

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        sent = None if body is None else json.dumps(body)
        self._connection.request(method, BASE + path, sent, self._head)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise LoadFailed(f"{method} {path}: {answer.status} {text[:200]!r}")
        return dict(json.loads(text))
