"""One reader in a hundred stops reading: what the others notice of it, and what memory it takes."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from bench.load.driver import Load, LoadFailed, loading
from bench.load.plan import Conn, Plan
from bench.load.stalled import stalling
from bench.peers.base import Peer
from bench.peers.madang import Madang, make_rooms, message_plan, metric, ws_path
from bench.processes import Server, cores
from bench.records import Record
from bench.scenarios.base import Effort, served

CAP_BYTES = 1 << 20
"""Unsent bytes at which the server sends a reader away (`output_limit_bytes`)."""
TEXT_BYTES = 8000
"""Long enough that the cap is met in seconds: the kernel takes some megabytes first."""
LONGER = 4
"""Windows are so many times as long as elsewhere, so that each stalled reader is sent away."""
SAMPLE_SECONDS = 0.1
CLOSED_SLOW = 'madang_connections_closed_total{code="4008"'


@dataclass(frozen=True, slots=True)
class Stalling:
    """A room of a thousand readers, of whom one in a hundred stalls; durable messages, one after
    another. A message has landed when all the others have it."""

    name: str = "stalled"
    title: str = "One reader in a hundred stalls"
    connections: int = 1000
    share: float = 0.01
    in_flight: int = 4

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        size = effort.sized(self.connections)
        stalled = max(1, round(size * self.share))
        readers = [f"user-{i}" for i in range(size)]
        slow = [f"slow-{i}" for i in range(stalled)]
        with served(peer) as server:
            (room,) = make_rooms(server.port, [["sender", *readers, *slow]])
            conns = [Conn("R", ws_path(user), room) for user in readers]
            plan = _long(message_plan([*conns, Conn("S", ws_path("sender"), room)]))
            paths = [ws_path(user) for user in slow]
            times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            grown: dict[bool, list[float]] = {False: [], True: []}
            away = 0

            def sent_away() -> int:
                return int(metric(server.port, CLOSED_SLOW))

            with loading(plan, port=server.port) as load:
                load.connect()
                load.command("quiet 60", limit_seconds=65)
                # Once unrecorded: what a first window grows is not the stalled ones'.
                self._window(load, effort)
                for _ in range(effort.repeats):
                    for on in (False, True):
                        with _watched(server) as most:
                            context = (
                                stalling(server.port, paths, sent_away) if on else nullcontext()
                            )
                            with context as told:
                                times[on].append(self._window(load, effort))
                        grown[on].append(most[-1] - most[0])
                        away += told.closed if told else 0
        if not away:
            raise LoadFailed("nobody was sent away: the stalled readers met no cap")
        which = {False: "nobody stalled", True: f"{stalled} of {size + stalled} stalled"}
        for on, found in times.items():
            for at, key in enumerate(("p50", "p99")):
                values = tuple(one[at] for one in found)
                what = f"the others' delivery {key}"
                yield Record(self.name, which[on], peer.name, what, "ms", values, False)
            memory = tuple(grown[on])
            unit = "MB"
            yield Record(self.name, which[on], peer.name, "memory grown", unit, memory, False)
        note = f"{away} sent away"
        cap = (CAP_BYTES * stalled / 1e6,)
        what = "the cap, times the stalled"
        yield Record(self.name, which[True], peer.name, what, "MB", cap, False, note=note)

    def _window(self, load: Load, effort: Effort) -> tuple[float, float]:
        seconds = LONGER * effort.seconds
        command = f"fanout {self.in_flight} {effort.warm} {seconds}"
        found = load.command(command, limit_seconds=effort.warm + seconds + 20)
        if found["stalled"] or not found["landed"]:
            raise LoadFailed(f"messages stopped landing: {found}")
        return float(found["p50_ms"]), float(found["p99_ms"])


def _long(plan: Plan) -> Plan:
    head, _, _ = plan.message.partition('"content":')
    return replace(plan, message=f'{head}"content":"{"x" * TEXT_BYTES}"}}')


@contextmanager
def _watched(server: Server) -> Iterator[list[float]]:
    """[resident memory at the beginning, …, the most there was until the end], in MB."""
    found = [server.usage().resident_bytes / 1e6]
    stop = threading.Event()

    def watch() -> None:
        os.sched_setaffinity(0, {cores()[1]})
        most = found[0]
        while not stop.wait(SAMPLE_SECONDS):
            most = max(most, server.usage().resident_bytes / 1e6)
        found.append(most)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()
