"""What is deleted in a room takes its files with it, however they came there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from madang.model.files import attachment_of
from madang.model.ids import uuid7
from madang.model.live import Room
from madang.model.nouns import File, Message
from madang.ports.store import Needs, Transaction
from madang.services.live.moderation import RemoveMessage
from madang.services.live.rooms import EraseRoom
from tests.services.live.conftest import ORG, Hall


@dataclass(frozen=True, slots=True)
class Attach:
    """A file becomes part of a message, past the rules: rooms take none."""

    message: Message
    org_id: str = ORG
    size: int = 100

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message.id)

    def apply(self, tx: Transaction) -> File:
        message = self.message
        file = File(
            uuid7(tx.now),
            ORG,
            message.conversation_id,
            message.sender_id,
            message.id,
            "secret name.pdf",
            "application/pdf",
            1,
            1,
            "ready",
            None,
            {},
            tx.now,
            None,
        )
        tx.add_file(file)
        tx.save_message(replace(message, attachments=(attachment_of(file),)))
        return file


async def due(hall: Hall) -> list[tuple[str, str, str]]:
    """The files whose blobs are to be deleted now."""
    found = await hall.store.due_files(ORG, hall.clock.time, 10)
    return [(file.id, file.status, file.name) for file in found]


async def test_removing_a_message(hall: Hall) -> None:
    room: Room = await hall.open()
    seat = await hall.seat(room)
    kept, removed = (await hall.chat(seat, "kept")).message, (await hall.chat(seat)).message
    await hall.writer.write(Attach(kept))
    file = await hall.writer.write(Attach(removed))
    done = await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, removed.id))
    assert done.message.attachments == ()
    assert await due(hall) == [(file.id, "deleted", "")]


async def test_erasing_a_room(hall: Hall) -> None:
    room, other = await hall.open(), await hall.open()
    files = []
    for each in (room, other):
        seat = await hall.seat(each)
        files += [await hall.writer.write(Attach((await hall.chat(seat)).message))]
    await hall.writer.write(EraseRoom(ORG, room.id, room.host_id))
    assert await due(hall) == [(files[0].id, "deleted", "")]
