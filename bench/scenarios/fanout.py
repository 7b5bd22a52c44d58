"""One room, many receivers: deliveries per second, the last delivery, and what a delivery costs.

Four senders keep `in_flight` messages un-landed between them. A message has landed when **every**
receiver has it; the same holds for each peer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.load.driver import LoadFailed, loading
from bench.measure import Measured, measured, with_shares
from bench.peers.base import Peer
from bench.records import Record
from bench.scenarios.base import Effort, served

SENDERS = 4
COUNTING_DEPTH = 1024
COST = "server CPU per delivery"
# Connecting to a room may set off presence; nothing is measured before that is over.
QUIET_LIMIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Fanout:
    """Deliveries per second at several depths, and landing times at depth 1."""

    name: str = "fanout"
    title: str = "One room, 150-byte frames"
    connections: int = 1000
    in_flight: tuple[int, ...] = (4, 64)
    light: bool = False

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        size = effort.sized(self.connections)
        with served(peer) as server:
            plan = peer.room(server, size, SENDERS)
            with loading(plan, port=server.port) as load:
                load.connect()
                load.command(f"quiet {QUIET_LIMIT_SECONDS}", limit_seconds=QUIET_LIMIT_SECONDS + 5)
                for depth in self._depths(peer):
                    command = f"fanout {depth} {effort.warm} {effort.seconds}"
                    limit = effort.warm + effort.seconds + 20
                    runs = [
                        _landed(measured(load, server, command, limit_seconds=limit))
                        for _ in range(effort.repeats)
                    ]
                    case = f"{size} connections, {depth} in flight"
                    yield from self._records(peer.name, case, runs)

    def _depths(self, peer: Peer) -> tuple[int, ...]:
        # What the load could count if writes were larger: no server's batches are.
        deep = (COUNTING_DEPTH,) if peer.name == "ceiling" and not self.light else ()
        return self.in_flight + deep

    def _records(self, peer: str, case: str, runs: list[Measured]) -> Iterator[Record]:
        if self.light:
            for key in ("p50_ms", "p99_ms"):
                values = tuple(r.result[key] for r in runs)
                metric = f"last delivery {key.removesuffix('_ms')}"
                yield with_shares(Record(self.name, case, peer, metric, "ms", values, False), runs)
            return
        rates = tuple(r.result["deliveries"] / r.seconds for r in runs)
        costs = tuple(r.server_cpu_seconds * 1e6 / r.result["deliveries"] for r in runs)
        yield with_shares(Record(self.name, case, peer, "deliveries", "/s", rates), runs)
        yield with_shares(Record(self.name, case, peer, COST, "µs", costs, False), runs)


@dataclass(frozen=True, slots=True)
class Growth:
    """Server CPU per delivery as the room grows.

    With one message in flight every delivery is one write at every size. With more, a larger room
    splits them over more turns of the loop, so the figure also tells how batches shrink.
    """

    name: str = "growth"
    title: str = "Cost of a delivery as the room grows"
    sizes: tuple[int, ...] = (100, 1000, 5000, 15000)
    in_flight: tuple[int, ...] = (1, 64)

    def takes(self, peer: Peer) -> bool:
        return True

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        for size in sorted({effort.sized(size) for size in self.sizes}):
            with (
                served(peer) as server,
                loading(peer.room(server, size, SENDERS), port=server.port) as load,
            ):
                load.connect()
                load.command("quiet 120", limit_seconds=125)
                for depth in self.in_flight:
                    command = f"fanout {depth} {effort.warm} {effort.seconds}"
                    limit = effort.warm + effort.seconds + 30
                    runs = [
                        _landed(measured(load, server, command, limit_seconds=limit))
                        for _ in range(effort.repeats)
                    ]
                    costs = tuple(r.server_cpu_seconds * 1e6 / r.result["deliveries"] for r in runs)
                    case = f"{size} connections, {depth} in flight"
                    record = Record(self.name, case, peer.name, COST, "µs", costs, False)
                    yield with_shares(record, runs)


def _landed(run: Measured) -> Measured:
    if run.result["stalled"] or not run.result["deliveries"]:
        raise LoadFailed(f"messages stopped landing: {run.result}")
    return run
