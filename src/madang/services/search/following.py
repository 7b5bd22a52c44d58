"""The indexer: a consumer of the log like any other, with a cursor of its own for each org.

One node at a time follows, so that the work is done once; that two never spoil each other's is the
index's own doing, which moves the cursor together with the rows. What was said a moment ago is
found after about `LOOK_SECONDS`; what was deleted is found by nobody from the moment it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from madang import logs
from madang.clock import Clock
from madang.model.analyzer import terms
from madang.ports.bus import Bus
from madang.ports.search import (
    FILE_TERM,
    LONGEST_TEXT,
    Behind,
    Entry,
    Said,
    SearchIndex,
    place_term,
    sender_term,
)
from madang.protocol.errors import Unavailable
from madang.services.search.pacing import Pace, Written
from madang.services.search.searching import SLICE

LOOK_SECONDS = 0.3
"""How often it is looked whether a log has gone on."""
SHARE = 0.25
"""The part of a node's time that looking may take, where there are many orgs."""
OWN_SECONDS = 10.0
"""How long a node that stops without a word keeps the others from following."""
SWEEP_SECONDS = 60.0
"""How often it is looked whether there is an index to delete."""
SWEEP_AT_ONCE = 0.3
"""Seconds of deleting before it is looked again whether a log has gone on."""
ABANDONED_MICROSECONDS = 120 * 1_000_000
"""An index that is being built and not touched for so long is given up."""
PAGE = 1000
"""Events read at once."""
MOST_TERMS = 3_000
"""Of one text, about: all of nearly every text, and of one made of nothing but different words as
much as twenty milliseconds write. Whoever sends many of those holds nobody up for long."""
MOST_NAME_TERMS = 500
"""Of the names of a message's files together."""
MOST_ORGS = 1_000

log = logs.get_logger(__name__)


class Follower:
    """Keeps the index behind the log, on the one node that does. Where it is told how much is
    `written` it rests between pages, and more where that is much."""

    def __init__(
        self, index: SearchIndex, bus: Bus, clock: Clock, written: Written | None = None
    ) -> None:
        self._index = index
        self._bus = bus
        self._clock = clock
        self._pace = Pace(written, clock) if written is not None else None
        self._looked = 0.0
        self._sweep_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled. Whatever goes wrong is tried again."""
        try:
            while True:
                try:
                    await self.look()
                except Unavailable:
                    pass  # The store or the bus is away: what is missed now is read later.
                except Exception:
                    log.exception("the search index could not follow")
                await self._clock.sleep(max(LOOK_SECONDS, self._looked / SHARE - self._looked))
        finally:
            try:
                await self._bus.release("search")
            except Unavailable:
                pass  # It ends by itself.

    async def look(self) -> int:
        """Bring every org's index to the end of its log, if this is the node that does. How many
        events that took. What is said meanwhile is for the next look, so that many go together.

        Raises:
            Unavailable: the store or the bus is away.
        """
        events = 0
        while await self._bus.acquire("search", OWN_SECONDS):
            begun = self._clock.monotonic()
            behind = await self._index.behind(MOST_ORGS)
            self._looked = self._clock.monotonic() - begun
            is_more = len(behind) == MOST_ORGS
            for org in behind:
                # A page each, so that a long log does not keep the short ones waiting.
                begun = self._clock.monotonic()
                try:
                    step = await self._advance(org)
                except Unavailable:
                    raise
                except Exception:
                    # Whatever is wrong with one org's is not to keep the others waiting.
                    log.exception("a search index could not follow its log", org=org.org_id)
                    continue
                events += step.events
                is_more = is_more or not step.is_last
                if self._pace is not None:
                    await self._clock.sleep(self._pace.rest(self._clock.monotonic() - begun))
                if not await self._bus.acquire("search", OWN_SECONDS):
                    return events
            if not is_more:
                await self._sweep()
                break
        return events

    async def _advance(self, org: Behind) -> Step:
        generation, cursor = org.generation, org.cursor
        if generation is None:
            made = await self._index.begin(org.org_id, "serving")
            generation, cursor = made.generation, made.cursor
        return await advance(self._index, self._clock, org.org_id, generation, cursor)

    async def _sweep(self) -> None:
        """For a moment; what is left then is gone on with at the next look."""
        now = self._clock.monotonic()
        if now < self._sweep_at:
            return
        abandoned = self._clock.now() - ABANDONED_MICROSECONDS
        for org_id in await self._index.to_sweep(abandoned):
            while await self._index.sweep(org_id, abandoned, 1):
                if self._clock.monotonic() - now > SWEEP_AT_ONCE:
                    return
        self._sweep_at = now + SWEEP_SECONDS


async def sweep(index: SearchIndex, clock: Clock, org_id: str) -> None:
    """Delete what is left of indexes that nobody asks any more."""
    while await index.sweep(org_id, clock.now() - ABANDONED_MICROSECONDS, 1):
        await clock.sleep(0)


@dataclass(frozen=True, slots=True)
class Step:
    """How many events an index has been taken further, and whether that was the log's end."""

    events: int
    is_last: bool


async def advance(
    index: SearchIndex, clock: Clock, org_id: str, generation: int, cursor: int
) -> Step:
    """Take an index a page further in the log from `cursor`: by no events at the end, and where
    another has gone on with it."""
    page = await index.log_page(org_id, cursor, PAGE)
    entries: list[Entry] = []
    written: set[str] = set()
    cut = 0
    for said in page.said:
        entry = entry_of(said)
        entries.append(entry)
        cut += len(said.content)
        written |= entry.terms
        if cut >= SLICE:
            cut = 0
            await clock.sleep(0)
        if len(written) >= index.most_terms:
            # A part of the page; the cursor moves with the last one.
            if not await index.add(org_id, generation, cursor, cursor, entries, ()):
                return Step(0, is_last=True)
            entries, written = [], set()
    if not await index.add(
        org_id, generation, cursor, page.cursor, entries, page.gone, page.erased
    ):
        return Step(0, is_last=True)
    return Step(page.events, page.is_last)


def entry_of(said: Said) -> Entry:
    """What a message is to be found by: its text, the names of its files, who and where."""
    found = terms(said.content, MOST_TERMS)
    if said.attachments:
        found |= terms("\n".join(_names(said))[:LONGEST_TEXT], MOST_NAME_TERMS)
    found.add(sender_term(said.sender_id))
    found.add(place_term(said.conversation_id))
    if said.attachments:
        found.add(FILE_TERM)
    return Entry(said.id, said.created_at, frozenset(found))


def _names(said: Said) -> Sequence[str]:
    return [name for each in said.attachments if isinstance(name := each.get("name"), str)]
