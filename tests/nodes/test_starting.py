"""Several nodes that start: together on one port, or not at all where they would not fit."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from madang.services.trust import fingerprint, token_verifier
from madang.settings import Settings
from tests.conftest import SECRET, Server, eventually
from tests.nodes.reading import Reading
from tests.phone import Frame, calling
from tests.postgres import Postgres
from tests.valkey import Valkey

WORKERS = 2


class WorkersServer(Server):
    """`madang serve --workers 2`."""

    def command(self) -> list[str]:
        return [*super().command(), "--workers", str(WORKERS)]


@pytest.fixture
def shared(tmp_path: Path, postgres: Postgres, valkey_session: Valkey) -> dict[str, str]:
    """Settings of nodes that belong together, and to this test alone."""
    return {
        "database_url": postgres.fresh_database()[1],
        "redis_url": valkey_session.url,
        "redis_prefix": f"{tmp_path.name}:",
    }


@pytest.fixture
def workers(tmp_path: Path, shared: dict[str, str]) -> Iterator[WorkersServer]:
    server = WorkersServer(tmp_path / "workers", dev=False, **shared)
    server.start()
    yield server
    server.stop()


def refused(*arguments: str, directory: Path, **settings: str) -> str:
    """What a start says that is refused."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MADANG_") and not name.endswith("_URL")
    }
    named = {f"MADANG_{name.upper()}": value for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "madang", "serve", "--port", "0", *arguments],
        env={**environment, "MADANG_JWT_SECRET_KEY": SECRET, **named},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (sentence,) = done.stderr.strip().splitlines()
    assert sentence.endswith(".")
    return sentence


# --- workers ------------------------------------------------------------------------------------


async def nodes_that_answer(server: Server) -> set[str]:
    """The workers, each asked over connections of its own until all have answered."""
    found: set[str] = set()
    async with asyncio.timeout(20):
        while len(found) < WORKERS:
            async with httpx.AsyncClient() as http:
                answer = await http.get(f"{server.url}/metrics")
            found |= {str(node) for node in Reading.of(answer.text).nodes()}
    return found


def says(text: str) -> Callable[[Frame], bool]:
    """Whether a frame tells of a message of this text."""
    return lambda frame: frame["type"] == "message.new" and frame["data"]["content"] == text


async def test_workers_share_a_port_and_their_people_notice_nothing(
    workers: WorkersServer,
) -> None:
    names = await nodes_that_answer(workers)
    assert names == {f"{socket.gethostname()}:{workers.port}/{place}" for place in range(WORKERS)}
    async with workers.rest("ann") as rest:
        body = {"kind": "group", "participant_ids": ["bob"]}
        made = await rest.post("/api/v1/messenger/conversations", json=body)
        room = made.json()["id"]
        # The kernel chooses who is on which: with eight, all on one is one case in 128.
        for number in range(8):
            async with calling(workers.ws, workers.token("bob")) as bob:
                hello = await bob.until("system")
                await bob.send("resume", cursor=hello["cursor"])
                await bob.until("resumed")
                path = f"/api/v1/messenger/conversations/{room}/messages"
                assert (await rest.post(path, json={"content": f"n{number}"})).status_code == 201
                # What the last one was told may come again: another node has not heard of it yet.
                await bob.until(says(f"n{number}"))
    assert await asyncio.to_thread(workers.terminate) == 0
    assert "Traceback" not in workers.log


def begun(server: Server) -> list[int]:
    """The process ids of all workers there ever were."""
    return [int(number) for number in re.findall(r"is process (\d+)\.", server.log)]


async def test_a_worker_that_dies_has_a_successor(workers: WorkersServer) -> None:
    await nodes_that_answer(workers)
    first = begun(workers)
    assert len(first) == WORKERS
    os.kill(first[0], signal.SIGKILL)
    await eventually(lambda: len(begun(workers)) > WORKERS, 20)
    assert len(await nodes_that_answer(workers)) == WORKERS
    assert "another begins" in workers.log
    assert await asyncio.to_thread(workers.terminate) == 0


def test_workers_need_what_they_share(tmp_path: Path) -> None:
    said = refused("--workers", "2", directory=tmp_path)
    assert "PostgreSQL" in said and "--workers" in said
    said = refused("--workers", "2", directory=tmp_path, database_url="postgresql://x@127.0.0.1/x")
    assert "--bus redis://" in said


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path, shared: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused("--workers", "2", "--port", port, directory=tmp_path, **shared)
    assert port in said


# --- what a node needs --------------------------------------------------------------------------


def test_a_bus_that_is_not_there(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        said = refused("--bus", f"redis://:secret@{address}", directory=tmp_path)
    assert address in said and "secret" not in said


def test_another_secret_than_the_nodes_that_run(tmp_path: Path, shared: dict[str, str]) -> None:
    running = Server(tmp_path / "first", dev=False, **shared)
    running.start()
    try:
        other = {**shared, "jwt_secret_key": "another secret, just as long as the first one"}
        said = refused(directory=tmp_path, **other)
        assert "JWT_SECRET_KEY" in said and "same" in said
        assert other["jwt_secret_key"] not in said

        same = Server(tmp_path / "second", dev=False, **shared)
        same.start()
        assert same.terminate() == 0
    finally:
        running.stop()


def test_a_fingerprint_tells_believers_of_different_tokens_apart(tmp_path: Path) -> None:
    def of(**settings: object) -> str:
        made = Settings(**{"data_dir": tmp_path, "jwt_secret_key": SECRET, **settings})  # type: ignore[arg-type]
        return fingerprint(token_verifier(made), made)

    others = [
        of(jwt_secret_key=SECRET + "!"),
        of(jwt_audience="town"),
        of(jwt_issuer="town"),
        of(jwt_algorithm=("HS256",)),
        of(jwks_url="https://issuer.example/keys"),
    ]
    assert of() == of(port=1234)
    assert len({of(), *others}) == 1 + len(others)
    assert SECRET not in of()
