"""PostgreSQL: the values of many rows are bound as one array a column and read with `unnest`.

One statement whatever the number of rows, so each is prepared once on a connection. Rows come back
as the driver reads them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, Table, TextClause, text

Row = Sequence[Any]

_WORDS = (
    (re.compile(r"\bEACH\(:(\w+)\) AS (\w+)"), r"unnest(CAST(:\1 AS text[])) AS \2 (value)"),
    (re.compile(r"\bNUMBERS\(:(\w+)\) AS (\w+)"), r"unnest(CAST(:\1 AS bigint[])) AS \2 (value)"),
    (re.compile(r"\bAMONG\(:(\w+)\)"), r"= ANY (CAST(:\1 AS text[]))"),
    (re.compile(r"\bTHEN JOIN\b"), "JOIN"),
    (re.compile(r"\bLIMIT -1\b"), ""),
    (re.compile(r"\bBYTES\(([\w.]+)\)"), r"octet_length(\1)"),
    (
        re.compile(r"\bREACTIONS\(([\w.]+)\)"),
        (
            r"SELECT array_agg(ROW(r.cursor, r.emoji, r.user_id)) "
            r"FROM reactions AS r WHERE r.message_id = \1"
        ),
    ),
)


class PostgreSql:
    """See `Dialect`."""

    def spoken(self, sql: str) -> str:
        for word, own in _WORDS:
            sql = word.sub(own, sql)
        return sql

    def rows_query(self, selected: str, rest: str, before: str, lists: Sequence[str]) -> TextClause:
        return text(self.spoken(f"{before}SELECT {selected} {rest}"))

    def fetch(self, connection: Connection, query: TextClause, values: Any) -> list[Row]:
        return list(connection.execute(query, values).cursor.fetchall())

    def values_query(self, sql: str, lists: Sequence[str]) -> TextClause:
        return text(self.spoken(sql))

    def insert(
        self, connection: Connection, table: Table, rows: Sequence[Row], conflict: str = ""
    ) -> None:
        _run(connection, f"{_insert(table)} {conflict}", rows)

    def update(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        rows: Sequence[Row],
    ) -> None:
        _run(connection, _update(table, keys, columns), rows)

    def delete(
        self, connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
    ) -> None:
        _run(connection, _delete(table, keys), rows)

    def select(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        rows: Sequence[Row],
        *,
        reactions: bool = False,
    ) -> list[Row]:
        return _run(connection, _select(table, keys, reactions), rows)


def _run(connection: Connection, sql: str, rows: Sequence[Row]) -> list[Row]:
    columns = tuple(map(list, zip(*rows, strict=True)))
    result = connection.exec_driver_sql(sql, columns)
    return list(result.cursor.fetchall()) if result.returns_rows else []


def _arrays(table: Table, names: Sequence[str]) -> str:
    """`unnest` of one parameter a column, for rows of those columns."""
    return ", ".join(f"${number}::{_type(table, name)}[]" for number, name in enumerate(names, 1))


def _type(table: Table, name: str) -> str:
    match table.columns[name].type:
        case BigInteger():
            return "bigint"
        case Integer():
            return "integer"
        case LargeBinary():
            return "bytea"
        case _:
            return "text"


def _match(table: str, keys: Sequence[str]) -> str:
    return " AND ".join(f"{table}.{name} = v.{name}" for name in keys)


@cache
def _insert(table: Table) -> str:
    names = [column.name for column in table.columns]
    rows = f"unnest({_arrays(table, names)})"
    return f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM {rows}"


@cache
def _update(table: Table, keys: tuple[str, ...], columns: tuple[str, ...]) -> str:
    names = (*keys, *columns)
    changes = ", ".join(f"{name} = v.{name}" for name in columns)
    return (
        f"UPDATE {table.name} SET {changes} FROM unnest({_arrays(table, names)}) "
        f"AS v ({', '.join(names)}) WHERE {_match(table.name, keys)}"
    )


@cache
def _delete(table: Table, keys: tuple[str, ...]) -> str:
    return (
        f"DELETE FROM {table.name} USING unnest({_arrays(table, keys)}) "
        f"AS v ({', '.join(keys)}) WHERE {_match(table.name, keys)}"
    )


@cache
def _select(table: Table, keys: tuple[str, ...], reactions: bool) -> str:
    columns = ", ".join(f"t.{column.name}" for column in table.columns)
    if reactions:
        columns += ", (REACTIONS(t.id))"
    return PostgreSql().spoken(
        f"SELECT {columns} FROM unnest({_arrays(table, keys)}) AS v ({', '.join(keys)}) "
        f"JOIN {table.name} AS t ON {_match('t', keys)}"
    )
