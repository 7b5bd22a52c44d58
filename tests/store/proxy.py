"""A TCP proxy in front of PostgreSQL that cuts a connection at one place of a commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

Place = Literal["before", "after", "half open", "working"]
"""Of COMMIT: it never arrives and the server knows it; it arrives, and its answer does not; it
never arrives and the server keeps waiting for it. Or in the middle of the statements before it."""

_COMMIT = b"COMMIT;"
_STATEMENT = b"BP"
"""What begins with one of these binds or prepares a statement."""


class Proxy:
    """Passes everything on, until it is told to cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cuts = 0
        self.next_cut: Callable[[], Place | None] = lambda: None
        """Asked at each COMMIT, or statement before it, where to cut it."""

    async def open(self) -> None:
        """Let connections in, on the port that it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all, and let nobody in."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_once(self, place: Place) -> None:
        """At the next occasion."""
        places: list[Place] = [place]

        def take() -> Place | None:
            return places.pop() if places else None

        self.next_cut = take

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
            self._open |= {writer, there[1]}
            await self._pass_on(reader, writer, *there)
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        keeps_answers = False

        async def back() -> None:
            while data := await server_reader.read(65536):
                if keeps_answers:
                    # Here it is: committed, and the answer goes no further.
                    break
                writer.write(data)
            writer.transport.abort()
            server_writer.transport.abort()

        answers = asyncio.ensure_future(back())
        try:
            while data := await reader.read(65536):
                place = self._place(data)
                if place is None:
                    server_writer.write(data)
                    continue
                self.cuts += 1
                if place == "after":
                    keeps_answers = True
                    server_writer.write(data)
                    await answers
                elif place == "half open":
                    writer.transport.abort()
                    await answers
                break
        except OSError:
            pass
        writer.transport.abort()
        server_writer.transport.abort()
        self._open -= {writer, server_writer}
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)

    def _place(self, data: bytes) -> Place | None:
        if _COMMIT not in data and data[0] not in _STATEMENT:
            return None
        place = self.next_cut()
        if place is None:
            return None
        if (place == "working") == (_COMMIT in data):
            # Not the occasion for it: the same answer again at the next.
            before, self.next_cut = self.next_cut, lambda: place

            def again() -> Place | None:
                self.next_cut = before
                return place

            self.next_cut = again
            return None
        return place


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of the server on `port` of this machine."""
    proxy = Proxy(port)
    await proxy.open()
    yield proxy
    await proxy.close()
