"""Thumbnails, made by a process of their own: no picture can stop, fill or end the server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from madang import logs
from madang.clock import Clock, Timer

log = logs.get_logger(__name__)

MAX_CONTENT = 32 * 1024 * 1024
"""Bytes of a picture: the process holds them while it reads them."""
MAX_ANSWER = 1024 * 1024
SECONDS = 12.0
"""After which no thumbnail is made of a picture; a telephone's takes a twentieth of a second."""
TURN_SECONDS = 5.0
"""How long a picture waits for those before it. The upload waits with it, so then it has no
thumbnail."""
PAUSE = 5.0
"""After a picture that took more than half of `SECONDS`, no thumbnail is made for its owner for so
many times as long as it took: the others waited for it, or have none."""
IDLE_SECONDS = 60.0
PICTURES = 200
"""After so many the process is replaced, whatever it may have collected."""

_COMMAND = (sys.executable, "-I", "-m", "madang.blobs.thumbnail_worker")


Owner = tuple[str, str]
"""Whose picture it is: org and user."""


class Thumbnails:
    """One process, one picture at a time, started when there is one and ended when there was none
    for a while. Of each owner one picture at most waits for it; their others wait for that one."""

    def __init__(
        self, clock: Clock, *, seconds: float = SECONDS, turn_seconds: float = TURN_SECONDS
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._turn_seconds = turn_seconds
        self._turn = asyncio.Lock()
        self._owners: WeakValueDictionary[Owner, asyncio.Lock] = WeakValueDictionary()
        self._paused: dict[Owner, float] = {}
        self._process: Process | None = None
        self._made = 0
        self._idle: Timer | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def make(self, owner: Owner, size: int, content: AsyncIterator[bytes]) -> bytes | None:
        """A WebP of the picture in `size` bytes of content. None where it is none, too large, takes
        too long, waits too long, or is anything else than a picture; never raises for what it is.
        """
        if not 0 < size <= MAX_CONTENT or self._is_paused(owner):
            return None
        own = self._owners.setdefault(owner, asyncio.Lock())
        waiting = asyncio.timeout(self._turn_seconds)
        try:
            async with waiting, own, self._turn:
                waiting.reschedule(None)
                return await self._make(owner, size, content)
        except TimeoutError:
            log.info("no thumbnail", why="others took too long", size=size)
            return None

    def _is_paused(self, owner: Owner) -> bool:
        now = self._clock.monotonic()
        self._paused = {each: until for each, until in self._paused.items() if until > now}
        return owner in self._paused

    async def _make(self, owner: Owner, size: int, content: AsyncIterator[bytes]) -> bytes | None:
        if self._is_paused(owner):
            return None
        if self._idle is not None:
            self._idle.cancel()
        begun = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await _ask(await self._running(), size, content)
        except BaseException as error:
            # Whatever it does now, it does it without us.
            await self._end()
            if not isinstance(error, TimeoutError | OSError | EOFError):
                raise
            log.info("no thumbnail", why=type(error).__name__, size=size)
            timed_out = isinstance(error, TimeoutError)
            self._note(owner, self._seconds if timed_out else self._clock.monotonic() - begun)
            return None
        self._note(owner, self._clock.monotonic() - begun)
        self._made += 1
        if self._made >= PICTURES:
            await self._end()
        else:
            self._idle = self._clock.call_later(IDLE_SECONDS, self._end_soon)
        return answer or None

    def _note(self, owner: Owner, seconds: float) -> None:
        if seconds > self._seconds / 2:
            self._paused[owner] = self._clock.monotonic() + PAUSE * seconds

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._made = 0
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
            )
        return self._process

    def _end_soon(self) -> None:
        async def end() -> None:
            async with self._turn:
                await self._end()

        task = asyncio.get_running_loop().create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        # Reads what it has still said, and lets go of both pipes.
        await process.communicate()

    async def close(self) -> None:
        """End the process. Nothing is made any more."""
        if self._idle is not None:
            self._idle.cancel()
        await asyncio.gather(*self._ending)
        await self._end()


async def _ask(process: Process, size: int, content: AsyncIterator[bytes]) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(size.to_bytes(4, "big"))
    sent = 0
    async for piece in content:
        sent += len(piece)
        if sent > size:
            raise EOFError
        process.stdin.write(piece)
        await process.stdin.drain()
    if sent < size:
        raise EOFError
    length = int.from_bytes(await process.stdout.readexactly(4), "big")
    if length > MAX_ANSWER:
        raise EOFError
    return await process.stdout.readexactly(length)
