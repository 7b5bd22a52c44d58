"""Sessions with an agent, in Madang: a server whose agent speaks by the clock."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.load.plan import Conn, Plan
from bench.paths import REPOSITORY
from bench.peers.base import Peer, Unavailable
from bench.processes import Server, free_port, serving
from bench.servers.agents import AGENT
from bench.tokens import mint

BASE = "/api/chat"
SYSTEM = '{"type":"system","event":"connected"'
# In the order that load/runs.c knows.
ANSWER = (
    '{"type":"stream_chunk"',
    '{"type":"stream_start"',
    '{"type":"stream_end"',
    '{"type":"error"',
)


@dataclass(frozen=True, slots=True)
class Session:
    """A session and the people in it; the first made it."""

    id: str
    people: tuple[str, ...]

    def path(self, user: str) -> str:
        return f"{BASE}/ws/{self.id}?token={mint(user)}"


@contextmanager
def answering(peer: Peer) -> Iterator[Server]:
    """A fresh Madang with the agent, until the block ends."""
    with TemporaryDirectory(prefix=f"bench-{peer.name}-") as made:
        work, port = Path(made), free_port()
        env = peer.environment(port, work) | {
            "BENCH_PORT": str(port),
            "MADANG_DATA_DIR": str(work / "files"),
            "MADANG_RUNS_PER_USER": "100000",
            "MADANG_RUNS_PER_ORG": "100000",
            "PYTHONPATH": str(REPOSITORY),
        }
        command = [sys.executable, "-m", "bench.servers.agents"]
        with serving(command, port=port, work=work, env=env, cwd=work) as server:
            yield server


def named_sessions(count: int, people: int) -> list[Session]:
    """So many sessions by their numbers, for a server that knows none before."""
    return [
        Session(str(number), tuple(f"user-{number}-{i}" for i in range(people)))
        for number in range(count)
    ]


def open_sessions(port: int, count: int, people: int) -> list[Session]:
    """So many sessions with the agent, each with people of its own."""

    def make(named: Session) -> Session:
        users = named.people
        answer = client.post(
            "/sessions",
            headers={"Authorization": f"Bearer {mint(users[0])}"},
            json={"agent_id": AGENT, "participant_ids": users[1:]},
        )
        if answer.status_code != 201:
            raise Unavailable(f"no session: {answer.status_code} {answer.text[:200]}")
        return Session(str(answer.json()["session_id"]), users)

    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}{BASE}", timeout=60) as client,
        ThreadPoolExecutor(max_workers=8) as pool,
    ):
        return list(pool.map(make, named_sessions(count, people)))


def watching(sessions: list[Session], question: str) -> Plan:
    """Everybody watches; the first of each session asks."""
    said = {"type": "message", "content": question, "client_id": "%n"}
    return Plan(
        classes=(*ANSWER, SYSTEM),
        count=0,
        ready=len(ANSWER),
        message=json.dumps(said),
        conns=tuple(
            Conn("RS" if at == 0 else "R", one.path(user), one.id)
            for one in sessions
            for at, user in enumerate(one.people)
        ),
    )
