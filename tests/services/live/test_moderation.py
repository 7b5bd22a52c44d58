"""Kick and ban, and who may moderate whom. Muting and removing: `test_chat`, `test_questions`."""

from __future__ import annotations

from typing import Any

import pytest

from madang.protocol.errors import Forbidden, NotFound
from madang.services.live.moderation import Ban, Kick, Mute, RemoveMessage, Unmute
from madang.services.live.seats import ComeBack, Rename, SeatOffline, SeatOnline
from tests.services.live.conftest import ORG, Hall


@pytest.mark.parametrize(("action", "reason"), [(Kick, "kicked"), (Ban, "banned")])
async def test_sent_away(hall: Hall, action: Any, reason: str) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    question = await hall.ask(seat)
    await hall.writer.write(SeatOnline(ORG, room.id, seat.participant_id))
    sent = await hall.writer.write(action(ORG, room.id, room.host_id, seat.participant_id))
    assert sent.event.type == "participant.left"
    assert sent.event.user_id == seat.participant_id
    assert sent.event.data == {
        "by": room.host_id,
        "reason": reason,
        "role": "participant",
        "nickname": "민지",
        "is_online": False,
        "is_muted": False,
    }
    assert await hall.store.participant(ORG, room.id, seat.participant_id) is None
    assert await hall.store.live.online_seats(ORG, room.id) == []
    for write in (
        SeatOnline(ORG, room.id, seat.participant_id),
        SeatOffline(ORG, room.id, seat.participant_id),
        Rename(ORG, room.id, seat.participant_id, "수진"),
        ComeBack(ORG, room.id, seat.key),
        action(ORG, room.id, room.host_id, seat.participant_id),
    ):
        with pytest.raises(NotFound, match=r"^Participant not found$"):
            await hall.writer.write(write)
    with pytest.raises(NotFound, match=r"^Participant not found$"):
        await hall.chat(seat)
    with pytest.raises(NotFound, match=r"^Participant not found$"):
        await hall.vote(seat, question)
    # What was asked stays, and the name with it.
    page = await hall.store.live.questions(ORG, room.id, seen_by=None)
    assert [message.metadata["nickname"] for message in page.items] == ["민지"]
    assert (await hall.seat(room, "민지")).nickname == "민지 2"


@pytest.mark.parametrize("action", [Kick, Ban, Mute, Unmute])
async def test_who_may_moderate_whom(hall: Hall, action: Any) -> None:
    room, other = await hall.open(), await hall.open()
    ann, ben = await hall.seat(room), await hall.seat(room)
    with pytest.raises(Forbidden, match="Only a host can do this"):
        await hall.writer.write(action(ORG, room.id, ann.participant_id, ben.participant_id))
    with pytest.raises(Forbidden, match="A host cannot be moderated"):
        await hall.writer.write(action(ORG, room.id, room.host_id, room.host_id))
    for host, who in ((other.host_id, ann.participant_id), (room.host_id, other.host_id)):
        with pytest.raises(NotFound, match="Participant not found"):
            await hall.writer.write(action(ORG, room.id, host, who))


async def test_who_may_remove_what(hall: Hall) -> None:
    room, other = await hall.open(), await hall.open()
    seat = await hall.seat(room)
    said = (await hall.chat(seat)).message
    with pytest.raises(Forbidden, match="Only a host can do this"):
        await hall.writer.write(RemoveMessage(ORG, room.id, seat.participant_id, said.id))
    with pytest.raises(NotFound, match="Message not found"):
        await hall.writer.write(RemoveMessage(ORG, other.id, other.host_id, said.id))
    with pytest.raises(NotFound, match="Message not found"):
        await hall.writer.write(RemoveMessage(ORG, room.id, room.host_id, "0" * 36))
