"""Opening the store that a database address names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from madang.clock import Clock
from madang.store.address import is_postgresql
from madang.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from madang.store.postgresql import PostgresStore

POOL_SIZE = 10


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
