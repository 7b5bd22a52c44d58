"""Bringing a database to the schema of this version, and giving its log a new epoch.

Everything here is synchronous: it runs before the server starts, or from the command line. On
PostgreSQL it is for the tables' owner, except for `current` and `check`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, func, insert, select, update

from madang.store.address import is_postgresql
from madang.store.errors import SchemaError, SchemaIsOld
from madang.store.sql_store import ALL_ORGS
from madang.store.sqlite import create_sqlite_engine
from madang.store.tables import epochs, gaps, orgs

__all__ = ["SchemaError", "SchemaIsOld", "check", "current", "new_epoch", "newest", "upgrade"]

T = TypeVar("T")

_ONE_AT_A_TIME = 7_241_965
"""The advisory lock of PostgreSQL that whoever changes the schema holds."""


def _run(database_url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction on a connection of its own."""
    if is_postgresql(database_url):
        from madang.store.pooling import in_transaction

        return in_transaction(database_url, work)
    engine = create_sqlite_engine(database_url)
    try:
        with engine.connect() as connection, connection.begin():
            return work(connection)
    finally:
        engine.dispose()


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


def newest() -> str:
    """The revision this version works with."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def upgrade(database_url: str, app_password: str | None = None) -> None:
    """Create the schema or bring it to this version. Does nothing where it is current.

    On PostgreSQL, where `app_password` is given, servers may log in with it as `madang_app`.
    """

    def work(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
        command.upgrade(config(connection), "head")
        if connection.scalar(select(epochs.c.epoch)) is None:
            _set_epoch(connection)
        if app_password is not None and connection.dialect.name == "postgresql":
            secret = scram_sha_256(app_password)
            connection.exec_driver_sql(f"ALTER ROLE madang_app LOGIN PASSWORD '{secret}'")

    _run(database_url, work)


def current(database_url: str) -> str | None:
    """The database's revision, or None where it has no schema."""

    return _run(database_url, revision)


def revision(connection: Connection) -> str | None:
    """The same, of a database that one is connected to."""
    return MigrationContext.configure(connection).get_current_revision()


def check(database_url: str) -> None:
    """Raises:
    SchemaError: the database is not at this version's schema.
    """
    compare(current(database_url))


def compare(found: str | None) -> None:
    """Raises:
    SchemaError: a database at the revision `found` is not at this version's schema.
    """
    wanted = newest()
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


def new_epoch(database_url: str, now: int) -> str:
    """Give the log a new epoch at the time `now` (microseconds), after the database came back from
    a backup.

    A client's cursor that was given out for an event which is lost is then answered with
    `recovered: false` instead of a part of what it missed, although the client shows nothing but
    the cursor: no event will ever have a cursor between the backup's head and `now`. Cursors from
    before the backup stay good.
    """

    def work(connection: Connection) -> str:
        if connection.dialect.name == "postgresql":
            # The owner is held to the policies too: this is about every org's log.
            connection.execute(select(func.set_config("madang.org", ALL_ORGS.org_id, True)))
        heads = connection.execute(select(orgs.c.id, orgs.c.last_cursor)).all()
        lost = [(org_id, max(now, head), head) for org_id, head in heads]
        for org_id, until, after in (*lost, (_ANY_OTHER_ORG, now, 0)):
            connection.execute(
                insert(gaps).values(org_id=org_id, until_cursor=until, after_cursor=after)
            )
        connection.execute(update(orgs).where(orgs.c.last_cursor < now).values(last_cursor=now))
        return _set_epoch(connection)

    return _run(database_url, work)


_ANY_OTHER_ORG = ""


def _set_epoch(connection: Connection) -> str:
    epoch = secrets.token_hex(8)
    connection.execute(delete(epochs))
    connection.execute(insert(epochs).values(id=1, epoch=epoch))
    return epoch


def scram_sha_256(password: str) -> str:
    """A password as PostgreSQL keeps it (RFC 5803), so that no statement and no log shows it."""
    salt, rounds = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    client = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return "SCRAM-SHA-256${}:{}${}:{}".format(rounds, *parts)
