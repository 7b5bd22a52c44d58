"""What the bench says of agents' answers is so, against a real server and against wrong ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.load.build import compiled
from bench.load.driver import loading
from bench.load.plan import Conn
from bench.peers.agents import ANSWER, BASE, answering, open_sessions, watching
from bench.peers.base import Unavailable
from bench.peers.madang import Madang
from bench.processes import Server
from bench.records import Record
from bench.refresh import _events, measure
from bench.scenarios.base import Effort
from bench.scenarios.runs import Runs
from bench.servers.agents import text_of
from bench.targets import verdicts
from bench.tokens import mint

CAN_WATCH = compiled("counter") is not None
"""Only the load in C watches runs; that the bench says so is tested everywhere."""
TOKENS, INTERVAL_MS = 50, 10


@pytest.fixture(scope="module")
def madang() -> Iterator[Server]:
    with answering(Madang()) as one:
        yield one


def test_answers_are_watched_to_their_last_token(madang: Server) -> None:
    if not CAN_WATCH:
        return
    sessions = open_sessions(madang.port, 4, 2)
    began: list[bool] = []
    with loading(watching(sessions, f"{TOKENS} {INTERVAL_MS}"), port=madang.port) as load:
        load.connect()
        command = f"runs {TOKENS} {INTERVAL_MS} 0.5 0.6 2"
        told = load.command(command, limit_seconds=60, on_start=lambda: began.append(True))
        rest = load.command("rest 30", limit_seconds=40)
    assert began == [True]
    assert told["tokens"] >= told["frames"] > 0 and told["ended"] > 0
    assert 0 <= told["first_p50_ms"] <= told["first_p99_ms"] <= told["first_max_ms"]
    assert told["newest_p50_ms"] <= told["oldest_p50_ms"]
    assert rest["begun"] >= 4 + told["ended"]
    assert (rest["wrong"], rest["incomplete"], rest["left"], rest["closed"]) == (0, 0, 0, 0)


async def _wrong_server(
    said: list[dict[str, object]],
) -> tuple[int, asyncio.Event, asyncio.Task[None]]:
    """Answers every message with these frames."""
    stopping = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def one(connection: ServerConnection) -> None:
        await connection.send('{"type":"system","event":"connected"}')
        async for _ in connection:
            for frame in said:
                await connection.send(json.dumps(frame, separators=(",", ":")))

    async def run() -> None:
        async with serve(one, "127.0.0.1", 0) as server:
            port.set_result(next(iter(server.sockets)).getsockname()[1])
            await stopping.wait()

    task = asyncio.create_task(run())
    return await port, stopping, task


def _frames(text: str, *, offset: int = 0, status: str = "complete") -> list[dict[str, object]]:
    whole = text_of(1, TOKENS)
    return [
        {"type": "stream_start", "message_id": "m"},
        {"type": "stream_chunk", "message_id": "m", "content": whole[:21], "offset": 0},
        {"type": "stream_chunk", "message_id": "m", "content": text, "offset": 21 + offset},
        {"type": "stream_end", "message_id": "m", "status": status},
    ]


_REST = text_of(1, TOKENS)[21:]


@pytest.mark.parametrize(
    ("said", "wrong", "incomplete"),
    [
        (_frames(_REST), False, False),
        (_frames(_REST[:-7]), True, False),
        (_frames(_REST + "000050 "), True, False),
        (_frames(_REST.replace("000007", "000008")), True, False),
        (_frames(_REST, offset=7), True, False),
        (_frames(_REST, status="failed"), False, True),
        ([{"type": "stream_start"}, {"type": "error"}, *_frames(_REST)], False, True),
    ],
)
async def test_what_is_not_as_it_was_said_is_counted(
    said: list[dict[str, object]], wrong: bool, incomplete: bool
) -> None:
    if not CAN_WATCH:
        return
    port, stopping, serving = await _wrong_server(said)
    plan = replace(
        watching([], f"{TOKENS} {INTERVAL_MS}"), conns=(Conn("RS", f"{BASE}/ws/x", "x"),)
    )

    def load() -> dict[str, int]:
        with loading(plan, port=port) as one:
            one.connect()
            one.command(f"runs {TOKENS} {INTERVAL_MS} 0 0 0.1", limit_seconds=30)
            return one.command("rest 20", limit_seconds=30)

    rest = await asyncio.to_thread(load)
    stopping.set()
    await serving
    assert rest["begun"] > 0 and rest["left"] == 0
    assert (rest["wrong"] > 0, rest["incomplete"] > 0) == (wrong, incomplete)


def test_without_a_compiler_it_is_said_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.scenarios.runs.compiled", lambda name: None)
    with pytest.raises(Unavailable, match="no C compiler"):
        list(Runs().run(Madang(), Effort(seconds=0.1, warm=0.1, repeats=1, scale=0.01)))


@pytest.mark.parametrize("way", ["page", "sse"])
def test_who_refreshes_reads_the_same(madang: Server, way: str) -> None:
    sessions = open_sessions(madang.port, 3, 1)
    told = asyncio.run(measure(madang.port, way, 100, 20, sessions))  # type: ignore[arg-type]
    assert (told["viewers"], told["differ"], told["kept_differ"], told["incomplete"]) == (
        3,
        0,
        0,
        0,
    )
    assert 0 < told["alone_p50"] <= told["alone_p99"]
    assert 0 < told["together_p50"] <= told["together_p99"]


def test_the_agent_says_what_it_is_compared_with(madang: Server) -> None:
    (session,) = open_sessions(madang.port, 1, 1)
    headers = {"Authorization": f"Bearer {mint(session.people[0])}"}
    path = f"http://127.0.0.1:{madang.port}{BASE}/sessions/{session.id}/messages/stream"
    body = {"content": "30 1", "stream": True}
    text = ""
    with httpx.stream("POST", path, headers=headers, json=body, timeout=30) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                text += json.loads(line[6:]).get("content", "")
    assert text == text_of(int(text[1:20]), 30)
    assert len(text) == 21 + 29 * 7


async def test_events_in_chunks_are_read_wherever_they_are_cut() -> None:
    event = 'id: m:0\ndata: {"type":"stream_chunk","content":"안녕"}\n\n'.encode()
    sent = b": ping\n\n" + event + event.replace(b"m:0", b"m:1")
    for size in (1, 3, 17, len(sent)):
        reader = asyncio.StreamReader()
        for at in range(0, len(sent), size):
            part = sent[at : at + size]
            reader.feed_data(b"%x\r\n%b\r\n" % (len(part), part))
        reader.feed_data(b"0\r\n\r\n")
        read = [(name, content["content"]) async for name, content in _events(reader)]
        assert read == [("m:0", "안녕"), ("m:1", "안녕")]


def _record(scenario: str, case: str, metric: str, *runs: float, more: bool = False) -> Record:
    return Record(scenario, case, "madang", metric, "", runs, more)


@pytest.mark.parametrize(
    ("part", "records", "met"),
    [
        ("100,000 tokens/s", [("1000 runs", "tokens delivered", 99_000.0)], True),
        ("100,000 tokens/s", [("1000 runs", "tokens delivered", 98_999.0)], False),
        (
            "first token is there",
            [("200 runs", "first token p99", 30.0), ("1000 runs", "first token p99", 99.0)],
            True,
        ),
        ("first token is there", [("200 runs", "first token p99", 31.0)], False),
        ("every frame", [("200 runs", "frames that were not what the agent said", 0.0)], True),
        ("every frame", [("200 runs", "frames that were not what the agent said", 1.0)], False),
    ],
)
def test_runs_are_held_to_their_targets(
    part: str, records: list[tuple[str, str, float]], met: bool
) -> None:
    made = [
        _record("runs", case, metric, value, more=metric == "tokens delivered")
        for case, metric, value in records
    ]
    (found,) = [verdict for verdict in verdicts(made) if part in verdict.target]
    assert found.met is met


@pytest.mark.parametrize("differ", [(0, 0, 0), (0, 1, 0)])
def test_one_text_that_differs_in_one_run_is_one_too_many(differ: tuple[float, ...]) -> None:
    made = [
        _record("refresh", "500 viewers", "texts that are not what the agent said", *differ),
        _record("refresh", "500 viewers", "texts on disk that are not", 0, 0, 0),
        _record("refresh", "500 viewers", "answers that did not end as complete", 0, 0, 0),
    ]
    (found,) = [verdict for verdict in verdicts(made) if "refresh" in verdict.target]
    assert found.met is not any(differ)
    assert all(name.startswith('{"type":"') for name in ANSWER)
