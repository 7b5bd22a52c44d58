"""A server with a bug in it: `python -m tests.faults.planted BUG serve …` plants BUG (several with
commas) into the running program and then is `madang serve …`. So the checker is shown that it
finds what it is there to find, and production code needs no door for tests.

Also what is no bug but cannot be had otherwise: `clock+3600` is a machine whose clock is an hour
ahead, `clock-3600` one that is behind.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.util import await_only

from madang.clock import SystemClock
from madang.delivery.catchup import Catchup, CaughtUp
from madang.delivery.delivery import Delivery
from madang.delivery.members import Members
from madang.delivery.orglog import OrgLog
from madang.hub.connection import Connection as HubConnection
from madang.hub.hub import Hub
from madang.model.nouns import Batch, Event
from madang.services import messages
from madang.store import commits, postgresql, sqlite
from madang.store.transaction import SqlTransaction
from madang.store.writer import Committed, GroupWriter

LATE_SECONDS = 0.03
"""How long the wrong order of two steps lasts."""

Apply = Callable[..., Committed]


def _wait(connection: Connection, seconds: float) -> None:
    """Be as late as the bug is: in the writer's thread on SQLite, in a greenlet of the loop on
    PostgreSQL."""
    if connection.dialect.name == "sqlite":
        time.sleep(seconds)
    else:
        await_only(asyncio.sleep(seconds))


def _before_the_commit(told: Callable[[Sequence[Any], Committed], None]) -> None:
    """Call `told(writes, committed)` in the loop when a batch is written and not yet committed."""
    apply: Apply = commits._apply
    loops: list[asyncio.AbstractEventLoop] = []

    def applied(connection: Connection, org_id: str, writes: Any, now: int) -> Committed:
        result = apply(connection, org_id, writes, now)
        # Of messages alone: what opens a room is read back before it is answered.
        if all(type(write).__module__ == messages.__name__ for write in writes):
            loops[0].call_soon_threadsafe(told, writes, result)
            _wait(connection, LATE_SECONDS)
        return result

    begin = GroupWriter._begin

    def begun(self: GroupWriter, org_id: str, batch: Any) -> Any:
        loops[:] = [asyncio.get_running_loop()]
        return begin(self, org_id, batch)

    commits._apply = applied
    GroupWriter._begin = begun  # type: ignore[method-assign]


def ack_before_commit() -> None:
    """Whoever asked is told that it is done when it is only written down, and not yet safe."""
    early: dict[int, asyncio.Future[Committed]] = {}

    def told(writes: Sequence[Any], committed: Committed) -> None:
        future = early.pop(id(writes), None)
        if future is not None and not future.done():
            future.set_result(committed)

    _before_the_commit(told)
    for store in (sqlite.SqliteStore, postgresql.PostgresStore):
        _answer_early(store, early)


def _answer_early(store: Any, early: dict[int, asyncio.Future[Committed]]) -> None:
    commit: Callable[..., Awaitable[Committed]] = store.commit

    def committed(self: Any, org_id: str, writes: Any, now: int) -> Awaitable[Committed]:
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        early[id(writes)] = future

        def done(real: asyncio.Future[Committed]) -> None:
            early.pop(id(writes), None)
            if real.exception() is None and not future.done():
                future.set_result(real.result())

        asyncio.ensure_future(commit(self, org_id, writes, now)).add_done_callback(done)
        return future

    store.commit = committed


def publish_before_commit() -> None:
    """Everybody is told of what is not yet safe; the answer comes when it is."""
    writers: list[GroupWriter] = []
    begin = GroupWriter._begin

    def begun(self: GroupWriter, org_id: str, batch: Any) -> Any:
        writers[:] = [self]
        return begin(self, org_id, batch)

    GroupWriter._begin = begun  # type: ignore[method-assign]

    def told(_writes: Sequence[Any], committed: Committed) -> None:
        for batch in committed.batches:
            writers[0]._on_commit(batch)

    _before_the_commit(told)


def bare_sequence() -> None:
    """Cursors are taken before the org's lock: a later number may be committed first."""
    apply: Apply = commits._apply
    begin = SqlTransaction.__init__

    def applied(connection: Connection, org_id: str, writes: Any, now: int) -> Committed:
        taken.append(time.time_ns() // 1000)
        _wait(connection, random.random() * LATE_SECONDS)
        return apply(connection, org_id, writes, now)

    def begun(self: SqlTransaction, connection: Connection, org_id: str, now: int) -> None:
        begin(self, connection, org_id, now)
        numbers[id(self)] = taken.pop(0)

    def numbered(self: SqlTransaction) -> int:
        numbers[id(self)] += 1
        return numbers[id(self)]

    taken: list[int] = []
    numbers: dict[int, int] = {}
    commits._apply = applied
    SqlTransaction.__init__ = begun  # type: ignore[method-assign]
    SqlTransaction.moment = property(numbered)  # type: ignore[assignment]


def no_healing() -> None:
    """What did not come is passed over."""

    async def heal(self: Delivery, orglog: OrgLog, late: int) -> None:
        orglog.reach(orglog.seen)
        self._hub.heads[orglog.org_id] = orglog.head
        del self._healing[orglog.org_id]

    Delivery._heal = heal  # type: ignore[method-assign]


def told_twice() -> None:
    """Now and then everybody is told the same again."""
    tell_all = Delivery._tell_all

    def told(self: Delivery, orglog: OrgLog, events: Sequence[Event], until: int) -> None:
        tell_all(self, orglog, events, until)
        if events and random.random() < 0.05:
            event = events[-1]
            channel = self._hub.channels.get(event.conversation_id)
            if channel is not None:
                channel.last_seq = event.seq - 1
                Hub.tell(self._hub, event)

    Delivery._tell_all = told  # type: ignore[method-assign]


def heard_after_leaving() -> None:
    """Whoever was removed hears on until they come again."""

    def left(self: Members, event: Event, user_id: str, outgoing: Any) -> None:
        return None

    Members.left = left  # type: ignore[method-assign]


def resumed_in_part() -> None:
    """Whoever comes back is told that this was all, and it was not."""
    resume = Catchup.resume

    def resumed(
        self: Catchup,
        connection: HubConnection,
        cursor: int,
        ended: Callable[[CaughtUp], None],
        **options: Any,
    ) -> None:
        floor = connection.floor
        resume(self, connection, cursor + (floor - cursor) // 2, ended, **options)

    Catchup.resume = resumed  # type: ignore[method-assign]


def swapped() -> None:
    """Two events of one commit change places on their way out."""
    committed = Delivery.committed

    def told(self: Delivery, batch: Batch) -> None:
        orglog = self._logs.get(batch.org_id)
        if len(batch.events) < 2 or orglog is None:
            committed(self, batch)
            return
        events = list(batch.events)
        events[0], events[1] = events[1], events[0]
        committed(self, Batch(batch.org_id, batch.after, batch.until, tuple(events)))

    Delivery.committed = told  # type: ignore[method-assign]


def _shift(seconds: int) -> None:
    now = SystemClock.now

    def shifted(self: SystemClock) -> int:
        return now(self) + seconds * 1_000_000

    SystemClock.now = shifted  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        ack_before_commit,
        publish_before_commit,
        bare_sequence,
        no_healing,
        told_twice,
        heard_after_leaving,
        resumed_in_part,
        swapped,
    )
}


def main() -> None:
    """Plant what the first argument names; the others are the command."""
    for bug in sys.argv.pop(1).split(","):
        if bug.startswith("clock"):
            _shift(int(bug.removeprefix("clock")))
        else:
            BUGS[bug]()
    from madang.cli import app

    app()


if __name__ == "__main__":
    main()
