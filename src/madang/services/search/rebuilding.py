"""Making an org's index anew: another one is built beside the one that serves, from the beginning
of the log, and takes its place when it has come to the end. Searches go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from madang.clock import Clock
from madang.ports.search import SearchIndex
from madang.services.search.following import advance, sweep


class GivenUp(Exception):
    """Somebody else began to make this index anew."""


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far a new index has followed its log."""

    org_id: str
    cursor: int
    head: int
    events: int


async def rebuild(
    index: SearchIndex, clock: Clock, org_id: str, told: Callable[[RebuildProgress], None]
) -> int:
    """Make the index anew; the number of events it was made of.

    Ended at any point it leaves the old index serving; what was built is deleted by whoever
    follows the log, or by the next rebuild.

    Raises:
        GivenUp: another rebuild of this org began after this one.
        Unavailable: the store is away.
    """
    made = await index.begin(org_id, "building")
    await sweep(index, clock, org_id)
    events = cursor = 0
    while True:
        step = await advance(index, clock, org_id, made.generation, cursor)
        now = next(
            (one for one in await index.indexes(org_id) if one.generation == made.generation), None
        )
        if now is None or now.state == "old":
            raise GivenUp
        cursor, events = now.cursor, events + step.events
        head = (await index.orgs()).get(org_id, 0)
        told(RebuildProgress(org_id, cursor, head, events))
        if cursor >= head:
            break
    # What is said between the last look and now is followed where it serves.
    if not await index.serve(org_id, made.generation):
        raise GivenUp
    await sweep(index, clock, org_id)
    return events
