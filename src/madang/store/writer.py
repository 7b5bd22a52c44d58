"""Group commit: whatever has gathered while one commit ran is the next one. There is no timer.

Runs on the event loop; the commit itself runs where the store decides (for SQLite, in its writer
thread). One queue per org, one transaction per org and batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from madang import logs
from madang.clock import Clock
from madang.metrics import SECONDS, SIZES, Histogram, Tally
from madang.model.nouns import Batch
from madang.ports.store import Write
from madang.protocol.errors import MadangError, Unavailable

Done = Callable[[Any, MadangError | None], None]
_Waiting = tuple[Write, Done, int, float]
"""A write, whom to tell, its size, and when it was submitted."""

MAX_BATCH = 1000
"""Writes in one commit: about 40 ms of work, so that nobody's ack waits longer for others'."""

MAX_WAITING = 20_000
"""Writes of one org waiting for a commit: about a second of work."""

MAX_WAITING_BYTES = 64 * 1024 * 1024

_log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of the writes: one (result, error) each, in their order; and what they brought
    into the log, in its order: one batch a transaction that brought anything."""

    outcomes: Sequence[tuple[Any, MadangError | None]]
    batches: Sequence[Batch]


class InternalError(MadangError):
    """A write failed in a way nobody foresaw."""

    def __init__(self) -> None:
        super().__init__("Internal error")


class Committer(Protocol):
    """What the writer needs of a store."""

    def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Awaitable[Committed]:
        """Begin at once to apply the writes in one transaction. A failure is the error of each
        write it befell; what is raised, now or later, fails all of them."""
        ...


class _Queue:
    """The writes of one org that wait for a commit."""

    __slots__ = ("bytes", "finished", "settling", "submitted", "task", "waiting")

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.bytes = 0
        self.task: asyncio.Task[None] | None = None
        self.submitted = 0
        self.finished = 0
        self.settling: list[tuple[int, asyncio.Future[None]]] = []
        """Who waits until so many are finished."""


class GroupWriter:
    """`ports.Writer` over a store. After a commit and in one turn of the loop: each `done` in the
    order of submission, then `on_commit` with each batch in the order of the log."""

    def __init__(self, store: Committer, clock: Clock, on_commit: Callable[[Batch], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_commit = on_commit
        self._queues: dict[str, _Queue] = {}
        self._closed = False
        self.commit_seconds = Histogram(SECONDS)
        self.commit_writes = Histogram(SIZES)
        self.ack_seconds = Histogram(SECONDS)
        self.refused = Tally()
        """Writes that were not done, by the code of their error."""

    def submit(self, write: Write, done: Done) -> None:
        """See `ports.Writer`. What waits is bounded, in writes and in bytes.

        Where the queue is full or the writer closed, `done` is called before this returns.
        """
        queue = self._queues.get(write.org_id)
        if queue is None:
            queue = self._queues[write.org_id] = _Queue()
        size = write.size
        if (
            self._closed
            or len(queue.waiting) >= MAX_WAITING
            or queue.bytes + size > MAX_WAITING_BYTES
        ):
            self.refused.add(Unavailable.code)
            done(None, Unavailable())
            return
        queue.waiting.append((write, done, size, self._clock.monotonic()))
        queue.bytes += size
        queue.submitted += 1
        if queue.task is None:
            # The task first runs in the loop's next turn: all of this turn's writes go together.
            queue.task = asyncio.create_task(self._drain(write.org_id, queue))

    async def write(self, write: Write) -> Any:
        """Submit and wait. Cancelling the wait does not undo the write.

        Raises:
            MadangError: the write was refused.
        """
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: MadangError | None) -> None:
            if waiter.done():
                return
            if error is None:
                waiter.set_result(result)
            else:
                waiter.set_exception(error)

        self.submit(write, done)
        return await waiter

    @property
    def waiting(self) -> int:
        """Writes that wait for a commit."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def settle(self) -> None:
        """Wait until all that has been submitted so far is answered."""
        settled = []
        for queue in self._queues.values():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            queue.settling.append((queue.submitted, future))
            settled.append(future)
        await asyncio.gather(*settled)

    async def close(self) -> None:
        """Refuse new writes and finish those that were submitted."""
        self._closed = True
        while tasks := [queue.task for queue in self._queues.values() if queue.task]:
            await asyncio.gather(*tasks)

    async def _drain(self, org_id: str, queue: _Queue) -> None:
        batch = self._take(queue)
        commit, begun = self._begin(org_id, batch)
        while True:
            committed = await self._committed(commit, begun, batch)
            finished = batch
            # The next commit begins before this one is delivered: disk and loop work together.
            if batch := self._take(queue):
                commit, begun = self._begin(org_id, batch)
            self._finish(queue, finished, committed)
            if not batch:
                if not queue.waiting:
                    break
                batch = self._take(queue)
                commit, begun = self._begin(org_id, batch)
        queue.task = None
        del self._queues[org_id]

    def _begin(self, org_id: str, batch: Sequence[_Waiting]) -> tuple[Awaitable[Committed], float]:
        """The commit of the batch, and when it began."""
        writes = [write for write, _, _, _ in batch]
        begun = self._clock.monotonic()
        try:
            return self._store.commit(org_id, writes, self._clock.now()), begun
        except Exception:
            # Nothing has begun: a store that is closed, a machine that gives no more threads.
            _log.exception("a commit could not begin", org=org_id, writes=len(batch))
            refused: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
            refused.set_result(Committed([(None, Unavailable())] * len(batch), ()))
            return refused, begun

    async def _committed(
        self, commit: Awaitable[Committed], begun: float, batch: Sequence[_Waiting]
    ) -> Committed:
        """Whatever befalls a commit, its writers are answered and the next one goes on."""
        try:
            committed = await commit
        except Exception:
            _log.exception("a commit failed", writes=len(batch))
            committed = Committed([(None, InternalError())] * len(batch), ())
        self.commit_seconds.observe(self._clock.monotonic() - begun)
        self.commit_writes.observe(len(batch))
        return committed

    def _take(self, queue: _Queue) -> list[_Waiting]:
        batch = queue.waiting[:MAX_BATCH]
        del queue.waiting[:MAX_BATCH]
        queue.bytes -= sum(size for _, _, size, _ in batch)
        return batch

    def _finish(self, queue: _Queue, batch: Sequence[_Waiting], committed: Committed) -> None:
        for (_, done, _, _), (result, error) in zip(batch, committed.outcomes, strict=True):
            if error is not None:
                self.refused.add(error.code)
            try:
                done(result, error)
            except Exception:
                # One caller's mistake must not keep the others' acks and events back.
                _log.exception("a write's callback failed")
        self.ack_seconds.observe_since([at for _, _, _, at in batch], self._clock.monotonic())
        queue.finished += len(batch)
        while queue.settling and queue.settling[0][0] <= queue.finished:
            _, settled = queue.settling.pop(0)
            if not settled.done():
                settled.set_result(None)
        for new in committed.batches:
            try:
                self._on_commit(new)
            except Exception:
                _log.exception("delivery of committed events failed")
