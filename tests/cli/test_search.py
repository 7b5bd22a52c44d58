"""`madang search`: beside a running server, and without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from madang.cli import app
from madang.store import migrate
from tests.conftest import Server

BASE = "/api/v1/messenger"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.timeout(120)
async def test_status_and_rebuild_beside_a_server(make_server: Callable[..., Server]) -> None:
    server = make_server(rate_limit_enabled="false")
    where = ("--data-dir", str(server.directory))
    async with server.rest("ann") as ann, asyncio.timeout(60):
        body = {"kind": "group", "participant_ids": ["bob"]}
        room = (await ann.post(f"{BASE}/conversations", json=body)).json()["id"]
        for number in range(20):
            path = f"{BASE}/conversations/{room}/messages"
            await ann.post(path, json={"content": f"회의록 {number}"})

        async def found() -> int:
            answer = await ann.get(f"{BASE}/search", params={"q": "회의", "limit": 100})
            return len(answer.json()["results"])

        while await found() < 20:
            pass
        shown = await asyncio.to_thread(run, "search", "status", *where)
        assert shown.exit_code == 0
        assert shown.stdout == "default: index 1 serving, 20 messages, up to date\n"
        made = await asyncio.to_thread(run, "search", "rebuild", *where)
        assert made.exit_code == 0, made.output
        assert made.stdout.startswith("default: made anew of 21 events in ")
        assert await found() == 20
        await ann.post(path, json={"content": "회의록 later"})
        while await found() < 21:
            pass
        shown = await asyncio.to_thread(run, "search", "status", *where, "--org", "default")
        assert shown.stdout == "default: index 2 serving, 21 messages, up to date\n"
        assert (await asyncio.to_thread(run, "search", "status", *where, "--org", "x")).stdout == ""


def test_without_a_database(tmp_path: Path) -> None:
    for command in ("status", "rebuild"):
        shown = run("search", command, "--data-dir", str(tmp_path))
        assert shown.exit_code == 2
        assert "No database yet" in shown.output


def test_the_demos_where_only_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, demo = Path("madang-data"), Path("madang-data/demo")
    demo.mkdir(parents=True)
    told = "The database of the demo in madang-data/demo/.\n"
    migrate.upgrade(f"sqlite:///{demo / 'madang.sqlite3'}")
    for command in ("status", "rebuild"):
        shown = run("search", command)
        assert (shown.exit_code, shown.stdout, shown.stderr) == (0, "", told)
    # Not where one was named, on the command line or in the environment.
    missing = run("search", "status", "--data-dir", str(usual))
    assert missing.exit_code == 2 and "No database yet" in missing.stderr
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{usual / 'other.sqlite3'}")
    missing = run("search", "status")
    assert missing.exit_code == 2 and "other.sqlite3" in missing.stderr
    monkeypatch.delenv("DATABASE_URL")
    # Nor where the usual one is there.
    migrate.upgrade(f"sqlite:///{usual / 'madang.sqlite3'}")
    assert run("search", "status").stderr == ""


def test_an_empty_log_and_a_strange_address(tmp_path: Path) -> None:
    migrate.upgrade(f"sqlite:///{tmp_path / 'madang.sqlite3'}")
    assert run("search", "status", "--data-dir", str(tmp_path)).stdout == ""
    shown = run("search", "status", "--database", "nowhere://x")
    assert shown.exit_code == 2
    assert "Traceback" not in shown.output
