"""Asking servers: many commands at once, each where its key is, answered within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis

from madang.bus.redis_link import AWAY, Command, Refused, packed
from madang.bus.redis_scripts import Script
from madang.bus.redis_servers import Server, Servers
from madang.bus.redis_touch import Touch
from madang.protocol.errors import Unavailable

ANSWER_SECONDS = 1.0
AT_ONCE = 500
"""Keys in a pipeline: a server works on that many scripts for about 10 ms, and others wait."""

Ask = tuple[bytes, Command]
"""A key, which says where to ask, and the command."""


def scripted(script: Script, key: bytes, *arguments: str | int) -> Ask:
    return key, script.call(key, *arguments)


class Asking:
    """What asks.

    Args:
        touch: where the servers are, while they are in reach.
    """

    def __init__(self, touch: Touch) -> None:
        self._touch = touch

    async def ask(self, asks: Sequence[Ask]) -> list[Any]:
        """The replies, in order. What stands on one server is done there in this order, and
        before what is asked later: it is sent before this first waits.

        Raises:
            Unavailable: the bus is away, or does not answer within a second, or refuses. What was
                asked may have been done or not.
        """
        servers = self._touch.reach
        if servers is None:
            raise Unavailable(AWAY)
        if not asks:
            return []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                replies = await self._send(servers, asks)
                lost = [
                    index
                    for index, reply in enumerate(replies)
                    if type(reply) is hiredis.ReplyError and str(reply).startswith("NOSCRIPT")
                ]
                if lost:
                    for server in servers.all:
                        await self._touch.doors.teach(server.ask)
                    again = await self._send(servers, [asks[index] for index in lost])
                    for index, reply in zip(lost, again, strict=True):
                        replies[index] = reply
        except (TimeoutError, Refused) as error:
            raise Unavailable(AWAY) from error
        for reply in replies:
            if type(reply) is hiredis.ReplyError:
                self._touch.complained(str(reply))
                raise Unavailable(AWAY)
        return replies

    async def one(self, ask: Ask) -> Any:
        """The reply to one."""
        return (await self.ask([ask]))[0]

    async def _send(self, servers: Servers, asks: Sequence[Ask]) -> list[Any]:
        if not servers.sharded:
            commands = b"".join([packed(command) for _, command in asks])
            return await servers.all[0].ask.call(commands, len(asks))
        parts: dict[Server, list[int]] = {}
        for index, (key, _) in enumerate(asks):
            parts.setdefault(servers.of(key), []).append(index)
        waiting = [
            server.ask.call(b"".join([packed(asks[i][1]) for i in part]), len(part))
            for server, part in parts.items()
        ]
        replies: list[Any] = [None] * len(asks)
        for part, answers in zip(parts.values(), await asyncio.gather(*waiting), strict=True):
            for index, reply in zip(part, answers, strict=True):
                replies[index] = reply
        return replies
