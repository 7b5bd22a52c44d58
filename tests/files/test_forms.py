"""Uploading by form: the file becomes a message, once, or nothing is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from madang.services.parts import PART
from tests.conftest import Server
from tests.files.clients import Unfinished, Uploader, form, not_found, pieces, place
from tests.files.conftest import MAX_SIZE
from tests.files.pictures import picture, pixel_bomb
from tests.surfaces.people import House, problem


async def test_a_file_becomes_a_message(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    device = await house.device("bob")
    content = picture("PNG", (800, 600))
    answer = await ann.upload(conversation, "사진 1.png", content, message="보세요")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told.keys() >= {"file_id", "file_url", "thumbnail_url", "message_id", "file_info"}
    assert told["file_info"] == {"name": "사진 1.png", "type": "image/png", "size": len(content)}
    event = await device.next("message.new")
    message = event["data"]
    assert message["id"] == told["message_id"]
    assert (message["message_type"], message["content"]) == ("file", "보세요")
    assert message["attachments"] == [
        {
            "file_id": told["file_id"],
            "name": "사진 1.png",
            "type": "image/png",
            "size": len(content),
            "file_url": told["file_url"],
            "thumbnail_url": told["thumbnail_url"],
        }
    ]
    for person in (ann, bob):
        assert (await person.get(told)).content == content
        small = await person.get(told["thumbnail_url"])
        assert small.headers["content-type"] == "image/webp"


async def test_the_same_way_into_a_conversation_of_the_messenger(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann = Uploader(house, "ann")
    answer = await ann.upload(conversation, "a.txt", "글".encode(), messenger=True)
    assert answer.status_code == 201
    assert answer.json()["thumbnail_url"] is None
    assert (await ann.get(answer.json())).content == "글".encode()


async def test_what_a_library_makes_of_a_form(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    answer = await ann.http.post(
        place(conversation),
        files={"file": ("보고서.pdf", b"%PDF-1.7\n" + bytes(3_000_000), "image/png")},
        data={"message": "first"},
    )
    assert answer.status_code == 201
    assert answer.json()["file_info"] == {
        "name": "보고서.pdf",
        "type": "application/pdf",
        "size": 3_000_009,
    }


async def test_every_size_comes_back_to_the_byte(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    for size in (1, PART - 1, PART, PART + 1, 2 * PART, MAX_SIZE):
        content = (b"abcdefghijklmnopqrstuvwxyz\n" * (size // 27 + 1))[:size]
        told = await ann.sent(conversation, "a.txt", content)
        answer = await ann.get(told)
        assert answer.content == content
        assert int(answer.headers["content-length"]) == size


async def test_one_byte_too_many(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    detail = f"File too large: at most {MAX_SIZE} bytes"
    answer = await ann.upload(conversation, "a.txt", b"x" * (MAX_SIZE + 1))
    problem(answer, 413, "TOO_LARGE", detail)
    headers, body = form("a.txt", b"x" * (MAX_SIZE + 1))
    answer = await ann.http.post(place(conversation), content=pieces(body), headers=headers)
    problem(answer, 413, "TOO_LARGE", detail)
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": "99999999999"}
    async with Unfinished(ann, "POST", place(conversation), headers) as request:
        problem(await request.answer(), 413, "TOO_LARGE", detail)
    assert await messages(house, conversation) == []


async def messages(house: House, conversation: str, user: str = "ann") -> list[dict[str, Any]]:
    answer = await house.rest(user).get(f"/conversations/{conversation}/messages")
    found: list[dict[str, Any]] = answer.json()["messages"]
    return found


async def test_a_repeat_has_one_effect(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann = Uploader(house, "ann")
    first = await ann.sent(conversation, "a.txt", b"first", client_id="one")
    for repeat in (
        ann.upload(conversation, "b.txt", b"second", client_id="one"),
        ann.upload(conversation, "b.txt", b"second", key="one"),
    ):
        again = await repeat
        assert again.status_code == 200
        assert again.json() == first
    both = await asyncio.gather(
        *(ann.upload(conversation, "c.txt", b"third", client_id="two") for _ in range(5))
    )
    assert sorted(answer.status_code for answer in both) == [200] * 4 + [201]
    assert len({answer.json()["file_id"] for answer in both}) == 1
    assert len(await messages(house, conversation)) == 2
    await house.say("ann", conversation, "x", client_id="text")
    answer = await ann.upload(conversation, "d.txt", b"x", client_id="text")
    problem(answer, 409, "CONFLICT", "client_id was used for another message")


async def test_a_reply_with_a_file(house: House) -> None:
    conversation = await house.group("ann")
    parent = await house.say("ann", conversation, "a question")
    ann = Uploader(house, "ann")
    told = await ann.sent(conversation, reply_to_id=parent["id"])
    found = await messages(house, conversation)
    assert [m["reply_to_id"] for m in found if m["id"] == told["message_id"]] == [parent["id"]]
    answer = await ann.upload(conversation, "a.txt", b"x", reply_to_id=str(uuid.uuid4()))
    problem(answer, 404, "NOT_FOUND", "Message not found")


NAMES = [
    ("../../../etc/passwd", "passwd"),
    ("..\\..\\a.txt", "a.txt"),
    ("invoice\u202efdp.exe", "invoicefdp.exe"),
    (unicodedata.normalize("NFD", "회의록.txt"), "회의록.txt"),
    ("👨‍👩‍👧‍👦.txt", "👨‍👩‍👧‍👦.txt"),
    ("a\u0000b\u001b.txt", "ab.txt"),
    ("%22quoted%22.txt", '"quoted".txt'),
    ("", "file"),
    ("\udcb0\udca1.txt", "��.txt"),
    ("x" * 300 + ".txt", "x" * 145 + "….txt"),
]
"""As it is sent, and as it is shown."""


async def test_names_are_for_display(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    for sent, shown in NAMES:
        told = await ann.sent(conversation, sent, b"text")
        assert told["file_info"]["name"] == shown
        answer = await ann.get(told)
        assert answer.content == b"text"
        assert answer.headers["content-disposition"].startswith("attachment; ")


NOT_ALLOWED = [
    ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml"),
    ("a.png", b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
    ("a.txt", b"<!doctype html><script>alert(1)</script>", "text/html"),
    ("a.png", b"MZ\x90\x00\x03\0\0\0" + bytes(500), "application/x-msdownload"),
    ("a.pdf", bytes(range(256)), "application/octet-stream"),
    # Known only when all of it is there, and before the third part of it comes.
    ("a.png", b"MZ\x90\x00" + bytes(PART * 2), "application/x-msdownload"),
]


async def test_what_is_not_allowed(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    for name, content, kind in NOT_ALLOWED:
        answer = await ann.upload(conversation, name, content)
        problem(answer, 422, "VALIDATION", f"File type not allowed: {kind}")
    assert await messages(house, conversation) == []


async def test_a_picture_that_claims_to_be_a_document_is_a_picture(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    told = await ann.sent(conversation, "a.pdf", picture("PNG"))
    assert told["file_info"]["type"] == "image/png"


async def test_a_bad_picture_is_a_file_without_a_thumbnail(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    for content in (pixel_bomb(), picture("PNG")[:200], b"GIF89a" + bytes(50)):
        told = await ann.sent(conversation, "a.png", content)
        assert told["thumbnail_url"] is None
        assert (await ann.get(told)).content == content
        not_found(await ann.get(told["file_url"] + "/thumb"))


async def test_forms_that_are_none(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")

    async def post(body: bytes, kind: str = "multipart/form-data; boundary=boundary") -> Any:
        return await ann.http.post(
            place(conversation), content=body, headers={"content-type": kind}
        )

    def body(name: str | None, content: bytes = b"x", **fields: str) -> bytes:
        return form(name, content, fields)[1]

    not_a_form = "The body is not valid multipart/form-data"
    whole = body("a.txt", message="hi")
    file = b'--boundary\r\nContent-Disposition: form-data; name="file"; filename="b"\r\n\r\nx\r\n'
    cases: list[tuple[bytes, int, str, str]] = [
        (b"", 422, "VALIDATION", not_a_form),
        (b"nothing of the kind" * 100, 422, "VALIDATION", not_a_form),
        (whole[:-20], 422, "VALIDATION", not_a_form),
        (
            whole.replace(b"Content-Disposition", b"Content Disposition"),
            422,
            "VALIDATION",
            not_a_form,
        ),
        (body(None, message="hi"), 422, "VALIDATION", "Missing field: file"),
        (body("a.txt", other="x"), 422, "VALIDATION", "Unknown field: other"),
        (file + whole, 422, "VALIDATION", "Unknown field: file"),
        (body("a.txt", b""), 422, "VALIDATION", "File is empty"),
        (body("a.txt", message="x" * 70_000), 413, "TOO_LARGE", "message: too large"),
        (body("a.txt", message="a\0b"), 422, "VALIDATION", "message: must not contain NUL"),
        (body("a.txt", reply_to_id="x"), 422, "INVALID_ID", "Invalid reply_to_id format"),
    ]
    for content, status, code, detail in cases:
        problem(await post(content), status, code, detail)
    for kind in ("application/json", "multipart/form-data", "text/plain"):
        problem(await post(whole, kind), 422, "VALIDATION", "The body must be multipart/form-data")
    assert await messages(house, conversation) == []


async def test_only_those_who_are_in_it_upload(house: House) -> None:
    conversation = await house.group("ann", "bob")
    eve = Uploader(house, "eve")
    for place_ in (conversation, str(uuid.uuid4())):
        answer = await eve.upload(place_, "a.txt", b"x")
        problem(answer, 404, "NOT_FOUND", "Session not found")
    answer = await eve.upload("not-an-id", "a.txt", b"x")
    problem(answer, 422, "INVALID_ID")
    async with httpx.AsyncClient(base_url=house.server.url) as nobody:
        headers, body = form("a.txt", b"x")
        answer = await nobody.post(place(conversation), content=body, headers=headers)
        problem(answer, 401, "UNAUTHORIZED")
    await house.rest("ann").delete(f"/conversations/{conversation}")
    answer = await Uploader(house, "ann").upload(conversation, "a.txt", b"x")
    problem(answer, 409, "CONFLICT")


async def test_an_upload_that_never_ends_is_cut_off(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    headers, body = form("a.txt", b"x" * 100_000)
    async with Unfinished(ann, "POST", place(conversation), headers) as request:
        await request.send(body[:50_000])
        problem(await request.answer(), 503, "UNAVAILABLE", "The upload stalled")
    async with Unfinished(ann, "POST", place(conversation), headers) as request:
        problem(await request.answer(), 503, "UNAVAILABLE", "The upload stalled")
    assert await messages(house, conversation) == []


async def test_who_is_taken_out_meanwhile_has_uploaded_for_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = Uploader(house, "bob")
    headers, body = form("a.txt", b"x" * (PART + 1000))
    removed = asyncio.Event()

    async def content() -> Any:
        yield body[: PART + 500]
        await removed.wait()
        yield body[PART + 500 :]

    uploading = asyncio.create_task(
        bob.http.post(place(conversation), content=content(), headers=headers)
    )
    path = f"/conversations/{conversation}/participants/bob"
    assert (await house.rest("ann").delete(path)).is_success
    removed.set()
    answer = await uploading
    assert answer.status_code == 404
    assert await messages(house, conversation) == []


async def test_the_uploaders_devices_see_how_far_it_is(house: House) -> None:
    conversation = await house.group("ann", "bob")
    laptop, phone = await house.device("ann"), await house.device("ann")
    bob = await house.device("bob")
    told = await Uploader(house, "ann").sent(conversation, "a.png", picture("PNG"))
    for device in (laptop, phone):
        ready = await device.next("upload.progress", state="ready")
        assert ready == {
            "type": "upload.progress",
            "file_id": told["file_id"],
            "conversation_id": conversation,
            "name": "a.png",
            "received": told["file_info"]["size"],
            "size": told["file_info"]["size"],
            "state": "ready",
        }
        await device.next("message.new")
        states = [frame["state"] for frame in device.waiting if frame["type"] == "upload.progress"]
        assert set(states) <= {"uploading", "processing"}
        assert "processing" in states
    heard = {frame["type"] for frame in await bob.so_far()}
    assert heard - {"user.online"} == {"message.new"}


async def test_at_most_so_many_in_a_minute(make_server: Callable[..., Server]) -> None:
    server = make_server(rate_limit_uploads_per_minute="3")
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        answers = [await ann.upload(conversation, "a.txt", b"x") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        refused = problem(answers[3], 429, "RATE_LIMIT", "Too many uploads")
        assert refused["retry_after"] > 0
        assert (await ann.begin(conversation, 10)).status_code == 429


async def test_other_bodies_are_bounded_as_before(house: House) -> None:
    conversation = await house.group("ann")
    rest = house.rest("ann")
    answer = await rest.post(f"/conversations/{conversation}/messages", {"content": "x" * 2**21})
    problem(answer, 413, "TOO_LARGE", "Request body too large")


async def test_what_is_allowed_is_a_setting(make_server: Callable[..., Server]) -> None:
    server = make_server(allowed_file_types="image/svg+xml, .exe")
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        problem(await ann.upload(conversation, "a.txt", b"x"), 422, "VALIDATION")
        told = await ann.sent(conversation, "a.svg", b"<svg onload='alert(1)'/>")
        answer = await ann.get(told)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")


async def test_files_are_where_the_setting_says(
    make_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = make_server(file_storage_path=str(tmp_path / "elsewhere"))
    async with House(server) as house:
        await Uploader(house, "ann").sent(await house.group("ann"), "a.txt", b"needle")
    found = [path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in found] == [b"needle"]


async def test_who_sends_without_end_is_not_listened_to(server: Server) -> None:
    """Refused at once, and sending on: the answer is there, and then the connection ends."""
    async with House(server) as house:
        ann = Uploader(house, "ann")
        conversation = await house.group("ann")
        headers = {
            "content-type": "multipart/form-data; boundary=x",
            "content-length": "99999999999",
        }
        async with Unfinished(ann, "POST", place(conversation), headers) as request:
            problem(await request.answer(), 413, "TOO_LARGE")
            with pytest.raises(ConnectionError):
                await request.flood(2**30)
        async with Unfinished(ann, "POST", place(conversation), headers) as request:
            problem(await request.answer(), 413, "TOO_LARGE")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(request.drip(), 40)


async def test_at_most_so_many_at_once(server: Server) -> None:
    async with House(server) as house, contextlib.AsyncExitStack() as open_requests:
        ann = Uploader(house, "ann")
        conversation = await house.group("ann")
        device = await house.device("ann")
        headers, body = form("a.txt", b"x" * 100_000)
        for _ in range(16):
            request = Unfinished(ann, "POST", place(conversation), headers)
            await open_requests.enter_async_context(request)
            await request.send(body[:50_000])
            await device.next("upload.progress")
        answer = await ann.upload(conversation, "a.txt", b"x")
        refused = problem(answer, 429, "RATE_LIMIT", "Too many uploads at once")
        assert refused["retry_after"] == 1000
        await house.rest("ann").post(
            f"/conversations/{conversation}/participants", {"user_ids": ["bob"]}
        )
        assert (await Uploader(house, "bob").upload(conversation, "a.txt", b"x")).status_code == 201
