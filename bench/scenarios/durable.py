"""Durable messages: how many a second are confirmed to their senders, and how long one takes.

Every connection is a member of one room and sends in it. A message has landed when its sender has
the confirmation; a delivery is its arrival at one member.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bench.load.driver import LoadFailed, loading
from bench.measure import Measured, measured, with_shares
from bench.peers.base import Peer
from bench.records import Record
from bench.scenarios.base import Effort, served


@dataclass(frozen=True, slots=True)
class Durable:
    """Rooms of `size`, several depths in flight, then an open loop at half of the best rate."""

    name: str = "durable"
    title: str = "Durable messages"
    connections: int = 1000
    size: int = 10
    in_flight: tuple[int, ...] = (64, 256, 1024, 4096)

    def takes(self, peer: Peer) -> bool:
        return peer.durable

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        rooms = max(1, effort.sized(self.connections) // self.size)
        where = f"{rooms} rooms of {self.size}"
        best = 0.0
        with (
            served(peer) as server,
            loading(peer.rooms(server, rooms, self.size), port=server.port) as load,
        ):
            load.connect()
            load.command("quiet 60", limit_seconds=65)
            limit = effort.warm + effort.seconds + 20
            for depth in self.in_flight:
                command = f"acked {depth} {effort.warm} {effort.seconds}"
                runs = [
                    _acked(measured(load, server, command, limit_seconds=limit))
                    for _ in range(effort.repeats)
                ]
                best = max(best, median(r.result["landed"] / r.seconds for r in runs))
                yield from self._rates(peer.name, f"{where}, {depth} in flight", runs)
            command = f"paced {best / 2:.0f} {effort.warm} {effort.seconds}"
            runs = [
                measured(load, server, command, limit_seconds=limit) for _ in range(effort.repeats)
            ]
            yield from self._latencies(peer.name, f"{where}, {best / 2:,.0f} messages/s", runs)

    def _rates(self, peer: str, case: str, runs: list[Measured]) -> Iterator[Record]:
        for metric, key in (("acked messages", "landed"), ("deliveries", "deliveries")):
            rates = tuple(r.result[key] / r.seconds for r in runs)
            yield with_shares(Record(self.name, case, peer, metric, "/s", rates), runs)

        costs = tuple(r.server_cpu_seconds * 1e6 / r.result["landed"] for r in runs)
        metric = "server CPU per message"
        yield with_shares(Record(self.name, case, peer, metric, "µs", costs, False), runs)

    def _latencies(self, peer: str, case: str, runs: list[Measured]) -> Iterator[Record]:
        for key in ("p50", "p99"):
            values = tuple(r.result[f"{key}_ms"] for r in runs)
            record = Record(self.name, case, peer, f"ack {key}", "ms", values, False)
            yield with_shares(record, runs)


def _acked(run: Measured) -> Measured:
    if run.result["stalled"] or not run.result["landed"]:
        raise LoadFailed(f"confirmations stopped: {run.result}")
    return run
