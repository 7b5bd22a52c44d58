"""Connections: what an idle one costs, how fast they come, and how fast they come back."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bench.load.driver import LoadFailed, loading
from bench.load.plan import Plan
from bench.measure import measured
from bench.peers.base import Peer
from bench.peers.madang import Madang, current_cursor
from bench.processes import Server
from bench.records import Record
from bench.scenarios.base import Effort, served

# One heartbeat of every connection falls into each window.
HEARTBEAT_SECONDS = 25
QUIET = "quiet 120"
QUIET_LIMIT_SECONDS = 125


@dataclass(frozen=True, slots=True)
class Memory:
    """Growth of resident memory per idle authenticated connection; CPU while they idle."""

    name: str = "memory"
    title: str = "Idle connections"
    connections: int = 10_000
    conversations: tuple[int, ...] = (0, 10)

    def takes(self, peer: Peer) -> bool:
        return peer.name != "ceiling"

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        size = effort.sized(self.connections) // 10 * 10
        for conversations in self.conversations:
            if conversations and not isinstance(peer, Madang):
                continue
            grown: list[float] = []
            idle: list[float] = []
            for _ in range(effort.repeats):
                with served(peer) as server:
                    plan = self._plan(peer, server, size, conversations)
                    grown.append(self._grow(server, plan, size, idle, watch=not idle))
            case = f"{size} connections, {conversations} conversations each"
            yield Record(
                self.name, case, peer.name, "memory per connection", "KB", tuple(grown), False
            )
            if isinstance(peer, Madang):
                yield Record(self.name, case, peer.name, "idle CPU", "%", tuple(idle), False)

    def _plan(self, peer: Peer, server: Server, size: int, conversations: int) -> Plan:
        if conversations and isinstance(peer, Madang):
            return peer.idle_in_rooms(server, size, conversations)
        return peer.idle(server, size)

    def _grow(
        self, server: Server, plan: Plan, size: int, idle: list[float], *, watch: bool
    ) -> float:
        with loading(plan, port=server.port) as load:
            load.command("hold 1", limit_seconds=10)
            before = server.usage().resident_bytes
            load.connect()
            load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
            after = server.usage().resident_bytes
            if watch:
                # The first window still has what connecting left behind (grace periods).
                load.command("hold 10", limit_seconds=20)
                for _ in range(3):
                    run = measured(
                        load,
                        server,
                        f"hold {HEARTBEAT_SECONDS}",
                        limit_seconds=HEARTBEAT_SECONDS + 10,
                    )
                    if run.result["closed"]:
                        raise LoadFailed(f"idle connections were closed: {run.result}")
                    idle.append(run.server_share * 100)
        return (after - before) / 1000 / size


@dataclass(frozen=True, slots=True)
class Connects:
    """Authenticated connects per second, each with a token of its own, until the greeting."""

    name: str = "connects"
    title: str = "Connecting"
    connections: int = 5000

    def takes(self, peer: Peer) -> bool:
        return peer.name != "ceiling"

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        size = effort.sized(self.connections)
        rates, shares, costs = [], [], []
        with served(peer) as server:
            for _ in range(effort.repeats):
                with loading(peer.idle(server, size), port=server.port) as load:
                    before = server.usage().cpu_seconds
                    result = load.connect()
                    costs.append((server.usage().cpu_seconds - before) * 1e6 / size)
                    rates.append(size / result["seconds"])
                    shares.append(result["load_cpu"])
                    load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
                    load.command("drop", limit_seconds=30)
                    load.command("hold 1", limit_seconds=10)
        note = "" if peer.checks_tokens else "checks no token"
        case = f"{size} connections"
        load_cpu = median(shares)
        yield Record(
            self.name,
            case,
            peer.name,
            "connects",
            "/s",
            tuple(rates),
            load_cpu=load_cpu,
            note=note,
        )
        metric = "server CPU per connect"
        yield Record(self.name, case, peer.name, metric, "µs", tuple(costs), False, note=note)


@dataclass(frozen=True, slots=True)
class Resume:
    """Everyone drops, misses `missed` events and comes back at once."""

    name: str = "resume"
    title: str = "Everyone comes back"
    clients: int = 5000
    missed: int = 20

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        assert isinstance(peer, Madang)
        size = effort.sized(self.clients) // 10 * 10
        seconds: list[float] = []
        with served(peer) as server:
            readers, senders = peer.storm(server, size)
            for _ in range(effort.repeats):
                seconds.append(self._storm(peer, server, readers, senders))
        case = f"{size} clients, {self.missed} missed events each"
        yield Record(
            self.name, case, peer.name, "until all are caught up", "s", tuple(seconds), False
        )

    def _storm(self, peer: Madang, server: Server, readers: Plan, senders: Plan) -> float:
        with loading(readers, port=server.port) as load:
            load.connect()
            load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
            load.command("drop", limit_seconds=30)
        cursor = current_cursor(server.port, "onlooker")
        with loading(peer.talking(senders), port=server.port) as load:
            load.connect()
            sent = load.command(f"burst {self.missed} 60", limit_seconds=70)
            if sent["stalled"]:
                raise LoadFailed(f"what was to be missed was not sent: {sent}")
        plan = peer.resuming(readers, cursor)
        with loading(plan, port=server.port) as load:
            result = load.connect(window=len(readers.conns))
            counts = load.command("counts", limit_seconds=10)
        if (counts["least"], counts["most"]) != (self.missed, self.missed):
            raise LoadFailed(f"not everyone got {self.missed} events: {counts}")
        return float(result["seconds"])
