"""The tus protocol, request by request, and what people do to it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from madang.services.parts import PART
from tests.conftest import Server
from tests.files.clients import TUS, Unfinished, Uploader, form, not_found, pieces, place, written
from tests.files.conftest import MAX_SIZE
from tests.files.pictures import noise, picture
from tests.surfaces.people import House, problem

VERSION = {"tus-resumable": "1.0.0"}


async def test_what_the_server_can(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.server.url) as anyone:
        answer = await anyone.options(TUS)
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["tus-max-size"] == str(MAX_SIZE)
    extensions = set(answer.headers["tus-extension"].split(","))
    assert extensions >= {
        "creation",
        "creation-with-upload",
        "termination",
        "expiration",
        "checksum",
    }
    assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")


async def test_an_upload_in_pieces(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    content = bytes(ord("a") + n % 26 for n in range(PART + 70_001))
    begun = await ann.begin(conversation, len(content))
    assert begun.status_code == 201
    assert parsedate_to_datetime(begun.headers["upload-expires"])
    url = begun.headers["location"]
    assert url.startswith(f"{TUS}/")
    at = 0
    for size in (1, 65_536, PART - 7, 0, len(content)):
        piece = content[at : at + size]
        answer = await ann.append(url, at, piece)
        assert (answer.status_code, answer.content) == (204, b"")
        at += len(piece)
        assert answer.headers["upload-offset"] == str(at)
        where = await ann.where(url)
        assert where.status_code == 200
        assert where.headers["upload-offset"] == str(at)
        assert where.headers["upload-length"] == str(len(content))
        assert where.headers["cache-control"] == "no-store"
        assert where.headers["upload-metadata"].startswith("conversation_id ")
    assert at == len(content)
    file = f"/api/chat/files/{url.rpartition('/')[2]}"
    assert (await ann.get(file)).content == content


async def test_with_a_message_it_is_sent_when_it_is_there(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), await house.device("bob")
    content = picture("PNG")
    answer = await ann.begin(
        conversation, len(content), content, name="사진.png", filename="", message="", client_id="x"
    )
    assert answer.status_code == 201
    assert answer.headers["upload-offset"] == str(len(content))
    told = (await bob.next("message.new"))["data"]
    assert (told["message_type"], told["content"], told["client_id"]) == ("file", "", "x")
    assert told["attachments"][0]["name"] == "사진.png"
    assert told["attachments"][0]["thumbnail_url"]
    url = answer.headers["location"]
    # Asked again, and again: it is sent once.
    for _ in range(2):
        assert (await ann.where(url)).headers["upload-offset"] == str(len(content))
    assert (await ann.append(url, len(content), b"")).status_code == 204
    problem(await ann.give_up(url), 409, "CONFLICT")
    assert {frame["type"] for frame in await bob.so_far()} <= {"user.online"}


def raw(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """As bytes: a client may send any, whatever this one's library takes."""
    return {name.encode(): value.encode("latin-1") for name, value in headers.items()}


async def test_what_is_wrong_with_a_creation(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")

    async def create(metadata: str | dict[str, str], length: str | None = "10") -> httpx.Response:
        said = metadata if isinstance(metadata, str) else written(metadata)
        headers = {**VERSION, "upload-metadata": said}
        if length is not None:
            headers["upload-length"] = length
        return await ann.http.post(TUS, headers=raw(headers))

    right = {"conversation_id": conversation}
    for metadata, length, status, code in (
        (right, None, 422, "VALIDATION"),
        (right, "-1", 422, "VALIDATION"),
        (right, "1e3", 422, "VALIDATION"),
        (right, "9" * 30, 422, "VALIDATION"),
        (right, "0", 422, "VALIDATION"),
        (right, str(MAX_SIZE + 1), 413, "TOO_LARGE"),
        ({}, "10", 422, "INVALID_ID"),
        ({"conversation_id": "x"}, "10", 422, "INVALID_ID"),
        ({"conversation_id": str(uuid.uuid4())}, "10", 404, "NOT_A_PARTICIPANT"),
        ("conversation_id !!!", "10", 422, "VALIDATION"),
        ("conversation_id é", "10", 422, "VALIDATION"),
        ({**right, "message": "x" * 40_000 + "\0"}, "10", 422, "VALIDATION"),
        ({**right, "reply_to_id": "x"}, "10", 422, "INVALID_ID"),
        ("message /w==", "10", 422, "VALIDATION"),
    ):
        answer = await create(metadata, length)
        problem(answer, status, code)
        assert answer.headers["tus-resumable"] == "1.0.0"
    answer = await ann.http.post(TUS, headers={"upload-length": "10"})
    assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
    assert (await create({"session_id": conversation})).status_code == 201


async def test_what_is_wrong_with_a_request(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 10)
    assert (await ann.append(url, 0, b"abcd")).status_code == 204
    for offset in (0, 3, 5, 10, 11):
        answer = await ann.append(url, offset, b"x")
        problem(answer, 409, "CONFLICT", "Upload-Offset is 4")
    problem(await ann.append(url, 4, b"1234567"), 413, "TOO_LARGE", "More than announced")
    problem(
        await ann.append(url, 4, pieces(b"1234567", 3)), 413, "TOO_LARGE", "More than announced"
    )
    offset = int((await ann.where(url)).headers["upload-offset"])
    assert 4 <= offset <= 10, "as much as came in pieces that did not go beyond its end"
    answer = await ann.http.patch(url, headers={**VERSION, "upload-offset": "4"}, content=b"x")
    assert answer.status_code == 415
    problem(await ann.http.put(url, headers=VERSION), 405, "VALIDATION")
    problem(await ann.http.post(url, headers=VERSION), 405, "VALIDATION")


async def test_others_find_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 10)
    await ann.append(url, 0, b"abcd")
    nowhere = f"{TUS}/{uuid.uuid4()}"
    async with House(house.server) as elsewhere:
        others = [Uploader(house, "bob"), Uploader(house, "eve"), Uploader(elsewhere, "ann")]
        for other, at in [*((other, url) for other in others), (ann, nowhere)]:
            not_found(await other.append(at, 4, b"x"))
            not_found(await other.give_up(at))
            where = await other.where(at)
            assert where.status_code == 404
            assert "upload-offset" not in where.headers
            not_found(await other.get(f"/api/chat/files/{at.rpartition('/')[2]}"))
    assert (await ann.where(url)).headers["upload-offset"] == "4"


async def test_who_leaves_cannot_go_on(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = Uploader(house, "bob")
    url = await bob.begun(conversation, 10)
    await bob.append(url, 0, b"abcd")
    path = f"/conversations/{conversation}/participants/bob"
    assert (await house.rest("ann").delete(path)).is_success
    not_found(await bob.append(url, 4, b"x"))
    assert (await bob.where(url)).status_code == 404


async def test_checksums(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    content = b"x" * (PART + 10)
    url = await ann.begun(conversation, 2 * len(content))

    def digest(algorithm: str, of: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, of).digest()).decode()}"

    for algorithm in ("sha1", "sha256", "md5"):
        answer = await ann.append(url, 0, content, upload_checksum=digest(algorithm, b"other"))
        assert (answer.status_code, answer.text) == (460, "Checksum mismatch")
        assert (await ann.where(url)).headers["upload-offset"] == "0"
    for wrong in ("crc32 AAAA", "sha1", "sha1 ???", ""):
        problem(await ann.append(url, 0, b"x", upload_checksum=wrong), 422, "VALIDATION")
    headers = {
        **VERSION,
        "upload-offset": "0",
        "upload-checksum": "sha1 é",
        "content-type": "application/offset+octet-stream",
    }
    answer = await ann.http.patch(url, headers=raw(headers), content=b"x")
    problem(answer, 422, "VALIDATION")
    answer = await ann.append(url, 0, content, upload_checksum=digest("sha1", content))
    assert answer.headers["upload-offset"] == str(len(content))
    # What is refused harms nothing of what was confirmed in the same part.
    other = b"y" * len(content)
    await ann.append(url, len(content), b"z" * 100, upload_checksum=digest("sha1", b""))
    answer = await ann.append(url, len(content), other, upload_checksum=digest("sha256", other))
    assert answer.status_code == 204
    file = f"/api/chat/files/{url.rpartition('/')[2]}"
    assert (await ann.get(file)).content == content + other


async def test_giving_up(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 10)
    await ann.append(url, 0, b"abcd")
    answer = await ann.give_up(url)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (204, "1.0.0")
    not_found(await ann.append(url, 4, b"x"))
    not_found(await ann.give_up(url))


async def test_what_stands_between_and_knows_only_post(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 4)
    headers = {
        **VERSION,
        "x-http-method-override": "PATCH",
        "upload-offset": "0",
        "content-type": "application/offset+octet-stream",
    }
    answer = await ann.http.post(url, headers=headers, content=b"ab")
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, "2")
    answer = await ann.http.post(url, headers={**VERSION, "x-http-method-override": "HEAD"})
    assert answer.headers["upload-offset"] == "2"
    answer = await ann.http.post(url, headers={**VERSION, "x-http-method-override": "DELETE"})
    assert answer.status_code == 204


async def test_what_is_not_allowed_is_deleted_at_its_end(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    content = b"<svg onload='alert(1)'/>"
    url = await ann.begun(conversation, len(content), filename="a.png")
    assert (await ann.append(url, 0, content[:4])).status_code == 204
    answer = await ann.append(url, 4, content[4:])
    problem(answer, 422, "VALIDATION", "File type not allowed: image/svg+xml")
    assert (await ann.where(url)).status_code == 404


async def test_a_connection_that_nobody_closed_gives_way(house: House) -> None:
    """A telephone that changes its network comes back on another connection."""
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    # All of one user's requests on one node: another one waits for the lease of the first.
    url = await ann.begun(conversation, 100_000)
    headers = {
        **VERSION,
        "upload-offset": "0",
        "content-type": "application/offset+octet-stream",
        "content-length": "100000",
    }
    device = await house.device("ann")
    async with Unfinished(ann, "PATCH", url, headers) as hanging:
        await hanging.send(b"x" * 40_000)
        await device.next("upload.progress", received=40_000)
        where = await ann.where(url)
        assert where.headers["upload-offset"] == "40000"
        assert (await hanging.answer()).status_code == 409
    answer = await ann.append(url, 40_000, b"y" * 60_000)
    assert answer.status_code == 204
    file = f"/api/chat/files/{url.rpartition('/')[2]}"
    assert (await ann.get(file)).content == b"x" * 40_000 + b"y" * 60_000


async def test_two_devices_and_two_nodes_take_turns(house: House) -> None:
    """A node that takes bytes of a file keeps the others from it, until it takes no more."""
    conversation = await house.group("ann")
    laptop, phone = Uploader(house, "ann"), Uploader(house, "ann")
    url = await laptop.begun(conversation, 100)
    headers = {
        **VERSION,
        "upload-offset": "0",
        "content-type": "application/offset+octet-stream",
        "content-length": "100",
    }
    device = await house.device("ann")
    async with Unfinished(laptop, "PATCH", url, headers) as hanging:
        await hanging.send(b"x" * 40)
        await device.next("upload.progress", received=40)
        answer = await phone.append(url, 40, b"y" * 60)
        if answer.status_code != 204:
            problem(answer, 409, "CONFLICT", "Somebody else uploads the same file")
            assert (await hanging.answer()).status_code == 503
            assert (await phone.append(url, 40, b"y" * 60)).status_code == 204
        else:
            assert (await hanging.answer()).status_code == 409
    file = f"/api/chat/files/{url.rpartition('/')[2]}"
    assert (await phone.get(file)).content == b"x" * 40 + b"y" * 60


async def test_what_came_before_a_stall_is_kept(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 100)
    headers = {
        **VERSION,
        "upload-offset": "0",
        "content-type": "application/offset+octet-stream",
        "content-length": "100",
    }
    async with Unfinished(ann, "PATCH", url, headers) as stalling:
        await stalling.send(b"x" * 60)
        problem(await stalling.answer(), 503, "UNAVAILABLE", "The upload stalled")
    assert (await ann.where(url)).headers["upload-offset"] == "60"


async def test_two_at_once_never_mix(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    url = await ann.begun(conversation, 300_000)
    bodies = [bytes([ord("a") + n]) * 300_000 for n in range(6)]
    answers = await asyncio.gather(*(ann.append(url, 0, pieces(body)) for body in bodies))
    assert {answer.status_code for answer in answers} <= {204, 409}
    where = await ann.where(url)
    if int(where.headers["upload-offset"]) < 300_000:
        at = int(where.headers["upload-offset"])
        assert (await ann.append(url, at, b"z" * (300_000 - at))).status_code == 204
    file = f"/api/chat/files/{url.rpartition('/')[2]}"
    content = (await ann.get(file)).content
    assert len(content) == 300_000
    kept = content.rstrip(b"z")
    assert len(set(kept)) <= 1, "one sender's bytes, and those of who went on"


async def test_many_unsent_files_of_one_user_are_refused(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(rate_limit_enabled="false")
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        urls = [await ann.begun(conversation, 10) for _ in range(200)]
        answer = await ann.begin(conversation, 10)
        problem(answer, 409, "CONFLICT", "Too many files that were never sent")
        await ann.give_up(urls[0])
        # Its place is free when its bytes are gone.
        async with asyncio.timeout(20):
            while not (await ann.begin(conversation, 10)).is_success:
                pass


async def test_giving_up_what_is_being_sent(house: House) -> None:
    """It is sent, or it is given up; and the answer says which."""
    conversation = await house.group("ann")
    ann, device = Uploader(house, "ann"), await house.device("ann")
    content = noise((1200, 1200), "PNG")
    url = await ann.begun(conversation, len(content), filename="a.png", message="look")
    sending = asyncio.create_task(ann.append(url, 0, content))
    await device.next("upload.progress", state="processing")
    problem(await ann.give_up(url), 409, "CONFLICT")
    assert (await sending).status_code == 204
    told = await device.next("message.new")
    assert (await ann.get(told["data"]["attachments"][0])).content == content
    problem(await ann.give_up(url), 409, "CONFLICT", "File was sent already: delete its message")


async def test_a_form_that_is_still_coming(house: House) -> None:
    """Who looks at it does not cut it off, and nobody else goes on with it."""
    conversation = await house.group("ann")
    ann, device = Uploader(house, "ann"), await house.device("ann")
    headers, body = form("a.txt", b"x" * 100_000)
    headers |= {"content-length": str(len(body))}
    async with Unfinished(ann, "POST", place(conversation), headers) as request:
        await request.send(body[:50_000])
        url = f"{TUS}/{(await device.next('upload.progress'))['file_id']}"
        where = await ann.where(url)
        assert where.status_code == 200
        assert where.headers["upload-defer-length"] == "1"
        assert "upload-length" not in where.headers
        offset = int(where.headers["upload-offset"])
        answer = await ann.append(url, offset, b"y")
        problem(answer, 409, "CONFLICT", "Not an upload of this kind")
        await request.send(body[50_000:])
        told = await request.answer()
    assert told.status_code == 201
    assert (await ann.get(told.json())).content == b"x" * 100_000
    where = await ann.where(url)
    assert where.headers["upload-length"] == where.headers["upload-offset"] == "100000"


async def test_giving_up_a_form_that_is_still_coming(house: House) -> None:
    conversation = await house.group("ann")
    ann, device = Uploader(house, "ann"), await house.device("ann")
    headers, body = form("a.txt", b"x" * 100_000)
    headers |= {"content-length": str(len(body))}
    async with Unfinished(ann, "POST", place(conversation), headers) as request:
        await request.send(body[:50_000])
        url = f"{TUS}/{(await device.next('upload.progress'))['file_id']}"
        assert (await ann.give_up(url)).status_code == 204
        assert (await request.answer()).status_code in (404, 409)
    assert (await ann.where(url)).status_code == 404


@pytest.mark.parametrize("origins", ["https://app.example", "*"])
async def test_pages_of_other_origins(make_server: Callable[..., Server], origins: str) -> None:
    server = make_server(cors_origins=origins)
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        asked: dict[str, Any] = {
            "origin": "https://app.example",
            "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization,tus-resumable,upload-offset",
        }
        answer = await ann.http.options(TUS, headers=asked)
        assert answer.status_code == 200
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        begun = await ann.http.post(
            TUS,
            headers={
                **VERSION,
                "origin": "https://app.example",
                "upload-length": "10",
                "upload-metadata": written({"conversation_id": conversation}),
            },
        )
        exposed = begun.headers["access-control-expose-headers"].lower()
        assert {"location", "upload-offset", "tus-resumable"} <= set(exposed.split(", "))
