"""Keeping on: the text so far of this node's runs on disk, their leases on the bus, and an end for
what nobody keeps on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from madang import logs
from madang.agents.running import SILENT, Running
from madang.clock import Clock
from madang.delivery.streams import Streams
from madang.metrics import Tally
from madang.model.nouns import Message
from madang.model.runs import RunEnd, is_own_agent, lease_name
from madang.ports.bus import Bus
from madang.ports.store import Store, Writer
from madang.protocol.errors import MadangError, Unavailable
from madang.services.runs import Checkpoint, EndAbandoned, Ended, Sofar, TakeUp

log = logs.get_logger(__name__)

CHECK_SECONDS = 0.5
"""Between two checkpoints: what is said in between is lost with the node."""
CHECK_CHARACTERS = 1_000_000
"""Of the texts that are written at once."""
SIGN_SECONDS = 2.0
"""Between two signs of life of a run that says nothing."""
LEASE_SECONDS = 8.0
"""How long a run that nobody checks is taken for one under way."""
SWEEP_SECONDS = 1.0
AT_ONCE = 100
"""Abandoned runs that are ended in one look, and leases that are renewed in one turn."""


class Keeping:
    """Checks the runs of this node, and looks for those of nodes that are gone.

    Args:
        running: the runs of this node.
        cancel: ends one of them soon, so.
        take_up: runs one that another node had to leave, by its message.
        ended: counts ends by status.
        streams: how far people here were told of runs.
        run_seconds, idle_seconds, grace: as for `Runner`, of agents outside.
    """

    def __init__(
        self,
        running: Mapping[str, Running],
        store: Store,
        writer: Writer,
        bus: Bus,
        clock: Clock,
        cancel: Callable[[Running, RunEnd], None],
        take_up: Callable[[Message], None],
        ended: Tally,
        streams: Streams,
        run_seconds: float,
        idle_seconds: float,
        grace: float,
    ) -> None:
        self._running = running
        self._store = store
        self._writer = writer
        self._bus = bus
        self._clock = clock
        self._cancel = cancel
        self._take_up = take_up
        self._ended = ended
        self._run_seconds = run_seconds
        self._idle_seconds = idle_seconds
        self._streams = streams
        self._grace = grace
        self._not_before: dict[str, int] = {}
        """When those may be ended whose agents may come back: microseconds since the epoch."""
        self.closing = False
        self.busy: set[str] = set()
        """Runs of which this node has the lease and is about to find out what becomes of them:
        one of its parts at a time is."""

    async def hold(self, running: Running) -> None:
        """Say on the bus that this node goes on with it."""
        try:
            await self._bus.acquire(lease_name(running.message_id), LEASE_SECONDS)
        except Unavailable:
            pass  # Others ask the store how far it is.

    async def let_go(self, message_id: str) -> None:
        """Say that it does not any more."""
        try:
            await self._bus.release(lease_name(message_id))
        except Unavailable:
            pass  # It runs out.

    async def keep_on(self) -> None:
        """Check the runs of this node."""
        since_lease = 0.0
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            since_lease += CHECK_SECONDS
            try:
                self.check()
                if since_lease >= LEASE_SECONDS / 3:
                    since_lease = 0.0
                    names = [lease_name(message_id) for message_id in self._running]
                    await self._bus.acquire_all(names, LEASE_SECONDS)
            except Unavailable:
                pass  # Next time.
            except Exception:
                log.exception("runs could not be checked")

    def check(self) -> None:
        """Write how far the runs are that went on since, and that the others live. Agents outside
        that have taken too long have failed."""
        now = self._clock.monotonic()
        by_org: dict[str, list[Sofar]] = {}
        for running in self._running.values():
            if running.end is not None:
                continue
            if running.task is None and running.is_late(now, self._run_seconds, self._idle_seconds):
                running.metadata["error"] = SILENT
                self._cancel(running, "failed")
                continue
            state = running.state
            if state != running.checked or now - running.signed >= SIGN_SECONDS:
                running.checked, running.signed = state, now
                stream = running.stream
                by_org.setdefault(running.org_id, []).append(
                    Sofar(
                        running.message_id,
                        stream.whole,
                        # What waits has no number yet: nobody was told it as a chunk.
                        tuple(stream.ends),
                        running.beside,
                        running.tokens_used,
                    )
                )
        for org_id, runs in by_org.items():
            for some in _pieces(runs):
                self._writer.submit(Checkpoint(org_id, some), self._checked)

    def _checked(self, over: Any, error: MadangError | None) -> None:
        for message_id in over or ():
            running = self._running.get(message_id)
            if running is not None:
                self._cancel(running, "cancelled")

    async def sweep(self) -> None:
        """Take up what was left, and end what nobody goes on with."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            try:
                await self.look_for_abandoned()
            except Unavailable:
                pass  # Next time.
            except Exception:
                log.exception("abandoned runs could not be ended")

    async def look_for_abandoned(self) -> None:
        """One look. Where there are no other nodes, whatever does not run here runs nowhere."""
        seconds = LEASE_SECONDS if self._bus.shared else 1.0
        now = self._clock.now()
        before = now - round(seconds * 1_000_000)
        found = await self._store.unchecked_runs(before, AT_ONCE + len(self._not_before))
        awaited = {message_id: self._not_before.get(message_id, 0) for _, message_id in found}
        self._not_before = {run: due for run, due in awaited.items() if due > now}
        for org_id, message_id in found:
            if message_id in self._running or message_id in self.busy or self.closing:
                continue
            if message_id in self._not_before:
                continue
            self.busy.add(message_id)
            try:
                if await self._bus.acquire(lease_name(message_id), LEASE_SECONDS):
                    await self._end_abandoned(org_id, message_id, seconds)
            finally:
                self.busy.discard(message_id)

    async def _end_abandoned(self, org_id: str, message_id: str, seconds: float) -> None:
        left: Message | None = None
        try:
            left = await self._writer.write(TakeUp(org_id, message_id))
            if left is None:
                now, told = self._clock.now(), self._streams.get(message_id)
                end = EndAbandoned(
                    org_id,
                    message_id,
                    now - round(seconds * 1_000_000),
                    now - round((seconds + self._grace) * 1_000_000),
                    "" if told is None else told.text,
                    () if told is None else tuple(told.ends),
                )
                ended: Ended = await self._writer.write(end)
                if ended.event is not None:
                    self._ended.add("interrupted")
                elif not ended.run.over and not is_own_agent(ended.run.agent_id):
                    # Whoever takes it has to wait for the lease first.
                    seconds += self._grace
                    due = ended.run.checked_at + round(seconds * 1_000_000)
                    self._not_before[message_id] = due
        finally:
            if left is None:
                await self._bus.release(lease_name(message_id))
        if left is not None:
            self._take_up(left)


def _pieces(runs: Sequence[Sofar]) -> Iterator[list[Sofar]]:
    """Parts of a checkpoint: what one commit can hold beside what people write."""
    part: list[Sofar] = []
    size = 0
    for one in runs:
        part.append(one)
        size += len(one.text)
        if size >= CHECK_CHARACTERS:
            yield part
            part, size = [], 0
    if part:
        yield part
