"""Typing and presence: told to those it concerns, when it changes, and never kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from madang.testing import assert_event
from tests.surfaces.people import PATIENCE, Frame, House, Socket, error

OpenHouse = Callable[..., House]


def about(frames: list[Frame], user: str) -> list[str]:
    """What is said of a user's presence."""
    names = ("user.online", "user.away", "user.offline")
    return [f["type"] for f in frames if f["type"] in names and f["user_id"] == user]


# Typing.


@pytest.mark.parametrize("start", ["typing", "typing.start"])
async def test_typing_is_told_to_the_others_only(house: House, start: str) -> None:
    conversation = await house.group("ann", "bob", "cy")
    ann, tablet, bob, cy = [await house.device(u) for u in ("ann", "ann", "bob", "cy")]
    await ann.send(start, conversation_id=conversation)
    for other in (bob, cy):
        told = await other.next("typing.start")
        assert told["user_id"] == "ann"
        assert told["conversation_id"] == conversation
        assert "seq" not in told
    await ann.send("typing.stop", conversation_id=conversation)
    for other in (bob, cy):
        stopped = await other.next("typing.stop")
        assert (stopped["user_id"], stopped["conversation_id"]) == ("ann", conversation)
    for own in (ann, tablet):
        assert not [f for f in await own.so_far() if f["type"].startswith("typing")]


async def test_typing_stops_by_itself(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.send("typing.start", conversation_id=conversation)
    await bob.next("typing.start")
    assert (await bob.next("typing.stop"))["user_id"] == "ann"


async def test_typing_stops_once_when_the_message_lands(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.send("typing.start", conversation_id=conversation)
    await ann.ask("message.send", conversation_id=conversation, content="x")
    assert_event(await bob.so_far(), type="typing.stop", user_id="ann")


async def test_typing_stops_when_a_message_comes_over_rest(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.send("typing.start", conversation_id=conversation)
    await bob.next("typing.start")
    await house.say("ann", conversation, "x")
    assert_event(await bob.so_far(), type="typing.stop", user_id="ann")


async def test_typing_stops_when_the_connection_ends(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, _, bob = [await house.device(user) for user in ("ann", "ann", "bob")]
    await ann.send("typing.start", conversation_id=conversation)
    await bob.next("typing.start")
    await ann.close()
    assert_event(await bob.so_far(), type="typing.stop", user_id="ann")


async def test_typing_is_never_stored(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.send("typing.start", conversation_id=conversation)
    await ann.send("typing.stop", conversation_id=conversation)
    await bob.next("typing.stop")
    late = await house.connect("bob")
    await late.send("resume", cursor=0)
    assert (await late.next("resumed"))["events"] == 1
    assert [f["type"] for f in late.waiting if f["type"].startswith("typing")] == []


async def test_who_was_removed_types_no_more(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await house.rest("ann").delete(f"/conversations/{conversation}/participants/bob")
    await bob.next("participant.left")
    answer = await bob.ask("typing.start", conversation_id=conversation)
    error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
    assert not [f for f in await ann.so_far() if f["type"].startswith("typing")]


# Presence.


async def test_the_first_connection_is_online_and_more_are_nothing(house: House) -> None:
    await house.group("ann", "bob")
    ann = await house.device("ann")
    await house.device("bob")
    told = await ann.next("user.online")
    assert told["user_id"] == "bob"
    assert told["timestamp"].endswith("Z")
    assert told["last_seen"].endswith("Z")
    second = await house.device("bob")
    await second.close()
    await house.device("bob")
    cy = await house.group("ann", "cy")
    assert cy
    await house.device("cy")
    assert (await ann.next("user.online"))["user_id"] == "cy"
    assert about(await ann.so_far(), "bob") == []


async def test_strangers_are_told_nothing(house: House) -> None:
    await house.group("ann", "bob")
    await house.group("ann", "cy")
    cy, ann = await house.device("cy"), await house.device("ann")
    await cy.next("user.online", user_id="ann")
    bob = await house.device("bob")
    await ann.next("user.online", user_id="bob")
    await bob.ask("presence.set", status="away")
    await ann.next("user.away", user_id="bob")
    assert about(await cy.so_far(), "bob") == []


async def test_people_of_another_org_are_strangers(house: House) -> None:
    await house.group("ann", "bob")
    async with House(house.server) as elsewhere:
        await elsewhere.group("ann", "bob")
        ann, other_ann = await house.device("ann"), await elsewhere.device("ann")
        await house.device("bob")
        await ann.next("user.online", user_id="bob")
        assert about(await other_ann.so_far(), "bob") == []


async def test_offline_comes_after_a_grace_and_a_reconnect_within_it_is_nothing(
    house: House,
) -> None:
    await house.group("ann", "bob", "cy")
    ann, bob, cy = [await house.device(user) for user in ("ann", "bob", "cy")]
    for user in ("bob", "cy"):
        await ann.next("user.online", user_id=user)
    await bob.close()
    back = await house.device("bob")
    await cy.close()
    gone = await ann.next("user.offline")
    assert gone["user_id"] == "cy"
    left, told = (datetime.fromisoformat(gone[name]) for name in ("last_seen", "timestamp"))
    assert 0.4 < (told - left).total_seconds() < 5
    assert about(await ann.so_far(), "bob") == []
    await back.close()
    assert (await ann.next("user.offline"))["user_id"] == "bob"


async def test_presence_is_confirmed_and_told(house: House) -> None:
    await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.next("user.online", user_id="bob")
    for status, kind in (("away", "user.away"), ("online", "user.online")):
        confirmed = await bob.ask("presence.set", status=status)
        assert confirmed["type"] == "presence.confirmed"
        assert confirmed["status"] == status
        told = await ann.next(kind)
        assert told["user_id"] == "bob"
    bad: object
    for bad in ("offline", "invisible", "", 1, None, {}):
        assert (await bob.ask("presence.set", status=bad))["code"] == "VALIDATION"


async def test_do_not_disturb_is_seen_where_presence_is_asked_for(house: House) -> None:
    await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await bob.ask("presence.set", status="dnd")
    assert (await ann.next("user.online", status="dnd"))["user_id"] == "bob"
    asked = (await house.rest("ann").get("/presence", user_ids="bob")).json()
    assert asked["users"][0]["status"] == "dnd"


async def test_the_best_device_wins(house: House) -> None:
    await house.group("ann", "bob")
    ann, phone, laptop = [await house.device(user) for user in ("ann", "bob", "bob")]
    await ann.next("user.online", user_id="bob")
    await phone.ask("presence.set", status="away")
    await laptop.ask("presence.set", status="away")
    await ann.next("user.away")
    await phone.ask("presence.set", status="online")
    await ann.next("user.online")
    await phone.close()
    await ann.next("user.away")
    assert about(await ann.so_far(), "bob") == []


async def test_several_changes_are_told_once(house: House) -> None:
    await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.next("user.online", user_id="bob")
    for status in ("away", "online", "dnd", "online", "away", "online", "away"):
        await bob.send("presence.set", status=status)
    await ann.next("user.away")
    await bob.ask("presence.set", status="online")
    await ann.next("user.online")
    assert about(await ann.so_far(), "bob") == []


async def test_who_only_pings_is_away_and_back_with_the_next_frame(open_house: OpenHouse) -> None:
    async with open_house(away_after="2") as house:
        conversation = await house.group("ann", "bob")
        ann, bob = await house.device("ann"), await house.device("bob")
        await ann.next("user.online", user_id="bob")

        async def only_pings(frame: str) -> dict[str, Any]:
            while True:
                await bob.ask("ping")
                for told in await ann.so_far():
                    if told["type"] == frame and told["user_id"] == "bob":
                        return told

        assert (await only_pings("user.away"))["last_seen"].endswith("Z")
        await bob.send("subscribe", conversation_id=conversation)
        await ann.next("user.online", user_id="bob")


async def test_who_said_away_stays_away_while_doing_things(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.next("user.online", user_id="bob")
    await bob.ask("presence.set", status="away")
    await ann.next("user.away")
    await bob.ask("message.send", conversation_id=conversation, content="quietly")
    await house.group("ann", "cy")
    await house.device("cy")
    await ann.next("user.online", user_id="cy")
    assert about(await ann.so_far(), "bob") == []


async def test_presence_is_asked_for_over_rest(house: House) -> None:
    await house.group("ann", "bob", "9")
    await house.group("eve", "cy")
    rest = house.rest("ann")

    async def users(**query: str) -> dict[Any, Frame]:
        answer = await rest.get("/presence", **query)
        assert answer.status_code == 200, answer.text
        return {user["user_id"]: user for user in answer.json()["users"]}

    nobody = await users(user_ids="bob,9,cy,nobody")
    assert nobody == {
        user: {"user_id": user, "status": "offline", "last_seen": None, "devices": 0}
        for user in ("bob", 9)
    }
    ann, phone, laptop = [await house.device(user) for user in ("ann", "bob", "bob")]
    await ann.next("user.online", user_id="bob")
    await house.until_present("ann", "bob", "online", 2)
    await phone.close()
    await laptop.close()
    await ann.next("user.offline", user_id="bob")
    gone = (await users(user_ids="bob"))["bob"]
    assert (gone["status"], gone["devices"]) == ("offline", 0)
    assert gone["last_seen"].endswith("Z")


async def test_who_is_online_of_those_i_know_and_of_a_zone(house: House) -> None:
    await house.group("ann", "bob", "cy")
    devices: list[Socket] = [
        await house.device("ann"),
        await house.device("bob", token=house.token("bob", zone="seoul")),
        await house.device("cy", token=house.token("cy", zone="busan")),
        await house.device("eve", token=house.token("eve", zone="seoul")),
    ]
    assert len(devices) == 4

    async def online(user: str, query: dict[str, str], **claims: Any) -> set[str]:
        answer = await house.rest(user, **claims).get("/presence/online", **query)
        return {found["user_id"] for found in answer.json()["users"]}

    async with asyncio.timeout(PATIENCE):
        while await online("boss", {}, roles=["admin"]) != {"ann", "bob", "cy", "eve"}:
            pass  # What another node knows takes it a moment to say.
    assert await online("ann", {}) == {"ann", "bob", "cy"}
    assert await online("ann", {"zone": "seoul"}) == {"bob"}
    assert await online("ann", {"zone": "jeju"}) == set()
    assert await online("boss", {"zone": "seoul"}, roles=["admin"]) == {"bob", "eve"}
    assert await online("ann", {}, org="elsewhere") == set()
