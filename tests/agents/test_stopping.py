"""Stopping a run that another node runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from madang.bus.memory import MemoryBus, MemoryEnd
from madang.compose import Madang
from madang.ports.bus import Bus
from madang.settings import Settings
from madang.testing import JumpingClock
from tests.agents.watching import ORG, Away, begun, rushed
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


class Counting:
    """An end of a bus that counts how often it is asked who owns something."""

    def __init__(self, end: MemoryEnd) -> None:
        self._end = end
        self.looks = 0

    async def owner(self, name: str) -> str | None:
        self.looks += 1
        return await self._end.owner(name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._end, name)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[tuple[Madang, Madang, Counting, JumpingClock]]:
    """Two of them, what the second asks of the bus, and the time by which leases run out."""
    clock = JumpingClock()
    bus = MemoryBus(clock)
    counting = Counting(bus.end())
    made = []
    for end in (bus.end(), counting):
        settings = Settings(dev=True, data_dir=tmp_path, stream_delay_ms=0)
        made.append(Madang(settings, bus=cast(Bus, end)))
        await made[-1].start()
    yield made[0], made[1], counting, clock
    for node in made:
        await node.stop()


async def test_its_node_ends_it_with_all_it_has_said(
    nodes: tuple[Madang, Madang, Counting, JumpingClock],
) -> None:
    here, there, counting, _ = nodes
    run = (await begun(here, "said ", seen_from=there)).run
    counting.looks = 0
    async with asyncio.timeout(PATIENCE):
        await there.agents.runner.stop(ORG, run)
    found = await there.store.message(ORG, run, "ann")
    assert found is not None
    assert (found.content, found.metadata["status"]) == ("said ", "cancelled")
    assert counting.looks < 10


async def test_a_lease_that_has_run_out_is_no_end(
    nodes: tuple[Madang, Madang, Counting, JumpingClock],
) -> None:
    """Its node heard that it is to stop, and cannot write its end."""
    here, there, counting, clock = nodes
    talk = await begun(here, "said ", seen_from=there)
    run, viewer = talk.run, talk.viewer
    away = Away(here)
    away.is_so = True
    counting.looks = 0
    stopping = asyncio.ensure_future(there.agents.runner.stop(ORG, run))
    await eventually(lambda: counting.looks > 1, PATIENCE)
    # Longer than a lease each time, also one that its node renews meanwhile.
    await rushed(clock, stopping, 9)
    found = await there.store.run(ORG, run, "ann")
    assert found is not None and found.status == "cancelled"
    assert counting.looks < 20
    away.is_so = False
    await eventually(lambda: viewer.ended, PATIENCE)
