"""Bringing a database to the schema of this version, and giving its log a new epoch.

Everything here is synchronous: it runs before the server starts, or from the command line.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, select

from madang.store.sqlite import create_sqlite_engine
from madang.store.tables import epochs


class SchemaError(Exception):
    """The database's schema is not the one this version works with; the text says what to do."""


class SchemaIsOld(SchemaError):
    """There is no schema yet, or one of an earlier version: `upgrade` mends it."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


def newest() -> str:
    """The revision this version works with."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def upgrade(database_url: str) -> None:
    """Create the schema or bring it to this version. Does nothing where it is current."""
    engine = create_sqlite_engine(database_url)
    try:
        with engine.connect() as connection, connection.begin():
            command.upgrade(config(connection), "head")
            if connection.scalar(select(epochs.c.epoch)) is None:
                _set_epoch(connection)
    finally:
        engine.dispose()


def current(database_url: str) -> str | None:
    """The database's revision, or None where it has no schema."""
    engine = create_sqlite_engine(database_url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def check(database_url: str) -> None:
    """Raises:
    SchemaError: the database is not at this version's schema.
    """
    found, wanted = current(database_url), newest()
    if found == wanted:
        return
    if found is None:
        raise SchemaIsOld("The database has no schema yet: run `madang db upgrade`.")
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found in known:
        raise SchemaIsOld(
            f"The database is at schema {found}, this version needs {wanted}: "
            "run `madang db upgrade`."
        )
    raise SchemaError(f"The database is at schema {found}, which a newer version of Madang made.")


def new_epoch(database_url: str) -> str:
    """Give the log a new epoch, after the database came back from a backup: cursors that clients
    hold are then answered with `recovered: false` instead of a part of what they missed."""
    engine = create_sqlite_engine(database_url)
    try:
        with engine.connect() as connection, connection.begin():
            return _set_epoch(connection)
    finally:
        engine.dispose()


def _set_epoch(connection: Connection) -> str:
    epoch = secrets.token_hex(8)
    connection.execute(delete(epochs))
    connection.execute(insert(epochs).values(id=1, epoch=epoch))
    return epoch
