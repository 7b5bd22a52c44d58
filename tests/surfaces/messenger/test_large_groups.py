"""Groups of thousands: what is told of them stays small, and making them is limited."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from madang.services.conversations import MAX_PARTICIPANTS
from tests.surfaces.people import House

TOLD = 500
MANY = [f"user-{n:05}" for n in range(2_000)]


async def test_an_event_lists_the_first_and_counts_them_all(house: House) -> None:
    ann, bob = await house.device("ann"), await house.device("bob")
    body = {"kind": "group", "participant_ids": ["bob", *MANY]}
    made = (await house.rest("ann").post("/conversations", body)).json()
    # Whoever asks gets them all; an event is for everyone, whether they wanted so much or not.
    assert made["participant_count"] == len(made["participants"]) == len(MANY) + 2
    for device in (ann, bob):
        told = (await device.next("conversation.created"))["data"]
        assert told["participant_count"] == len(MANY) + 2
        assert [p["user_id"] for p in told["participants"]] == ["ann", "bob", *MANY[: TOLD - 2]]

    path = f"/conversations/{made['id']}"
    await house.rest("ann").patch(path, {"title": "new"})
    told = (await bob.next("conversation.updated"))["data"]
    assert (len(told["participants"]), told["participant_count"]) == (TOLD, len(MANY) + 2)

    # Also those who are not listed hear what is said.
    late = await house.device(MANY[-1])
    await ann.ask("message.send", conversation_id=made["id"], content="hello", client_id="1")
    assert (await late.next("message.new"))["data"]["content"] == "hello"


async def test_a_group_has_a_largest_size(house: House) -> None:
    ann = house.rest("ann")
    full = [f"user-{n}" for n in range(MAX_PARTICIPANTS - 2)]
    body = {"kind": "group", "participant_ids": full}
    made = (await ann.post("/conversations", body)).json()
    path = f"/conversations/{made['id']}/participants"
    refused = await ann.post(path, {"user_ids": ["bob", "cat"]})
    assert refused.status_code == 422, refused.text
    assert str(MAX_PARTICIPANTS) in refused.text
    joined = await ann.post(path, {"user_ids": ["bob", "user-1"]})
    assert joined.json()["participant_count"] == MAX_PARTICIPANTS
    assert (await ann.post(path, {"user_ids": ["cat"]})).status_code == 422
    # Whoever is in it already may be named again.
    assert (await ann.post(path, {"user_ids": ["bob"], "role": "admin"})).status_code == 200


@pytest.mark.parametrize("path", ["/conversations", "/conversations/{}/participants"])
async def test_making_and_filling_groups_counts_as_sending(
    open_house: Callable[..., House], path: str
) -> None:
    async with open_house(rate_limit_enabled="true", rate_limit_messages_per_minute="2") as house:
        rest = house.rest("ann")
        made = await rest.post("/conversations", {"kind": "group", "participant_ids": ["bob"]})
        url = path.format(made.json()["id"])
        body = {"kind": "group", "participant_ids": ["c"]}
        if "participants" in path:
            body = {"user_ids": ["c"]}
        assert (await rest.post(url, body)).status_code < 300
        limited = await rest.post(url, body)
        assert limited.status_code == 429
        assert int(limited.headers["retry-after"]) >= 1
