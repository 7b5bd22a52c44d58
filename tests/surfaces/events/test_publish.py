"""Publishing: who may, what may be published, once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.surfaces.events.conftest import EVENTS, Desk, numbers
from tests.surfaces.people import House, problem


async def test_only_a_service_publishes(desk: Desk) -> None:
    body = {"type": "counted", "payload": 1, "user_id": "ann"}
    for roles in ((), ("admin",), ("agent",)):
        problem(await desk.rest("ann", roles=roles).post(EVENTS, json=body), 403, "FORBIDDEN")
    without = await desk.backend.post(EVENTS, json=body, headers={"Authorization": ""})
    problem(without, 401, "UNAUTHORIZED")
    answer = await desk.backend.post(EVENTS, json=body)
    assert answer.status_code == 201
    assert answer.json()["seq"] == 1
    assert answer.json()["cursor"] > 1_700_000_000_000_000


@pytest.mark.parametrize(
    "payload", [None, 0, "text", [1, [2]], {"한": "글"}, {"deep": {"er": [{}]}}]
)
async def test_the_payload_comes_back_as_it_was(desk: Desk, payload: Any) -> None:
    told = await desk.publish(0, payload=payload, type="task_interaction")
    (event,) = (await desk.rest("ann").get(EVENTS)).json()["events"]
    assert event["payload"] == payload
    assert event["type"] == "task_interaction"
    assert (event["cursor"], event["seq"]) == (told["cursor"], told["seq"])
    assert event["timestamp"].endswith("Z")


async def test_to_a_conversation_all_participants_hear_it(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    told = await desk.publish(7, user_id=None, conversation_id=room)
    assert told["seq"] == 2
    for user in ("ann", "ben"):
        events = (await desk.rest(user).get(EVENTS)).json()["events"]
        assert [event["type"] for event in events] == ["conversation.created", "counted"]
        assert events[1]["conversation_id"] == room
    assert (await desk.rest("cho").get(EVENTS)).json()["events"] == []


async def test_the_messenger_tells_it_too(desk: Desk, house: House) -> None:
    ann = await house.device("ann")
    told = await desk.publish(3)
    frame = await ann.next("counted")
    assert frame["payload"] == {"n": 3}
    assert (frame["seq"], frame["cursor"]) == (told["seq"], told["cursor"])


async def test_a_key_makes_it_one_event(desk: Desk) -> None:
    body = {"type": "counted", "payload": {"n": 1}, "user_id": "ann", "idempotency_key": "k1"}
    first = await desk.backend.post(EVENTS, json=body)
    again = await desk.backend.post(EVENTS, json={**body, "payload": {"n": 2}})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = await desk.rest("other", roles=["service"]).post(EVENTS, json=body)
    assert other.status_code == 201, "keys belong to their publisher"
    events = (await desk.rest("ann").get(EVENTS)).json()["events"]
    assert numbers(events) == [1, 1]


@pytest.mark.parametrize(
    "name",
    [
        "message.new",
        "message.mine",
        "conversation.x",
        "reaction.x",
        "typing.start",
        "user.online",
        "ping",
        "cursor",
        "replay_complete",
        "error",
        "system",
        "stream_chunk",
        "participant.joined",
    ],
)
async def test_the_servers_own_names_are_refused(desk: Desk, name: str) -> None:
    body = {"type": name, "payload": 1, "user_id": "ann"}
    problem(await desk.backend.post(EVENTS, json=body), 422, "VALIDATION")


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a-b", ".a", "a.", "a..b", "é", "x" * 101, 5])
async def test_names_are_dotted_or_snake_case(desk: Desk, name: Any) -> None:
    body = {"type": name, "payload": 1, "user_id": "ann"}
    problem(await desk.backend.post(EVENTS, json=body), 422, "VALIDATION")


@pytest.mark.parametrize("name", ["task_interaction", "agent_log", "order.shipped", "a", "x9.y_2"])
async def test_any_other_name_will_do(desk: Desk, name: str) -> None:
    assert (await desk.publish(1, type=name))["seq"] == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"user_id": None}, 422, "VALIDATION"),
        ({"conversation_id": "0199a7e2-0000-7000-8000-000000000000"}, 422, "VALIDATION"),
        ({"user_id": "x" * 101}, 422, "INVALID_ID"),
        ({"user_id": None, "conversation_id": "room"}, 422, "INVALID_ID"),
        (
            {"user_id": None, "conversation_id": "0199a7e2-0000-7000-8000-000000000000"},
            404,
            "NOT_FOUND",
        ),
        ({"idempotency_key": ""}, 422, "VALIDATION"),
        ({"colour": "red"}, 422, "VALIDATION"),
    ],
)
async def test_to_whom_must_be_clear(
    desk: Desk, fields: dict[str, Any], status: int, code: str
) -> None:
    body = {"type": "counted", "payload": 1, "user_id": "ann", **fields}
    answer = await desk.backend.post(EVENTS, json=body)
    problem(answer, status, code)


async def test_another_orgs_conversation_does_not_exist(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    stranger = desk.rest("backend", roles=["service"], org="elsewhere")
    body = {"type": "counted", "payload": 1, "conversation_id": room}
    problem(await stranger.post(EVENTS, json=body), 404, "NOT_FOUND")


async def test_an_archived_conversation_takes_nothing(desk: Desk, house: House) -> None:
    room = await house.group("ann", "ben")
    assert (await house.rest("ann").delete(f"/conversations/{room}")).is_success
    body = {"type": "counted", "payload": 1, "conversation_id": room}
    problem(await desk.backend.post(EVENTS, json=body), 409, "CONFLICT")
