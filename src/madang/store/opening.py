"""Opening the store that a database address names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.clock import Clock
from madang.store.address import is_postgresql
from madang.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from madang.store.postgresql import PostgresStore

POOL_SIZE = 10


def check_postgresql(url: str) -> None:
    """Whether a server may serve from this PostgreSQL, as this role. Nothing is changed there.

    Raises:
        DatabaseUnusable: no; the text is one sentence that says what to do.
    """
    from madang.store.readiness import check

    check(url)


def open_store(url: str, clock: Clock, pool_size: int = POOL_SIZE) -> SqliteStore | PostgresStore:
    """The store on `sqlite:///FILE` or `postgresql://…`; the second with at most `pool_size`
    connections. Connects when it is first used. The schema must be there.

    Raises:
        ValueError: it is neither.
    """
    if is_postgresql(url):
        from madang.store.postgresql import PostgresStore  # its driver, for who uses it

        return PostgresStore(url, clock, pool_size)
    return SqliteStore(url, clock)
