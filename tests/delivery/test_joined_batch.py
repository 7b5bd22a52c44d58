"""A commit that brings somebody into a conversation and goes on talking in it: all that comes after
them in the same commit is theirs, also on a node that did not follow the conversation before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.services.conversations import AddParticipants
from madang.services.messages import SendMessage


async def test_what_follows_a_joining_in_the_same_commit(make_node: Callable[..., Any]) -> None:
    bus = MemoryBus(SystemClock())
    one, two = await make_node(bus.end()), await make_node(bus.end())
    room = await one.group("ann")
    cho = await two.connect("cho")
    writer = one.app.writer
    await asyncio.gather(
        writer.write(AddParticipants("default", room, "ann", ("cho",))),
        writer.write(SendMessage("default", room, "ann", "welcome")),
        writer.write(SendMessage("default", room, "ann", "cho")),
    )
    await two.app.delivery.reach("default")
    two.app.hub.flush()
    kinds = [event["type"] for event in cho.events()]
    assert kinds == ["participant.joined", "message.new", "message.new"]
