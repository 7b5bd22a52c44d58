"""`madang db`: the database's schema and the log's epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from madang.cli.help import Command, Group
from madang.cli.refusal import (
    database_errors_as_sentences,
    refuse,
    require_known_database,
    settings_errors_as_sentences,
)
from madang.cli.serve import database_address
from madang.cli.signing import DEMO_DIRECTORY
from madang.settings import Settings, load

db = typer.Typer(cls=Group, help="Look after the database: schema and epoch.", no_args_is_help=True)

Database = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Database address, or a file (a SQLite file in the data directory)."
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The server's data directory (madang-data).")
]


@db.command(cls=Command)
def upgrade(database: Database = None, data_dir: DataDir = None) -> None:
    """Create the schema, or bring it to this version; does nothing where it is current.

    On PostgreSQL, name the role that is to own the tables with --database. Servers log in as
    another one, a member of `madang_app`.
    """
    from madang.store import migrate

    with database_errors_as_sentences():
        settings = _settings(database, data_dir)
        if (file := _missing_file(settings)) is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        url, password = settings.database_url, settings.database_app_password
        before = migrate.current(url)
        migrate.upgrade(url, password.get_secret_value() if password else None)
        after = migrate.current(url)
    typer.echo(f"Already at schema {after}." if before == after else f"Now at schema {after}.")


@db.command(cls=Command)
def current(database: Database = None, data_dir: DataDir = None) -> None:
    """Print the schema the database is at, and the one this version needs."""
    from madang.store import migrate

    with database_errors_as_sentences():
        settings = _settings(database, data_dir)
        if (file := _missing_file(settings)) is not None:
            typer.echo(
                f"{_none_yet(file, settings)}; this version makes schema {migrate.newest()}."
            )
            return
        found = migrate.current(settings.database_url)
    typer.echo(f"database {found or 'without a schema'}, this version {migrate.newest()}")


@db.command(cls=Command)
def new_epoch(database: Database = None, data_dir: DataDir = None) -> None:
    """Start a new epoch, after the database came back from a backup.

    Clients may then hold cursors of events that the database has lost. With a new epoch they are
    told that they cannot catch up from there, and load afresh, instead of missing a part silently.
    Run it while no server is running.
    """
    from madang.clock import SystemClock
    from madang.store import migrate

    with database_errors_as_sentences():
        settings = _settings(database, data_dir)
        url = settings.database_url
        if (file := _missing_file(settings)) is not None:
            refuse(f"{_none_yet(file, settings)}: run `madang db upgrade`.")
        migrate.check(url)
        epoch = migrate.new_epoch(url, SystemClock().now())
    typer.echo(
        f"The log's epoch is now {epoch}. Start the servers: clients that have seen events which "
        "this database lacks are told so and load afresh."
    )


def ready_settings(database: str | None, data_dir: Path | None) -> Settings:
    """The settings of a command that works on a database which is there, at this version's
    schema; otherwise the command ends with a sentence. The demo's, where none was named and only
    that is there; says so on stderr."""
    from madang.store import migrate

    with database_errors_as_sentences():
        settings = _settings(database, data_dir)
        if database is None and data_dir is None:
            settings = _demo_where_only_that_is_there(settings)
        if (file := _missing_file(settings)) is not None:
            refuse(f"{_none_yet(file, settings)}: run `madang db upgrade`.")
        migrate.check(settings.database_url)
    return settings


def _settings(database: str | None, data_dir: Path | None) -> Settings:
    with settings_errors_as_sentences():
        settings = load(database_url=database_address(database), data_dir=data_dir)
    require_known_database(settings)
    return settings


def _demo_where_only_that_is_there(settings: Settings) -> Settings:
    demo = _settings(None, settings.data_dir / DEMO_DIRECTORY)
    # Where DATABASE_URL names one, both have the same.
    if (
        demo.database_url == settings.database_url
        or _missing_file(settings) is None
        or _missing_file(demo) is not None
    ):
        return settings
    typer.secho(f"The database of the demo in {demo.data_dir}/.", dim=True, err=True)
    return demo


def _missing_file(settings: Settings) -> Path | None:
    """The SQLite file, where there is none: opening it would make one."""
    from sqlalchemy import make_url

    if not settings.database_url.startswith("sqlite:"):
        return None
    path = make_url(settings.database_url).database
    return Path(path) if path and path != ":memory:" and not Path(path).exists() else None


def _none_yet(file: Path, settings: Settings) -> str:
    if not file.parent.is_dir() and file.parent != settings.data_dir:
        refuse(f"There is no directory {file.parent}/.")
    return f"No database yet at {file}"
