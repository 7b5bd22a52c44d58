"""`madang db`: the database's schema and the log's epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madang.cli.refusal import (
    database_errors_as_sentences,
    require_known_database,
    settings_errors_as_sentences,
)
from madang.cli.serve import database_address
from madang.settings import Settings, load

db = typer.Typer(help="Look after the database: schema and epoch.", no_args_is_help=True)

Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Database address, or a file (a SQLite file in the data directory)."
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The server's data directory (madang-data).")
]


@db.command()
def upgrade(database: Database = None, data_dir: DataDir = None) -> None:
    """Create the schema, or bring it to this version; does nothing where it is current.

    On PostgreSQL, name the role that is to own the tables with --database. Servers log in as
    another one, a member of `madang_app`.
    """
    from madang.store import migrate

    with database_errors_as_sentences():
        settings = _settings(database, data_dir)
        url, password = settings.database_url, settings.database_app_password
        before = migrate.current(url)
        migrate.upgrade(url, password.get_secret_value() if password else None)
        after = migrate.current(url)
    typer.echo(f"Already at schema {after}." if before == after else f"Now at schema {after}.")


@db.command()
def current(database: Database = None, data_dir: DataDir = None) -> None:
    """Print the schema the database is at, and the one this version needs."""
    from madang.store import migrate

    with database_errors_as_sentences():
        found = migrate.current(_settings(database, data_dir).database_url)
    typer.echo(f"database {found or 'without a schema'}, this version {migrate.newest()}")


@db.command()
def new_epoch(database: Database = None, data_dir: DataDir = None) -> None:
    """Start a new epoch, after the database came back from a backup.

    Clients may then hold cursors of events that the database has lost. With a new epoch they are
    told that they cannot catch up from there, and load afresh, instead of missing a part silently.
    Run it while no server is running.
    """
    from madang.clock import SystemClock
    from madang.store import migrate

    with database_errors_as_sentences():
        url = _settings(database, data_dir).database_url
        migrate.check(url)
        epoch = migrate.new_epoch(url, SystemClock().now())
    typer.echo(f"The log's epoch is now {epoch}.")


def _settings(database: str | None, data_dir: Path | None) -> Settings:
    with settings_errors_as_sentences():
        settings = load(database_url=database_address(database), data_dir=data_dir)
    require_known_database(settings)
    if settings.database_url.startswith("sqlite:") and database is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    return settings
