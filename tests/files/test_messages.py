"""Files and the messages that they are part of: whose they may be, and that they go together."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, eventually
from tests.files.clients import Uploader, not_found
from tests.files.pictures import picture
from tests.surfaces.people import Frame, House, problem


async def uploaded(who: Uploader, conversation: str, content: bytes = b"text") -> str:
    """The id of a file that is there and not sent."""
    url = await who.begun(conversation, len(content), filename="a.txt")
    answer = await who.append(url, 0, content)
    assert answer.status_code == 204, answer.text
    return url.rpartition("/")[2]


def naming(*file_ids: Any, **said: Any) -> dict[str, Any]:
    return {
        "content": "look",
        "message_type": "file",
        "attachments": [{"file_id": file_id, **said} for file_id in file_ids],
    }


async def test_what_was_uploaded_is_sent_by_its_id(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    device = await house.device("ann")
    one, two = [await uploaded(ann, conversation) for _ in range(2)]
    url = f"/api/chat/files/{one}"
    not_found(await bob.get(url))
    assert (await ann.get(url)).content == b"text"
    lies = {"name": "other.exe", "type": "text/html", "size": 1, "thumbnail_url": "//evil"}
    reply = await device.ask(
        "message.send",
        conversation_id=conversation,
        **naming(one, **lies),
        client_id="one",
    )
    kept = {"file_id": one, "name": "a.txt", "type": "text/plain", "size": 4, "file_url": url}
    assert reply["data"]["attachments"] == [kept]
    again = await device.ask(
        "message.send", conversation_id=conversation, **naming(one), client_id="one"
    )
    assert again["message_id"] == reply["message_id"]
    assert (await bob.get(url)).content == b"text"
    rest = house.rest("ann")
    mixed = naming(two)
    mixed["attachments"].insert(0, {"link": "https://example.org", "note": "free JSON"})
    answer = await rest.post(f"/conversations/{conversation}/messages", mixed)
    assert answer.status_code == 201
    found = answer.json()["attachments"]
    assert found[0] == mixed["attachments"][0]
    assert found[1]["file_id"] == two


async def test_files_that_are_not_ones_own_to_send(house: House) -> None:
    conversation, other = await house.group("ann", "bob"), await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    bobs = await uploaded(bob, conversation)
    elsewhere = await uploaded(ann, other)
    unfinished = (await ann.begun(conversation, 10)).rpartition("/")[2]
    given_up = await uploaded(ann, conversation)
    await ann.give_up(f"/api/chat/files/tus/{given_up}")
    twice = await uploaded(ann, conversation)
    rest = house.rest("ann")
    for file_ids, status, code in (
        ([bobs], 404, "NOT_FOUND"),
        ([elsewhere], 404, "NOT_FOUND"),
        ([str(uuid.uuid4())], 404, "NOT_FOUND"),
        (["not-an-id"], 404, "NOT_FOUND"),
        ([7], 404, "NOT_FOUND"),
        ([None], 404, "NOT_FOUND"),
        ([given_up], 404, "NOT_FOUND"),
        ([unfinished], 409, "CONFLICT"),
        ([twice, twice], 422, "VALIDATION"),
        ([twice, bobs], 404, "NOT_FOUND"),
    ):
        answer = await rest.post(f"/conversations/{conversation}/messages", naming(*file_ids))
        problem(answer, status, code)
    assert (await rest.post(f"/conversations/{conversation}/messages", naming(twice))).is_success


async def test_a_file_may_be_sent_again_and_goes_with_the_last_of_its_messages(
    house: House,
) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    file = await uploaded(ann, conversation)
    rest = house.rest("ann")
    path = f"/conversations/{conversation}/messages"
    answers = await asyncio.gather(*(rest.post(path, naming(file)) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [201] * 4
    # It is only ann's to send, and only here.
    problem(await house.rest("bob").post(path, naming(file)), 404, "NOT_FOUND")
    url = f"/api/chat/files/{file}"
    first, *others = [answer.json()["id"] for answer in answers]
    for message in (first, first, *others[:-1]):
        assert (await rest.delete(f"/messages/{message}")).is_success
        assert (await bob.get(url)).content == b"text"
    assert (await rest.delete(f"/messages/{others[-1]}")).is_success
    not_found(await bob.get(url))
    problem(await rest.post(path, naming(file)), 404, "NOT_FOUND")


async def test_it_is_gone_with_its_message(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = Uploader(house, "ann"), Uploader(house, "bob")
    file = await ann.sent(conversation, "secret.png", picture("PNG"))
    other = await ann.sent(conversation)
    answer = await house.rest("ann").delete(f"/messages/{file['message_id']}")
    assert answer.json()["attachments"] == []
    for who in (ann, bob):
        not_found(await who.get(file))
        not_found(await who.get(file["thumbnail_url"]))
        assert (await who.get(other)).status_code == 200
    answer = await house.rest("ann").post(
        f"/conversations/{conversation}/messages", naming(file["file_id"])
    )
    problem(answer, 404, "NOT_FOUND")
    problem(await ann.give_up(f"/api/chat/files/tus/{file['file_id']}"), 404, "NOT_FOUND")


async def test_an_edit_keeps_it(house: House) -> None:
    conversation = await house.group("ann")
    ann = Uploader(house, "ann")
    file = await ann.sent(conversation)
    answer = await house.rest("ann").patch(f"/messages/{file['message_id']}", {"content": "new"})
    assert [a["file_id"] for a in answer.json()["attachments"]] == [file["file_id"]]
    assert (await ann.get(file)).status_code == 200


def kept(server: Server) -> list[Path]:
    # A folder may go while it is looked into, which `walk` takes for an empty one.
    found = os.walk(server.directory / "files")
    return [Path(folder, name) for folder, _, names in found for name in names]


async def gone(server: Server) -> None:
    """Wait until no file is kept. Nothing tells when the folder is empty."""
    await eventually(lambda: not kept(server), 20)


@pytest.mark.parametrize("content", [picture("PNG"), b"x" * 5_000_000])
async def test_deleted_is_gone_from_the_disk(server: Server, content: bytes) -> None:
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        file = await ann.sent(conversation, "needle-in-its-name.txt", content)
        assert len(kept(server)) == (2 if file["thumbnail_url"] else 3)
        await house.rest("ann").delete(f"/messages/{file['message_id']}")
        await gone(server)
        rows = await forgotten(server)
    assert rows == []


async def forgotten(server: Server) -> list[Frame]:
    """Stop the server and look for what it still says of files, in its database's bytes too."""
    server.terminate()
    for path in server.directory.glob("madang.sqlite3*"):
        assert b"needle-in-its-name" not in path.read_bytes()
    connection = sqlite3.connect(server.database)
    try:
        return list(connection.execute("SELECT id FROM files"))
    finally:
        connection.close()


async def test_refused_uploads_leave_nothing(server: Server) -> None:
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        await ann.upload(conversation, "a.txt", b"<html>")
        await ann.upload(conversation, "a.txt", b"x" * 12_000_000)
        await ann.upload(conversation, "a.txt", b"x" * 3_000_000, reply_to_id=str(uuid.uuid4()))
        url = await ann.begun(conversation, 5_000_000)
        await ann.append(url, 0, b"x" * 3_000_000)
        assert (await ann.give_up(url)).status_code == 204
        await gone(server)
