"""What happens to somebody's memberships on another node while this one is reading them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.ports.store import Store
from madang.services.conversations import AddParticipants, RemoveParticipant
from tests.conftest import eventually
from tests.delivery.conftest import Node

MakeNode = Callable[..., Any]


class Slow:
    """A store whose reading of memberships comes late: with what was true when it read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.read = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def memberships(self, org_id: str, user_ids: Sequence[str]) -> dict[str, list[str]]:
        found = await self._store.memberships(org_id, user_ids)
        self.read.set()
        await self.go_on.wait()
        return found


@pytest.mark.parametrize("came_meanwhile", [False, True])
async def test_who_is_sent_out_while_being_read_hears_nothing(
    make_node: MakeNode, came_meanwhile: bool
) -> None:
    """Nobody else of the conversation is on that node: it does not follow what happens there."""
    bus = MemoryBus(SystemClock())
    one: Node = await make_node(bus.end())
    other: Node = await make_node(bus.end())
    room = await one.group("ann", *(() if came_meanwhile else ("ben",)))
    hall = await one.group("zoe", "ben")
    zoe = await other.connect("zoe")
    slow = Slow(other.app.store)
    other.app.members._store = slow
    connecting = asyncio.create_task(other.connect("ben"))
    await slow.read.wait()
    if came_meanwhile:
        await one.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
    await one.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    head = await one.app.store.head("default")
    await eventually(lambda: other.app.hub.heads["default"] >= head)
    slow.go_on.set()
    ben = await connecting
    await one.app.send(room, "ann", "not for ben")
    await one.app.send(hall, "zoe", "for both")
    await eventually(lambda: bool(zoe.events()) and bool(ben.events()))
    assert "not for ben" not in str(ben.told())
    assert ben.member is not None
    assert not other.app.hub.is_in(ben.member, room)
    assert other.app.hub.is_in(ben.member, hall)
