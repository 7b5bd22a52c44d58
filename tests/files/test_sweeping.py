"""What nobody wants any more is deleted, whoever is killed while it is; and nothing else is."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from madang.blobs.buckets import LocalBlobs
from madang.bus.memory import MemoryBus
from madang.model.nouns import ConversationKind, File
from madang.protocol.errors import Conflict, Forbidden, NotFound, Unavailable
from madang.services import parts
from madang.services.conversations import CreateConversation
from madang.services.files import (
    AdvanceUpload,
    BeginUpload,
    DropUpload,
    ExpireFile,
    FinishUpload,
    ForgetFile,
)
from madang.services.messages import DeleteMessage, Done, SendMessage
from madang.services.sweeping import Sweeper
from madang.store.writer import GroupWriter
from tests.conftest import Server, eventually
from tests.files.clients import Uploader, not_found
from tests.files.test_messages import gone, kept
from tests.store.conftest import AnyStore, SteppedClock
from tests.store.writes import Create
from tests.surfaces.people import House

HOUR = 3_600_000_000
KEEP = 24 * HOUR


class Yard:
    """A store, blobs and a sweeper, with a clock that stands still."""

    def __init__(
        self, store: AnyStore, writer: GroupWriter, clock: SteppedClock, folder: Path
    ) -> None:
        self.store = store
        self.writer = writer
        self.clock = clock
        self.folder = folder
        self.blobs = LocalBlobs(folder)
        self.bus = MemoryBus(clock).end()
        self.sweeper = Sweeper(store, writer, self.blobs, self.bus, clock)
        self.conversation = ""

    async def open(self) -> Yard:
        made = await self.writer.write(CreateConversation("default", "ann", "group", ("bob",)))
        self.conversation = made.view.conversation.id
        return self

    async def upload(
        self, size: int = 10, owner: str = "ann", *, finish: bool = False, content: bytes = b""
    ) -> File:
        """One that has so many bytes of ten, or all of `content`."""
        whole = len(content) or 10
        size = len(content) or size
        file: File = await self.writer.write(
            BeginUpload("default", self.conversation, owner, "a name", whole, {"tus": "x"}, KEEP)
        )
        await self.blobs.put(parts.part_key(file.id, 0), content or b"x" * size)
        file = await self.writer.write(
            AdvanceUpload("default", file.id, owner, after=0, received=size, keep=KEEP)
        )
        if finish:
            await self.blobs.put(parts.thumbnail_key(file.id), b"small")
            file = await self.writer.write(
                FinishUpload("default", file.id, owner, "image/png", 5, KEEP)
            )
        return file

    async def send(self, file: File) -> Done:
        done: Done = await self.writer.write(
            SendMessage(
                "default",
                self.conversation,
                file.owner_id,
                "",
                message_type="file",
                attachments=({"file_id": file.id},),
            )
        )
        return done

    def kept(self) -> set[str]:
        """The ids of files that have blobs."""
        return {path.parent.name for path in self.folder.rglob("*") if path.is_file()}

    async def row(self, file: File) -> File | None:
        found: list[File] = await self.store.due_files("default", 2**62, 100)
        return next((row for row in found if row.id == file.id), None)


@pytest.fixture
async def yard(store: AnyStore, writer: GroupWriter, clock: SteppedClock, tmp_path: Path) -> Yard:
    return await Yard(store, writer, clock, tmp_path / "files").open()


async def test_what_was_abandoned_goes_when_its_time_has_come(yard: Yard) -> None:
    begun = await yard.upload(4)
    unsent = await yard.upload(finish=True)
    sent = await yard.upload(finish=True)
    await yard.send(sent)
    yard.clock.time += KEEP - HOUR
    await yard.sweeper.sweep("default")
    assert yard.kept() == {begun.id, unsent.id, sent.id}
    # One of them is gone on with.
    going_on = await yard.upload(4)
    yard.clock.time += HOUR
    await yard.sweeper.sweep("default")
    assert yard.kept() == {going_on.id, sent.id}
    for file in (begun, unsent):
        assert await yard.row(file) is None
        with pytest.raises(NotFound):
            await yard.send(file)
    yard.clock.time += 400 * KEEP
    await yard.sweeper.sweep("default")
    assert yard.kept() == {sent.id}, "what was sent stays"


async def test_an_upload_that_goes_on_is_not_swept(yard: Yard) -> None:
    file = await yard.upload(4)
    yard.clock.time += KEEP - 1
    advanced = await yard.writer.write(AdvanceUpload("default", file.id, "ann", 4, 10, KEEP))
    yard.clock.time += KEEP - 1
    await yard.sweeper.sweep("default")
    assert yard.kept() == {file.id}
    assert advanced.expires_at == yard.clock.time + 1
    assert await yard.writer.write(ExpireFile("default", file.id)) is None


async def test_what_is_deleted_goes_with_its_name(yard: Yard) -> None:
    file = await yard.upload(finish=True)
    done = await yard.send(file)
    other = await yard.upload(finish=True)
    await yard.send(other)
    await yard.writer.write(DeleteMessage("default", done.message.id, "ann"))
    row = await yard.row(file)
    assert row is not None and (row.status, row.name, row.metadata) == ("deleted", "", {})
    assert await yard.store.file("default", file.id, "ann") is None
    await yard.sweeper.sweep("default")
    assert yard.kept() == {other.id}
    assert await yard.row(file) is None


@pytest.mark.parametrize("left", ["everything", "some blobs", "no blobs"])
async def test_a_sweep_goes_on_where_another_was_killed(yard: Yard, left: str) -> None:
    file = await yard.upload(finish=True)
    await yard.writer.write(DropUpload("default", file.id, "ann"))
    if left == "some blobs":
        (yard.folder / parts.part_key(file.id, 0)).unlink()
    elif left == "no blobs":
        await yard.blobs.delete(parts.folder(file.id))
    await yard.sweeper.sweep("default")
    assert yard.kept() == set()
    assert await yard.row(file) is None
    await yard.sweeper.sweep("default")


async def test_more_than_one_page(yard: Yard) -> None:
    for _ in range(103):
        await yard.upload(1)
    yard.clock.time += KEEP
    await yard.sweeper.sweep("default")
    assert yard.kept() == set()


async def test_while_the_storage_is_away_nothing_is_forgotten(yard: Yard) -> None:
    file = await yard.upload(finish=True)
    await yard.writer.write(DropUpload("default", file.id, "ann"))
    folder = yard.folder / parts.folder(file.id)
    aside = folder.rename(yard.folder / "aside")
    folder.write_text("in the way")
    with pytest.raises(Unavailable):
        await yard.sweeper.sweep("default")
    assert await yard.row(file) is not None
    folder.unlink()
    aside.rename(folder)
    await yard.sweeper.sweep("default")
    assert yard.kept() == set()


async def test_only_what_is_deleted_is_forgotten(yard: Yard) -> None:
    file = await yard.upload(4)
    await yard.writer.write(ForgetFile("default", file.id))
    await yard.writer.write(ForgetFile("default", str(uuid.uuid4())))
    assert await yard.row(file) is not None


async def test_orgs_are_swept_page_by_page(yard: Yard) -> None:
    assert await yard.store.orgs("", 100) == ["default"]
    for name in ("alpha", "zeta"):
        await yard.writer.write(CreateConversation(name, "ann", "group", ()))
    assert await yard.store.orgs("", 2) == ["alpha", "default"]
    assert await yard.store.orgs("default", 2) == ["zeta"]
    assert await yard.store.orgs("zeta", 2) == []


async def test_rules_of_files_in_one_commit(yard: Yard) -> None:
    """Writes of one batch see each other: who sends a file keeps others from dropping it, and
    nobody gets it who asks when its messages are deleted."""
    file = await yard.upload(finish=True)
    results: list[Any] = await asyncio.gather(
        *(yard.send(file) for _ in range(3)),
        yard.writer.write(DropUpload("default", file.id, "ann")),
        return_exceptions=True,
    )
    sent = {result.message.id for result in results if isinstance(result, Done)}
    assert isinstance(results[3], Conflict)
    last = await asyncio.gather(
        *(yard.writer.write(DeleteMessage("default", message, "ann")) for message in sent),
        yard.writer.write(ForgetFile("default", file.id)),
        yard.writer.write(DropUpload("default", file.id, "ann")),
        return_exceptions=True,
    )
    assert isinstance(last[-1], NotFound)
    assert await yard.row(file) is None


async def test_how_many_wait_is_counted_in_one_commit(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("madang.services.files.MAX_PENDING", 5)
    begin = BeginUpload("default", yard.conversation, "ann", "a", 10, {}, KEEP)
    results = await asyncio.gather(
        *(yard.writer.write(begin) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, File) for result in results) == 5
    (first, *_) = (result for result in results if isinstance(result, File))
    await yard.writer.write(DropUpload("default", first.id, "ann"))
    await yard.sweeper.sweep("default")
    assert isinstance(await yard.writer.write(begin), File)
    with pytest.raises(Conflict):
        await yard.writer.write(begin)
    assert await yard.writer.write(
        BeginUpload("default", yard.conversation, "bob", "a", 10, {}, KEEP)
    )


# A server.


async def test_a_server_that_was_killed_sweeps_when_it_is_back(server: Server) -> None:
    async with House(server) as house:
        conversation = await house.group("ann")
        ann = Uploader(house, "ann")
        deleted, stays = await ann.sent(conversation), await ann.sent(conversation)
        url = await ann.begun(conversation, 100)
        await ann.append(url, 0, b"abandoned")
        server.kill()
        with closing(sqlite3.connect(server.database)) as database, database:
            # As the commit of a deletion leaves it; and as a day leaves an upload.
            sql = "UPDATE files SET {} WHERE id = ?"
            database.execute(
                sql.format("status = 'deleted', expires_at = 1"), (deleted["file_id"],)
            )
            database.execute(sql.format("expires_at = 1"), (url.rpartition("/")[2],))
        server.restart()
        await eventually(lambda: len(kept(server)) == 1, 20)
        assert (await ann.where(url)).status_code == 404
        not_found(await ann.get(deleted))
        assert (await ann.get(stays)).status_code == 200
        await house.rest("ann").delete(f"/messages/{stays['message_id']}")
        await gone(server)


@pytest.mark.parametrize("kind", ["live", "inbox"])
async def test_not_everywhere_are_files_sent(yard: Yard, kind: ConversationKind) -> None:
    place = str(uuid.uuid4())
    await yard.writer.write(Create(place, ["ann"], kind=kind))
    with pytest.raises(Forbidden):
        await yard.writer.write(BeginUpload("default", place, "ann", "a", 10, {}, KEEP))
