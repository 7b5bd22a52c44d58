"""A disk without room and a file that became read-only: writes are refused with `UNAVAILABLE`,
reading goes on, nothing acknowledged is lost, and all is well again when the disk is."""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server
from tests.faults.checker import History, Listed, problems
from tests.faults.test_kill import history_of, listed
from tests.phone import Frame, Phone, calling
from tests.postgres import QUICK, Postgres

ROOM_FOR_MORE = 256 * 1024
"""Bytes the log of SQLite may still grow by when the disk is nearly full."""

TABLE_BYTES = 2 * 1024 * 1024
"""What a table of a full PostgreSQL may have: more than a file of its write-ahead log."""

_WITHOUT_PRIVILEGE = """
import ctypes, os, sys
prctl, drop_from_bounding_set, override_permissions = ctypes.CDLL(None).prctl, 24, 1
assert prctl(drop_from_bounding_set, override_permissions, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


class OrdinaryServer(Server):
    """A server to which the permissions of files mean something, also where root runs it, and
    whose files can be kept from growing."""

    def command(self) -> list[str]:
        command = super().command()
        if os.geteuid() == 0 and sys.platform == "linux":
            return [sys.executable, "-c", _WITHOUT_PRIVILEGE, *command]
        return command

    def fill_the_disk(self) -> None:
        """No file may grow beyond what the write-ahead log is now and a little more."""
        size = max(self.database.stat().st_size, self._wal.stat().st_size)
        self._limit(size + ROOM_FOR_MORE)

    def make_room(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, size: int) -> None:
        assert self.process is not None
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (size, hard))

    @property
    def _wal(self) -> Path:
        return self.database.with_name(self.database.name + "-wal")

    def make_writable(self, writable: bool) -> None:
        self.database.chmod(0o644 if writable else 0o444)


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterable[OrdinaryServer]:
    running = OrdinaryServer(tmp_path / "madang", rate_limit_enabled="false")
    running.start()
    yield running
    running.make_writable(True)
    running.stop()


class Talk:
    """One sender in one room: what was tried, what was acknowledged, and what everybody saw."""

    def __init__(self, server: Server, room: str) -> None:
        self.server = server
        self.room = room
        self.tried: list[str] = []
        self.acks: dict[tuple[str, str], list[tuple[str, int]]] = {}

    async def send(self, phone: Phone, client_id: str | None = None) -> Frame:
        """Send one message of a few kilobytes; the acknowledgement or the error."""
        if client_id is None:
            client_id = f"m{len(self.tried)}"
            self.tried.append(client_id)
        # Nothing that a database could make smaller.
        content = f"{client_id} {random.Random(client_id).randbytes(2000).hex()}"
        fields = {"conversation_id": self.room, "client_id": client_id, "content": content}
        await phone.send("message.send", id=client_id, **fields)
        answer = await phone.until(lambda frame: frame.get("reply_to") == client_id)
        if answer["type"] == "message.sent":
            place = (answer["message_id"], answer["data"]["seq"])
            self.acks.setdefault(("ann", client_id), []).append(place)
        return answer

    async def until_refused(self, phone: Phone) -> Frame:
        """Send until there is no more room: the error."""
        for _ in range(5000):
            answer = await self.send(phone)
            if answer["type"] == "error":
                return answer
        raise AssertionError("nothing was refused")

    async def go_on(self, phone: Phone) -> None:
        """What was refused last goes through, and more."""
        assert (await self.send(phone, self.tried[-1]))["type"] == "message.sent"
        for _ in range(5):
            assert (await self.send(phone))["type"] == "message.sent"

    async def check(self, seen: list[Listed]) -> None:
        """Nothing is lost, doubled or out of order, on the server and at a listener."""
        there = await history_of(self.server, "ann", self.room)
        assert problems(History({"ann": self.tried}, self.acks, there, {"ben": seen})) == []
        assert {("ann", one.client_id) for one in there} == self.acks.keys()


async def a_room(server: Server) -> str:
    async with server.rest("ann") as rest:
        body = {"kind": "group", "participant_ids": ["ben"]}
        made = await rest.post("/api/v1/messenger/conversations", json=body)
        return str(made.json()["id"])


def says_nothing_of_the_disk(answer: Frame) -> None:
    assert answer["type"] == "error"
    assert answer["code"] == "UNAVAILABLE"
    for word in ("disk", "sqlite", "postgres", "file"):
        assert word not in str(answer).lower()


async def reading_goes_on(server: Server, room: str) -> None:
    url = "/api/v1/messenger/conversations"
    async with server.rest("ann") as rest:
        for path in (url, f"{url}/{room}", f"{url}/{room}/messages", "/api/v1/events"):
            assert (await rest.get(path)).status_code == 200


async def refused(server: Server, room: str, answer: Frame) -> None:
    """Every kind of write is refused in words that tell nothing of the disk; reading goes on."""
    says_nothing_of_the_disk(answer)
    async with server.rest("ann") as rest, server.rest("x", roles=["service"]) as backend:
        url = f"/api/v1/messenger/conversations/{room}"
        big = "y" * 8000
        attempts: list[tuple[Any, str, str, dict[str, Any]]] = [
            (rest, "POST", f"{url}/messages", {"content": big}),
            (rest, "PATCH", url, {"title": "T" * 200, "metadata": {"big": big}}),
            (
                backend,
                "POST",
                "/api/v1/events",
                {"type": "t", "payload": big, "conversation_id": room},
            ),
        ]
        for client, method, path, body in attempts:
            failed = await client.request(method, path, json=body)
            assert failed.status_code == 503, failed.text
            assert failed.json()["code"] == "UNAVAILABLE"
    await reading_goes_on(server, room)


def new_messages(phone: Phone) -> list[Listed]:
    return [listed(frame["data"]) for frame in phone.frames if frame["type"] == "message.new"]


async def test_a_full_disk(ordinary: OrdinaryServer) -> None:
    room = await a_room(ordinary)
    talk = Talk(ordinary, room)
    ann_token, ben_token = ordinary.token("ann"), ordinary.token("ben")
    async with calling(ordinary.ws, ben_token) as ben, calling(ordinary.ws, ann_token) as ann:
        hello = await ben.until("system")
        await ben.send("resume", cursor=hello["cursor"])
        for _ in range(20):
            assert (await talk.send(ann))["type"] == "message.sent"
        ordinary.fill_the_disk()
        answer = await talk.until_refused(ann)
        await refused(ordinary, room, answer)
        async with calling(ordinary.ws, ben_token) as late:
            await late.until("system")
            await late.send("resume", cursor=hello["cursor"])
            resumed = await late.until("resumed")
            assert (resumed["recovered"], resumed["events"]) == (True, len(talk.acks))
        ordinary.make_room()
        await talk.go_on(ann)
        await ben.rest()
        await talk.check(new_messages(ben))
        ordinary.kill()
    ordinary.restart()
    await talk.check(new_messages(ben))


@pytest.fixture
def small_postgres() -> Iterable[Postgres]:
    """A PostgreSQL of its own whose write-ahead log is of small files: tables are full first."""
    settings = {**QUICK, "min_wal_size": "2MB"}
    with tempfile.TemporaryDirectory(prefix="madang-postgres-") as directory:
        server = Postgres(Path(directory), settings, ["--wal-segsize=1"])
        server.start()
        yield server
        server.stop()


@pytest.fixture
def on_postgres(tmp_path: Path, small_postgres: Postgres) -> Iterable[Server]:
    _, url = small_postgres.fresh_database()
    running = Server(tmp_path / "madang", rate_limit_enabled="false", database_url=url)
    running.start()
    yield running
    small_postgres.limit_files(None)
    running.stop()


async def test_a_full_postgresql(small_postgres: Postgres, on_postgres: Server) -> None:
    server, room = on_postgres, await a_room(on_postgres)
    talk = Talk(server, room)
    ann_token, ben_token = server.token("ann"), server.token("ben")
    async with calling(server.ws, ben_token) as ben, calling(server.ws, ann_token) as ann:
        hello = await ben.until("system")
        await ben.send("resume", cursor=hello["cursor"])
        for _ in range(20):
            assert (await talk.send(ann))["type"] == "message.sent"
        small_postgres.limit_files(TABLE_BYTES)
        answer = await talk.until_refused(ann)
        says_nothing_of_the_disk(answer)
        await reading_goes_on(server, room)
        small_postgres.limit_files(None)
        await talk.go_on(ann)
        await ben.rest()
        await talk.check(new_messages(ben))
        small_postgres.stop()
        small_postgres.start()
    await talk.check(new_messages(ben))


async def test_a_read_only_database(ordinary: OrdinaryServer) -> None:
    room = await a_room(ordinary)
    talk = Talk(ordinary, room)
    seen: list[Listed] = []
    async with calling(ordinary.ws, ordinary.token("ben")) as ben:
        cursor = (await ben.until("system"))["cursor"]
        async with calling(ordinary.ws, ordinary.token("ann")) as ann:
            for _ in range(20):
                await talk.send(ann)
        # A file that is open stays writable: it has to be opened anew.
        ordinary.kill()
    ordinary.make_writable(False)
    ordinary.restart()
    async with (
        calling(ordinary.ws, ordinary.token("ben")) as ben,
        calling(ordinary.ws, ordinary.token("ann")) as ann,
    ):
        await refused(ordinary, room, await talk.send(ann))
        await ben.until("system")
        await ben.send("resume", cursor=cursor)
        assert (await ben.until("resumed"))["events"] == 20
        ordinary.make_writable(True)
        await talk.go_on(ann)
        await ben.rest()
        seen = new_messages(ben)
        await talk.check(seen)
        ordinary.kill()
    ordinary.restart()
    await talk.check(seen)
