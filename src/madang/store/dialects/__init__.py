"""The one place where databases differ in SQL: many rows in one statement, and a few words.

Everything else in the store is written once. A query is written in the words of SQLite and of
six of our own, which a dialect puts into its own by `spoken`:

- `EACH(:ids) AS i`: the strings of the list `:ids` as rows, each as `i.value`
- `NUMBERS(:numbers) AS n`: the same of whole numbers
- `AMONG(:ids)`, after a column: it is one of the strings of the list `:ids`
- `REACTIONS(m.id)`: all reactions of the message, for `rows.reactions_of`; no rows are NULL or []
- `BYTES(m.content)`: how many bytes a text takes
- `a THEN JOIN b ON …`: for each row of `a` a look-up in `b`, in this order
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Table, TextClause

from madang.store.dialects.postgresql import PostgreSql
from madang.store.dialects.sqlite import Sqlite

Row = Sequence[Any]


class Dialect(Protocol):
    """One database's ways. Rows hold a value for every column that is named, in that order."""

    def spoken(self, sql: str) -> str:
        """Our words in this database's."""
        ...

    def rows_query(self, selected: str, rest: str, before: str, lists: Sequence[str]) -> TextClause:
        """`before SELECT selected rest`, for `fetch`; `lists` names parameters that are lists of
        strings."""
        ...

    def fetch(self, connection: Connection, query: TextClause, values: Any) -> list[Row]:
        """The rows of a query by `rows_query`, in its order."""
        ...

    def values_query(self, sql: str, lists: Sequence[str]) -> TextClause:
        """A query whose rows may hold bytes, to be run as it is; `lists` names parameters that
        are lists."""
        ...

    def insert(
        self, connection: Connection, table: Table, rows: Sequence[Row], conflict: str = ""
    ) -> None:
        """`conflict` is an ON CONFLICT clause."""
        ...

    def update(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        columns: tuple[str, ...],
        rows: Sequence[Row],
    ) -> None: ...
    def delete(
        self, connection: Connection, table: Table, keys: tuple[str, ...], rows: Sequence[Row]
    ) -> None: ...
    def select(
        self,
        connection: Connection,
        table: Table,
        keys: tuple[str, ...],
        rows: Sequence[Row],
        *,
        reactions: bool = False,
    ) -> list[Row]: ...


_DIALECTS: dict[str, Dialect] = {"sqlite": Sqlite(), "postgresql": PostgreSql()}


def of(connection: Connection) -> Dialect:
    """The dialect of a connection's database."""
    return _DIALECTS[connection.dialect.name]


def every() -> dict[str, Dialect]:
    """All of them, by SQLAlchemy's name."""
    return _DIALECTS
