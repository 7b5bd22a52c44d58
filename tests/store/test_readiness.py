"""What a server refuses to start on, each with one sentence that says what to do; and that it is
let in when that was done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from madang.clock import SystemClock
from madang.store import migrate
from madang.store.errors import DatabaseUnusable, SchemaIsOld
from madang.store.opening import check_postgresql, open_store
from madang.store.postgresql import PostgresStore
from tests.postgres import APP, OWNER, PASSWORD, Postgres


def _refused(url: str, *words: str) -> None:
    with pytest.raises(DatabaseUnusable) as refused:
        check_postgresql(url)
    sentence = str(refused.value)
    for word in words:
        assert word in sentence, sentence
    assert PASSWORD not in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_a_server_is_let_in(postgresql_urls: tuple[str, str]) -> None:
    _, url = postgresql_urls
    check_postgresql(url)
    check_postgresql(url.replace("postgresql://", "postgres://"))
    check_postgresql(url.replace("postgresql://", "postgresql+asyncpg://"))


async def test_it_is_checked_inside_a_running_loop_too(postgresql_urls: tuple[str, str]) -> None:
    check_postgresql(postgresql_urls[1])


def test_nobody_is_there() -> None:
    _refused(f"postgresql://ann:{PASSWORD}@127.0.0.1:1/madang", "127.0.0.1:1", "start it")


def test_a_database_that_there_is_not(postgres: Postgres) -> None:
    _refused(postgres.url(APP, "nowhere"), "'nowhere'", "create it")


def test_a_user_that_there_is_not(postgres: Postgres) -> None:
    _refused(postgres.url("stranger", "postgres"), "'stranger'", "correct the user")


@pytest.mark.parametrize("url", ["postgresql://h:port/x", "postgresql://%zz@h:99999/x"])
def test_an_address_that_is_none(url: str) -> None:
    _refused(url, "DATABASE_URL")


def test_a_superuser(postgres: Postgres, postgresql_urls: tuple[str, str]) -> None:
    url = postgresql_urls[1].replace(APP, "postgres")
    _refused(url, "'postgres'", "is a superuser", "madang_app")


@pytest.fixture
def role(postgres: Postgres) -> Callable[[str], str]:
    """Makes a role for one test: `role("bypass BYPASSRLS")` gives its name."""

    def make(definition: str) -> str:
        name = definition.split()[0]
        postgres.execute(f"CREATE ROLE {definition.replace(name, f'{name} LOGIN', 1)}")
        return name

    return make


def test_one_that_may_bypass(role: Callable[[str], str], postgresql_urls: tuple[str, str]) -> None:
    name = role("bypass BYPASSRLS IN ROLE madang_app")
    _refused(postgresql_urls[1].replace(APP, name), "'bypass'", "bypass row-level security")


def test_the_owner_and_whoever_may_become_it(
    role: Callable[[str], str], postgresql_urls: tuple[str, str]
) -> None:
    owner, app = postgresql_urls
    _refused(owner, f"'{OWNER}'", "owns the table", "another role")
    name = role(f"deputy IN ROLE madang_app, {OWNER}")
    _refused(app.replace(APP, name), "'deputy'", "owns the table")


def test_one_that_was_granted_nothing(
    role: Callable[[str], str], postgresql_urls: tuple[str, str]
) -> None:
    name = role("newcomer")
    _refused(postgresql_urls[1].replace(APP, name), "GRANT madang_app TO newcomer")


def test_no_schema_and_an_old_and_a_newer_one(
    postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    name = postgres.empty_database()
    empty = postgres.url(APP, name)
    _refused(empty, "no schema", "madang db upgrade", "owns the tables")
    postgres.drop(empty)

    _, url = postgresql_urls
    database = url.rpartition("/")[2]
    postgres.execute("UPDATE alembic_version SET version_num = '0001'", database=database)
    with pytest.raises(SchemaIsOld):
        check_postgresql(url)
    _refused(url, "schema 0001", "madang db upgrade", "owns the tables")
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=database)
    _refused(url, "newer version")


def test_a_wall_that_was_taken_down(postgres: Postgres, postgresql_urls: tuple[str, str]) -> None:
    _, url = postgresql_urls
    database = url.rpartition("/")[2]
    postgres.execute("ALTER TABLE messages NO FORCE ROW LEVEL SECURITY", database=database)
    _refused(url, "'messages'", "ENABLE ROW LEVEL SECURITY")


def test_changing_the_schema_is_for_its_owner(
    postgres: Postgres, role: Callable[[str], str]
) -> None:
    name = postgres.empty_database()
    with pytest.raises(DatabaseUnusable, match="--database"):
        migrate.upgrade(postgres.url(APP, name))
    postgres.drop(postgres.url(APP, name))


async def test_madang_app_itself_with_a_password(postgres: Postgres) -> None:
    """`database_app_password` makes a login of the role; a server asks for it where it must."""
    name = postgres.empty_database()
    secret = "pass'word 마당"
    await asyncio.to_thread(migrate.upgrade, postgres.url(OWNER, name), secret)
    check_postgresql(postgres.url("madang_app", name))
    kept = postgres.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'madang_app'")[0][0]
    assert kept.startswith("SCRAM-SHA-256$4096:")
    with postgres.asking_for_passwords():
        right = await asyncpg.connect(
            host="127.0.0.1", port=postgres.port, user="madang_app", database=name, password=secret
        )
        await right.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host="127.0.0.1", port=postgres.port, user="madang_app", database=name, password="x"
            )
        _refused(postgres.url("madang_app", name), "'madang_app'", "the password")
    postgres.drop(postgres.url(OWNER, name))


async def test_the_address_chooses_the_store(
    postgresql_urls: tuple[str, str], sqlite_url: str
) -> None:
    for url in (postgresql_urls[1], postgresql_urls[1].replace("postgresql:", "postgres:")):
        store = open_store(url, SystemClock())
        assert isinstance(store, PostgresStore)
        assert await store.epoch()
        await store.close()
    with pytest.raises(ValueError, match="SQLite"):
        open_store("mysql://localhost/x", SystemClock())


async def test_the_pool_is_of_the_size_that_is_set(
    postgres: Postgres, postgresql_urls: tuple[str, str]
) -> None:
    store = PostgresStore(postgresql_urls[1], SystemClock(), 3)
    async with asyncio.timeout(10):
        await asyncio.gather(*(store.head("default") for _ in range(30)))
    database = postgresql_urls[1].rpartition("/")[2]
    connections = postgres.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' "
        "AND application_name = 'madang'"
    )
    assert connections[0][0] == 3
    await store.close()
