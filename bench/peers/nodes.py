"""Servers of which there may be several: Madang on PostgreSQL with a bus between its nodes, and
python-socketio with its Redis manager."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load.plan import Conn, Plan
from bench.peers.base import Peer, run_install, socketio_dialect
from bench.peers.madang import ROOM, Madang, make_rooms, message_plan, ws_path
from bench.peers.python import PYTHON, ROOT, SocketIoPython
from bench.processes import Server, Usage
from bench.services import Postgres, Valkey
from bench.tokens import mint


@dataclass(frozen=True, slots=True)
class Nodes:
    """Running servers that are one to their clients; all of them on the servers' core."""

    servers: tuple[Server, ...]

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(server.port for server in self.servers)

    def usage(self) -> Usage:
        """Of all nodes together."""
        used = [server.usage() for server in self.servers]
        cpu, resident = sum(u.cpu_seconds for u in used), sum(u.resident_bytes for u in used)
        return Usage(cpu, resident, used[-1].at)


@contextmanager
def nodes(peer: Peer, count: int) -> Iterator[Nodes]:
    """So many nodes of the peer, each in a directory of its own."""
    with ExitStack() as running:
        found = []
        for _ in range(count):
            work = running.enter_context(TemporaryDirectory(prefix=f"bench-{peer.name}-"))
            found.append(running.enter_context(peer.running(Path(work))))
        yield Nodes(tuple(found))


class MadangOnPostgres(Madang):
    """Madang on a database of the bench, and on a bus where there is one."""

    what = "the messenger on PostgreSQL"

    def __init__(self, database: Postgres, bus: Valkey | None = None) -> None:
        super().__init__()
        self._database, self._bus = database, bus

    def environment(self, port: int, work: Path) -> dict[str, str]:
        more = {"MADANG_DATABASE_URL": self._database.app_url}
        if self._bus is not None:
            more["MADANG_REDIS_URL"] = self._bus.url
        return super().environment(port, work) | more


def spread_rooms(ports: Sequence[int], rooms: int, size: int) -> Plan:
    """Rooms whose members are on all nodes in turn; everyone sends and receives."""
    members = [[f"user-{r}-{i}" for i in range(size)] for r in range(rooms)]
    pairs = zip(make_rooms(ports[0], members), members, strict=True)
    return message_plan(
        [
            Conn("RS", ws_path(user), room, port=ports[at % len(ports)])
            for room, users in pairs
            for at, user in enumerate(users)
        ]
    )


def watched_room(name: str, sender_port: int, reader_port: int, size: int = ROOM) -> Plan:
    """One room: a sender on one node, readers on one."""
    sender, readers = f"{name}-sender", [f"{name}-{i}" for i in range(size - 1)]
    (room,) = make_rooms(sender_port, [[sender, *readers]])
    conns = [Conn("R", ws_path(user), room, port=reader_port) for user in readers]
    return message_plan([*conns, Conn("S", ws_path(sender), room, port=sender_port)])


class SocketIoRedis(SocketIoPython):
    """Emits to rooms through Redis, so that processes share them. Nothing is kept of a message;
    it is acknowledged when Redis has it."""

    name = "socketio-redis"
    title = "python-socketio, Redis manager"
    what = "two processes, emit(room=...) through AsyncRedisManager"
    only = ("two-nodes",)

    def __init__(self) -> None:
        self.bus: Valkey | None = None

    def install(self) -> None:
        super().install()
        done = ROOT / "installed-redis"
        if not done.exists():
            command = [str(PYTHON), "-m", "pip", "install", "-q", "redis[hiredis]>=5"]
            run_install(command, cwd=ROOT)
            done.touch()

    def environment(self, port: int, work: Path) -> dict[str, str]:
        assert self.bus is not None
        return super().environment(port, work) | {"BENCH_REDIS": self.bus.url}

    def spread_rooms(self, ports: Sequence[int], rooms: int, size: int) -> Plan:
        """Rooms whose members are on all nodes in turn; a message is acknowledged."""
        plain = socketio_dialect()
        conns = [
            Conn("RS", _room_path(f"user-{r}-{i}", r), port=ports[i % len(ports)])
            for r in range(rooms)
            for i in range(size)
        ]
        return Plan(
            classes=(*plain.classes, "430["),
            count=plain.count,
            ready=plain.ready,
            replies=plain.replies,
            message=plain.message.replace("42[", "420[", 1),
            ack=len(plain.classes),
            conns=tuple(conns),
        )


def _room_path(user: str, room: int) -> str:
    return f"/socket.io/?EIO=4&transport=websocket&room={room}&token={mint(user)}"


class Straight(Peer):
    """No server at all: asyncpg, the statement, and nothing around it."""

    name = "asyncpg"
    title = "asyncpg alone"
    what = "one insert, one commit"
    only = ("postgres",)

    def version(self) -> str:
        return version("asyncpg")

    def command(self, port: int, work: Path) -> list[str]:
        raise NotImplementedError
