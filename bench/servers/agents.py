"""Madang with an agent in its own process that speaks by the clock:
`python -m bench.servers.agents`.

Asked `500 20` it says 500 tokens, one in 20 milliseconds. The first is `@`, the clock when it was
said (nanoseconds, 19 digits) and a space; the others are their numbers, six digits and a space. One
that could not be said when it was due is said as soon as it can be: a run is as long as it was
meant to be unless the server is late with it.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import AsyncIterator

import uvloop

from madang import create_app
from madang.agents.protocol import AgentRun, Said
from madang.serving import GIL_SECONDS, Server
from madang.settings import load

AGENT = "clock"


def text_of(stamp: int, tokens: int) -> str:
    """The whole answer."""
    return "".join((f"@{stamp:019d} ", *(f"{number:06d} " for number in range(1, tokens))))


async def by_the_clock(run: AgentRun) -> AsyncIterator[Said]:
    tokens, interval = (int(word) for word in run.question.split())
    stamp = time.monotonic_ns()
    yield f"@{stamp:019d} "
    for number in range(1, tokens):
        wait = stamp + number * interval * 1_000_000 - time.monotonic_ns()
        if wait > 0:
            await asyncio.sleep(wait / 1e9)
        yield f"{number:06d} "


async def main() -> None:
    app = create_app(load(host="127.0.0.1", port=os.environ["BENCH_PORT"]))
    app.agent(AGENT, title="Clock")(by_the_clock)
    await app.start()
    server = Server(app)
    # As `madang.serving.serve` has it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    sys.setswitchinterval(GIL_SECONDS)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(main())
