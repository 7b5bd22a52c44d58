"""How far a run is: as the node that writes it says, or as it is on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from madang.delivery.stream import Stream
from madang.model.runs import lease_name
from madang.ports.bus import Bus
from madang.ports.store import Store
from madang.protocol.errors import NotFound, Unavailable

ASK_SECONDS = 2.0
RUN_TEXT = "run.text"
"""The topic under which a run's node is asked for its text."""


@dataclass(frozen=True, slots=True)
class HowFar:
    """The text from `offset` on, the offsets at which its chunks end, and the steps. `steps_told`
    is how often a step of it was told, where that is known."""

    offset: int
    text: str
    ends: Sequence[int]
    steps: Sequence[Mapping[str, Any]]
    steps_told: int | None = None


async def asked_for(bus: Bus, stream: Stream) -> HowFar:
    """What the node that writes it says, from where the stream is.

    Raises:
        Unavailable: no node writes it, or that is silent.
    """
    owner = await bus.owner(lease_name(stream.message_id))
    if owner is None or owner == bus.node:
        raise Unavailable("Nobody writes it")
    wanted = {"message_id": stream.message_id, "offset": stream.length}
    return HowFar(**await bus.ask(owner, RUN_TEXT, wanted, ASK_SECONDS))


def answer(stream: Stream | None, asked: Any) -> Mapping[str, Any]:
    """The other side of `asked_for`: the fields of `HowFar`.

    Raises:
        NotFound: this node does not write it.
    """
    if stream is None or not stream.own:
        raise NotFound("Not written here")
    offset = min(int(asked["offset"]), stream.length)
    return {
        "offset": offset,
        "text": stream.text[offset:],
        "ends": stream.ends,
        "steps": list(stream.steps.values()),
        "steps_told": stream.steps_told,
    }


async def on_disk(store: Store, stream: Stream) -> HowFar | None:
    """What was checked last of it; None where nothing can be read. What its node had said and not
    told yet is left out: it belongs to a chunk that is told later."""
    try:
        message = await store.message(stream.org_id, stream.message_id, stream.agent_id)
        run = await store.run(stream.org_id, stream.message_id, stream.agent_id)
    except Unavailable:
        return None
    if message is None or run is None:
        return None
    ends = [end for end in run.ends if end <= len(message.content)]
    text = message.content[: ends[-1] if ends else 0]
    return HowFar(0, text, ends, message.metadata.get("steps", ()))
