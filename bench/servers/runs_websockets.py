"""Agents' answers by hand, as they are often written: `websockets` under uvloop, each token sent to
each viewer when it is said. Nothing is kept, nobody can come back. The frames are Madang's."""

import asyncio
import http
import json
import os
import time
from collections import defaultdict

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request, Response

from bench.servers.token_check import valid

_sessions: defaultdict[str, set[ServerConnection]] = defaultdict(set)
_speaking: set[asyncio.Task[None]] = set()


def _check(connection: ServerConnection, request: Request) -> Response | None:
    if valid(request.path):
        return None
    return connection.respond(http.HTTPStatus.UNAUTHORIZED, "unauthorized\n")


async def _speak(session: str, run: str, tokens: int, interval: int) -> None:
    def tell(kind: str, **fields: object) -> None:
        told = {"type": kind, "message_id": run, **fields}
        broadcast(_sessions[session], json.dumps(told, separators=(",", ":")))

    tell("stream_start", sender_type="agent")
    stamp = time.monotonic_ns()
    text, offset = f"@{stamp:019d} ", 0
    for index in range(tokens):
        wait = stamp + index * interval * 1_000_000 - time.monotonic_ns()
        if wait > 0:
            await asyncio.sleep(wait / 1e9)
        tell("stream_chunk", content=text, index=index, offset=offset)
        offset += len(text)
        text = f"{index + 1:06d} "
    tell("stream_end", tokens_used=tokens, latency_ms=0, status="complete")


async def _serve_one(connection: ServerConnection) -> None:
    assert connection.request is not None
    session = connection.request.path.partition("?")[0].rpartition("/")[2]
    _sessions[session].add(connection)
    await connection.send('{"type":"system","event":"connected"}')
    try:
        async for message in connection:
            said = json.loads(message)
            tokens, interval = map(int, said["content"].split())
            run = f"{session}-{said['client_id']}"
            task = asyncio.create_task(_speak(session, run, tokens, interval))
            _speaking.add(task)
            task.add_done_callback(_speaking.discard)
    finally:
        _sessions[session].discard(connection)


async def _main() -> None:
    async with serve(
        _serve_one,
        "127.0.0.1",
        int(os.environ["BENCH_PORT"]),
        process_request=_check,
        compression=None,
        backlog=4096,
        ping_interval=25,
        ping_timeout=60,
    ) as server:
        await server.serve_forever()


uvloop.run(_main())
