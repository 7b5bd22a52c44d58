"""A log that is read late tells of a conversation's creation with those who are in it now: whoever
was in it at first and has left since must not miss that they were; and whoever came since hears
nothing of before live."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.services.conversations import AddParticipants, RemoveParticipant
from madang.services.messages import SendMessage


async def test_a_creation_that_is_read_late(make_node: Callable[..., Any]) -> None:
    bus = MemoryBus(SystemClock())
    one, two = await make_node(bus.end()), await make_node(bus.end())
    ben, cho = await two.connect("ben"), await two.connect("cho")
    end = bus.ends.pop(two.app.bus.node)  # nothing arrives
    room = await one.group("ann", "ben")
    await one.app.writer.write(SendMessage("default", room, "ann", "hello"))
    await one.app.writer.write(AddParticipants("default", room, "ann", ("cho",)))
    await one.app.writer.write(SendMessage("default", room, "ann", "cho"))
    await one.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    bus.ends[two.app.bus.node] = end
    await two.app.delivery.check_heads()
    await two.app.delivery.reach("default")
    two.app.hub.flush()
    told = [[event["type"] for event in one.events()] for one in (ben, cho)]
    whole = ["conversation.created", "message.new", "participant.joined", "message.new"]
    # Either all of it, or cut off to come back and be told by the log what is theirs.
    assert told[0] == [*whole, "participant.left"] or not ben.open
    assert told[1] == ["participant.joined", "message.new", "participant.left"]
