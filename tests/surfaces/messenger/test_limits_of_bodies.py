"""What requests may carry: how much, in which shape, and what they may leave a group without."""

from __future__ import annotations

import pytest

from tests.surfaces.people import House, error, problem

MESSAGE = 65_536
METADATA = 16_384
NUMBERS = 4_000
"""Of `1e15`, so many are a quarter of a frame and more than a message once they are written out."""


async def test_a_message_is_measured_with_all_that_is_in_it(house: House) -> None:
    path = f"/conversations/{await house.group('ann', 'bob')}/messages"
    ann = house.rest("ann")
    half = "x" * (MESSAGE // 2)
    fits = {"content": half, "metadata": {"a": half[: -len('{"a":""}')]}}
    assert (await ann.post(path, fits)).status_code == 201
    beyond = {"content": half + "x", "metadata": fits["metadata"]}
    problem(await ann.post(path, beyond), 413, "TOO_LARGE", "Message too large")
    attached = {"content": half, "attachments": [{"a": half}]}
    problem(await ann.post(path, attached), 413, "TOO_LARGE", "Message too large")


async def test_a_frame_that_grows_is_measured_too(house: House) -> None:
    conversation = await house.group("ann", "bob")
    device = await house.device("ann")
    numbers = ",".join(["1e15"] * NUMBERS)
    await device.raw(
        f'{{"type":"message.send","id":"1","conversation_id":"{conversation}","content":"x",'
        f'"metadata":{{"n":[{numbers}]}}}}'
    )
    error(await device.next(reply_to="1"), "TOO_LARGE", "Message too large")


async def test_metadata_of_a_conversation_has_a_size(house: House) -> None:
    ann = house.rest("ann")
    fits = {"a": "x" * (METADATA - len('{"a":""}'))}
    path = f"/conversations/{await house.group('ann', 'bob', metadata=fits)}"
    beyond = {"metadata": {"a": fits["a"] + "x"}}
    told = "metadata: at most 16384 bytes of JSON"
    problem(await ann.patch(path, beyond), 413, "TOO_LARGE", told)
    body = {"kind": "group", "participant_ids": ["bob"], **beyond}
    problem(await ann.post("/conversations", body), 413, "TOO_LARGE", told)


async def test_a_payload_has_a_size(house: House) -> None:
    backend = house.rest("backend", roles=["service"]).client
    body = {"type": "counted", "user_id": "ann", "payload": "x" * (MESSAGE - 2)}
    assert (await backend.post("/api/v1/events", json=body)).status_code == 201
    beyond = {**body, "payload": body["payload"] + "x"}
    told = "payload: at most 65536 bytes of JSON"
    problem(await backend.post("/api/v1/events", json=beyond), 413, "TOO_LARGE", told)


async def test_a_group_keeps_an_admin(house: House) -> None:
    path = f"/conversations/{await house.group('ann', 'bob')}/participants"
    ann = house.rest("ann")
    for people in (["ann"], ["bob", "ann"]):
        refused = await ann.post(path, {"user_ids": people, "role": "member"})
        problem(refused, 409, "CONFLICT", "A group keeps at least one admin")
    assert (await ann.post(path, {"user_ids": ["bob"], "role": "admin"})).status_code == 200
    both = await ann.post(path, {"user_ids": ["bob", "ann"], "role": "member"})
    problem(both, 409, "CONFLICT")
    assert (await ann.post(path, {"user_ids": ["ann"], "role": "member"})).status_code == 200
    roles = {p["user_id"]: p["role"] for p in (await ann.get(path)).json()["participants"]}
    assert roles == {"ann": "member", "bob": "admin"}


async def test_whose_id_has_a_slash_can_be_removed(house: House) -> None:
    path = f"/conversations/{await house.group('ann', 'a/b')}/participants"
    removed = await house.rest("ann").delete(f"{path}/a%2Fb")
    assert removed.status_code == 200, removed.text
    assert removed.json()["user_id"] == "a/b"


@pytest.mark.parametrize("body", ["", "[]", '"x"', "5", "null"])
async def test_a_body_that_is_no_object_is_named(house: House, body: str) -> None:
    rest = house.rest("ann")
    headers = {"content-type": "application/json"}
    answer = await rest.call("POST", "/conversations", content=body, headers=headers)
    problem(answer, 422, "VALIDATION", "Request body must be a JSON object")
