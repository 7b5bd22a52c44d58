"""A measured stretch of time of the Python load generator."""

import asyncio
import json
import resource
import time
from typing import Any

STALLED_SECONDS = 3.0


class Window:
    """A measured stretch of time: what landed in it and how long that took."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.deliveries = self.landed = 0
        self.over = False
        self._latencies: list[float] | None = None
        self._progress = time.monotonic()

    def land(self, started: float) -> None:
        self._progress = now = time.monotonic()
        self.landed += 1
        if self._latencies is not None:
            self._latencies.append((now - started) * 1000)

    def begin(self) -> None:
        self.deliveries = self.landed = 0
        self._latencies = []
        self._begun, self._cpu = time.monotonic(), cpu_seconds()
        say({"event": "start"})

    async def run(self, warm: float, seconds: float) -> dict[str, Any]:
        await asyncio.sleep(warm)
        self.begin()
        await asyncio.sleep(seconds)
        return self.result(stalled=time.monotonic() - self._progress > STALLED_SECONDS)

    def result(self, *, stalled: bool) -> dict[str, Any]:
        self.over = True
        seconds = time.monotonic() - self._begun
        latencies = sorted(self._latencies or [-1.0])
        self._latencies = None

        def at(share: float) -> float:
            return latencies[min(int(share * len(latencies)), len(latencies) - 1)]

        return {
            "mode": self.mode,
            "seconds": seconds,
            "landed": self.landed,
            "deliveries": self.deliveries,
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "max_ms": latencies[-1],
            "load_cpu": (cpu_seconds() - self._cpu) / seconds,
            "stalled": stalled,
        }


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def say(answer: dict[str, Any]) -> None:
    """One line to whoever drives us."""
    print(json.dumps(answer), flush=True)
