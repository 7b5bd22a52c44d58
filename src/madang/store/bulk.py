"""Many rows in one statement: the one place where databases differ in SQL.

Every function sends one statement for up to `CHUNK` rows. The values are bound as rows of a
`VALUES` list that is padded with NULLs to one of a few sizes, so that each statement is compiled
once and kept. Why not `executemany` or JSON: docs/decisions/001-bulk-writes.md.

This is SQLite's form. PostgreSQL gets arrays and `unnest` behind the same five functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any

import orjson
from sqlalchemy import Connection, Table

Row = Sequence[Any]

CHUNK = 256
"""Rows a statement. A compiled statement grows with its rows; beyond this nothing is gained."""


def _size(count: int) -> int:
    """The smallest prepared size that holds `count` rows: few sizes, at most a third wasted."""
    if count <= 16:
        return 1 << (count - 1).bit_length()
    step = 16 if count <= 128 else 64
    return -(-count // step) * step


def _values(size: int, width: int) -> str:
    return ",".join(["(" + ",".join("?" * width) + ")"] * size)


def _run(connection: Connection, sql: Callable[[int], str], rows: Sequence[Row]) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        size = _size(len(chunk))
        padding = repeat(None, (size - len(chunk)) * len(chunk[0]))
        values = tuple(chain(chain.from_iterable(chunk), padding))
        result = connection.exec_driver_sql(sql(size), values)
        if result.returns_rows:
            found += parse_rows(result.scalar())
    return found


@cache
def _insert(table: Table, size: int) -> str:
    columns = ", ".join(column.name for column in table.columns)
    if size == 1:
        return f"INSERT INTO {table.name} ({columns}) VALUES {_values(1, len(table.columns))}"
    rows = _values(size, len(table.columns))
    return (
        f"INSERT INTO {table.name} ({columns}) "
        f"SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"
    )


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Add rows, each with a value for every column of the table, in the table's order."""
    if rows:
        _run(connection, lambda size: _insert(table, size), rows)


@cache
def _update(table: Table, keys: tuple[str, ...], columns: tuple[str, ...], size: int) -> str:
    width = len(keys) + len(columns)
    changes = ", ".join(
        f"{name} = v.column{number}" for number, name in enumerate(columns, len(keys) + 1)
    )
    match = " AND ".join(
        f"{table.name}.{name} = v.column{number}" for number, name in enumerate(keys, 1)
    )
    return (
        f"UPDATE {table.name} SET {changes} FROM (VALUES {_values(size, width)}) AS v WHERE {match}"
    )


def update(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    columns: tuple[str, ...],
    rows: Sequence[Row],
) -> None:
    """Set `columns` of the rows found by `keys`; a row holds the keys' values, then the new."""
    if rows:
        _run(connection, lambda size: _update(table, keys, columns, size), rows)


@cache
def _delete(table: Table, keys: tuple[str, ...], size: int) -> str:
    names = ", ".join(keys)
    return f"DELETE FROM {table.name} WHERE ({names}) IN (VALUES {_values(size, len(keys))})"


def delete(
    connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Delete the rows found by `keys`."""
    if rows:
        _run(connection, lambda size: _delete(table, keys, size), rows)


@cache
def _select(table: Table, keys: tuple[str, ...], reactions: bool, size: int) -> str:
    columns = ", ".join(f"t.{column.name}" for column in table.columns)
    if reactions:
        columns += f", ({REACTIONS.format(message='t.id')})"
    match = " AND ".join(f"t.{name} = v.column{number}" for number, name in enumerate(keys, 1))
    # CROSS JOIN keeps the order: for each value, a look-up by index.
    return one_row(
        columns,
        f"FROM (VALUES {_values(size, len(keys))}) AS v CROSS JOIN {table.name} AS t WHERE {match}",
    )


def select(
    connection: Connection,
    table: Table,
    keys: tuple[str, ...],
    rows: Sequence[Row],
    *,
    reactions: bool = False,
) -> list[Row]:
    """The table's rows with these keys, in no order; with `reactions`, those at the end."""
    return (
        _run(connection, lambda size: _select(table, keys, reactions, size), rows) if rows else []
    )


REACTIONS = (
    "SELECT json_group_array(json_array(r.cursor, r.emoji, r.user_id)) "
    "FROM reactions AS r WHERE r.message_id = {message}"
)
"""A scalar subquery with all reactions of a message, for `rows.reactions_of`."""


def one_row(columns: str, rest: str) -> str:
    """`SELECT columns rest` as a query of one row, for `parse_rows`. The order is that of `rest`
    where it has a LIMIT (then SQLite works it off before the rows are joined)."""
    return (
        "SELECT '[' || group_concat(line, ',') || ']' "
        f"FROM (SELECT json_array({columns}) AS line {rest})"
    )


def parse_rows(text: str | None) -> list[Row]:
    """The rows that a query by `one_row` found."""
    return [] if text is None else orjson.loads(text)
