"""Files sent over a session's WebSocket, and gone with their message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import Server, eventually
from tests.files.clients import Uploader, not_found
from tests.surfaces.agents.sessions import LONG, Chat, answer_of, uploaded
from tests.surfaces.people import House, error, problem

FILE = {"name": "plan.pdf", "type": "application/pdf", "size": 8}


async def test_a_file_becomes_a_message_with_it(chat: Chat) -> None:
    session = await chat.session(participant_ids=["bob"])
    ann, bob = await chat.join("ann", session), await chat.join("bob", session)
    file_id = await uploaded(chat, "ann", session)
    sent = {"file_id": file_id, "message": "see page 3", "client_id": "c1"}
    mine = await ann.ask("file", **sent)
    kept = {"file_id": file_id, **FILE, "file_url": f"/api/chat/files/{file_id}"}
    for told in (mine, await bob.next("message")):
        assert (told["type"], told["message_type"], told["content"]) == (
            "message",
            "file",
            "see page 3",
        )
        assert (told["sender_id"], told["attachments"]) == ("ann", [kept])
    # It is a person's message: the agent answers it.
    _, text, _ = await answer_of(bob)
    assert text == "see page 3"
    again = await ann.ask("file", **sent)
    assert again["message_id"] == mine["message_id"]
    first = (await chat.rest("bob").messages(session))[0]
    assert (first["kind"], first["attachments"]) == ("file_attachment", [kept])


async def test_what_is_no_file_of_mine_is_not_sent(chat: Chat) -> None:
    session, other = [await chat.session(participant_ids=["bob"]) for _ in range(2)]
    bob = await chat.join("bob", session)
    anns = await uploaded(chat, "ann", session)
    elsewhere = await uploaded(chat, "bob", other)
    nowhere = "0" * 8 + "-0000-7000-8000-" + "0" * 12
    for file_id in (anns, elsewhere, nowhere):
        error(await bob.ask("file", file_id=file_id), "NOT_FOUND", "File not found")
    for wrong in ("../plan.pdf", 7):
        error(await bob.ask("file", file_id=wrong), "INVALID_ID", "Invalid file_id format")
    error(await bob.ask("file"), "VALIDATION", "Missing field: file_id")
    unknown = await bob.ask("file", file_id=nowhere, attachments=[])
    error(unknown, "VALIDATION", "Unknown field: attachments")
    own = await uploaded(chat, "bob", session)
    assert (await bob.ask("file", file_id=own))["content"] == ""
    # What the form has sent already may be said again.
    again = await bob.ask("file", file_id=own, message="again")
    assert (again["content"], again["attachments"][0]["file_id"]) == ("again", own)


async def test_files_ask_as_messages_do(make_program: Callable[..., Server]) -> None:
    """As many runs at once as the settings say: here any number."""
    server = make_program(
        rate_limit_enabled="false", runs_per_user="1", runs_per_org="1", run_idle_seconds="600"
    )
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "forever", when_busy="parallel")
        ann = Uploader(house, "ann")
        for number in range(12):
            await ann.sent(session, message=str(number))
        assert len(await chat.rest("ann").messages(session)) == 24


async def test_too_many_runs_keep_what_was_uploaded(make_program: Callable[..., Server]) -> None:
    server = make_program(rate_limit_enabled="true", runs_per_user="1", run_idle_seconds="600")
    async with House(server) as house:
        chat = Chat(house)
        api, ann = chat.rest("ann"), Uploader(house, "ann")
        session = await chat.session("ann", "forever", when_busy="parallel")
        asked = await api.post(f"/sessions/{session}/messages", {"content": "silent"})
        (run,) = asked.json()["runs"]
        url = await ann.begun(session, 8, filename="plan.pdf", message="see page 3")
        for offset, content in ((0, b"%PDF-1.7"), (8, b""), (8, b"")):
            refused = await ann.append(url, offset, content)
            told = problem(refused, 429, "RATE_LIMIT", "Too many runs at once")
            assert told["retry_after"] == 1000
        # Whoever sends a form again sends the file again.
        problem(await ann.upload(session, "a.txt", b"x"), 429, "RATE_LIMIT")
        await eventually(lambda: len(blobs(server)) == 1)
        assert (await api.post(f"/runs/{run}/stop")).json()["status"] == "cancelled"
        where = await ann.where(url)
        assert (where.status_code, where.headers["upload-offset"]) == (200, "8")
        sent = [one for one in await api.messages(session) if one["kind"] == "file_attachment"]
        assert [one["content"] for one in sent] == ["see page 3"]


def blobs(server: Server) -> list[Path]:
    return [path for path in (server.directory / "files").rglob("*") if path.is_file()]


async def test_it_is_gone_with_its_message(chat: Chat) -> None:
    session = await chat.session(participant_ids=["bob"])
    ann, bob = await chat.join("ann", session), await chat.join("bob", session)
    file_id = await uploaded(chat, "ann", session)
    mine = await ann.ask("file", file_id=file_id)
    url = mine["attachments"][0]["file_url"]
    # The node where it was uploaded keeps it: each has a folder of its own here.
    readers = [Uploader(chat.house, user) for user in ("ann", "bob", "ann", "bob")]
    assert b"%PDF-1.7" in [(await reader.get(url)).content for reader in readers]
    deleted = await chat.house.rest("ann").delete(f"/messages/{mine['message_id']}")
    assert deleted.json()["attachments"] == []
    await bob.next("message_deleted", patience=LONG, message_id=mine["message_id"])
    for reader in readers:
        not_found(await reader.get(url))
