"""Connections to PostgreSQL: how they are opened, pooled, and known to be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

import asyncpg
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from madang.clock import Clock
from madang.store.address import named, plain
from madang.store.errors import DatabaseUnusable

T = TypeVar("T")

CONNECT_SECONDS = 3.0
STATEMENT_SECONDS = 10.0
"""A statement that takes longer counts as lost, and its connection with it. Above the time after
which the server ends a transaction that says nothing, and frees its locks."""

POOL_SECONDS = 5.0
"""How long to wait for one of the pool's connections to be free."""

PREPARED = 512
"""Statements kept prepared on a connection: more than there are."""

_SESSION = {
    "application_name": "madang",
    # Every query is a few look-ups by index, and its plan is made once. So that a plan made while
    # a table was small does not read all of it later, the other ways to join and scan are left
    # out where there is a choice.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    # A node that is gone in the middle of a commit holds its org's lock no longer than this.
    "idle_in_transaction_session_timeout": "5s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

_STORAGE = (
    asyncpg.PostgresConnectionError,  # 08
    asyncpg.InsufficientResourcesError,  # 53: disk, memory, connections
    asyncpg.OperatorInterventionError,  # 57: shutting down, starting up, cancelled
    asyncpg.PostgresSystemError,  # 58: input and output
    asyncpg.InternalServerError,  # XX: what it has no other word for, a quota used up among them
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.TransactionRollbackError,  # 40: deadlock, serialization
    OSError,
    TimeoutError,
    PoolTimeout,
    DisconnectionError,
)
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    OSError,
    TimeoutError,
    DisconnectionError,
)


def _cause(error: BaseException) -> BaseException:
    """The driver's own error."""
    found = error.orig if isinstance(error, DBAPIError) and error.orig else error
    # Behind a timeout stands only the cancellation that it is made of.
    return found if isinstance(found, OSError) else found.__cause__ or found


def is_storage(error: BaseException) -> bool:
    """Whether the database or the way to it is at fault, and not the statement."""
    return isinstance(_cause(error), _STORAGE) or is_lost(error)


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that nobody knows what became of its transaction."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = _cause(error)
    if isinstance(cause, asyncpg.InterfaceError):
        # The driver's own: of a connection, or of how it was called, which is a mistake of ours.
        return "connection" in str(cause)
    return isinstance(cause, _LOST)


class _Connection(asyncpg.Connection):  # type: ignore[misc]
    """One without SQLAlchemy's codecs for JSON and network addresses, which no column here needs:
    three questions to the server less when one is opened."""

    async def set_type_codec(self, *_: Any, **__: Any) -> None:
        pass


def connector(
    url: str, kind: type[Any] = asyncpg.Connection, **session: str
) -> Callable[[], Awaitable[Any]]:
    """Opens connections of this kind to an address, with these settings of the session."""
    address = plain(url)

    async def connect() -> Any:
        return await asyncpg.connect(
            address,
            connection_class=kind,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=session,
        )

    return connect


def create_postgresql_engine(url: str, pool_size: int) -> AsyncEngine:
    """An engine over a pool of `pool_size` connections, opened as they are needed."""
    return create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connector(url, _Connection, **_SESSION),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_SECONDS,
        # An error's text goes to the log; what people wrote does not.
        hide_parameters=True,
        connect_args={"prepared_statement_cache_size": PREPARED},
    )


class Plans:
    """When a connection's plans are to be made anew: a plan is made for tables of the size they
    have then, and the server makes it anew by itself only after it has analyzed them, a minute or
    more after they began to fill. So it is told to, at ages of 1, 2, 4 … seconds: in between,
    tables that fill evenly no more than double.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def are_stale(self, connection: Connection) -> bool:
        """Asked in each transaction; true now and then."""
        now = self._clock.monotonic()
        born, due = connection.info.setdefault("plans", (now, now + 1.0))
        if now < due:
            return False
        connection.info["plans"] = (born, now + (now - born))
        return True


class IdleConnections:
    """The pool's connections that nobody uses.

    One that the server has closed is not handed out: that costs nothing to know. And after a
    connection was lost without a word, others may be lost too without knowing it yet: `doubt`
    closes those that are idle, so that not each of them has to time out.
    """

    def __init__(self, engine: Engine) -> None:
        self._idle: WeakSet[Any] = WeakSet()
        event.listen(engine, "checkout", self._checkout)
        event.listen(engine, "checkin", self._checkin)

    def _checkout(self, connection: Any, _record: Any, _proxy: Any) -> None:
        driver = connection.driver_connection
        self._idle.discard(driver)
        if driver.is_closed():
            raise DisconnectionError("the server has closed this connection")

    def _checkin(self, connection: Any, _record: Any) -> None:
        if connection is not None and not connection.driver_connection.is_closed():
            self._idle.add(connection.driver_connection)

    def doubt(self) -> None:
        """Close what is idle, without a word."""
        for driver in list(self._idle):
            driver.terminate()
        self._idle.clear()


def in_transaction(url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction on a connection of its own, whether or not an event loop runs
    around it. For what happens before a server starts: it blocks.

    Raises:
        DatabaseUnusable: there is no way in, or the role may not do this.
    """

    async def run() -> T:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connector(url),
            poolclass=NullPool,
            hide_parameters=True,
        )
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        except Exception as error:
            if sentence := _no_way_in(url, _cause(error)):
                raise DatabaseUnusable(sentence) from error
            raise
        finally:
            await engine.dispose()

    with ThreadPoolExecutor(1, thread_name_prefix="madang-database") as thread:
        return thread.submit(asyncio.run, run()).result()


def _no_way_in(url: str, error: BaseException) -> str | None:
    """What to do about an error that comes before any of our work, if it is one."""
    where = named(url)
    match error:
        case asyncpg.InvalidCatalogNameError():
            return (
                f"There is no database {where.database!r} on {where.host}: "
                "create it, or correct DATABASE_URL."
            )
        case asyncpg.InvalidAuthorizationSpecificationError():
            return (
                f"PostgreSQL on {where.host} does not let {where.user!r} in: "
                "correct the user or the password in DATABASE_URL."
            )
        case asyncpg.InsufficientPrivilegeError():
            return (
                f"The role {where.user!r} may not do this ({error}): "
                "name the role that owns the tables, or is to own them, with --database."
            )
        case asyncpg.TooManyConnectionsError():
            return (
                f"PostgreSQL on {where.host} has no connection left: "
                "raise its max_connections, or lower DATABASE_POOL_SIZE."
            )
        case asyncpg.CannotConnectNowError():
            return f"PostgreSQL on {where.host} is starting or stopping: try again in a moment."
        case ValueError() if not _is_address(url):
            return "DATABASE_URL is no address like postgresql://USER:PASSWORD@HOST/DATABASE."
        case asyncpg.InterfaceError() | asyncpg.PostgresConnectionError() | OSError():
            reason = str(error) or "no answer in time"
            return (
                f"PostgreSQL on {where.host} cannot be reached ({reason}): "
                "start it, or correct DATABASE_URL."
            )
    return None


def _is_address(url: str) -> bool:
    try:
        return urlsplit(plain(url)).port != -1
    except ValueError:
        return "," in url  # several hosts: the driver's to read
