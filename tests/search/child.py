"""Run by test_following: follows the log, and says before and after each step, until it is
killed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.services.search.following import Follower
from madang.store.opening import open_store
from madang.store.search import SqlSearchIndex


class Telling(SqlSearchIndex):
    async def add(self, *given: Any, **named: Any) -> bool:
        os.write(1, b".\n")
        done = await super().add(*given, **named)
        os.write(1, b".\n")
        return done

    @property
    def most_terms(self) -> int:
        return 300


async def main(url: str) -> None:
    clock = SystemClock()
    follower = Follower(Telling(open_store(url, clock), clock), MemoryBus(clock).end(), clock)
    while True:
        await follower.look()
        os.write(1, b".\n")


asyncio.run(main(sys.argv[1]))
