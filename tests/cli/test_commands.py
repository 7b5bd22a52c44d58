"""The commands that need no server: what they print, and how they refuse."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import madang
from madang.cli import app
from madang.clock import SystemClock
from madang.services.keys import dev_secret
from madang.services.trust import token_verifier
from madang.settings import load
from madang.store import migrate
from tests.postgres import OWNER, Postgres

SECRET = "a secret of more than thirty-two characters"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_version() -> None:
    assert run("--version").stdout == f"madang {madang.__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *("", "serve", "demo", "token", "tail", "settings", "bench"),
        *("db", "db upgrade", "db current", "db new-epoch"),
        *("search", "search status", "search rebuild"),
    ],
)
def test_help_fits_a_terminal(command: str) -> None:
    shown = run(*command.split(), "--help")
    assert shown.exit_code == 0
    assert max(len(line) for line in shown.output.splitlines()) <= 80
    assert "…" not in shown.output
    assert "<bool>" not in shown.output
    assert "{" not in shown.output
    assert "[default" not in shown.output, "a default stands in parentheses, like all others"


# --- token --------------------------------------------------------------------------------------


def test_a_token_signed_with_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
    shown = run(
        *("token", "alice", "--role", "admin", "--role", "agent", "--org", "acme"),
        *("--zone", "seoul", "--name", "김민지", "--ttl", "60"),
    )
    assert shown.exit_code == 0
    now = SystemClock().now()
    identity = token_verifier(load()).verify(shown.stdout.strip(), now)
    assert (identity.user_id, identity.org, identity.zone) == ("alice", "acme", "seoul")
    assert identity.name == "김민지"
    assert identity.roles == {"admin", "agent"}
    assert 55 <= identity.expires_at - now / 1_000_000 <= 60


def test_a_token_for_a_development_server(directory: Path) -> None:
    dev_secret(directory / "elsewhere")
    shown = run("token", "42", "--data-dir", "elsewhere")
    verifier = token_verifier(load(dev=True, data_dir=Path("elsewhere")))
    assert verifier.verify(shown.stdout.strip(), SystemClock().now()).user_id == "42"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["alice"], "No secret to sign with"),
        (["alice", "--role", "root"], "unknown role root"),
        (["", "--ttl", "5"], "a user id is 1 to 100"),
    ],
)
def test_no_token(monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str) -> None:
    if "No secret" not in words:
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
    refused = run("token", *arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert words in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_token_for_the_demo_where_only_that_is_there(directory: Path) -> None:
    dev_secret(directory / "madang-data" / "demo")
    shown = run("token", "alice")
    assert shown.exit_code == 0
    assert shown.stderr == "Signed with the secret of the demo in madang-data/demo/.\n"
    verifier = token_verifier(load(dev=True, data_dir=Path("madang-data/demo")))
    assert verifier.verify(shown.stdout.strip(), SystemClock().now()).user_id == "alice"
    dev_secret(directory / "madang-data")
    own = run("token", "alice")
    assert own.stderr == ""
    verifier = token_verifier(load(dev=True))
    assert verifier.verify(own.stdout.strip(), SystemClock().now()).user_id == "alice"


# --- settings -----------------------------------------------------------------------------------


def test_settings_show_value_and_source(monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    monkeypatch.setenv("MADANG_PORT", "9001")
    monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
    (directory / ".env").write_text("CORS_ORIGINS=https://[b]a.kr\n")
    monkeypatch.setenv("MADANG_PROT", "1")
    shown = run("settings")
    rows = {line.split()[0]: line.split() for line in shown.stdout.splitlines()}
    assert rows["port"] == ["port", "9001", "environment:", "MADANG_PORT"]
    assert rows["cors_origins"][1:] == ["https://[b]a.kr", ".env:", "CORS_ORIGINS"]
    assert rows["host"] == ["host", "127.0.0.1", "default"]
    assert SECRET not in shown.output
    assert "MADANG_PROT is set, and no setting has that name." in shown.stderr


def test_settings_as_a_page() -> None:
    assert run("settings", "--markdown").stdout.startswith("# Settings\n")


@pytest.mark.parametrize("command", ["serve", "settings", "token alice", "tail", "db current"])
def test_a_bad_setting_is_one_sentence(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("MADANG_PORT", "many")
    refused = run(*command.split())
    assert refused.exit_code == 2
    assert refused.stderr.startswith("MADANG_PORT (environment) is 'many': ")
    assert len(refused.stderr.splitlines()) == 1


# --- serve, before it serves --------------------------------------------------------------------


def test_each_wrong_setting_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MADANG_DEV", "perhaps")
    refused = run("serve", "--port", "abc", "--log-level", "loud", "--workers", "0")
    assert refused.exit_code == 2
    assert sorted(refused.stderr.splitlines()) == [
        "--log-level is 'loud': one of debug, info, warning or error.",
        "--port is 'abc': a whole number from 0 to 65535.",
        "--workers is '0': a whole number from 1 to 64.",
        "MADANG_DEV (environment) is 'perhaps': true or false.",
    ]


@pytest.mark.parametrize(
    ("host", "words"),
    [("999.1.1.1", "'999.1.1.1' is no address of this machine"), ("192.0.2.1", "'192.0.2.1'")],
)
def test_an_address_that_is_not_this_machines(directory: Path, host: str, words: str) -> None:
    refused = run("serve", "--dev", "--host", host, "--port", "0")
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert list(directory.iterdir()) == [], "nothing was made"


def test_a_port_that_is_taken_is_found_before_anything_is_made(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run("serve", "--dev", "--port", port)
    assert refused.exit_code == 2
    (sentence,) = refused.stderr.splitlines()
    assert sentence.startswith(f"Port {port} of 127.0.0.1 is taken")
    assert "--port" in sentence
    assert list(directory.iterdir()) == [], "nothing was made"


@pytest.mark.parametrize("dev", [[], ["--dev"]])
def test_a_directory_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch, dev: list[str]) -> None:
    if not dev:
        monkeypatch.setenv("JWT_SECRET_KEY", SECRET)
    refused = run("serve", *dev, "--port", "0", "--data-dir", "/proc/x")
    assert refused.exit_code == 2
    (sentence,) = refused.stderr.splitlines()
    assert sentence.startswith("/proc/x")


def test_serve_refuses_to_start_without_a_key(directory: Path) -> None:
    refused = run("serve")
    assert refused.exit_code == 2
    assert "MADANG_JWT_SECRET_KEY" in refused.stderr
    assert "--dev" in refused.stderr
    assert list(directory.iterdir()) == [], "nothing was made"


# --- db -----------------------------------------------------------------------------------------


def test_database_from_nothing_to_a_new_epoch(directory: Path) -> None:
    newest = migrate.newest()
    assert run("db", "current").stdout == (
        f"No database yet at madang-data/madang.sqlite3; this version makes schema {newest}.\n"
    )
    assert list(directory.iterdir()) == [], "to look is not to make"
    refused = run("db", "new-epoch")
    assert refused.exit_code == 2
    assert "madang db upgrade" in refused.stderr
    assert run("db", "upgrade").stdout.startswith("Now at schema ")
    assert (directory / "madang-data" / "madang.sqlite3").exists()
    assert run("db", "upgrade").stdout.startswith("Already at schema ")
    assert run("db", "current").stdout == f"database {newest}, this version {newest}\n"
    first, second = run("db", "new-epoch").stdout, run("db", "new-epoch").stdout
    assert first.startswith("The log's epoch is now ")
    assert "load afresh" in first
    assert first != second


def test_a_database_may_be_a_plain_path(directory: Path) -> None:
    assert run("db", "upgrade", "--database", "mine.sqlite3").exit_code == 0
    assert (directory / "mine.sqlite3").exists()


@pytest.mark.parametrize(
    "command", ["serve --dev --port 0", "db upgrade", "db current", "db new-epoch"]
)
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("mysql://madang:tiger@db.example/madang", "'mysql'"),
        ("sqlite:////proc/nowhere/madang.sqlite3", "/proc/nowhere"),
        ("sqlite:///text.sqlite3", "not a database"),
    ],
)
def test_a_database_that_cannot_be_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch, command: str, address: str, words: str
) -> None:
    (directory / "text.sqlite3").write_text("a letter, and no database at all" * 40)
    monkeypatch.setenv("DATABASE_URL", address)
    refused = run(*command.split())
    assert refused.exit_code == 2
    assert words in refused.stderr
    assert "tiger" not in refused.output
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["upgrade", "current", "new-epoch"])
def test_a_postgresql_that_is_not_there(command: str) -> None:
    refused = run("db", command, "--database", "postgresql://madang:tiger@127.0.0.1:1/madang")
    assert refused.exit_code == 2
    assert "127.0.0.1:1 cannot be reached" in refused.stderr
    assert "tiger" not in refused.output
    assert len(refused.stderr.splitlines()) == 1


def test_postgresql_from_nothing_to_a_new_epoch(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres.empty_database()
    owner = postgres.url(OWNER, database)
    monkeypatch.setenv("MADANG_DATABASE_APP_PASSWORD", "moonlight")
    assert "without a schema" in run("db", "current", "--database", owner).stdout
    assert "madang db upgrade" in run("db", "new-epoch", "--database", owner).stderr
    assert run("db", "upgrade", "--database", owner).stdout.startswith("Now at schema ")
    assert run("db", "upgrade", "--database", owner).stdout.startswith("Already at schema ")
    # The role that servers log in with may look, and change nothing of the schema or its epoch.
    app = postgres.url("madang_app", database)
    assert "this version" in run("db", "current", "--database", app).stdout
    refused = run("db", "new-epoch", "--database", app)
    assert refused.exit_code == 2
    assert "owns the tables" in refused.stderr
    first, second = (run("db", "new-epoch", "--database", owner).stdout for _ in range(2))
    assert first.startswith("The log's epoch is now ")
    assert first != second
    postgres.drop(owner)


def test_a_bus_that_is_not_there() -> None:
    refused = run("serve", "--dev", "--port", "0", "--bus", "redis://:tiger@127.0.0.1:1")
    assert refused.exit_code == 2
    assert "127.0.0.1:1" in refused.stderr
    assert "tiger" not in refused.output
    assert len(refused.stderr.splitlines()) == 1


# --- bench --------------------------------------------------------------------------------------


def test_bench_needs_a_checkout() -> None:
    refused = run("bench")
    assert refused.exit_code == 2
    assert "make bench" in refused.stderr


def test_bench_runs_the_one_of_the_checkout(directory: Path) -> None:
    (directory / "bench").mkdir()
    (directory / "bench" / "__main__.py").write_text(
        "import sys, pathlib\npathlib.Path('ran').write_text(' '.join(sys.argv[1:]))\nsys.exit(3)\n"
    )
    assert run("bench", "--only", "rooms").exit_code == 3
    assert (directory / "ran").read_text() == "--only rooms"
