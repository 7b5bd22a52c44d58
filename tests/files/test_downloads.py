"""Getting files: whole, in part, or not at all; and never as something that a browser would run."""

from __future__ import annotations

import asyncio
import contextlib
import email
import uuid
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from madang.services.parts import PART
from tests.conftest import Server
from tests.files.clients import Uploader, not_found
from tests.files.conftest import MAX_SIZE
from tests.files.pictures import picture
from tests.surfaces.people import SERVERS, Frame, House, problem

SIZE = 2 * PART + 1000
CONTENT = bytes(ord("a") + number % 26 for number in range(1300)) * (SIZE // 1300 + 1)
CONTENT = CONTENT[:SIZE]


async def shared(
    house: House, content: bytes = CONTENT, name: str = "a.txt"
) -> tuple[Uploader, Uploader, Frame, str]:
    """Ann and Bob, a file that Ann has sent, and where."""
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    return ann, bob, await ann.sent(conversation, name, content), conversation


async def test_headers_that_keep_it_from_being_run(house: House) -> None:
    for name, content, kind in (
        ("a.txt", b"text", "application/octet-stream"),
        ("a.pdf", b"%PDF-1.7\n", "application/octet-stream"),
        ("a.json", b"{}", "application/octet-stream"),
        ("a.bmp", picture("BMP"), "application/octet-stream"),
        ("a.png", picture("PNG"), "image/png"),
        ("a.jpg", picture("JPEG"), "image/jpeg"),
        ("a.gif", picture("GIF"), "image/gif"),
        ("a.webp", picture("WEBP"), "image/webp"),
    ):
        _, bob, file, _ = await shared(house, content, name)
        answer = await bob.get(file)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["cache-control"] == "private, no-cache"
        if file["thumbnail_url"]:
            small = await bob.get(file["thumbnail_url"])
            assert small.headers["content-type"] == "image/webp"
            assert small.headers["x-content-type-options"] == "nosniff"
            assert small.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_parts_of_it(house: House) -> None:
    _, bob, file, _ = await shared(house)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 100),
        (f"bytes={PART - 5}-{PART + 5}", PART - 5, PART + 6),
        (f"bytes={2 * PART}-", 2 * PART, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=5-{SIZE * 2}", 5, SIZE),
        ("bytes=0-0,99999999999-", 0, 1),
    ):
        answer = await bob.get(file, range=asked)
        assert answer.status_code == 206, asked
        assert answer.content == CONTENT[start:end]
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"
    for asked in ("bytes=5-2", "pages=1-2", "bytes=x", "bytes=0-,0-"):
        answer = await bob.get(file, range=asked)
        assert (answer.status_code, answer.content) == (200, CONTENT), asked
    for asked in (f"bytes={SIZE}-", "bytes=-0"):
        answer = await bob.get(file, range=asked)
        problem(answer, 416, "VALIDATION")
        assert answer.headers["content-range"] == f"bytes */{SIZE}"


async def test_several_parts_of_it(house: House) -> None:
    _, bob, file, _ = await shared(house)
    answer = await bob.get(file, range=f"bytes=0-9,{PART - 1}-{PART},-3")
    assert answer.status_code == 206
    assert int(answer.headers["content-length"]) == len(answer.content)
    head = f"content-type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content)
    found = [
        (part["content-range"], part["content-type"], part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]
    binary = "application/octet-stream"
    assert found == [
        (f"bytes 0-9/{SIZE}", binary, CONTENT[:10]),
        (f"bytes {PART - 1}-{PART}/{SIZE}", binary, CONTENT[PART - 1 : PART + 1]),
        (f"bytes {SIZE - 3}-{SIZE - 1}/{SIZE}", binary, CONTENT[-3:]),
    ]


async def test_what_the_client_has_already(house: House) -> None:
    _, bob, file, _ = await shared(house, picture("PNG"), "a.png")
    for url in (file["file_url"], file["thumbnail_url"]):
        first = await bob.get(url)
        tag, modified = first.headers["etag"], first.headers["last-modified"]
        for condition in ({"if_none_match": tag}, {"if_modified_since": modified}):
            again = await bob.get(url, **condition)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
        assert (await bob.get(url, if_none_match='"other"')).status_code == 200
        assert (await bob.get(url, if_match='"other"')).status_code == 412
    part = await bob.get(file, range="bytes=0-3", if_range=(await bob.get(file)).headers["etag"])
    assert part.status_code == 206
    whole = await bob.get(file, range="bytes=0-3", if_range='"other"')
    assert whole.status_code == 200


async def test_asking_without_getting(house: House) -> None:
    _, bob, file, _ = await shared(house)
    answer = await bob.http.head(file["file_url"], headers={"range": "bytes=0-3"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["accept-ranges"] == "bytes"


async def test_parts_of_a_thumbnail(house: House) -> None:
    """As of the picture itself."""
    _, bob, file, _ = await shared(house, picture("PNG"), "a.png")
    url = file["thumbnail_url"]
    whole = await bob.get(url)
    size, tag = len(whole.content), whole.headers["etag"]
    assert (whole.status_code, whole.headers["accept-ranges"]) == (200, "bytes")
    assert tag != (await bob.get(file)).headers["etag"]
    for asked, start, end in (("bytes=0-3", 0, 4), ("bytes=5-", 5, size), ("bytes=-7", -7, size)):
        answer = await bob.get(url, range=asked, if_range=tag)
        assert (answer.status_code, answer.content) == (206, whole.content[start:end])
        assert answer.headers["content-range"] == f"bytes {start % size}-{end - 1}/{size}"
        assert (answer.headers["etag"], answer.headers["content-type"]) == (tag, "image/webp")
    several = await bob.get(url, range="bytes=0-3,-7")
    assert several.status_code == 206
    assert whole.content[:4] in several.content and whole.content[-7:] in several.content
    problem(await bob.get(url, range=f"bytes={size}-"), 416, "VALIDATION")
    other = await bob.get(url, range="bytes=0-3", if_range=(await bob.get(file)).headers["etag"])
    assert (other.status_code, other.content) == (200, whole.content)
    head = await bob.http.head(url, headers={"range": "bytes=0-3"})
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == size
    assert head.headers["etag"] == tag


async def test_others_find_nothing(house: House) -> None:
    _, _, file, conversation = await shared(house, picture("PNG"), "a.png")
    eve = Uploader(house, "eve")
    nothing = f"/api/chat/files/{uuid.uuid4()}"
    for url in (file["file_url"], file["thumbnail_url"], nothing, f"{nothing}/thumb"):
        not_found(await eve.get(url))
        answer = await eve.get(url, if_none_match="*", range="bytes=0-0")
        not_found(answer)
    async with House(house.server) as elsewhere:
        for user in ("ann", "bob"):
            not_found(await Uploader(elsewhere, user).get(file))
    admin = Uploader(house, "root", roles=["admin"])
    not_found(await admin.get(file))
    async with httpx.AsyncClient(base_url=house.server.url) as nobody:
        problem(await nobody.get(file["file_url"]), 401, "UNAUTHORIZED")
    problem(await eve.get("/api/chat/files/not-an-id"), 422, "INVALID_ID")
    # Who comes later sees what was there before them, as with messages.
    await house.rest("ann").post(
        f"/conversations/{conversation}/participants", {"user_ids": ["eve"]}
    )
    assert (await eve.get(file)).status_code == 200


async def test_a_token_in_the_address_is_enough_for_a_page(house: House) -> None:
    _, _, file, _ = await shared(house, picture("PNG"), "a.png")
    async with httpx.AsyncClient(base_url=house.server.url) as page:
        answer = await page.get(f"{file['thumbnail_url']}?token={house.token('bob')}")
    assert answer.status_code == 200


async def test_access_ends_with_leaving(house: House) -> None:
    _, bob, file, conversation = await shared(house, picture("PNG"), "a.png")
    tag = (await bob.get(file)).headers["etag"]
    assert (
        await house.rest("bob").delete(f"/conversations/{conversation}/participants/bob")
    ).is_success
    not_found(await bob.get(file))
    not_found(await bob.get(file["thumbnail_url"]))
    not_found(await bob.get(file, if_none_match=tag))


@pytest.mark.parametrize("how", ["removed", "deleted"])
async def test_access_ends_in_the_middle_of_a_file(house: House, how: str) -> None:
    # More than the sockets in between hold.
    _, bob, file, conversation = await shared(house, b"x" * MAX_SIZE)
    path = f"/conversations/{conversation}/participants/bob"
    if how == "deleted":
        path = f"/messages/{file['message_id']}"
    got = 0
    async with bob.http.stream("GET", file["file_url"]) as answer:
        assert answer.status_code == 200
        received = answer.aiter_raw(16_384)
        got += len(await anext(received))
        assert (await house.rest("ann").delete(path)).is_success
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for piece in received:
                got += len(piece)
    assert 0 < got < MAX_SIZE
    not_found(await bob.get(file))


LARGE = 32 * PART
"""Far more than the sockets in between hold."""


@pytest.fixture(params=[*SERVERS])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Iterable[Server]:
    """A server that nobody else has anything read by, behind either gateway."""
    running = SERVERS[request.param](
        tmp_path / "madang", rate_limit_enabled="false", max_file_size=str(LARGE)
    )
    running.start()
    yield running
    running.stop()


def bytes_read(server: Server) -> int:
    """By the process, until now."""
    assert server.process is not None
    told = Path(f"/proc/{server.process.pid}/io").read_text()
    return int(told.partition("rchar: ")[2].split()[0])


async def test_who_hangs_up_is_not_read_for(alone: Server) -> None:
    async with House(alone) as house:
        _, bob, file, _ = await shared(house, b"x" * LARGE)
        before = bytes_read(alone)
        async with bob.http.stream("GET", file["file_url"]) as answer:
            await anext(answer.aiter_raw(1024))
        # Who gets all of it is slower than reading it is: by then, all would have been read twice.
        assert len((await bob.get(file)).content) == LARGE
        assert LARGE <= bytes_read(alone) - before < 1.5 * LARGE


async def test_many_at_once(house: House) -> None:
    ann, bob, file, _ = await shared(house)
    answers = await asyncio.gather(*(who.get(file) for who in (ann, bob) * 10))
    assert all(answer.content == CONTENT for answer in answers)
