"""Many rows in one statement, in the form that the connection's database is quickest with.

The forms are in `dialects`; why these: docs/decisions/001-bulk-writes.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from madang.store import dialects

Row = Sequence[Any]


def insert(connection: Connection, table: Table, rows: Sequence[Row], conflict: str = "") -> None:
    """Add rows, each with a value for every column of the table, in the table's order; `conflict`
    is an ON CONFLICT clause for those that are there."""
    if rows:
        dialects.of(connection).insert(connection, table, rows, conflict)


def update(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Sequence[Row],
) -> None:
    """Set `columns` of the rows found by `keys`; a row holds the keys' values, then the new."""
    if rows:
        dialects.of(connection).update(connection, table, keys, columns, rows)


def delete(
    connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Delete the rows found by `keys`."""
    if rows:
        dialects.of(connection).delete(connection, table, keys, rows)


def select(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    rows: Sequence[Row],
    *,
    reactions: bool = False,
) -> list[Row]:
    """The table's rows with these keys, in no order; with `reactions`, those at the end."""
    if not rows:
        return []
    return dialects.of(connection).select(connection, table, keys, rows, reactions=reactions)
