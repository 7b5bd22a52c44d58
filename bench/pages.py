"""Pages of 50 messages as the store gives them, without HTTP: `python -m bench.pages URL
CONVERSATION USER COUNT SEED`, run as a process of its own on the servers' core; prints JSON.

The places are those of `bench.straight pages` with the same seed.
"""

import json
import random
import sys
import time

import uvloop

from bench.straight import PAGE, quantiles
from madang.clock import SystemClock
from madang.store.postgresql import PostgresStore


async def pages(url: str, conversation: str, user: str, count: int, seed: int) -> dict[str, float]:
    store = PostgresStore(url, SystemClock())
    last = (await store.last_seqs("default", [conversation]))[conversation]
    places = random.Random(seed)
    took = []
    for number in range(count + count // 10):
        before = places.randrange(PAGE + 10, last)
        begun = time.perf_counter()
        page = await store.messages("default", conversation, user, before_seq=before, limit=PAGE)
        elapsed = time.perf_counter() - begun
        if page is None or len(page.items) != PAGE:
            raise SystemExit(f"no page before {before}")
        # The first tenth warms the caches.
        if number >= count // 10:
            took.append(elapsed * 1e3)
    await store.close()
    return quantiles(took)


def main(url: str, conversation: str, user: str, count: str, seed: str) -> None:
    print(json.dumps(uvloop.run(pages(url, conversation, user, int(count), int(seed)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
