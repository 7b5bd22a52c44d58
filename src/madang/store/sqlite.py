"""SQLite: one writer's connection in a thread of its own, a few readers, checkpoints beside them.

Every thread owns its connection. Python's driver is used with `isolation_level=None`, so a
transaction begins where it is said to: `BEGIN IMMEDIATE` for the writer, whose transactions are
the only ones that write.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from madang import logs
from madang.clock import Clock
from madang.ports.store import Write
from madang.protocol.errors import Unavailable
from madang.store.commits import commit_batch
from madang.store.run_reads import RunReads
from madang.store.sql_store import Scope
from madang.store.writer import Committed

_log = logs.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
"""Threads that read: enough that a slow page does not hold up the others."""

BUSY_SECONDS = 5.0
"""How long to wait for another process (a backup, a migration) that holds the write lock."""

CHECKPOINT_EVENTS = 1000
"""Events between checkpoints: 10 to 30 MiB of write-ahead log."""

ROWS_PER_EVENT = 50
"""Rows of the search index that take as much of that log as an event: they stand close together."""

_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"

_FORGETTING = frozenset({"message.deleted", "message.edited", "room.erased"})
"""After these, text that must not be on the disk any more is still in the write-ahead log."""

FORGET_SECONDS = 1.0
"""How long deletions gather before the write-ahead log is emptied for them."""

_STORAGE_ERRORS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}
_PRIMARY_CODE = 0xFF

_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA secure_delete = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
    # 64 MiB: only if the checkpoints of `_Checkpoints` do not get through.
    "PRAGMA wal_autocheckpoint = 16000",
)
_READER_PRAGMAS = (
    "PRAGMA query_only = ON",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -16384",
)


def is_storage(error: BaseException) -> bool:
    """Whether the disk or the file is at fault, and not the statement."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and (code & _PRIMARY_CODE) in _STORAGE_ERRORS


def create_sqlite_engine(url: str, *, read_only: bool = False) -> Engine:
    """An engine for one thread: no pool, explicit transactions, Madang's pragmas."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or ":memory:" in url:
        raise ValueError(f"not the URL of a SQLite file: {url}")
    if not read_only:
        Path(parsed.database).expanduser().parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        poolclass=NullPool,
        # An error's text goes to the log; what people wrote does not.
        hide_parameters=True,
        # One for each statement in use: bulk statements come in a few dozen sizes.
        connect_args={
            "timeout": BUSY_SECONDS,
            "check_same_thread": False,
            "cached_statements": 512,
        },
    )
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in _READER_PRAGMAS if read_only else _PRAGMAS:
            connection.execute(pragma).fetchall()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class _Thread:
    """A connection that belongs to a thread, opened when it is first needed and after a failure."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back where anything is raised."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                yield self._connection
        except Exception as error:
            if is_storage(error) or self._stuck():
                # After a failure of the disk begin anew, with nothing cached of what failed.
                self.close()
            raise

    def _stuck(self) -> bool:
        """Whether a transaction is open that nothing will end."""
        if self._connection is None or self._connection.closed:
            return False
        return bool(self._connection.connection.driver_connection.in_transaction)  # type: ignore[union-attr]

    def checkpoint(self) -> None:
        """Move what is left of the write-ahead log into the file, without waiting for readers."""
        if self._connection is not None:
            try:
                driver = self._connection.connection.driver_connection
                driver.execute(_CHECKPOINT).fetchall()  # type: ignore[union-attr]
            except sqlite3.Error as error:
                _log.warning("a checkpoint failed; a later one will do its work", error=str(error))

    def empty(self) -> bool:
        """As `checkpoint`, and leave nothing readable in the write-ahead log. False where a reader
        is in the way: it is not waited for."""
        if self._connection is None:
            return True
        try:
            driver: Any = self._connection.connection.driver_connection
            driver.execute("PRAGMA busy_timeout = 0").fetchall()
            try:
                ((busy, _, _),) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                driver.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}").fetchall()
        except sqlite3.Error as error:
            _log.warning("a checkpoint failed; a later one will do its work", error=str(error))
            return False
        return not busy

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except SQLAlchemyError:
                connection.invalidate()


class _Checkpoints:
    """Moving the write-ahead log into the file while the writer goes on.

    Most of the work is a checkpoint on a connection and in a thread of its own; the writer then
    does the little that came meanwhile, after which its next commit begins the log anew. Done by
    the writer alone, every few thousand rows would hold the commits up for as long as the disk
    takes.
    """

    def __init__(self, engine: Engine, writer: _Thread, writing: Executor) -> None:
        self._engine = engine
        self._writer = writer
        self._writing = writing
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="madang-checkpoint")
        self._connection: PoolProxiedConnection | None = None
        self._since = 0
        self._running = False
        self._forget = False
        self._closing = False
        self._enough = threading.Event()

    def after_commit(self, events: int, *, forgets: bool = False) -> None:
        """Called in the writer's thread after each commit. Never raises: what is committed is.
        `forgets`: what is written over must soon be nowhere on the disk."""
        self._since += events
        self._forget |= forgets
        if self._since >= CHECKPOINT_EVENTS:
            self._enough.set()
        elif not self._forget:
            return
        if not self._running:
            try:
                self._executor.submit(self._most, gather=self._forget)
            except RuntimeError as error:
                # No thread to be had, or the store is closing.
                _log.warning("a checkpoint failed; a later one will do its work", error=str(error))
                return
            self._since, self._running = 0, True

    def due(self) -> None:
        """Checkpoint after the next commit that succeeds. In the writer's thread too."""
        self._since = CHECKPOINT_EVENTS

    def _most(self, *, gather: bool) -> None:
        if gather:
            self._enough.wait(FORGET_SECONDS)
        self._enough.clear()
        try:
            if self._connection is None:
                self._connection = self._engine.raw_connection()
            self._connection.driver_connection.execute(_CHECKPOINT).fetchall()  # type: ignore[union-attr]
        except (SQLAlchemyError, sqlite3.Error) as error:
            _log.warning("a checkpoint failed; a later one will do its work", error=str(error))
        self._writing.submit(self._rest)

    def _rest(self) -> None:
        self._running = False
        if not self._forget:
            self._writer.checkpoint()
        elif self._writer.empty():
            self._forget = False
        elif not self._closing:
            self.after_commit(0)  # Again in a moment: no reader stays long.

    def close(self) -> None:
        """Wait for the one that runs; before the writer's thread is closed."""
        self._closing = True
        self._enough.set()
        self._executor.shutdown()
        if self._connection is not None:
            self._connection.close()


class SqliteStore(RunReads):
    """`ports.Store` on a SQLite file (`sqlite:///path`), and the committer of `GroupWriter`.

    The schema must be there: see `madang.store.migrate`.
    """

    dialect = "sqlite"

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(clock)
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="madang-writer")
        self._reading = ThreadPoolExecutor(READERS, thread_name_prefix="madang-reader")
        self._engine = create_sqlite_engine(url)
        self._read_engine = create_sqlite_engine(url, read_only=True)
        self._writer = _Thread(self._engine)
        self._checkpoints = _Checkpoints(self._engine, self._writer, self._writing)
        self._readers: list[_Thread] = []
        self._own = threading.local()

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The writer's and the readers', for whoever counts or watches statements."""
        return self._engine, self._read_engine

    def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Awaitable[Committed]:
        return asyncio.get_running_loop().run_in_executor(
            self._writing, self._commit, org_id, writes, now
        )

    def _commit(self, org_id: str, writes: Sequence[Write], now: int) -> Committed:
        committed = commit_batch(self._transact, is_storage, org_id, writes, now)
        if any(isinstance(error, Unavailable) for _, error in committed.outcomes):
            # A disk that was full fills again with the log, unless the log is begun anew.
            self._checkpoints.due()
        else:
            events = [event for new in committed.batches for event in new.events]
            forgets = not _FORGETTING.isdisjoint([event.type for event in events])
            self._checkpoints.after_commit(len(events), forgets=forgets)
        return committed

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self._writer.begin() as connection:
            return work(connection)

    async def write(
        self,
        scope: Scope,
        change: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def counted(connection: Connection) -> T:
            driver = connection.connection.driver_connection
            before: int = driver.total_changes  # type: ignore[union-attr]
            result = change(connection, *args, **kwargs)
            rows = driver.total_changes - before  # type: ignore[union-attr]
            # A little before its own commit, which the next checkpoint then takes.
            self._checkpoints.after_commit(rows // ROWS_PER_EVENT)
            return result

        return await self._run(self._writing, lambda: self._writer, counted)

    async def read(
        self,
        scope: Scope,
        query: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        return await self._measured(self._run(self._reading, self._reader, query, *args, **kwargs))

    def _reader(self) -> _Thread:
        found: _Thread | None = getattr(self._own, "reader", None)
        if found is None:
            found = self._own.reader = _Thread(self._read_engine)
            self._readers.append(found)
        return found

    async def _run(
        self,
        executor: Executor,
        thread: Callable[[], _Thread],
        work: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        def run() -> T:
            try:
                with thread().begin() as connection:
                    return work(connection, *args, **kwargs)
            except DBAPIError as error:
                if is_storage(error):
                    raise Unavailable from error
                raise

        return await asyncio.get_running_loop().run_in_executor(executor, run)

    async def close(self) -> None:
        """Wait for what runs and close the files. The log is left checkpointed."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        self._reading.shutdown()
        for reader in self._readers:
            reader.close()
        self._checkpoints.close()
        self._writing.shutdown()
        self._writer.close()
        self._engine.dispose()
        self._read_engine.dispose()
