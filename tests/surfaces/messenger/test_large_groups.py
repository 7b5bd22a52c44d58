"""Groups of thousands: what is told of them stays small, and making them is limited."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from madang.services.conversations import MAX_PARTICIPANTS
from tests.surfaces.people import Frame, House, problem

TOLD = 500
MANY = [f"user-{n:05}" for n in range(2_000)]


async def test_an_event_lists_the_first_and_counts_them_all(house: House) -> None:
    ann, bob = await house.device("ann"), await house.device("bob")
    body = {"kind": "group", "participant_ids": ["bob", *MANY]}
    made = (await house.rest("ann").post("/conversations", body)).json()
    assert (len(made["participants"]), made["participant_count"]) == (TOLD, len(MANY) + 2)
    for device in (ann, bob):
        told = (await device.next("conversation.created"))["data"]
        assert told["participant_count"] == len(MANY) + 2
        assert [p["user_id"] for p in told["participants"]] == ["ann", "bob", *MANY[: TOLD - 2]]

    path = f"/conversations/{made['id']}"
    await house.rest("ann").patch(path, {"title": "new"})
    told = (await bob.next("conversation.updated"))["data"]
    assert (len(told["participants"]), told["participant_count"]) == (TOLD, len(MANY) + 2)

    # Read back from the log, it is the same.
    events = [e for e in (await rest_events(house, "bob")) if e["type"] == "conversation.created"]
    (again,) = (e["payload"]["data"] for e in events)
    assert again["participants"] == told["participants"]
    assert again["participant_count"] == len(MANY) + 2

    # Also those who are not listed hear what is said.
    late = await house.device(MANY[-1])
    await ann.ask("message.send", conversation_id=made["id"], content="hello", client_id="1")
    assert (await late.next("message.new"))["data"]["content"] == "hello"


async def rest_events(house: House, user: str) -> list[Frame]:
    answer = await house.rest(user).client.get("/api/v1/events", params={"cursor": "0"})
    found: list[Frame] = answer.json()["events"]
    return found


async def test_every_view_lists_the_first_and_me(house: House) -> None:
    made = await house.group("ann", *MANY)
    path, late = f"/conversations/{made}", house.rest(MANY[-1])
    (listed,) = (await late.get("/conversations")).json()["conversations"]
    for view in (listed, (await late.get(path)).json()):
        names = [p["user_id"] for p in view["participants"]]
        assert names == ["ann", *MANY[: TOLD - 1], MANY[-1]]
        assert view["participant_count"] == len(MANY) + 1


async def test_all_of_them_come_in_pages(house: House) -> None:
    made = await house.group("ann", *MANY)
    path, late = f"/conversations/{made}/participants", house.rest(MANY[-1])
    names: list[str] = []
    query: Frame = {"limit": 200}
    while True:
        answer = (await late.get(path, **query)).json()
        assert answer.keys() == {"participants", "has_more", "next"}
        names += [person["user_id"] for person in answer["participants"]]
        if not answer["has_more"]:
            break
        assert len(answer["participants"]) == 200
        query["page"] = answer["next"]
    assert answer["next"] is None
    assert sorted(names) == sorted(["ann", *MANY])
    problem(await house.rest("eve").get(path), 404, "NOT_A_PARTICIPANT")
    problem(await late.get(path, page="nonsense"), 422, "VALIDATION")


async def test_a_group_has_a_largest_size(house: House) -> None:
    ann = house.rest("ann")
    full = [f"user-{n}" for n in range(MAX_PARTICIPANTS - 2)]
    body = {"kind": "group", "participant_ids": full}
    made = await ann.post("/conversations", body)
    assert made.status_code == 201, made.text
    path = f"/conversations/{made.json()['id']}/participants"
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
