"""Running a read: one query a page, written once for every database (see `store.dialects`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, TextClause, text

from madang.store import dialects
from madang.store.tables import messages

Row = Sequence[Any]

NO_LIMIT = 2**63 - 1

Query = Mapping[str, TextClause]
"""A query in the words of each database."""


def columns(alias: str, table: Table) -> str:
    """All columns of a table, in its order."""
    return ", ".join(f"{alias}.{column.name}" for column in table.columns)


MESSAGE = f"{columns('m', messages)}, (REACTIONS(m.id))"
"""A message's columns and its reactions, for `rows.message_of`."""

JOINED_MESSAGE = (
    f"{columns('m', messages)}, CASE WHEN m.id IS NULL THEN NULL ELSE (REACTIONS(m.id)) END"
)
"""The same where there may be no message: all NULL then."""


def rows_query(selected: str, rest: str, before: str = "", lists: Sequence[str] = ()) -> Query:
    """`before SELECT selected rest`, made to be run by `fetch`; `lists` names its parameters that
    are lists of strings, for `EACH` and `AMONG`."""
    return {
        name: dialect.rows_query(selected, rest, before, lists)
        for name, dialect in dialects.every().items()
    }


def fetch(connection: Connection, query: Query, **values: Any) -> list[Row]:
    """The rows of a `rows_query`, in its order."""
    dialect = dialects.of(connection)
    return dialect.fetch(connection, query[connection.dialect.name], values)


def scalar_query(sql: str) -> Query:
    """A query of at most one value, made to be run by `scalar`."""
    return {name: text(dialect.spoken(sql)) for name, dialect in dialects.every().items()}


def scalar(connection: Connection, query: Query, **values: Any) -> Any:
    """The one value of a `scalar_query`, or None where it finds nothing."""
    return connection.execute(query[connection.dialect.name], values).scalar()


def values_query(sql: str, lists: Sequence[str] = ()) -> Query:
    """A query whose rows may hold bytes, made to be run by `values`."""
    return {name: dialect.values_query(sql, lists) for name, dialect in dialects.every().items()}


def values(connection: Connection, query: Query, **values: Any) -> list[Row]:
    """The rows of a `values_query`."""
    return list(connection.execute(query[connection.dialect.name], values).cursor.fetchall())
