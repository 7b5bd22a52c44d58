"""Nobody keeps the others from uploading: not by many at once, nor by sending next to nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from madang.model.identity import Identity
from madang.model.nouns import File
from madang.protocol.errors import Unavailable
from madang.services.file_types import Allowed
from madang.services.places import HALF_SECONDS, Place
from madang.services.uploads import Bounds, Uploads
from madang.store.writer import GroupWriter
from madang.testing import JumpingClock
from tests.conftest import Server, eventually
from tests.files.clients import Unfinished, Uploader, form, place
from tests.files.test_forms import messages
from tests.files.test_sweeping import Yard
from tests.store.conftest import AnyStore, SteppedClock
from tests.surfaces.people import SERVERS, House, problem

SIZE = 100_000
PATCH = {
    "tus-resumable": "1.0.0",
    "upload-offset": "0",
    "content-type": "application/offset+octet-stream",
    "content-length": str(SIZE),
}
SPEED = 1000


@pytest.fixture(params=[*SERVERS])
def narrow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Server]:
    """A server with three places, two for each user, behind either gateway."""
    running = SERVERS[request.param](
        tmp_path / "madang",
        rate_limit_enabled="false",
        uploads_at_once="3",
        uploads_at_once_per_user="2",
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=[*SERVERS])
def hurried(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Server]:
    """A server that takes two seconds for a request."""
    running = SERVERS[request.param](
        tmp_path / "madang", rate_limit_enabled="false", upload_timeout="2"
    )
    running.start()
    yield running
    running.stop()


async def test_who_has_many_makes_room(narrow: Server) -> None:
    async with House(narrow) as house, AsyncExitStack() as hanging:
        ann, bob, eve = (Uploader(house, user) for user in ("ann", "bob", "eve"))
        device = await house.device("ann")
        conversation = await house.group("ann", "bob", "eve")
        sending: dict[str, Unfinished] = {}
        for _ in range(2):
            url = await ann.begun(conversation, SIZE)
            sending[url] = Unfinished(ann, "PATCH", url, PATCH)
            await hanging.enter_async_context(sending[url])
            await sending[url].send(b"x" * 40_000)
            await device.next("upload.progress", received=40_000)
        headers, body = form("b.txt", b"y" * SIZE)
        headers["content-length"] = str(len(body))
        device = await house.device("bob")
        his = await hanging.enter_async_context(
            Unfinished(bob, "POST", place(conversation), headers)
        )
        await his.send(body[:50_000])
        await device.next("upload.progress", state="uploading")

        refused = await ann.upload(conversation, "a.txt", b"more")
        problem(refused, 429, "RATE_LIMIT", "Too many uploads at once")
        assert (await eve.upload(conversation, "e.txt", b"let me in")).status_code == 201
        ended = {url: asyncio.create_task(request.answer()) for url, request in sending.items()}
        (first,), (other,) = await asyncio.wait(ended.values(), return_when="FIRST_COMPLETED")
        problem(first.result(), 503, "UNAVAILABLE", "Too many uploads at once")
        (cut,) = (url for url, task in ended.items() if task is first)
        (left,) = (url for url, task in ended.items() if task is other)

        # What was stored is there, and it goes on; the others were not harmed.
        assert (await ann.where(cut)).headers["upload-offset"] == "40000"
        assert (await ann.append(cut, 40_000, b"x" * 60_000)).status_code == 204
        await sending[left].send(b"x" * 60_000)
        assert (await other).status_code == 204
        await his.send(body[50_000:])
        assert (await his.answer()).status_code == 201


async def test_nobody_makes_room_for_who_has_as_many(narrow: Server) -> None:
    async with House(narrow) as house, AsyncExitStack() as hanging:
        people = ("ann", "bob", "eve", "dan")
        conversation = await house.group(*people)
        headers, body = form("a.txt", b"x" * SIZE)
        headers["content-length"] = str(len(body))
        sending = []
        for user in people[:3]:
            device = await house.device(user)
            request = Unfinished(Uploader(house, user), "POST", place(conversation), headers)
            sending.append(await hanging.enter_async_context(request))
            await request.send(body[:50_000])
            await device.next("upload.progress", state="uploading")
        answer = await Uploader(house, "dan").upload(conversation, "d.txt", b"x")
        problem(answer, 503, "UNAVAILABLE", "Too many uploads at once")
        for request in sending:
            await request.send(body[50_000:])
            assert (await request.answer()).status_code == 201


async def test_a_request_lasts_only_so_long(hurried: Server) -> None:
    async with House(hurried) as house:
        ann = Uploader(house, "ann")
        conversation = await house.group("ann")
        headers, body = form("a.txt", b"x" * SIZE)
        headers["content-length"] = str(len(body))
        async with Unfinished(ann, "POST", place(conversation), headers) as request:
            await request.send(body[:50_000])
            problem(await request.answer(), 503, "UNAVAILABLE", "The upload took too long")
        assert await messages(house, conversation) == []
        url = await ann.begun(conversation, SIZE)
        async with Unfinished(ann, "PATCH", url, PATCH) as request:
            await request.send(b"x" * 60_000)
            problem(await request.answer(), 503, "UNAVAILABLE", "The upload took too long")
        assert (await ann.where(url)).headers["upload-offset"] == "60000"
        assert (await ann.append(url, 60_000, b"x" * 40_000)).status_code == 204


class Sender:
    """An upload whose bytes come when the test says so."""

    def __init__(self, uploads: Uploads, user: str, conversation: str) -> None:
        self._uploads = uploads
        self._caller = Identity(user, "default", None, None, frozenset(), 2**40)
        self._conversation = conversation
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._taken = 0
        self._put = 0
        self.file: File
        self.receiving: asyncio.Task[File]

    async def open(self) -> Sender:
        begun = await self._uploads.begin(self._caller, self._conversation, "a", SIZE, {})
        self.file = begun

        async def receive() -> File:
            async with self._uploads.alone(begun.id) as turn:
                return await self._uploads.receive(begun, self._content(), turn)

        self.receiving = asyncio.create_task(receive())
        return self

    async def _content(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
            self._taken += 1

    async def send(self, size: int) -> None:
        """And wait until that is taken in."""
        self._chunks.put_nowait(b"x" * size)
        self._put += 1
        await eventually(lambda: self._taken == self._put)

    async def end(self) -> File:
        """That was all."""
        self._chunks.put_nowait(None)
        return await self.receiving


@pytest.fixture
async def yard(store: AnyStore, writer: GroupWriter, clock: SteppedClock, tmp_path: Path) -> Yard:
    yard = Yard(store, writer, clock, tmp_path / "files")
    return await yard.open()


async def test_who_sends_next_to_nothing_makes_room(yard: Yard) -> None:
    clock = JumpingClock(yard.clock.now())
    bounds = Bounds(
        1_000_000, Allowed.of(["*"]), 3600.0, 86_400.0, most_at_once=2, least_speed=SPEED
    )
    uploads = Uploads(
        yard.store, yard.writer, yard.blobs, yard.bus, clock, bounds, lambda progress: None
    )
    conversation = yard.conversation
    quick, slow = [await Sender(uploads, user, conversation).open() for user in ("ann", "bob")]
    for sender in (quick, slow):
        await sender.send(1)
    for _ in range(7):
        clock.jump(HALF_SECONDS / 8)
        await quick.send(5000)
        await slow.send(1)
    early = await Sender(uploads, "bob", conversation).open()
    with pytest.raises(Unavailable, match="Too many uploads at once"):
        await early.receiving
    clock.jump(HALF_SECONDS / 8)
    await quick.send(5000)
    await slow.send(1)
    late = await Sender(uploads, "bob", conversation).open()
    with pytest.raises(Unavailable, match="The upload stalled"):
        await slow.receiving
    caller = Identity("bob", "default", None, None, frozenset(), 2**40)
    assert (await uploads.own(caller, slow.file.id)).received == 9
    for sender, left in ((late, SIZE), (quick, SIZE - 40_001)):
        await sender.send(left)
        assert (await sender.end()).received == SIZE


def test_only_waiting_for_the_sender_counts() -> None:
    """A storage that is slow makes nobody slow; a pause that is over is forgotten."""
    one = Place(("default", "ann"))
    one.waits(0.0)
    one.came(1000, 0.1)
    one.waits(3600.0)
    assert one.speed(3600.1) == pytest.approx((5000.0, 0.2))
    one.came(0, 3700.0)
    one.waits(3700.0)
    one.came(1_000_000, 3720.0)
    assert one.speed(3720.0) == pytest.approx((50_000.0, 20.0))
