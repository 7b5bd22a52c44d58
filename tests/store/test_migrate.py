"""The migrations and the table definitions are the same schema."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from madang.clock import SystemClock
from madang.store import migrate
from madang.store.pooling import in_transaction
from madang.store.sqlite import SqliteStore, create_sqlite_engine
from madang.store.tables import metadata
from tests.postgres import OWNER, Postgres


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


# Everything about the tables that the server knows.
_CATALOG = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), o.collname
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    LEFT JOIN pg_collation AS o ON o.oid = a.attcollation
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
        AND c.relname <> 'alembic_version'
    UNION ALL
    SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    UNION ALL
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
    FROM pg_constraint WHERE conrelid <> 0 AND connamespace = 'public'::regnamespace
        AND conrelid <> 'alembic_version'::regclass AND contype <> 'n'
    ORDER BY 1, 2, 3
"""


def test_migrations_make_exactly_the_tables_on_postgresql(
    postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    created = postgres.url(OWNER, postgres.empty_database())

    def create(connection: Connection) -> None:
        metadata.create_all(connection)
        connection.exec_driver_sql("CREATE TABLE alembic_version ()")

    in_transaction(created, create)
    schemas = [
        [tuple(row) for row in postgres.execute(_CATALOG, database=url.rpartition("/")[2])]
        for url in (postgresql_urls[0], created)
    ]
    assert schemas[0] == schemas[1]
    assert len(schemas[0]) > 60

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    assert in_transaction(postgresql_urls[0], compare) == []
    postgres.drop(created)


def test_text_sorts_by_its_bytes_on_every_database(
    postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    database = postgresql_urls[0].rpartition("/")[2]
    names = ["a", "B", "~", "_", "가", "Z", "é", "😀"]
    for number, name in enumerate(names):
        postgres.execute(f"INSERT INTO users VALUES ('o', '{name}', {number})", database=database)
    found = postgres.execute("SELECT id FROM users ORDER BY id", database=database)
    assert [row[0] for row in found] == sorted(names)


def test_two_that_upgrade_at_once(postgres: Postgres) -> None:
    url = postgres.url(OWNER, postgres.empty_database())
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate.upgrade, [url] * 4))
    assert migrate.current(url) == migrate.newest()
    postgres.drop(url)


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
