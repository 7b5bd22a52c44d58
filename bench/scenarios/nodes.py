"""Two nodes with PostgreSQL and Valkey between them, beside one node, and beside python-socketio on
two processes.

Both nodes share the servers' core, so that what counts is the work a message takes of all nodes
together: acked messages for a second of CPU. Database and bus are on the load's core.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bench.load.driver import LoadFailed, loading
from bench.load.plan import Plan
from bench.measure import Measured, measured, with_shares
from bench.peers.base import Peer
from bench.peers.madang import Madang, current_cursor
from bench.peers.nodes import (
    MadangOnPostgres,
    Nodes,
    SocketIoRedis,
    nodes,
    spread_rooms,
    watched_room,
)
from bench.processes import Server
from bench.records import Record
from bench.scenarios.base import Effort
from bench.services import Postgres, Valkey, postgres, valkey

QUIET, QUIET_LIMIT_SECONDS = "quiet 60", 65
PER_CPU = "acked messages per CPU second"
DELAY = "delivery"
SAME, OTHER = "within a node", "to the other node"


@dataclass(frozen=True, slots=True)
class TwoNodes:
    """Rooms of ten whose members are on both nodes in turn; and how much later the other node's
    members get a message."""

    name: str = "two-nodes"
    title: str = "Two nodes"
    connections: int = 1000
    size: int = 10
    in_flight: tuple[int, ...] = (256, 1024)

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang | SocketIoRedis)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        rooms = max(1, effort.sized(self.connections) // self.size)
        if isinstance(peer, SocketIoRedis):
            with valkey() as bus:
                peer.bus = bus
                with nodes(peer, 2) as two:
                    plan = peer.spread_rooms(two.ports, rooms, self.size)
                    yield from self._rates(peer, two, plan, "two nodes", effort)
            return
        with postgres() as database, nodes(MadangOnPostgres(database), 1) as one:
            plan = spread_rooms(one.ports, rooms, self.size)
            yield from self._rates(peer, one, plan, "one node", effort)
        with postgres() as database, valkey() as bus:
            node = MadangOnPostgres(database, bus)
            with nodes(node, 2) as two:
                plan = spread_rooms(two.ports, rooms, self.size)
                best = 0.0
                for record in self._rates(peer, two, plan, "two nodes", effort, database, bus):
                    if record.metric == "acked messages":
                        best = max(best, record.value)
                    yield record
                yield from self._delays(peer, two, effort)
                with _background(plan, two, best / 2, effort):
                    yield from self._delays(peer, two, effort, f", {best / 2:,.0f} messages/s")

    def _rates(
        self,
        peer: Peer,
        servers: Nodes,
        plan: Plan,
        which: str,
        effort: Effort,
        database: Postgres | None = None,
        bus: Valkey | None = None,
    ) -> Iterator[Record]:
        rooms = len(plan.conns) // self.size
        with loading(plan, port=servers.ports[0]) as load:
            load.connect()
            load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
            for depth in self.in_flight:
                case = f"{which}, {rooms} rooms of {self.size}, {depth} in flight"
                runs = []
                beside: dict[tuple[str, str], list[float]] = {}
                for _ in range(effort.repeats):
                    command = f"acked {depth} {effort.warm} {effort.seconds}"
                    limit = effort.warm + effort.seconds + 20
                    before = _spent(database, bus)
                    runs.append(_acked(measured(load, servers, command, limit_seconds=limit)))
                    # From before the warm-up, so for all messages since.
                    messages = runs[-1].result["landed"] * (1 + effort.warm / runs[-1].seconds)
                    for name, value in _spent(database, bus).items():
                        each = (value - before[name]) / messages
                        beside.setdefault(name, []).append(each)
                yield from self._records(peer, case, runs)
                for (metric, unit), values in beside.items():
                    yield Record(self.name, case, peer.name, metric, unit, tuple(values), False)

    def _records(self, peer: Peer, case: str, runs: list[Measured]) -> Iterator[Record]:
        for metric, key in (("acked messages", "landed"), ("deliveries", "deliveries")):
            rates = tuple(r.result[key] / r.seconds for r in runs)
            yield with_shares(Record(self.name, case, peer.name, metric, "/s", rates), runs)
        for metric, key in (
            (PER_CPU, "landed"),
            ("deliveries per CPU second", "deliveries"),
        ):
            rates = tuple(r.result[key] / r.server_cpu_seconds for r in runs)
            yield with_shares(Record(self.name, case, peer.name, metric, "", rates), runs)

    def _delays(
        self, peer: Peer, two: Nodes, effort: Effort, load: str = ", nothing else"
    ) -> Iterator[Record]:
        first, second = two.ports
        for where, port in ((SAME, first), (OTHER, second)):
            plan = watched_room(f"{where.replace(' ', '-')}-{len(load)}", first, port)
            with loading(plan, port=first) as watching:
                watching.connect()
                watching.command("hold 1", limit_seconds=10)
                command = f"fanout 1 {effort.warm} {effort.seconds}"
                runs = [
                    watching.command(command, limit_seconds=effort.warm + effort.seconds + 20)
                    for _ in range(effort.repeats)
                ]
            for run in runs:
                if run["stalled"] or not run["landed"]:
                    raise LoadFailed(f"messages stopped landing: {run}")
            for key in ("p50", "p99"):
                values = tuple(run[f"{key}_ms"] for run in runs)
                case, metric = f"{where}{load}", f"{DELAY} {key}"
                yield Record(self.name, case, peer.name, metric, "ms", values, False)


def _spent(database: Postgres | None, bus: Valkey | None) -> dict[tuple[str, str], float]:
    """What database and bus have used so far: (metric, unit) to a sum over all messages."""
    found: dict[tuple[str, str], float] = {}
    if database is not None:
        found["PostgreSQL CPU per message", "µs"] = database.server.usage().cpu_seconds * 1e6
    if bus is not None:
        found["Valkey CPU per message", "µs"] = bus.server.usage().cpu_seconds * 1e6
        found["bytes told per message", "B"] = float(bus.stat("total_net_input_bytes"))
        found["bytes heard per message", "B"] = float(bus.stat("total_net_output_bytes"))
    return found


@contextmanager
def _background(plan: Plan, two: Nodes, rate: float, effort: Effort) -> Iterator[None]:
    """Messages at an even rate in all rooms, for as long as delays are measured."""
    seconds = 2 * (effort.repeats * (effort.warm + effort.seconds + 4) + 8)
    fresh = spread_again(plan)
    with loading(fresh, port=two.ports[0]) as load:
        load.connect()
        load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
        load.begin(f"paced {rate:.0f} 0 {seconds:.0f}")
        yield


def spread_again(plan: Plan) -> Plan:
    """The same rooms and people, with message ids of their own."""
    return replace(plan, message=plan.message.replace("bench-", "beside-"))


@dataclass(frozen=True, slots=True)
class Move:
    """All clients of a node come to the other one and have missed events."""

    name: str = "move"
    title: str = "Everyone moves to the other node"
    clients: int = 5000
    conversations: int = 100
    missed: int = 50

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        rooms = max(1, min(self.conversations, effort.sized(self.clients) // 10))
        size = effort.sized(self.clients) // rooms
        seconds, costs, reads, statements = [], [], [], []
        for _ in range(effort.repeats):
            with postgres() as database, valkey() as bus:
                node = MadangOnPostgres(database, bus)
                with nodes(node, 2) as two:
                    took, cpu = self._move(node, two, database, rooms, size)
                    seconds.append(took)
                    costs.append(cpu * 1e6 / (rooms * size))
                    # A read of the log names its table.
                    reads.append(database.statements("%events as e %") / rooms)
                    statements.append(database.statements("%select%") / rooms)
        case = f"{rooms * size} clients, {self.missed} missed events in {rooms} conversations"
        for metric, unit, values in (
            ("until all are caught up", "s", seconds),
            ("server CPU per client", "µs", costs),
            ("reads of the log per conversation", "", reads),
            ("queries per conversation", "", statements),
        ):
            yield Record(self.name, case, peer.name, metric, unit, tuple(values), False)

    def _move(
        self, node: Madang, two: Nodes, database: Postgres, rooms: int, size: int
    ) -> tuple[float, float]:
        first, second = two.servers
        readers, senders = node.storm(first, rooms * size, size)
        cursor = self._miss(readers, senders, first)
        database.forget_statements()
        before = two.usage().cpu_seconds
        with loading(node.resuming(readers, cursor), port=second.port) as load:
            result = load.connect(window=len(readers.conns))
            used = two.usage().cpu_seconds - before
            counts = load.command("counts", limit_seconds=10)
        if (counts["least"], counts["most"]) != (self.missed, self.missed):
            raise LoadFailed(f"not everyone got {self.missed} events: {counts}")
        return float(result["seconds"]), used

    def _miss(self, readers: Plan, senders: Plan, server: Server) -> int:
        with loading(readers, port=server.port) as load:
            load.connect()
            load.command("quiet 120", limit_seconds=125)
            load.command("drop", limit_seconds=30)
        cursor = current_cursor(server.port, "onlooker")
        with loading(senders, port=server.port) as load:
            load.connect()
            sent = load.command(f"burst {self.missed} 60", limit_seconds=70)
            if sent["stalled"]:
                raise LoadFailed(f"what was to be missed was not sent: {sent}")
        return cursor


def _acked(run: Measured) -> Measured:
    if run.result["stalled"] or not run.result["landed"]:
        raise LoadFailed(f"confirmations stopped: {run.result}")
    return run
