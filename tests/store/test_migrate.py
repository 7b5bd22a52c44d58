"""The migrations and the table definitions are the same schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from madang.clock import SystemClock
from madang.store import migrate
from madang.store.sqlite import SqliteStore, create_sqlite_engine
from madang.store.tables import metadata


def _schema(path: Path) -> dict[str, str]:
    with sqlite3.connect(path) as connection:
        found = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> ?",
            ("alembic_version",),
        ).fetchall()
    connection.close()
    return {name: " ".join(sql.split()) for name, sql in found}


def test_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    migrated, created = tmp_path / "migrated.db", tmp_path / "created.db"
    migrate.upgrade(f"sqlite:///{migrated}")
    engine = create_sqlite_engine(f"sqlite:///{created}")
    with engine.connect() as connection, connection.begin():
        metadata.create_all(connection)
    engine.dispose()
    assert _schema(migrated) == _schema(created)
    assert len(_schema(migrated)) > 10

    engine = create_sqlite_engine(f"sqlite:///{migrated}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_check_says_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'madang.db'}"
    with pytest.raises(migrate.SchemaError, match="madang db upgrade"):
        migrate.check(url)
    assert migrate.current(url) is None
    migrate.upgrade(url)
    migrate.check(url)
    assert migrate.current(url) == migrate.newest()

    engine = create_sqlite_engine(url)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(migrate.SchemaError, match="newer version"):
        migrate.check(url)


async def test_the_epoch_is_made_once_and_changes_when_asked(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'madang.db'}"
    migrate.upgrade(url)
    store = SqliteStore(url, SystemClock())
    first = await store.epoch()
    assert first
    migrate.upgrade(url)
    assert await store.epoch() == first
    second = migrate.new_epoch(url, SystemClock().now())
    assert second != first
    assert await store.epoch() == second
    await store.close()


@pytest.mark.parametrize("url", ["postgresql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_only_a_file_will_do(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite file"):
        create_sqlite_engine(url)
