"""The published tus client (`tus-js-client`) against a server that is paused, killed and started
again under it."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from madang.services.parts import PART
from tests.conftest import Server
from tests.files.clients import TUS, Uploader
from tests.files.conftest import SETTINGS, s3_settings
from tests.surfaces.people import Frame, House

MODULES = Path(sys.executable).parent.parent / "node"
PATIENCE = 60.0
CHUNK = 1_500_000
"""Bytes of a request: not a part, and not a fraction of one."""

pytestmark = pytest.mark.timeout(180)


class TusClient:
    """The client as a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.told: list[Frame] = []

    async def until(self, wanted: str) -> Frame:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self._process.stdout.readline()
                assert line, self.told
                found: Frame = json.loads(line)
                self.told.append(found)
                assert "error" not in found, self.told
                if wanted in found:
                    return found

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    def requests(self, method: str) -> list[Frame]:
        return [told for told in self.told if told.get("method") == method]


@asynccontextmanager
async def client(
    house: House, path: Path, conversation: str, **options: Any
) -> AsyncIterator[TusClient]:
    node = shutil.which("node")
    assert node is not None, "the tests of tus need Node"
    assert (MODULES / "node_modules/tus-js-client").exists(), "run `make node` first"
    given = {
        "modules": str(MODULES),
        "endpoint": house.server.url + TUS,
        "token": house.token("ann"),
        "path": str(path),
        "storage": str(path.parent / "tus-urls"),
        "chunkSize": CHUNK,
        "withCreation": False,
        "stops": [],
        "metadata": {"conversation_id": conversation, "filename": path.name, "message": "여기요"},
        **options,
    }
    process = await asyncio.create_subprocess_exec(
        node,
        str(Path(__file__).with_name("tus_client.mjs")),
        json.dumps(given),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield TusClient(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A text of ten megabytes."""
    found = tmp_path / "회의록.txt"
    dice = random.Random(5)
    found.write_text("".join(dice.choices("abcdefghij\n", k=10_000_000)))
    return found


async def arrived(house: House, conversation: str, path: Path, url: str) -> None:
    """It was sent, once, and is what was uploaded."""
    ann = Uploader(house, "ann")
    answer = await house.rest("ann").get(f"/conversations/{conversation}/messages")
    (message,) = answer.json()["messages"]
    assert (message["message_type"], message["content"]) == ("file", "여기요")
    (file,) = message["attachments"]
    assert (file["name"], file["type"]) == ("회의록.txt", "text/plain")
    assert file["file_id"] == url.rpartition("/")[2]
    assert (await ann.get(file)).content == path.read_bytes()


@pytest.mark.parametrize("with_creation", [False, True])
async def test_from_beginning_to_end(house: House, path: Path, with_creation: bool) -> None:
    conversation = await house.group("ann", "bob")
    bob = await house.device("bob")
    async with client(house, path, conversation, withCreation=with_creation) as tus:
        done = await tus.until("done")
    assert len(tus.requests("POST")) == 1
    assert len(tus.requests("PATCH")) == 7 - with_creation
    await arrived(house, conversation, path, done["done"])
    event = await bob.next("message.new")
    assert event["data"]["attachments"][0]["name"] == "회의록.txt"


async def test_paused_and_gone_on_with_by_another_process(house: House, path: Path) -> None:
    conversation = await house.group("ann")
    async with client(house, path, conversation, pauseAfter=4_000_000) as tus:
        paused = await tus.until("paused")
    assert paused["paused"] == 3 * CHUNK
    async with client(house, path, conversation, resume=True) as tus:
        assert (await tus.until("found"))["found"] == 1
        done = await tus.until("done")
    assert tus.requests("POST") == []
    assert tus.requests("PATCH")[0]["offset"] == str(3 * CHUNK)
    await arrived(house, conversation, path, done["done"])


@pytest.mark.parametrize("storage", ["local", "s3"])
async def test_the_server_is_killed_and_comes_back(
    request: pytest.FixtureRequest,
    make_server: Callable[..., Server],
    path: Path,
    storage: str,
) -> None:
    bucket = s3_settings(request.getfixturevalue("seaweed")) if storage == "s3" else {}
    server = make_server(**SETTINGS, **bucket)
    async with House(server) as house:
        conversation = await house.group("ann")
        # Request 0 creates it; of the others, the fourth and the sixth meet no server.
        async with client(house, path, conversation, stops=[4, 6]) as tus:
            for _ in range(2):
                await tus.until("waits")
                server.kill()
                tus.go_on()
                await tus.until("method")
                server.restart()
            done = await tus.until("done")
        assert len(tus.requests("POST")) == 1
        assert tus.requests("HEAD"), "it asked how far it was"
        offsets = [int(told["offset"]) for told in tus.requests("PATCH")]
        assert offsets == sorted(offsets), "it never went back"
        await arrived(house, conversation, path, done["done"])


async def test_the_server_is_killed_in_the_middle_of_a_request(
    make_server: Callable[..., Server], path: Path
) -> None:
    server = make_server(**SETTINGS)
    async with House(server) as house:
        conversation = await house.group("ann")
        device = await house.device("ann")
        async with client(house, path, conversation, chunkSize=10_000_000) as tus:
            await tus.until("method")
            await device.next("upload.progress", state="uploading")
            server.kill()
            server.restart()
            done = await tus.until("done")
        offsets = [int(told["offset"]) for told in tus.requests("PATCH")]
        assert len(offsets) > 1 and offsets[-1] % PART == 0, offsets
        await arrived(house, conversation, path, done["done"])
