"""Live rooms: a hall that joins and votes, a full room that talks, and the page phones load."""

import gzip
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from bench.load.build import compiled
from bench.load.driver import Load, LoadFailed, loading
from bench.load.plan import Plan
from bench.measure import Measured, measured, with_shares
from bench.peers.base import Peer, Unavailable
from bench.peers.madang import Madang
from bench.peers.rooms import open_room, talk, vote
from bench.processes import Server
from bench.records import Record
from bench.scenarios.base import Effort, served

JOIN_SECONDS = 10
VOTE_SECONDS = 5
AFTER_SECONDS = 30
"""How long votes that are late are waited for."""
QUIET = "quiet 120"
QUIET_LIMIT_SECONDS = 125
_LINKED = re.compile(r"""(?:href|src)="(files/[^"]+)"|(?:from|import) ?'(\./[^']+\.js)'""")


@contextmanager
def _loading(plan: Plan, server: Server) -> Iterator[Load]:
    if compiled("counter") is None:
        raise Unavailable("only the load in C joins live rooms: there is no C compiler")
    with loading(plan, port=server.port) as load:
        yield load


@dataclass(frozen=True, slots=True)
class Votes:
    """A hall joins by the clock and votes by the clock; every tenth vote is sent twice."""

    name: str = "live-votes"
    title: str = "A live room: everyone joins, everyone votes"
    people: int = 2000

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        people = effort.sized(self.people)
        for as_page in (False, True):
            runs, counted = [], []
            for _ in range(effort.repeats):
                run, votes = self._once(peer, people, as_page)
                runs.append(run)
                counted.append(votes)
            reads = ", and read what the page reads" if as_page else ""
            case = (
                f"{people} join in {JOIN_SECONDS} s{reads}, and vote in the next {VOTE_SECONDS} s"
            )
            yield from self._records(case, peer.name, people, runs, counted)

    def _once(self, peer: Peer, people: int, as_page: bool) -> tuple[Measured, int]:
        with served(peer) as server:
            room = open_room(server.port)
            question = room.ask("What shall we talk about first?")
            plan = room.joining(people, vote(question), as_page=as_page)
            with _loading(plan, server) as load:
                command = f"crowd {JOIN_SECONDS} {VOTE_SECONDS} {AFTER_SECONDS}"
                limit = JOIN_SECONDS + VOTE_SECONDS + AFTER_SECONDS + 30
                run = measured(load, server, command, limit_seconds=limit)
                load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
                frames = load.command("counts", limit_seconds=30)["classes"]
                run.result["errors"] = frames[plan.classes.index('{"type":"error"')]
                if room.participants() != people:
                    raise LoadFailed(f"{room.participants()} seats for {people} people")
                return run, room.votes(question)

    def _records(
        self, case: str, peer: str, people: int, runs: list[Measured], votes: list[int]
    ) -> Iterator[Record]:
        def record(metric: str, unit: str, values: list[float]) -> Record:
            made = Record(self.name, case, peer, metric, unit, tuple(values), False)
            return with_shares(made, runs)

        found = [run.result for run in runs]
        refused = [r["refused"] + r["errors"] + people - r["answered"] for r in found]
        yield record("refused, or without an answer", "", refused)
        yield record("votes missed or counted twice", "", [abs(people - one) for one in votes])
        yield record("counts told to a phone, most in a second", "/s", _of(found, "most_counted"))
        yield record("the same and its own vote's answer", "/s", _of(found, "most_heard"))
        yield record("server core", "%", [run.server_share * 100 for run in runs])
        for what, key in (("join", "join"), ("vote answered", "answer")):
            for part in ("p50", "p99", "max"):
                yield record(f"{what} {part}", "ms", _of(found, f"{key}_{part}_ms"))
        yield record("the load late, most", "ms", _of(found, "late_ms"))
        yield record("received by all phones", "MB", [r["bytes"] / 1e6 for r in found])


def _of(found: list[dict[str, float]], key: str) -> list[float]:
    return [one[key] for one in found]


@dataclass(frozen=True, slots=True)
class Talk:
    """A full room in which people chat by the clock. A message has landed when everyone has it."""

    name: str = "live-room"
    title: str = "A live room: chat reaches the last one"
    people: int = 5000
    rates: tuple[int, ...] = (1, 5, 20)

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        people = effort.sized(self.people)
        # So many that the few messages of a slow chat have a p99.
        seconds = 4 * effort.seconds
        with served(peer) as server:
            room = open_room(server.port, max_seats=people + 1, seats_per_address=None)
            plan = room.joining(people, talk())
            chat = plan.classes.index('{"type":"chat_message"')
            plan = Plan(
                classes=plan.classes,
                count=chat,
                ready=plan.ready,
                message=plan.message,
                asks=plan.asks,
                conns=plan.conns,
            )
            with _loading(plan, server) as load:
                joined = measured(load, server, "connect 256 300", limit_seconds=310)
                if joined.result["ready"] != people:
                    raise LoadFailed(f"not everyone joined: {joined.result}")
                load.command(QUIET, limit_seconds=QUIET_LIMIT_SECONDS)
                case = f"{people} people"
                rates = (people / joined.seconds,)
                made = Record(self.name, case, peer.name, "joins, all others told", "/s", rates)
                yield with_shares(made, [joined])
                for rate in self.rates:
                    command = f"chat {rate} {effort.warm} {seconds}"
                    limit = effort.warm + seconds + 30
                    runs = [
                        _landed(measured(load, server, command, limit_seconds=limit))
                        for _ in range(effort.repeats)
                    ]
                    for part in ("p50", "p99", "max"):
                        values = tuple(run.result[f"{part}_ms"] for run in runs)
                        where = f"{people} people, {rate} messages/s"
                        metric = f"the last one has it {part}"
                        made = Record(self.name, where, peer.name, metric, "ms", values, False)
                        yield with_shares(made, runs)


def _landed(run: Measured) -> Measured:
    if run.result["stalled"] or not run.result["landed"] or run.result["closed"]:
        raise LoadFailed(f"messages stopped landing, or people were sent away: {run.result}")
    return run


@dataclass(frozen=True, slots=True)
class Page:
    """What a phone loads that opens `/r/CODE` for the first time, and what serving it costs."""

    name: str = "live-page"
    title: str = "A live room: the page on a phone"

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        with served(peer) as server:
            room = open_room(server.port)
            page = f"http://127.0.0.1:{server.port}/r/{room.code}"
            with httpx.Client(headers={"accept-encoding": "gzip"}, timeout=30) as phone:
                loaded = load_page(phone, page)
                costs = []
                for _ in range(effort.repeats):
                    before = server.usage().cpu_seconds
                    for _ in range(loads := max(3, int(10 * effort.seconds))):
                        for url in loaded:
                            phone.get(url)
                    costs.append((server.usage().cpu_seconds - before) * 1e3 / loads)
        case = f"{len(loaded)} files"
        for metric, size in (
            ("sent", sum(one.sent for one in loaded.values())),
            ("unpacked", sum(one.unpacked for one in loaded.values())),
        ):
            yield Record(self.name, case, peer.name, metric, "KB", (size / 1000,), False)
        metric = "server CPU per page load"
        yield Record(self.name, case, peer.name, metric, "ms", tuple(costs), False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Bytes of one answer: as sent, head and all, and as the browser unpacks it."""

    sent: int
    unpacked: int


def load_page(phone: httpx.Client, page: str) -> dict[str, Loaded]:
    """The page and everything that it names, as a browser finds it: links, scripts and what they
    import. By address."""
    found: dict[str, Loaded] = {}
    wanted = [page]
    while wanted:
        url = wanted.pop()
        if url in found:
            continue
        with phone.stream("GET", url) as answer:
            raw = b"".join(answer.iter_raw())
        if answer.status_code != 200:
            raise LoadFailed(f"{url}: {answer.status_code}")
        content = raw
        if answer.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(raw)
        head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
        found[url] = Loaded(len(raw) + head + len("HTTP/1.1 200 OK\r\n\r\n"), len(content))
        for named in _LINKED.findall(content.decode()):
            wanted.append(urljoin(url, named[0] or named[1]))
    return found
