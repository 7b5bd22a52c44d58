"""Kick and ban, and who may moderate whom. Muting and removing: `test_chat`, `test_questions`."""

from __future__ import annotations

from typing import Any

import pytest

from madang.protocol.errors import Forbidden, NotFound
from madang.services.live import tokens
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


async def test_a_ban_sends_away_all_seats_of_the_device(hall: Hall) -> None:
    room = await hall.open()
    network, phone = tokens.hashed(room, "203.0.113.7"), tokens.hashed(room, "phone")
    first = await hall.seat(room, address=network, device=phone)
    second = await hall.seat(room, address=network, device=phone)
    other = await hall.seat(room, device=tokens.hashed(room, "another phone"))
    host = await hall.seat(room, device=phone)
    await hall.writer.write(ComeBack(ORG, room.id, room.host_key, host.participant_id))
    # In one batch: the third is taken and gone in the same commit.
    third, banned, refused = await hall.all(
        [
            hall.taking(room, device=phone),
            Ban(ORG, room.id, room.host_id, first.participant_id),
            hall.taking(room, address=network),
        ]
    )
    assert banned.event.user_id == first.participant_id
    assert banned.room == await hall.now(room)
    assert banned.room.seats == 3, "who opened it, the other host and the other phone"
    left = hall.told("participant.left")
    gone = {first.participant_id, second.participant_id, third.seat.participant_id}
    assert len(left) == 3 and {event.user_id for event in left} == gone
    assert {event.data["reason"] for event in left} == {"banned"}
    assert refused.text == "Session not found", "nobody else is at that address"
    for seat_id in gone:
        seat = await hall.store.live.seat(ORG, room.id, seat_id)
        assert seat is not None and seat.gone == "banned"
    for seat_id in (other.participant_id, host.participant_id):
        seat = await hall.store.live.seat(ORG, room.id, seat_id)
        assert seat is not None and seat.gone is None


@pytest.mark.parametrize("at_once", [True, False])
async def test_who_is_muted_is_muted_in_every_seat_of_the_device(hall: Hall, at_once: bool) -> None:
    room = await hall.open(seats_per_device=None)
    phone, another = tokens.hashed(room, "phone"), tokens.hashed(room, "another phone")
    first, second = await hall.seat(room, device=phone), await hall.seat(room, device=phone)
    await hall.seat(room, device=another)
    host = await hall.seat(room, device=phone)
    await hall.writer.write(ComeBack(ORG, room.id, room.host_key, host.participant_id))
    mute = Mute(ORG, room.id, room.host_id, first.participant_id)
    taking = [hall.taking(room, device=phone), hall.taking(room, device=another)]
    if at_once:
        muted, third, other = await hall.all([mute, *taking])
    else:
        muted = await hall.writer.write(mute)
        third, other = await hall.all(taking)
    assert (muted.seat.participant_id, muted.seat.muted) == (first.participant_id, True)
    told = hall.told("participant.muted")
    assert [event.user_id for event in told] == [first.participant_id, second.participant_id]
    assert (third.seat.muted, third.event.data["is_muted"], other.seat.muted) == (True, True, False)
    for seat in (first, second, third.seat):
        with pytest.raises(Forbidden, match="You are muted"):
            await hall.chat(seat)
    await hall.chat(host)
    # It ends for all of them, by whichever.
    await hall.writer.write(Unmute(ORG, room.id, room.host_id, third.seat.participant_id))
    for seat in (first, second, third.seat, await hall.seat(room, device=phone)):
        await hall.chat(seat)
