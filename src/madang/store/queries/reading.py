"""Running a read: its rows come back as one row of JSON, its lists go in as one JSON text.

Why one row: Python's driver hands the interpreter's lock over at every step of a statement, and a
page as one step is half again as quick, beside a busy event loop too
(docs/decisions/001-bulk-writes.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, TextClause, bindparam, text
from sqlalchemy.sql.sqltypes import JSON

from madang.store import bulk
from madang.store.tables import messages

Row = Sequence[Any]

NO_LIMIT = 2**63 - 1


def columns(alias: str, table: Table) -> str:
    """All columns of a table, in its order."""
    return ", ".join(f"{alias}.{column.name}" for column in table.columns)


MESSAGE = f"{columns('m', messages)}, ({bulk.REACTIONS.format(message='m.id')})"
"""A message's columns and its reactions, for `rows.message_of`."""

JOINED_MESSAGE = (
    f"{columns('m', messages)}, "
    f"CASE WHEN m.id IS NULL THEN NULL ELSE ({bulk.REACTIONS.format(message='m.id')}) END"
)
"""The same where there may be no message: all NULL then."""


def rows_query(selected: str, rest: str, before: str = "", lists: Sequence[str] = ()) -> TextClause:
    """`before SELECT selected rest`, made to be run by `fetch`; `lists` names its parameters that
    are lists of strings and are read with `json_each`."""
    query = text(before + bulk.one_row(selected, rest))
    return query.bindparams(*(bindparam(name, type_=JSON()) for name in lists))


def fetch(connection: Connection, query: TextClause, **values: Any) -> list[Row]:
    """The rows of a `rows_query`, in its order."""
    return bulk.parse_rows(connection.execute(query, values).scalar())


def scalar(connection: Connection, query: TextClause, **values: Any) -> Any:
    """The one value of a plain query, or None where it finds nothing."""
    return connection.execute(query, values).scalar()
