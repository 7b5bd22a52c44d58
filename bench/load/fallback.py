"""The load generator in Python, for machines without a C compiler: the plan, the commands and the
answers of `counter.c`, on uvloop where it is there.

It counts a tenth of what the C program does, and the ceiling in the report shows it.
"""

import asyncio
import contextlib
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.load.fallback_conn import Conn, Directions, client_frame, read_plan
from bench.load.fallback_window import Window, cpu_seconds, say


class Generator:
    """The connections of a plan and the commands that load a server with them."""

    def __init__(self, plan: Directions) -> None:
        self.plan = plan
        self.conns = [Conn(self, *conn) for conn in plan.conns]
        self.refused = self.closed = self.pings = self.other = self.bytes = 0
        self.by_class = [0] * len(plan.classes)
        self._number = 0
        self._settled = 0
        self._at = 0
        self.on_counted: Callable[[Conn, int], None] | None = None
        self.on_ack: Callable[[Conn], None] | None = None
        self.on_settled: Callable[[], None] | None = None

    # -- what connections tell -----------------------------------------------------------------

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def opened(self, conn: Conn) -> None:
        if self.plan.hello is not None:
            conn.say(self.plan.hello)
        if self.plan.ready is None:
            self._become_ready(conn)

    def _become_ready(self, conn: Conn) -> None:
        if not conn.ready:
            conn.ready = True
            if self.on_settled:
                self.on_settled()

    def lost(self, conn: Conn) -> None:
        self.closed += 1
        if self.on_settled:
            self.on_settled()

    def frame(self, conn: Conn, opcode: int, data: bytes, start: int, end: int) -> int:
        """Take one frame; answer how many counted messages were in it."""
        self.bytes += end - start
        if opcode == 9:
            self.pings += 1
            if conn.to:
                conn.to.write(client_frame(data[start:end], 10))
        elif opcode in (1, 2):
            if not self.plan.lines:
                return self._classify(conn, data, start)
            texts = data[start:end].split(b"\n")
            return sum(self._classify(conn, text, 0) for text in texts if text)
        elif opcode == 8 and conn.to:
            conn.to.close()
        return 0

    def _classify(self, conn: Conn, data: bytes, start: int) -> int:
        plan = self.plan
        for index, prefix in enumerate(plan.classes):
            if not data.startswith(prefix, start):
                continue
            self.by_class[index] += 1
            if index == plan.ack and self.on_ack:
                self.on_ack(conn)
            if index == plan.ready:
                self._become_ready(conn)
            for wanted, text in plan.replies:
                if wanted == index:
                    conn.say(text)
            return int(index == plan.count)
        self.other += 1
        return 0

    def counted(self, conn: Conn, frames: int) -> None:
        if self.on_counted:
            self.on_counted(conn, frames)

    def sender(self) -> Conn | None:
        """The senders, taken in turn."""
        for _ in range(len(self.conns)):
            self._at = (self._at + 1) % len(self.conns)
            conn = self.conns[self._at]
            if conn.ready and "S" in conn.role:
                return conn
        return None

    # -- commands ------------------------------------------------------------------------------

    async def connect(self, window: float, limit: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        room = asyncio.Semaphore(int(window))
        self.on_settled = room.release
        begun, cpu = time.monotonic(), cpu_seconds()

        async def open_one(index: int, conn: Conn) -> None:
            raw = socket.socket()
            raw.setblocking(False)
            raw.bind((f"127.0.0.{2 + index % 8}", 0))
            try:
                await loop.sock_connect(raw, (self.plan.address, conn.port))
                await loop.create_connection(lambda: conn, sock=raw)
            except OSError:
                self.refused += 1
                room.release()

        pending = []
        for index, conn in enumerate(self.conns):
            await room.acquire()
            pending.append(asyncio.create_task(open_one(index, conn)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                for _ in range(int(window)):
                    await room.acquire()
        self.on_settled = None
        seconds = time.monotonic() - begun
        return {
            "mode": "connect",
            "seconds": seconds,
            "ready": sum(conn.ready for conn in self.conns),
            "wanted": len(self.conns),
            "refused": self.refused,
            "closed": self.closed,
            "load_cpu": (cpu_seconds() - cpu) / seconds,
        }

    async def fanout(self, in_flight: float, warm: float, seconds: float) -> dict[str, Any]:
        window = Window("fanout")
        behind: dict[int, int] = {}
        sent: deque[float] = deque()
        receivers = [conn for conn in self.conns if "R" in conn.role and conn.ready]
        behind[0] = len(receivers)
        landed = 0

        def send() -> None:
            conn = self.sender()
            if conn:
                sent.append(time.monotonic())
                conn.say(self.plan.message)

        def counted(conn: Conn, frames: int) -> None:
            nonlocal landed
            if "R" not in conn.role:
                return
            window.deliveries += frames
            behind[conn.seen - frames] -= 1
            behind[conn.seen] = behind.get(conn.seen, 0) + 1
            while sent and not behind.get(landed):
                behind.pop(landed, None)
                landed += 1
                window.land(sent.popleft())
                if not window.over:
                    send()

        for conn in self.conns:
            conn.seen = 0
        self.on_counted = counted
        for _ in range(int(in_flight)):
            send()
        result = await window.run(warm, seconds)
        await until(lambda: not sent, 2.0)
        self.on_counted = None
        return result | {"backlog": len(sent)}

    async def acked(self, in_flight: float, warm: float, seconds: float) -> dict[str, Any]:
        window, waiting = self._acking("acked", refill=True)
        for _ in range(int(in_flight)):
            self._send_acked(self.sender(), time.monotonic())
        return await self._finish(window, waiting, warm, seconds)

    async def paced(self, rate: float, warm: float, seconds: float) -> dict[str, Any]:
        window, waiting = self._acking("paced", refill=False)
        start = time.monotonic()

        async def pace() -> None:
            due = 0
            while not window.over:
                while start + due / rate <= time.monotonic():
                    self._send_acked(self.sender(), start + due / rate)
                    due += 1
                await asyncio.sleep(max(0.0, start + due / rate - time.monotonic()))

        pacing = asyncio.create_task(pace())
        result = await self._finish(window, waiting, warm, seconds)
        await pacing
        return result

    async def burst(self, each: float, limit: float) -> dict[str, Any]:
        window, _ = self._acking("burst", refill=False)
        inner = self.on_ack
        left = {conn: int(each) - 1 for conn in self.conns if "S" in conn.role and conn.ready}
        wanted = len(left) * int(each)

        def ack(conn: Conn) -> None:
            assert inner is not None
            inner(conn)
            if left[conn]:
                left[conn] -= 1
                self._send_acked(conn, time.monotonic())

        self.on_ack = ack
        window.begin()
        for conn in left:
            self._send_acked(conn, time.monotonic())
        await until(lambda: window.landed >= wanted, limit)
        self.on_ack = self.on_counted = None
        return window.result(stalled=window.landed < wanted)

    async def hold(self, seconds: float) -> dict[str, Any]:
        pings, closed = self.pings, self.closed
        say({"event": "start"})
        await asyncio.sleep(seconds)
        pinged, lost = self.pings - pings, self.closed - closed
        return {"mode": "hold", "seconds": seconds, "pings": pinged, "closed": lost}

    async def quiet(self, limit: float) -> dict[str, Any]:
        begun = last = time.monotonic()
        seen = self.bytes
        while time.monotonic() - last < 0.5 and time.monotonic() - begun < limit:
            await asyncio.sleep(0.05)
            if self.bytes != seen:
                seen, last = self.bytes, time.monotonic()
        return {"mode": "quiet", "seconds": time.monotonic() - begun}

    async def counts(self) -> dict[str, Any]:
        seen = [conn.seen for conn in self.conns if "R" in conn.role] or [0]
        return {
            "mode": "counts",
            "least": min(seen),
            "most": max(seen),
            "all": sum(seen),
            "other": self.other,
            "classes": self.by_class,
        }

    async def drop(self) -> dict[str, Any]:
        dropped = [conn.to for conn in self.conns if conn.to]
        for transport in dropped:
            transport.abort()
        await until(lambda: all(conn.to is None for conn in self.conns), 10.0)
        return {"mode": "drop", "dropped": len(dropped)}

    # -- shared by the acked modes -------------------------------------------------------------

    def _acking(self, mode: str, *, refill: bool) -> tuple["Window", Callable[[], bool]]:
        window = Window(mode)
        for conn in self.conns:
            conn.started.clear()

        def ack(conn: Conn) -> None:
            if conn.started:
                window.land(conn.started.popleft())
                if refill and not window.over:
                    self._send_acked(self.sender(), time.monotonic())

        def counted(conn: Conn, frames: int) -> None:
            window.deliveries += frames

        self.on_ack, self.on_counted = ack, counted
        return window, lambda: not any(conn.started for conn in self.conns)

    def _send_acked(self, conn: Conn | None, started: float) -> None:
        if conn:
            conn.started.append(started)
            conn.say(self.plan.message)

    async def _finish(
        self, window: "Window", drained: Callable[[], bool], warm: float, seconds: float
    ) -> dict[str, Any]:
        result = await window.run(warm, seconds)
        await until(drained, 3.0)
        self.on_ack = self.on_counted = None
        return result


async def until(done: Callable[[], bool], limit: float) -> None:
    """Wait until `done`, looked at 100 times a second, or for `limit` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit):
            while not done():  # noqa: ASYNC110 - what is waited for happens per frame
                await asyncio.sleep(0.01)


async def _main(plan: Directions) -> None:
    load = Generator(plan)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *values = line.split()
        if word == "quit":
            return
        if word not in COMMANDS:
            say({"event": "error", "message": "unknown command"})
            continue
        result = await getattr(load, word)(*map(float, values))
        say({"event": "result"} | result)


COMMANDS = {"connect", "fanout", "acked", "paced", "burst", "hold", "quiet", "counts", "drop"}

if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_main(read_plan(Path(sys.argv[1]))))
