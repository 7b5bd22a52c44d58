"""SQLite: the values of many rows are bound as a `VALUES` list, rows come back as one of JSON.

The list is padded with NULLs to one of a few sizes, so that each statement is compiled once and
kept. Python's driver hands the interpreter's lock over at every step of a statement, and a page
as one step is half again as quick, beside a busy event loop too. Why not `executemany`, and what
was measured: docs/decisions/001-bulk-writes.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, repeat
from typing import Any

import orjson
from sqlalchemy import Connection, Table, TextClause, bindparam, text
from sqlalchemy.sql.sqltypes import JSON

Row = Sequence[Any]

CHUNK = 256
"""Rows a statement. A compiled statement grows with its rows; beyond this nothing is gained."""

_WORDS = (
    (re.compile(r"\bEACH\(:(\w+)\)"), r"json_each(:\1)"),
    (re.compile(r"\bNUMBERS\(:(\w+)\)"), r"json_each(:\1)"),
    (re.compile(r"\bAMONG\(:(\w+)\)"), r"IN (SELECT value FROM json_each(:\1))"),
    # Keeps the order: for each row, a look-up by index.
    (re.compile(r"\bTHEN JOIN\b"), "CROSS JOIN"),
    (re.compile(r"\bBYTES\(([\w.]+)\)"), r"length(CAST(\1 AS BLOB))"),
    (
        re.compile(r"\bREACTIONS\(([\w.]+)\)"),
        (
            r"SELECT json_group_array(json_array(r.cursor, r.emoji, r.user_id)) "
            r"FROM reactions AS r WHERE r.message_id = \1"
        ),
    ),
)


class Sqlite:
    """See `Dialect`."""

    def spoken(self, sql: str) -> str:
        for word, own in _WORDS:
            sql = word.sub(own, sql)
        return sql

    def rows_query(self, selected: str, rest: str, before: str, lists: Sequence[str]) -> TextClause:
        # A list of strings is one text of JSON.
        query = text(self.spoken(before + _one_row(selected, rest)))
        return query.bindparams(*(bindparam(name, type_=JSON()) for name in lists))

    def fetch(self, connection: Connection, query: TextClause, values: Any) -> list[Row]:
        return _parse(connection.execute(query, values).scalar())

    def values_query(self, sql: str, lists: Sequence[str]) -> TextClause:
        query = text(self.spoken(sql))
        return query.bindparams(*(bindparam(name, type_=JSON()) for name in lists))

    def insert(
        self, connection: Connection, table: Table, rows: Sequence[Row], conflict: str = ""
    ) -> None:
        _run(connection, lambda size: f"{_insert(table, size)} {conflict}", rows)

    def update(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        rows: Sequence[Row],
    ) -> None:
        _run(connection, lambda size: _update(table, keys, columns, size), rows)

    def delete(
        self, connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
    ) -> None:
        _run(connection, lambda size: _delete(table, keys, size), rows)

    def select(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        rows: Sequence[Row],
        *,
        reactions: bool = False,
    ) -> list[Row]:
        return _run(connection, lambda size: _select(table, keys, reactions, size), rows)


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
            found += _parse(result.scalar())
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


@cache
def _delete(table: Table, keys: tuple[str, ...], size: int) -> str:
    names = ", ".join(keys)
    return f"DELETE FROM {table.name} WHERE ({names}) IN (VALUES {_values(size, len(keys))})"


@cache
def _select(table: Table, keys: tuple[str, ...], reactions: bool, size: int) -> str:
    columns = ", ".join(f"t.{column.name}" for column in table.columns)
    if reactions:
        columns += ", (REACTIONS(t.id))"
    match = " AND ".join(f"t.{name} = v.column{number}" for number, name in enumerate(keys, 1))
    rest = f"FROM (VALUES {_values(size, len(keys))}) AS v THEN JOIN {table.name} AS t ON {match}"
    return Sqlite().spoken(_one_row(columns, rest))


def _one_row(columns: str, rest: str) -> str:
    """`SELECT columns rest` as a query of one row. The order is that of `rest` where it has a
    LIMIT (then SQLite works it off before the rows are joined)."""
    return (
        "SELECT '[' || group_concat(line, ',') || ']' "
        f"FROM (SELECT json_array({columns}) AS line {rest})"
    )


def _parse(text: str | None) -> list[Row]:
    return [] if text is None else orjson.loads(text)
