"""Runs: many agents speak at once, each to two viewers. How late the first token is, and whether
as many are delivered as are said. And viewers who refresh meanwhile: whether they read the same."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load.build import compiled
from bench.load.driver import LoadFailed, loading
from bench.measure import Measured, measured, watched, with_shares
from bench.peers.agents import Session, answering, named_sessions, open_sessions, watching
from bench.peers.base import Peer, Unavailable
from bench.peers.madang import Madang
from bench.peers.python import ByHand
from bench.processes import Server
from bench.records import Record
from bench.scenarios.base import Effort, served

VIEWERS = 2
INTERVAL_MS = 20
"""Between two tokens: 50 a second."""
PATIENCE_SECONDS = 60
"""How long the answers that are under way at the end may take."""


@dataclass(frozen=True, slots=True)
class Speed:
    """So many runs at once, of so many tokens each: as one ends, the next is asked for."""

    runs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Runs:
    """Agents of the server's own process speak by the clock."""

    name: str = "runs"
    title: str = "Agents answer, each to two viewers"
    speeds: tuple[Speed, ...] = (Speed(200, 250), Speed(1000, 1000))

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang | ByHand)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        if compiled("counter") is None:
            raise Unavailable("only the load in C watches runs: there is no C compiler")
        for speed in self.speeds:
            count = effort.sized(speed.runs)
            with answering(peer) if isinstance(peer, Madang) else served(peer) as server:
                sessions = (
                    open_sessions(server.port, count, VIEWERS)
                    if isinstance(peer, Madang)
                    else named_sessions(count, VIEWERS)
                )
                plan = watching(sessions, f"{speed.tokens} {INTERVAL_MS}")
                with loading(plan, port=server.port) as load:
                    load.connect()
                    # Begun one after another over the length of one: they do not all begin at once,
                    # now or later.
                    length = speed.tokens * INTERVAL_MS / 1000
                    warm, seconds = length + effort.warm, effort.seconds
                    runs = []
                    for _ in range(effort.repeats):
                        command = f"runs {speed.tokens} {INTERVAL_MS} {length} {warm} {seconds}"
                        limit = warm + seconds + 30
                        runs.append(measured(load, server, command, limit_seconds=limit))
                        # Those under way go on, and new ones are asked for as they end.
                        warm = length = effort.warm / 10
                    rest = load.command(
                        f"rest {PATIENCE_SECONDS}", limit_seconds=PATIENCE_SECONDS + 10
                    )
            if rest["left"] or rest["closed"] or rest["incomplete"]:
                raise LoadFailed(f"answers did not end as they should: {rest}")
            yield from self._records(peer, f"{count} runs", runs, rest["wrong"])

    def _records(
        self, peer: Peer, case: str, runs: list[Measured], wrong: float
    ) -> Iterator[Record]:
        def record(metric: str, unit: str, values: list[float], more: bool = False) -> Record:
            made = Record(self.name, case, peer.name, metric, unit, tuple(values), more)
            return with_shares(made, runs)

        found = [run.result for run in runs]
        rates = [one["tokens"] / one["seconds"] for one in found]
        yield record("tokens delivered", "/s", rates, True)
        frames = [one["frames"] / one["seconds"] for one in found]
        yield record("in frames", "/s", frames, True)
        for what, key in (
            ("first token", "first"),
            ("last token of a frame", "newest"),
            ("first token of a frame", "oldest"),
            ("question to first token", "answered"),
            ("end late by", "late"),
        ):
            for part in ("p50", "p99", "max"):
                yield record(f"{what} {part}", "ms", [one[f"{key}_{part}_ms"] for one in found])
        yield record("frames that were not what the agent said", "", [wrong])


@dataclass(frozen=True, slots=True)
class Refreshing:
    """Each viewer has an answer of its own and refreshes three times in the middle of it."""

    name: str = "refresh"
    title: str = "Viewers refresh in the middle of an answer"
    viewers: int = 500
    tokens: int = 1000

    def takes(self, peer: Peer) -> bool:
        return isinstance(peer, Madang)

    def run(self, peer: Peer, effort: Effort) -> Iterator[Record]:
        count = effort.sized(self.viewers)
        for way, what in (("page", "anew over WebSocket"), ("sse", "over SSE, by Last-Event-ID")):
            runs = []
            with answering(peer) as server:
                for _ in range(effort.repeats):
                    sessions = open_sessions(server.port, count, 1)
                    runs.append(_refreshed(server, way, self.tokens, sessions))
            yield from self._records(peer, f"{count} viewers, {what}", runs)

    def _records(self, peer: Peer, case: str, runs: list[Measured]) -> Iterator[Record]:
        found = [run.result for run in runs]
        for key, metric, unit in (
            ("differ", "texts that are not what the agent said", ""),
            ("kept_differ", "texts on disk that are not", ""),
            ("incomplete", "answers that did not end as complete", ""),
            ("alone_p50", "text there again, one by one p50", "ms"),
            ("alone_p99", "text there again, one by one p99", "ms"),
            ("together_p50", "text there again, all at once p50", "ms"),
            ("together_p99", "text there again, all at once p99", "ms"),
        ):
            values = tuple(float(one[key]) for one in found)
            yield with_shares(Record(self.name, case, peer.name, metric, unit, values, False), runs)


def _refreshed(server: Server, way: str, tokens: int, sessions: list[Session]) -> Measured:
    with TemporaryDirectory(prefix="bench-refresh-") as made:
        path = Path(made) / "sessions.json"
        path.write_text(json.dumps([asdict(session) for session in sessions]))
        module = [sys.executable, "-m", "bench.refresh"]
        command = [*module, str(server.port), way, str(tokens), str(INTERVAL_MS), str(path)]
        return watched(server, command, limit_seconds=tokens * INTERVAL_MS / 1000 + 180)
