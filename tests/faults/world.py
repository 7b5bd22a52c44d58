"""A cluster that things are done to, and people who talk on it meanwhile.

Every wire goes through a proxy: client to node, node to PostgreSQL, node to Valkey. `Round` is one
org's life: rooms are opened, devices talk and move between nodes, faults come one after the
other; then everything is made whole, the devices wait until they have all they may see, the log
and all lists are read, and the checker says what is wrong.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from tests.conftest import Server
from tests.faults.checker import findings
from tests.faults.device import Device, Door, Yard
from tests.faults.history import Final, Frame, History
from tests.faults.log import Log
from tests.faults.proxy import Proxy
from tests.snapshot import API, merge, snapshot

ORG = "round"
_ROOT = Path(__file__).parents[2]
SETTLING = 45.0
"""Seconds until everything that was asked must be answered, once all is whole."""
ARRIVING = 15.0
"""And until everybody must have been told everything."""


class NodeProcess(Server):
    """A server that may carry a planted bug, and is started with what surrounds it."""

    def __init__(self, directory: Path, *, bug: str | None = None, **settings: str) -> None:
        super().__init__(directory, dev=False, **settings)
        self.bug = bug

    def command(self) -> list[str]:
        command = super().command()
        if self.bug is None:
            return command
        planted = [sys.executable, "-m", "tests.faults.planted", self.bug, *command[3:]]
        return ["env", f"PYTHONPATH={_ROOT}:{os.environ.get('PYTHONPATH', '')}", *planted]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def limit_files(self, size: int) -> None:
        """No file that it writes may grow beyond so many bytes."""
        assert self.process is not None
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))


class Node:
    """A node and the wires to it."""

    def __init__(self, name: str, server: NodeProcess, door: Proxy) -> None:
        self.name = name
        self.server = server
        self.door = door
        self.database: Proxy | None = None
        self.bus: Proxy | None = None
        self.up = True
        """Whether clients are sent here."""

    @property
    def wires(self) -> list[Proxy]:
        return [one for one in (self.door, self.database, self.bus) if one is not None]

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)


class World:
    """Nodes on one database. Entered, it runs; left, all of it is gone.

    Args:
        bug: what the nodes carry, by the name that `tests.faults.planted` knows.
    """

    def __init__(
        self, directory: Path, chance: random.Random, *, bug: str | None = None, **settings: str
    ) -> None:
        self.directory = directory
        self.chance = chance
        self.bug = bug
        self.settings = {"rate_limit_enabled": "false", "drain_seconds": "1", **settings}
        self.nodes: list[Node] = []
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def open(self) -> None:
        """Start what there is. One node on a SQLite file, here."""
        await self.add_node("a", **self.settings)

    async def add_node(self, name: str, **settings: str) -> Node:
        server = NodeProcess(self.directory / name, bug=self.bug, **settings)
        self.stack.callback(server.stop)
        door = Proxy(f"clients-{name}", ("127.0.0.1", server.port), self.chance)
        await self.stack.enter_async_context(door)
        node = Node(name, server, door)
        self.nodes.append(node)
        await node.start()
        return node

    def door(self) -> Door:
        """A node for a client that connects now, as a load balancer chooses: any."""
        node = self.chance.choice(self.nodes)
        return Door(node.name, f"http://127.0.0.1:{node.door.port}")

    async def heal(self) -> None:
        """Make everything whole again, whatever was done."""
        self.calm()
        for node in self.nodes:
            for wire in node.wires:
                await wire.mend()
            if node.server.bug != self.bug:
                node.server.kill()
                node.server.bug = self.bug
            process = node.server.process
            if process is None or process.poll() is not None:
                await node.start()
            else:
                node.server.signal(signal.SIGCONT)
                node.server.limit_files(resource.RLIM_INFINITY)

    def calm(self) -> None:
        """End what befalls single messages."""

    def reader(self, org: str, user: str, **claims: Any) -> httpx.AsyncClient:
        """REST on a node, past the proxies."""
        return self.chance.choice(self.nodes).server.rest(user, org=org, **claims)


Fault = Callable[["Round"], Awaitable[str]]
"""Does something for a while, undoes it and says in a few words what it was."""


class Round:
    """People of an org of their own on a running world."""

    def __init__(self, world: World, number: int, *, users: int = 5, devices: int = 8) -> None:
        self.world = world
        self.history = History()
        self.chance = world.chance
        self.org = f"{ORG}-{number}"
        names = [f"u{n}" for n in range(users)]
        self.yard = Yard(self.org, names, self._token)
        self.devices = [
            Device(
                f"{names[n % users]}.{n // users}",
                names[n % users],
                self.yard,
                self.history,
                world.door,
                random.Random(self.chance.random()),
            )
            for n in range(devices)
        ]
        self._tokens: dict[str, str] = {}
        self._running: list[asyncio.Task[None]] = []

    def _token(self, user: str) -> str:
        if user not in self._tokens:
            self._tokens[user] = self.world.nodes[0].server.token(user, org=self.org, ttl=86400)
        return self._tokens[user]

    async def run(self, faults: Sequence[Fault]) -> list[str]:
        """Open, do the faults one after the other while people talk, end; what was found."""
        await self.begin()
        found: list[str] = []
        for fault in faults:
            before = len(self.history.faults)
            self.history.fault(f"begins: {fault.__name__}")
            text = await fault(self)
            self.history.faults[before:] = [(self.history.faults[before][0], text)]
            if not await self.acks(20, 30.0):
                found.append(f"no progress: nothing is confirmed after {text}")
                break
        return [*found, *await self.end()]

    async def begin(self) -> None:
        """Open the rooms and let people talk."""
        for first in self.devices[:2]:
            async with self.world.reader(self.org, first.user) as rest:
                await first.open_room(rest, self.yard.users)
                await first.open_room(rest, self.yard.users[:2])
        self._running = [asyncio.create_task(device.run()) for device in self.devices]
        if not await self.acks(50, 30.0):
            raise AssertionError("nobody can talk")

    async def acks(self, more: int, seconds: float) -> bool:
        """Wait until so many more calls are confirmed; whether they were in this time."""
        wanted = self.yard.acks + more
        try:
            async with asyncio.timeout(seconds):
                while self.yard.acks < wanted:
                    await self.yard.stirred.wait()
                    self._failed()
        except TimeoutError:
            return False
        return True

    def _failed(self) -> None:
        for task in self._running:
            if task.done() and not task.cancelled():
                task.result()

    async def end(self) -> list[str]:
        """Make everything whole, wait until everybody has everything, and look."""
        await self.world.heal()
        self.yard.stopping.set()
        for device in self.devices:
            device.move()
        found = [*await self._settled()]
        final = await self._final()
        log = Log(final.log, (call for call in self.history.calls if call.kind == "create"))
        found += await self._caught_up(log)
        found += await self._same_as_fresh()
        for device in self.devices:
            device.leave()
        async with asyncio.timeout(SETTLING):
            done = await asyncio.gather(*self._running, return_exceptions=True)
        found += [f"a client failed: {one!r}" for one in done if isinstance(one, Exception)]
        return [*found, *findings(self.history, final)]

    async def _settled(self) -> list[str]:
        """Everything that can be repeated is confirmed in the end."""
        found = []
        deadline = time.monotonic() + SETTLING
        for device in self.devices:
            try:
                async with asyncio.timeout_at(
                    asyncio.get_running_loop().time() + deadline - time.monotonic()
                ):
                    while not device.idle:
                        await _or_task(device.moved.wait(), self._running)
            except TimeoutError:
                calls = device.unanswered()
                found.append(f"never answered: {device.name} waits for {calls[:1]}")
        return found

    async def _caught_up(self, log: Log) -> list[str]:
        """Whoever stays connected gets everything, without asking."""
        found = []
        deadline = asyncio.get_running_loop().time() + ARRIVING
        for device in self.devices:
            wanted = max(log.visible(device.user, 0, log.head), default=0)
            try:
                async with asyncio.timeout_at(deadline):
                    while (device.cursor or 0) < wanted:
                        await device.moved.wait()
            except TimeoutError:
                found.append(f"never came: {device.name} waits at {device.cursor} for {wanted}")
            if device.seen is not None:
                device.seen.until = log.head
        return found

    async def _same_as_fresh(self) -> list[str]:
        """What each client knows is what it would read anew."""
        found = []
        for device in self.devices:
            async with self.world.reader(self.org, device.user) as rest:
                fresh = await snapshot(rest)
            try:
                merged, to_load = merge(device.base or {}, device.since_base, device.user)
            except (KeyError, TypeError, AttributeError) as error:
                found.append(f"{device.name} was told what follows from nothing: {error!r}")
                continue
            for conversation_id in to_load:
                if conversation_id in fresh:
                    merged[conversation_id] = fresh[conversation_id]
            if merged != fresh:
                found.append(f"{device.name} knows otherwise than it is: {_differ(merged, fresh)}")
        return found

    async def _final(self) -> Final:
        async with self.world.reader(self.org, "reader", roles=["admin"]) as rest:
            log: list[Frame] = []
            cursor = 0
            while True:
                params = {"scope": "org", "cursor": str(cursor), "limit": "1000"}
                answer = await rest.get("/api/v1/events", params=params)
                assert answer.is_success, answer.text
                page = answer.json()
                log += page["events"]
                cursor = page["cursor"]
                if not page["has_more"]:
                    break
        final = Final(log)
        for user in self.yard.users:
            async with self.world.reader(self.org, user) as rest:
                await _add_lists(rest, final)
        return final


async def _add_lists(rest: httpx.AsyncClient, final: Final) -> None:
    for conversation_id, conversation in (await snapshot(rest)).items():
        if conversation_id in final.messages:
            continue
        final.messages[conversation_id] = list(conversation["messages"].values())
        people = await rest.get(f"{API}/conversations/{conversation_id}/participants?limit=200")
        final.people[conversation_id] = {
            str(one["user_id"]): one["role"] for one in people.json()["participants"]
        }


async def _or_task(waited: Awaitable[Any], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait, but not for ever where a client has failed."""
    waiting = asyncio.ensure_future(waited)
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task.done():
            task.result()


def _differ(merged: Any, fresh: Any, where: str = "") -> str:
    """The first place where two pieces of plain data differ."""
    if isinstance(merged, dict) and isinstance(fresh, dict):
        for key in {**merged, **fresh}:
            if merged.get(key) != fresh.get(key):
                return _differ(merged.get(key), fresh.get(key), f"{where}/{key}")
    return f"{where}: {str(merged)[:200]} where {str(fresh)[:200]} is"
