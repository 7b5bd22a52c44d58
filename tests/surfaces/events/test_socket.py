"""The events surface over WebSocket: where it starts, what it tells, what a device keeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.phone import calling
from tests.surfaces.events.conftest import EVENTS, Desk, numbers
from tests.surfaces.people import House


async def test_a_cursor_in_the_address(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(4)]
    async with desk.phone(cursor=told[1]["cursor"]) as phone:
        done = await phone.until("replay_complete")
        assert numbers(phone.events()) == [2, 3]
        assert (done["events"], done["cursor"]) == (2, told[3]["cursor"])
        assert done["recovered"] is True
        live = await desk.publish(4)
        frame = await phone.until("counted")
        assert frame["payload"] == {"n": 4}
        assert frame["cursor"] == live["cursor"]
        assert frame["timestamp"].endswith("Z")


async def test_a_cursor_in_the_first_frame(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(4)]
    began = asyncio.get_running_loop().time()
    async with desk.phone() as phone:
        await phone.send("cursor", cursor=told[2]["cursor"])
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [3]
    assert asyncio.get_running_loop().time() - began < 0.9, "it waited although it was told"


@pytest.mark.parametrize("unit", ["seconds", "text", "milliseconds", "microseconds"])
async def test_the_unit_is_told_by_size(desk: Desk, unit: str) -> None:
    first = await desk.publish(0)
    micros = first["cursor"] - 1_000_000
    given: Any = {
        "seconds": micros / 1_000_000,
        "text": str(micros / 1_000_000),
        "milliseconds": micros // 1000,
        "microseconds": micros,
    }[unit]
    async with desk.phone() as phone:
        await phone.send("cursor", cursor=given)
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [0]


async def test_without_a_word_it_starts_from_the_moment_of_connecting(desk: Desk) -> None:
    await desk.publish("before")
    began = asyncio.get_running_loop().time()
    async with desk.phone() as phone:
        await phone.send("ping")
        await phone.until("pong")  # It is let in: a handshake alone may be answered before.
        await desk.publish("while it waits")
        done = await phone.until("replay_complete")
        waited = asyncio.get_running_loop().time() - began
        assert 0.9 < waited < 5
        await desk.publish("live")
        await phone.until(lambda frame: frame.get("payload") == {"n": "live"})
        assert numbers(phone.events()) == ["while it waits", "live"]
        assert done["recovered"] is True


async def test_a_device_starts_from_what_it_acknowledged(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(5)]
    async with desk.phone(client_id="tablet", cursor=0) as phone:
        await phone.until("replay_complete")
        await phone.send("ack", cursor=told[2]["cursor"], id=1)
        assert (await phone.until("acked"))["reply_to"] == 1
        await phone.send("ack", cursor=told[0]["cursor"], id=2)
        await phone.until("acked")
    async with desk.phone(client_id="tablet") as phone:
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [3, 4], "an acknowledgement never moves back"
    async with desk.phone(client_id="tablet", cursor=told[3]["cursor"]) as phone:
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [4], "a cursor that is sent goes first"
    async with desk.phone(client_id="phone") as phone:
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [], "another device of the same user has its own"
    async with desk.phone("ben", client_id="tablet") as phone:
        await phone.until("replay_complete")
        assert phone.events() == [], "another user's device of the same name has its own"


async def test_an_acknowledgement_may_go_unanswered(desk: Desk) -> None:
    told = await desk.publish(1)
    async with desk.phone(client_id="tablet", cursor=0) as phone:
        await phone.until("replay_complete")
        await phone.send("ack", cursor=told["cursor"])
        await phone.send("ack", cursor=told["cursor"], id="after")
        await phone.until("acked")
        assert [frame["type"] for frame in phone.frames].count("acked") == 1


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"type": "ack", "cursor": "x"}, "VALIDATION"),
        ({"type": "ack", "cursor": True}, "VALIDATION"),
        ({"type": "ack"}, "VALIDATION"),
        ({"type": "ack", "cursor": 4_000_000_000_000_000}, "VALIDATION"),
        ({"type": "ack", "cursor": 1, "colour": "red"}, "VALIDATION"),
        ({"type": "cursor", "cursor": [1]}, "VALIDATION"),
        ({"type": "cursor", "cursor": -5}, "VALIDATION"),
        ({"type": 5}, "VALIDATION"),
    ],
)
async def test_bad_frames_are_answered_and_change_nothing(
    desk: Desk, frame: dict[str, Any], code: str
) -> None:
    async with desk.phone(client_id="tablet", cursor=0) as phone:
        await phone.until("replay_complete")
        fields = {name: value for name, value in frame.items() if name != "type"}
        await phone.send(frame["type"], id="bad", **fields)
        answer = await phone.until("error")
        assert answer["code"] == code
        await phone.send("ping", id=1)
        assert (await phone.until("pong"))["reply_to"] == 1
    assert (await desk.rest("ann").get(f"{EVENTS}/devices")).json()["devices"] == []


async def test_broken_json_and_unknown_types(desk: Desk) -> None:
    async with desk.phone(cursor=0) as phone:
        await phone.until("replay_complete")
        for text in ("{", "[]", "5", '"x"', "null"):
            await phone.socket.send(text)
            answer = await phone.until("error")
            assert (answer["code"], answer["message"]) == ("INVALID_JSON", "Invalid JSON format")
        await phone.send("dance")
        assert await phone.rest() == [], "an unknown type is answered with nothing"


async def test_acknowledging_needs_a_device(desk: Desk) -> None:
    told = await desk.publish(1)
    async with desk.phone(cursor=0) as phone:
        await phone.until("replay_complete")
        await phone.send("ack", cursor=told["cursor"], id=1)
        assert (await phone.until("error"))["reply_to"] == 1


async def test_a_device_has_a_name_of_some_length(desk: Desk) -> None:
    async with desk.phone(client_id="x" * 201) as phone:
        assert await phone.closed() == 1008


async def test_a_cursor_beyond_the_log_is_told(desk: Desk) -> None:
    told = await desk.publish(1)
    async with desk.phone(cursor=told["cursor"] + 10**9) as phone:
        done = await phone.until("replay_complete")
        assert (done["recovered"], done["reason"]) == (False, "unknown_cursor")
        assert (done["events"], done["cursor"]) == (0, told["cursor"])
        await desk.publish(2)
        await phone.until("counted")
        assert numbers(phone.events()) == [2]


async def test_the_whole_org_for_admins(desk: Desk, house: House) -> None:
    await desk.publish(1, user="ann")
    async with desk.phone("boss", roles=["admin"], scope="org", cursor=0) as phone:
        await phone.until("replay_complete")
        assert numbers(phone.events()) == [1]
        await desk.publish(2, user="ben")
        await phone.until("counted")
        room = await house.group("cho", "dan")
        created = await phone.until("conversation.created")
        assert created["conversation_id"] == room
        await house.say("cho", room, "hi")
        assert (await phone.until("message.new"))["payload"]["data"]["content"] == "hi"
    async with desk.phone("ann", scope="org", cursor=0) as phone:
        assert await phone.closed() == 1008


async def test_a_bad_token_is_refused(desk: Desk) -> None:
    address = f"ws://127.0.0.1:{desk.server.port}{EVENTS}/ws"
    for token in ("nonsense", None, desk.token("ann", ttl=-5)):
        async with calling(address, token, cursor=0) as phone:
            assert await phone.closed() == 1008
            assert phone.frames == []


async def test_every_connection_of_a_user_hears_it_once_and_in_order(desk: Desk) -> None:
    async with desk.phone(cursor=0) as one, desk.phone(cursor=0) as two:
        for phone in (one, two):
            await phone.until("replay_complete")
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(desk.publish(number))
        for phone in (one, two):
            while len(phone.events()) < 50:
                await phone.take()
            assert sorted(numbers(phone.events())) == list(range(50))
            assert [event["seq"] for event in phone.events()] == list(range(1, 51))
            cursors = [event["cursor"] for event in phone.events()]
            assert cursors == sorted(set(cursors))


async def test_who_is_removed_hears_that_and_nothing_after(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    async with desk.phone("ben", cursor=0) as phone:
        await phone.until("replay_complete")
        assert (
            await house.rest("ann").delete(f"/conversations/{room}/participants/ben")
        ).is_success
        await phone.until("participant.left")
        await house.say("ann", room, "secret")
        assert await phone.rest() == []


async def test_devices_and_how_far_behind_they_are(desk: Desk) -> None:
    told = [await desk.publish(number) for number in range(5)]
    await desk.publish("ben's", user="ben")
    for user, name, place in (("ann", "tablet", 1), ("ann", "phone", 4), ("ben", "laptop", 0)):
        async with desk.phone(user, client_id=name, cursor=0) as phone:
            await phone.until("replay_complete")
            await phone.send("ack", cursor=told[place]["cursor"], id=1)
            await phone.until("acked")
    mine = (await desk.rest("ann").get(f"{EVENTS}/devices")).json()["devices"]
    assert [(d["user_id"], d["client_id"], d["cursor"], d["behind"]) for d in mine] == [
        ("ann", "phone", told[4]["cursor"], 0),
        ("ann", "tablet", told[1]["cursor"], 3),
    ]
    assert all(device["updated_at"].endswith("Z") for device in mine)
    boss = desk.rest("boss", roles=["admin"])
    everybody = (await boss.get(f"{EVENTS}/devices")).json()["devices"]
    assert [(d["user_id"], d["client_id"], d["behind"]) for d in everybody] == [
        ("ann", "phone", 0),
        ("ann", "tablet", 3),
        ("ben", "laptop", 1),
    ]
    assert (await desk.rest("cho").get(f"{EVENTS}/devices")).json()["devices"] == []
