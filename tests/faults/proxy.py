"""A TCP proxy of ours between two parts: it delays, cuts, holds back and swallows at run time.

It stands between clients and nodes, nodes and PostgreSQL, nodes and Valkey. Network namespaces
would need root, which a laptop does not give and a container rarely does; what they would do to a
connection (bytes that do not arrive and are not refused) `hold` does here, for everybody alike.
It runs on the test's own event loop and knows nothing of what it carries.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable
from typing import Self

CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing sends RST instead of FIN."""

Transform = Callable[[bytes], bytes]
"""Gets what came and gives what goes on; made anew for each connection."""


class Line:
    """One direction through the proxy, all connections together.

    Attributes:
        delay, jitter: seconds that each piece is kept, and up to so much more.
        cut_after: bytes that may still pass until all connections are cut; None is no end.
        transform: makes what changes the bytes of a new connection.
    """

    def __init__(self, chance: random.Random) -> None:
        self.delay = 0.0
        self.jitter = 0.0
        self.cut_after: int | None = None
        self.transform: Callable[[], Transform] | None = None
        self.swallowing = False
        self.bytes = 0
        self._chance = chance
        self._open = asyncio.Event()
        self._open.set()

    @property
    def held(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        """Nothing passes until `free`; nothing is lost. What a partition does to a connection."""
        self._open.clear()

    def free(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        """Wait until a piece may pass, and as long as it takes."""
        await self._open.wait()
        if self.delay or self.jitter:
            await asyncio.sleep(self.delay + self._chance.random() * self.jitter)
            await self._open.wait()


class _Link:
    """A connection on both sides."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.writers = writers
        self.loses_answer = False

    def cut(self, *, reset: bool) -> None:
        for writer in self.writers:
            transport = writer.transport
            if reset:
                raw = transport.get_extra_info("socket")
                if raw is not None and raw.fileno() >= 0:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                transport.abort()
            else:
                transport.close()


class Proxy:
    """Listens on a free port of this machine and passes on to `target`.

    Attributes:
        forth: from whoever connects to the target. back: the other way.
        connections: how many were accepted in all.
    """

    def __init__(self, name: str, target: tuple[str, int], chance: random.Random) -> None:
        self.name = name
        self.target = target
        self.forth = Line(chance)
        self.back = Line(chance)
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.lose_answer_to: Callable[[bytes], bool] | None = None
        """Asked of each piece on its way to the target: where it is true, the target gets it, and
        the connection is cut when it answers, before the answer passes."""
        self.answers_lost = 0
        self._swallow = False

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def listen(self) -> None:
        """Take connections, on the same port each time."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, limit=CHUNK
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections, as a machine does on which nothing listens."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def swallow(self) -> None:
        """Half-open: accept whoever comes, take what is sent and never answer. Those who are
        connected are treated so too, until `mend`, which cuts them."""
        self._swallow = self.forth.swallowing = self.back.swallowing = True

    def cut(self, *, reset: bool = True) -> None:
        """End all connections: with RST, or with FIN after what was sent."""
        self.cuts += 1
        for link in list(self._links):
            link.cut(reset=reset)

    async def mend(self) -> None:
        """Everything as at the beginning. Connections whose bytes were swallowed are cut."""
        swallowed = self._swallow
        self._swallow = False
        for line in (self.forth, self.back):
            line.swallowing = False
            line.delay = line.jitter = 0.0
            line.cut_after = None
        self.lose_answer_to = None
        if swallowed:
            self.cut()
        self.forth.free()
        self.back.free()
        await self.listen()

    async def close(self) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        try:
            if self._swallow:
                while await reader.read(CHUNK):
                    pass
                return
            # The SYN does not arrive either while nothing passes this way.
            await self.forth.passed()
            there_reader, there = await asyncio.open_connection(*self.target, limit=CHUNK)
            link.writers = (writer, there)
            pumps = [
                asyncio.ensure_future(self._pump(reader, there, self.forth, link)),
                asyncio.ensure_future(self._pump(there_reader, writer, self.back, link)),
            ]
            try:
                await asyncio.gather(*pumps)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            # Nobody there, or gone in the middle of it: so it is for whoever connected.
            link.cut(reset=True)
        finally:
            self._links.discard(link)
            link.cut(reset=False)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        line: Line,
        link: _Link,
    ) -> None:
        transform = line.transform() if line.transform is not None else None
        while data := await reader.read(CHUNK):
            await line.passed()
            if line.swallowing:
                continue
            if line is self.forth:
                link.loses_answer |= self.lose_answer_to is not None and self.lose_answer_to(data)
            elif link.loses_answer:
                self.answers_lost += 1
                link.cut(reset=True)
                return
            if line.cut_after is not None:
                data, left = data[: line.cut_after], line.cut_after - len(data)
                line.cut_after = None if left <= 0 else left
                if left <= 0:
                    writer.write(data)
                    await writer.drain()
                    link.cut(reset=False)
                    self.cuts += 1
                    return
            line.bytes += len(data)
            writer.write(data if transform is None else transform(data))
            await writer.drain()
        await line.passed()
        if writer.can_write_eof():
            writer.write_eof()
