"""Each connection of this surface as one of its user's devices; answers that carry an `id`."""

from __future__ import annotations

import pytest

from tests.surfaces.events.conftest import Desk, numbers
from tests.surfaces.people import House

DEEP = "[" * 300 + "]" * 300


@pytest.mark.parametrize("given", [DEEP, '"' + "x" * 201 + '"', "true", "1.5", "{}"])
async def test_an_id_that_is_none_is_refused(desk: Desk, given: str) -> None:
    async with desk.phone(cursor=0) as phone:
        await phone.until("replay_complete")
        for kind in ("ping", "ack", "cursor"):
            await phone.socket.send(f'{{"type": "{kind}", "cursor": 0, "id": {given}}}')
            answer = await phone.until("error")
            assert answer["code"] in ("VALIDATION", "INVALID_JSON")
            assert "reply_to" not in answer
        assert await phone.rest() == []


async def test_every_way_of_listening_is_a_device(desk: Desk, house: House) -> None:
    """Told as online once, and as gone when the last of them is."""
    await house.group("ben", "ann")
    ben = await house.device("ben")
    async with desk.phone("ann", cursor=0) as phone:
        await phone.until("replay_complete")
        assert (await ben.next("user.online"))["user_id"] == "ann"
        async with desk.stream("ann", cursor=0) as events:
            await anext(events)
            await house.until_present("ben", "ann", "online", 2)
    assert (await ben.next("user.offline"))["user_id"] == "ann"
    assert not [f for f in await ben.so_far() if f["type"].startswith("user.")]
    async with desk.stream("ann", cursor=0) as events:
        await anext(events)
        assert (await ben.next("user.online"))["user_id"] == "ann"
    assert (await ben.next("user.offline"))["user_id"] == "ann"


async def test_who_reads_the_whole_org_is_not_present_by_that(desk: Desk, house: House) -> None:
    await house.group("ben", "boss")
    ben = await house.device("ben")
    async with desk.phone("boss", roles=["admin"], scope="org", cursor=0) as phone:
        await phone.until("replay_complete")
        found = (await house.rest("ben").get("/presence", user_ids="boss")).json()["users"]
        assert [(user["status"], user["devices"]) for user in found] == [("offline", 0)]
    assert not [f for f in await ben.so_far() if f["type"].startswith("user.")]


# Where an events connection starts.


async def test_a_wrong_cursor_in_the_address_is_told_and_it_goes_live(desk: Desk) -> None:
    await desk.publish("before")
    async with desk.phone(cursor="yesterday") as phone:
        assert (await phone.until("error"))["code"] == "VALIDATION"
        await desk.publish("while it waits")
        await phone.until("replay_complete")
        await desk.publish("live")
        await phone.until(lambda frame: frame.get("payload") == {"n": "live"})
        assert numbers(phone.events()) == ["while it waits", "live"]


async def test_answers_about_a_cursor_carry_the_id(desk: Desk) -> None:
    async with desk.phone() as phone:
        await phone.send("cursor", cursor="x", id="a")
        assert (await phone.until("error"))["reply_to"] == "a"
        await phone.send("cursor", cursor=0, id=7)
        assert (await phone.until("replay_complete"))["reply_to"] == 7
