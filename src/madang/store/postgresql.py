"""PostgreSQL: the same functions of a connection as on SQLite, run over a pool of asyncpg's.

They are written without `await`; SQLAlchemy runs them in a greenlet, which gives the event loop
its turn whenever one waits for the database. Each runs in a transaction that says first whose rows
it may touch, for row-level security. A commit whose answer was lost is looked up, not repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.util import await_only, greenlet_spawn

from madang import logs
from madang.clock import Clock
from madang.ports.store import Write
from madang.protocol.errors import Unavailable
from madang.store.commits import commit_batch
from madang.store.pooling import (
    IdleConnections,
    Plans,
    create_postgresql_engine,
    is_lost,
    is_storage,
)
from madang.store.run_reads import RunReads
from madang.store.sql_store import Scope
from madang.store.writer import Committed

P = ParamSpec("P")
T = TypeVar("T")

SETTLE_SECONDS = 10.0
"""How long to ask what became of a commit whose answer was lost, and to begin anew after a lost
connection; then its writers are told `Unavailable`."""

ASK_AGAIN_SECONDS = 0.1

_SCOPE = "SELECT set_config('madang.org', $1, true), set_config('madang.user', $2, true)"
_SCOPE_AND_ID = f"{_SCOPE}, pg_current_xact_id()::text"
_STATUS = "SELECT pg_xact_status($1::text::xid8)"
# Only this one: it says itself which transaction it runs.
_END_IT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE backend_xid = ($1::text::xid8)::xid AND pid <> pg_backend_pid()"
)
_LAST_EVENT = (
    "SELECT 1 FROM events WHERE org_id = $1 AND cursor = $2 AND conversation_id = $3 AND seq = $4 "
    "AND type = $5 AND actor_id = $6 AND created_at = $7 AND message_id IS NOT DISTINCT FROM $8"
)

_log = logs.get_logger(__name__)


class PostgresStore(RunReads):
    """`ports.Store` on PostgreSQL, and the committer of `GroupWriter`.

    `url` is any that libpq would take, of a login that is a member of the role `madang_app`;
    `pool_size` connections at most. The schema must be there: see `madang.store.migrate`.
    """

    dialect = "postgresql"

    def __init__(self, url: str, clock: Clock, pool_size: int = 10) -> None:
        super().__init__(clock)
        self._async_engine = create_postgresql_engine(url, pool_size)
        self._engine = self._async_engine.sync_engine
        self._read_engine = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._idle = IdleConnections(self._engine)
        self._plans = Plans(clock)
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The writers' and the readers' (one pool), for whoever counts or watches statements."""
        return self._engine, self._read_engine

    def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Awaitable[Committed]:
        return self._start(greenlet_spawn(self._commit, org_id, writes, now))

    def _commit(self, org_id: str, writes: Sequence[Write], now: int) -> Committed:
        def transact(work: Callable[[Connection], Committed]) -> Committed:
            return self._transact(org_id, work)

        return commit_batch(transact, is_storage, org_id, writes, now)

    def _transact(self, org_id: str, work: Callable[[Connection], Committed]) -> Committed:
        """Run `work` in a transaction until it is certain that it is committed once."""
        give_up_at = self._clock.monotonic() + SETTLE_SECONDS
        while True:
            attempt = _Attempt(Scope(org_id))
            try:
                return attempt.run(self._engine, self._planned(work))
            except Exception as error:
                if not is_lost(error):
                    raise
                self._idle.doubt()
                if attempt.stage == "connecting":
                    # Nothing has begun, and nobody need wait to hear that.
                    raise
                _log.warning("a commit lost its connection", stage=attempt.stage, org=org_id)
                if attempt.stage == "committing":
                    if self._is_committed(attempt, error, give_up_at):
                        assert attempt.result is not None
                        return attempt.result
                elif self._clock.monotonic() >= give_up_at:
                    raise

    def _is_committed(self, attempt: _Attempt, lost: Exception, give_up_at: float) -> bool:
        """What became of a transaction whose COMMIT was sent and not answered.

        Raises:
            Exception: `lost`, where that could not be found out in time.
        """
        while True:
            try:
                with self._engine.connect() as connection:
                    status = attempt.status(connection)
            except Exception as error:
                if not is_storage(error):
                    raise
                status = None
            if status in ("committed", "aborted"):
                _log.info("a commit's fate is known", status=status, org=attempt.scope.org_id)
                return status == "committed"
            if self._clock.monotonic() >= give_up_at:
                raise lost
            await_only(self._clock.sleep(ASK_AGAIN_SECONDS))

    async def write(
        self,
        scope: Scope,
        change: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._run(self._engine, scope, lambda c: change(c, *args, **kwargs))

    async def read(
        self,
        scope: Scope,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._measured(
            self._run(self._read_engine, scope, lambda c: query(c, *args, **kwargs))
        )

    async def _run(self, engine: Engine, scope: Scope, work: Callable[[Connection], T]) -> T:
        # Whoever stops waiting leaves the connection as it is: the work goes on by itself.
        return await asyncio.shield(
            self._start(greenlet_spawn(self._in_transaction, engine, scope, work))
        )

    def _in_transaction(self, engine: Engine, scope: Scope, work: Callable[[Connection], T]) -> T:
        """Both kinds of work that run here may run twice: reads, and writes that say the same."""
        try:
            try:
                return _once(engine, scope, self._planned(work))
            except Exception as error:
                if not is_lost(error):
                    raise
                self._idle.doubt()
                return _once(engine, scope, work)
        except Exception as error:
            if is_storage(error):
                raise Unavailable from error
            raise

    def _planned(self, work: Callable[[Connection], T]) -> Callable[[Connection], T]:
        def run(connection: Connection) -> T:
            if self._plans.are_stale(connection):
                connection.exec_driver_sql("DISCARD PLANS")
            return work(connection)

        return run

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        if self._closed:
            work.close()
            raise Unavailable
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def close(self) -> None:
        """Wait for what runs and close the connections."""
        self._closed = True
        if self._running:
            await asyncio.wait(self._running)
        await self._async_engine.dispose()


class _Attempt:
    """One try to commit: how far it came, and by what to find it again."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.stage = "connecting"
        self.result: Committed | None = None
        self._transaction_id = ""

    def run(self, engine: Engine, work: Callable[[Connection], Committed]) -> Committed:
        with _connected(engine) as connection:
            self.stage = "working"
            transaction = connection.begin()
            self._transaction_id = connection.exec_driver_sql(_SCOPE_AND_ID, self.scope).one()[2]
            result = self.result = work(connection)
            self.stage = "committing"
            transaction.commit()
            return result

    def status(self, connection: Connection) -> str:
        """`committed`, `aborted` or `in progress`."""
        connection.exec_driver_sql(_SCOPE, self.scope)
        found = connection.exec_driver_sql(_STATUS, (self._transaction_id,)).scalar()
        if found == "in progress":
            # Its COMMIT may never arrive, and it holds the org's lock.
            connection.exec_driver_sql(_END_IT, (self._transaction_id,))
        elif found == "committed" and not self._is_in_the_log(connection):
            return "aborted"
        return found or "aborted"

    def _is_in_the_log(self, connection: Connection) -> bool:
        """A crash may lose a transaction with its number, which is given out once more then: what
        this one wrote tells them apart."""
        batches = self.result.batches if self.result else ()
        if not batches:
            return True
        e = batches[-1].events[-1]
        message_id = e.message.id if e.message else None
        values = (e.org_id, e.cursor, e.conversation_id, e.seq, e.type, e.actor_id, e.created_at)
        found = connection.exec_driver_sql(_LAST_EVENT, (*values, message_id))
        return found.scalar() is not None


def _once(engine: Engine, scope: Scope, work: Callable[[Connection], T]) -> T:
    with _connected(engine) as connection, connection.begin():
        connection.exec_driver_sql(_SCOPE, scope)
        return work(connection)


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """A connection of the pool, which does not get it back where it was lost."""
    with engine.connect() as connection:
        try:
            yield connection
        except Exception as error:
            if is_lost(error):
                connection.invalidate()
            raise
