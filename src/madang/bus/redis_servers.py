"""The servers a node is connected to: one, or the masters of a cluster.

A server has three connections, so that a flood on one is not waited for by another: `tell` for what
is published, `hear` for what is subscribed, `ask` for what is asked.
"""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hiredis

from madang.bus.address import Address
from madang.bus.redis_link import Link, Refused, open_link, packed
from madang.protocol.errors import Unavailable

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Where a cluster keeps a key or a sharded channel: CRC16 of it, or of its `{tag}`."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


class Server:
    """One server and the connections to it."""

    __slots__ = ("address", "ask", "hear", "tell")

    def __init__(self, address: Address, tell: Link, hear: Link, ask: Link) -> None:
        self.address = address
        self.tell = tell
        self.hear = hear
        self.ask = ask

    @property
    def links(self) -> tuple[Link, Link, Link]:
        return (self.tell, self.hear, self.ask)


class Servers:
    """All servers of one time in touch: when a part of it is lost, all of it is made anew.

    Args:
        places: for each slot of a cluster the index in `all`; None where there is one server.
    """

    __slots__ = ("all", "places")

    def __init__(self, servers: Sequence[Server], places: Sequence[int] | None) -> None:
        self.all = servers
        self.places = places

    @property
    def sharded(self) -> bool:
        return self.places is not None

    def of(self, key: bytes) -> Server:
        """The server that has a key or a channel."""
        return self.all[0] if self.places is None else self.all[self.places[slot_of(key)]]

    @property
    def links(self) -> Iterable[Link]:
        return [link for server in self.all for link in server.links]

    async def fence(self) -> None:
        """Return when all that was told or followed is done.

        Raises:
            Unavailable: a link broke first.
        """
        told = [server.tell.fence() for server in self.all]
        await _all([*told, *(server.hear.fence() for server in self.all)])

    def close(self) -> None:
        for link in self.links:
            link.close()

    async def closed(self) -> None:
        """Return when every socket is closed."""
        await asyncio.wait([link.closed for link in self.links])


class Doors:
    """How to come to servers: where to look, and whom to tell of what happens there.

    Args:
        address: the one to start from.
        scripts: texts of the scripts every server must know.
        pushed, ended, complained: as for a `Link`.
    """

    def __init__(
        self,
        address: Address,
        scripts: Sequence[str],
        pushed: Callable[[list[Any]], None],
        ended: Callable[[str], None],
        complained: Callable[[str], None],
    ) -> None:
        self._seeds = [address]
        self._scripts = b"".join(packed(("SCRIPT", "LOAD", text)) for text in scripts)
        self._count = len(scripts)
        self._pushed = pushed
        self._ended = ended
        self._complained = complained

    async def open(self) -> Servers:
        """Connect to all there are.

        Raises:
            Refused: a server is there and does not let us in, or is none for this.
            OSError, TimeoutError, Unavailable: there is none, or it does not answer.
        """
        for seed in self._seeds[1:]:
            # Members of a cluster as it was: the one in the URL may be the one that is gone.
            try:
                return await self._open(seed)
            except (OSError, TimeoutError, Unavailable, Refused):
                continue
        return await self._open(self._seeds[0])

    async def _open(self, seed: Address) -> Servers:
        opened: list[Link] = []
        try:
            ask = self._link(seed, opened)
            greeting = await open_link(ask, "ask")
            if greeting.get(b"role") in (b"replica", b"slave"):
                raise Refused("READONLY")
            if greeting.get(b"mode") != b"cluster":
                return Servers([await self._server(seed, ask, opened)], None)
            masters, places = await _map_of(ask, seed)
            ask.close()
            servers = await _all([self._server(one, None, opened) for one in masters])
            self._seeds[1:] = masters
            return Servers(servers, places)
        except BaseException:
            for link in opened:
                link.close()
            raise

    def _link(self, address: Address, opened: list[Link], loose: bool = False) -> Link:
        link = Link(address, self._pushed, self._ended, self._complained if loose else None)
        opened.append(link)
        return link

    async def _server(self, address: Address, ask: Link | None, opened: list[Link]) -> Server:
        tell = self._link(address, opened, loose=True)
        hear = self._link(address, opened, loose=True)
        opening = [open_link(tell, "tell"), open_link(hear, "hear")]
        if ask is None:
            ask = self._link(address, opened)
            opening.append(open_link(ask, "ask"))
        await _all(opening)
        await self.teach(ask)
        return Server(address, tell, hear, ask)

    async def teach(self, ask: Link) -> None:
        """Have a server know the scripts.

        Raises:
            Refused, Unavailable, TimeoutError.
        """
        async with asyncio.timeout(2):
            replies = await ask.call(self._scripts, self._count)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise Refused(str(reply))


async def _map_of(ask: Link, seed: Address) -> tuple[list[Address], list[int]]:
    """The masters of a cluster, and for each slot whose it is."""
    async with asyncio.timeout(2):
        (reply,) = await ask.call(packed(("CLUSTER", "SLOTS")), 1)
    if isinstance(reply, hiredis.ReplyError):
        raise Refused(str(reply))
    masters: dict[Address, int] = {}
    places = [-1] * SLOTS
    for first, last, master, *_ in reply:
        # An empty host is the one that was asked.
        address = seed.at((master[0] or b"").decode() or seed.host, master[1])
        index = masters.setdefault(address, len(masters))
        places[first : last + 1] = [index] * (last + 1 - first)
    if -1 in places:
        raise Refused("CLUSTERDOWN not every slot has a master")
    return list(masters), places


async def _all(waiting: Sequence[Any]) -> list[Any]:
    """The results of coroutines that run together; the first error when all have ended."""
    results = await asyncio.gather(*waiting, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
