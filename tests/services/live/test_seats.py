"""Seats: one a token, whatever is refreshed; and no more of them than the room allows."""

from __future__ import annotations

import asyncio

import pytest

from madang.model.live import Seat
from madang.protocol.errors import Conflict, Invalid, MadangError, NotFound
from madang.services.live import tokens
from madang.services.live.moderation import Ban, Kick
from madang.services.live.seats import ComeBack, Rename, SeatOffline, SeatOnline
from tests.services.live.conftest import ORG, Hall


async def test_a_room_opens_with_its_hosts_seat(hall: Hall) -> None:
    room = await hall.open(slow_mode_seconds=5)
    assert room.status == "active"
    assert room.settings.slow_mode_seconds == 5
    found = await hall.store.live.room_by_code(room.code)
    assert found == room
    host = await hall.store.live.seat(ORG, room.id, room.host_id)
    assert host is not None
    assert (host.role, host.nickname, host.key) == ("host", "진행자", room.host_key)
    assert tokens.is_host_token(room, hall.host_token)
    assert tokens.may_connect(room, host, hall.host_token)
    assert not tokens.may_connect(room, host, hall.host_token + "x")
    assert [event.type for event in hall.events] == ["room.opened", "participant.joined"]
    members = await hall.store.memberships(ORG, [room.host_id])
    assert members == {room.host_id: [room.id]}


async def test_a_token_brings_the_same_seat_back(hall: Hall) -> None:
    room = await hall.open()
    token = tokens.new_token()
    seat = await hall.seat(room, "민지", token=token)
    again = await hall.writer.write(ComeBack(ORG, room.id, tokens.key_of(token)))
    assert (again.seat, again.event) == (seat, None)
    host = await hall.writer.write(ComeBack(ORG, room.id, room.host_key))
    assert host.seat.participant_id == room.host_id
    with pytest.raises(NotFound, match="Participant not found"):
        await hall.writer.write(ComeBack(ORG, room.id, tokens.key_of("guessed")))
    await hall.change(room, status="ended")
    assert (await hall.writer.write(ComeBack(ORG, room.id, tokens.key_of(token)))).seat == seat


async def test_a_token_of_another_room_opens_nothing(hall: Hall) -> None:
    here, there = await hall.open(), await hall.open()
    token = tokens.new_token()
    seat = await hall.seat(here, token=token)
    with pytest.raises(NotFound, match="Participant not found"):
        await hall.writer.write(ComeBack(ORG, there.id, tokens.key_of(token)))
    assert await hall.store.live.seat(ORG, there.id, seat.participant_id) is None
    assert tokens.may_connect(here, seat, token)
    assert not tokens.may_connect(there, seat, token)


async def test_the_hosts_token_makes_an_unused_seat_a_hosts(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    made = await hall.writer.write(ComeBack(ORG, room.id, room.host_key, seat.participant_id))
    assert made.seat.role == "host"
    assert made.event.type == "participant.updated"
    place = await hall.store.participant(ORG, room.id, seat.participant_id)
    assert place is not None and place.role == "admin"
    used = await hall.seat(room, "수진")
    await hall.writer.write(SeatOnline(ORG, room.id, used.participant_id))
    for key, who in ((room.host_key, used), (tokens.key_of("x"), await hall.seat(room))):
        with pytest.raises(NotFound, match="Participant not found"):
            await hall.writer.write(ComeBack(ORG, room.id, key, who.participant_id))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (["민지", "민지", "민지"], ["민지", "민지 2", "민지 3"]),
        (["Kim", "KIM", "kіm"], ["Kim", "KIM 2", "kіm 3"]),  # The last with a Cyrillic і.
        (["민지 2", "민지", "민지", "민지2"], ["민지 2", "민지", "민지 3", "민지 4"]),
        (["ab", "a b", "ａｂ"], ["ab", "a b 2", "ab 3"]),
        (["Host", "HOST", "진행자", "аdmin"], ["Host 2", "HOST 3", "진행자 2", "аdmin 2"]),
        (["n" * 40, "n" * 40], ["n" * 40, "n" * 38 + " 2"]),
        (["학생 12", "학생 5", "학생 12"], ["학생 12", "학생 5", "학생 13"]),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_taken_nickname_is_numbered(
    hall: Hall, wanted: list[str], given: list[str], at_once: bool
) -> None:
    room = await hall.open()
    if at_once:
        seated = await hall.all([hall.taking(room, name) for name in wanted])
        seats: list[Seat] = [each.seat for each in seated]
    else:
        seats = [await hall.seat(room, name) for name in wanted]
    assert [seat.nickname for seat in seats] == given
    people = await asyncio.gather(
        *(hall.store.participant(ORG, room.id, seat.participant_id) for seat in seats)
    )
    assert [person.nickname for person in people if person] == given
    assert len({(seat.skeleton, seat.number) for seat in seats}) == len(wanted)


async def test_names_are_a_rooms_own(hall: Hall) -> None:
    rooms = [await hall.open(), await hall.open()]
    seats = await hall.all([hall.taking(room, "민지") for room in rooms])
    assert [each.seat.nickname for each in seats] == ["민지", "민지"]


async def test_renaming(hall: Hall) -> None:
    room = await hall.open(blocked_words=["바보"])
    minji, sujin = await hall.seat(room, "민지"), await hall.seat(room, "수진")

    async def rename(seat: Seat, nickname: str) -> str:
        renamed = await hall.writer.write(Rename(ORG, room.id, seat.participant_id, nickname))
        person = await hall.store.participant(ORG, room.id, seat.participant_id)
        assert person is not None and person.nickname == renamed.seat.nickname
        return str(renamed.seat.nickname)

    assert await rename(sujin, "민지") == "민지 2"
    assert await rename(minji, "지호") == "지호"
    # The first is free again, and one's own number is kept.
    assert await rename(sujin, "민지 2") == "민지 2"
    assert await rename(sujin, "민지") == "민지"
    assert len(hall.told("participant.updated")) == 3
    with pytest.raises(Invalid, match="blocked word"):
        await rename(sujin, "바보")
    with pytest.raises(Invalid):
        await rename(sujin, "a\u202eb")


async def test_online_and_offline_are_told_once(hall: Hall) -> None:
    room = await hall.open()
    seat = await hall.seat(room, "민지")
    for write in (SeatOnline, SeatOffline):
        first = await hall.writer.write(write(ORG, room.id, seat.participant_id))
        again = await hall.writer.write(write(ORG, room.id, seat.participant_id))
        assert first.event.data == {
            "role": "participant",
            "nickname": "민지",
            "is_online": write is SeatOnline,
            "is_muted": False,
        }
        assert again.event is None
        online = await hall.store.live.online_seats(ORG, room.id)
        assert online == ([seat.participant_id] if write is SeatOnline else [])
    found = await hall.store.live.seat(ORG, room.id, seat.participant_id)
    assert found is not None and found.used_at == hall.clock.time
    assert len(hall.told("participant.online", "participant.offline")) == 2


async def test_a_full_room(hall: Hall) -> None:
    room = await hall.open(max_seats=3)
    outcomes = await hall.all([hall.taking(room) for _ in range(5)])
    refused = [each for each in outcomes if isinstance(each, MadangError)]
    assert [each.text for each in refused] == ["Session is full"] * 2
    seat = outcomes[0].seat
    await hall.writer.write(Kick(ORG, room.id, room.host_id, seat.participant_id))
    assert (await hall.now(room)).seats == 3
    await hall.seat(room)
    with pytest.raises(Conflict, match="Session is full"):
        await hall.seat(room)


async def test_seats_of_an_address_and_a_device(hall: Hall) -> None:
    room = await hall.open(seats_per_address=3, seats_per_device=1)
    network, phone = tokens.hashed(room, "203.0.113.7"), tokens.hashed(room, "phone")
    taking = [hall.taking(room, address=network) for _ in range(4)]
    outcomes = await hall.all(taking)
    assert str(outcomes[3]) == "Too many participants from this network"
    with pytest.raises(Conflict, match="from this network"):
        await hall.seat(room, address=network)
    await hall.seat(room, device=phone)
    with pytest.raises(Conflict, match="on this device"):
        await hall.seat(room, device=phone)
    # Who says neither is not counted among them, and another room counts for itself.
    await hall.seat(room)
    other = await hall.open(seats_per_address=3, seats_per_device=1)
    await hall.seat(other, address=network, device=phone)
    # A seat that is gone makes room.
    gone = outcomes[0].seat
    await hall.writer.write(Kick(ORG, room.id, room.host_id, gone.participant_id))
    await hall.seat(room, address=network)


async def test_hashes_say_nothing_across_rooms(hall: Hall) -> None:
    here, there = await hall.open(), await hall.open()
    assert tokens.hashed(here, "203.0.113.7") == tokens.hashed(here, "203.0.113.7")
    assert tokens.hashed(here, "203.0.113.7") != tokens.hashed(there, "203.0.113.7")


async def test_who_is_banned_does_not_come_back(hall: Hall) -> None:
    room = await hall.open()
    token = tokens.new_token()
    network, phone = tokens.hashed(room, "203.0.113.7"), tokens.hashed(room, "phone")
    seat = await hall.seat(room, token=token, address=network, device=phone)
    # In one batch: what was just decided holds.
    banned, *tries = await hall.all(
        [
            Ban(ORG, room.id, room.host_id, seat.participant_id),
            hall.taking(room, address=network),
            hall.taking(room, device=phone),
            ComeBack(ORG, room.id, tokens.key_of(token)),
        ]
    )
    assert banned.event.type == "participant.left"
    assert [each.text for each in tries] == [
        "Session not found",
        "Session not found",
        "Participant not found",
    ]
    for more in ({"address": network}, {"device": phone}):
        with pytest.raises(NotFound, match="Session not found"):
            await hall.seat(room, **more)
    await hall.seat(room, address=tokens.hashed(room, "203.0.113.8"))
    gone = await hall.store.live.seat(ORG, room.id, seat.participant_id)
    assert not tokens.may_connect(room, gone, token)
    assert await hall.store.memberships(ORG, [seat.participant_id]) == {seat.participant_id: []}


async def test_a_ban_does_not_shut_a_hall_that_shares_one_address(hall: Hall) -> None:
    room = await hall.open()
    network = tokens.hashed(room, "203.0.113.7")
    loud = await hall.seat(room, address=network, device=tokens.hashed(room, "loud phone"))
    await hall.seat(room, address=network)
    await hall.all([Ban(ORG, room.id, room.host_id, loud.participant_id)])
    await hall.seat(room, address=network, device=tokens.hashed(room, "another phone"))
    with pytest.raises(NotFound, match="Session not found"):
        await hall.seat(room, address=network, device=tokens.hashed(room, "loud phone"))


async def test_an_ended_room_is_no_room_to_join(hall: Hall) -> None:
    room = await hall.open()
    await hall.change(room, status="ended")
    with pytest.raises(NotFound, match="Session not found"):
        await hall.seat(room)
    unknown = hall.taking(room)
    with pytest.raises(NotFound, match="Session not found"):
        await hall.writer.write(type(unknown)(ORG, "0" * 36, "p", "x", "k"))


async def test_another_orgs_room_does_not_exist(hall: Hall) -> None:
    room = await hall.open("rival")
    taking = hall.taking(room)
    with pytest.raises(NotFound, match="Session not found"):
        await hall.writer.write(type(taking)(ORG, room.id, taking.participant_id, "x", taking.key))
    assert await hall.store.live.room(ORG, room.id) is None
    assert await hall.store.live.room_by_code(room.code) == room


async def test_pages_of_seats(hall: Hall) -> None:
    room = await hall.open()
    seats = [await hall.seat(room) for _ in range(5)]
    gone = seats.pop(2)
    await hall.writer.write(Kick(ORG, room.id, room.host_id, gone.participant_id))
    found: list[Seat] = []
    after = None
    while True:
        page = await hall.store.live.seats(ORG, room.id, after=after, limit=2)
        found += page.items
        if not page.has_more:
            break
        after = (found[-1].joined_at, found[-1].participant_id)
    wanted = {room.host_id, *(seat.participant_id for seat in seats)}
    assert {seat.participant_id for seat in found} == wanted
    assert len(found) == len(wanted)
