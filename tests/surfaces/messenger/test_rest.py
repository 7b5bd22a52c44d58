"""The REST half of the contract: conversations, people in them, pages of messages, settings."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from madang.testing import assert_event
from tests.surfaces.people import PATIENCE, Frame, House, problem

OpenHouse = Callable[..., House]
NOT_IN_IT = "Not a participant of this conversation"

CONVERSATION_FIELDS = {
    "id",
    "kind",
    "title",
    "metadata",
    "status",
    "participants",
    "participant_count",
    "last_message",
    "last_seq",
    "unread_count",
    "muted",
    "created_at",
    "updated_at",
}


def roles(conversation: Frame) -> dict[Any, str]:
    return {person["user_id"]: person["role"] for person in conversation["participants"]}


# Conversations.


async def test_a_group_is_created_and_told_to_everyone_in_it(house: House) -> None:
    ann, bob, eve = [await house.device(user) for user in ("ann", "bob", "eve")]
    body = {
        "kind": "group",
        "title": "정원",
        "participant_ids": ["bob", 7, "ann", "bob"],
        "metadata": {"color": "green"},
    }
    answer = await house.rest("ann").post("/conversations", body)
    assert answer.status_code == 201
    made = answer.json()
    assert made.keys() >= CONVERSATION_FIELDS
    assert uuid.UUID(made["id"]).version == 7
    assert (made["kind"], made["title"], made["status"]) == ("group", "정원", "active")
    assert made["metadata"] == {"color": "green"}
    assert roles(made) == {"ann": "admin", "bob": "member", 7: "member"}
    assert made["last_message"] is None
    assert (made["unread_count"], made["muted"]) == (0, False)
    for person in made["participants"]:
        assert person.keys() >= {"user_id", "role", "nickname", "last_read_seq", "joined_at"}
    for device in (ann, bob):
        told = await device.next("conversation.created")
        assert told["conversation_id"] == made["id"]
        assert told["seq"] == 1
        assert told["data"]["id"] == made["id"]
        assert roles(told["data"]) == roles(made)
    assert await eve.so_far() == []


async def test_two_people_have_one_direct_conversation(house: House) -> None:
    ann, bob = house.rest("ann"), house.rest("bob")
    first = await ann.post("/conversations", {"kind": "direct", "participant_ids": ["bob"]})
    assert first.status_code == 201
    assert roles(first.json()) == {"ann": "member", "bob": "member"}
    for rest, other in ((ann, "bob"), (bob, "ann")):
        again = await rest.post("/conversations", {"kind": "direct", "participant_ids": [other]})
        assert again.status_code == 200
        assert again.json()["id"] == first.json()["id"]
    cy = await ann.post("/conversations", {"kind": "direct", "participant_ids": ["cy"]})
    assert cy.status_code == 201
    async with House(house.server) as elsewhere:
        other_org = await elsewhere.rest("ann").post(
            "/conversations", {"kind": "direct", "participant_ids": ["bob"]}
        )
        assert other_org.status_code == 201


async def test_two_people_who_write_at_the_same_moment_have_one_conversation(
    house: House,
) -> None:
    rests = [house.rest(user) for user in ("ann", "bob") for _ in range(5)]
    others = [other for other in ("bob", "ann") for _ in range(5)]
    answers = await asyncio.gather(
        *(
            rest.post("/conversations", {"kind": "direct", "participant_ids": [other]})
            for rest, other in zip(rests, others, strict=True)
        )
    )
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]


@pytest.mark.parametrize("others", [[], ["ann"], ["bob", "cy"]])
async def test_a_direct_conversation_has_exactly_two(house: House, others: list[str]) -> None:
    answer = await house.rest("ann").post(
        "/conversations", {"kind": "direct", "participant_ids": others}
    )
    problem(answer, 422, "VALIDATION")


async def test_the_list_has_the_newest_first_and_pages(house: House) -> None:
    ids = [await house.group("ann", "bob", title=str(number)) for number in range(5)]
    await house.group("bob", "cy")
    message = await house.say("bob", ids[1], "newest")
    rest = house.rest("ann")
    found: list[Frame] = []
    page: str | None = None
    pages = 0
    while True:
        query: dict[str, Any] = {"limit": 2} if page is None else {"limit": 2, "page": page}
        answer = (await rest.get("/conversations", **query)).json()
        found += answer["conversations"]
        pages += 1
        assert answer["has_more"] is (answer["next"] is not None)
        if not answer["has_more"]:
            break
        page = answer["next"]
    assert pages == 3
    assert [view["id"] for view in found] == [ids[1], ids[4], ids[3], ids[2], ids[0]]
    assert found[0]["last_message"] == message
    assert found[0]["unread_count"] == 1
    assert found[0]["last_seq"] == 2
    assert all(view.keys() >= CONVERSATION_FIELDS for view in found)


async def test_an_admin_changes_title_and_metadata(house: House) -> None:
    conversation = await house.group("ann", "bob", title="old", metadata={"a": 1})
    bob = await house.device("bob")
    path = f"/conversations/{conversation}"
    changed = (await house.rest("ann").patch(path, {"title": "new"})).json()
    assert (changed["title"], changed["metadata"]) == ("new", {"a": 1})
    told = await bob.next("conversation.updated")
    assert (told["conversation_id"], told["data"]["title"]) == (conversation, "new")
    changed = (await house.rest("ann").patch(path, {"metadata": {"b": 2}})).json()
    assert (changed["title"], changed["metadata"]) == ("new", {"b": 2})
    problem(await house.rest("bob").patch(path, {"title": "mine"}), 403, "FORBIDDEN")
    problem(
        await house.rest("eve").patch(path, {"title": "x"}), 404, "NOT_A_PARTICIPANT", NOT_IN_IT
    )


async def test_an_admin_archives(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = await house.device("bob")
    path = f"/conversations/{conversation}"
    problem(await house.rest("bob").delete(path), 403, "FORBIDDEN")
    for _ in range(2):
        answer = await house.rest("ann").delete(path)
        assert answer.status_code == 200
        assert answer.json()["status"] == "archived"
    told = assert_event(await bob.so_far(), type="conversation.archived")
    assert told["data"]["status"] == "archived"
    for method, where, body in (
        ("POST", f"{path}/messages", {"content": "x"}),
        ("PATCH", path, {"title": "x"}),
        ("POST", f"{path}/participants", {"user_ids": ["cy"]}),
    ):
        problem(await house.rest("ann").call(method, where, body), 409, "CONFLICT")


async def test_what_one_may_not_see_answers_like_what_does_not_exist(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    eve = house.rest("eve")
    nowhere, nothing = str(uuid.uuid4()), str(uuid.uuid4())

    async def answers(place: str, thing: str) -> list[tuple[int, str]]:
        calls: list[tuple[str, str, Any]] = [
            ("GET", f"/conversations/{place}", None),
            ("PATCH", f"/conversations/{place}", {"title": "x"}),
            ("DELETE", f"/conversations/{place}", None),
            ("GET", f"/conversations/{place}/messages", None),
            ("POST", f"/conversations/{place}/messages", {"content": "x"}),
            ("POST", f"/conversations/{place}/participants", {"user_ids": ["eve"]}),
            ("DELETE", f"/conversations/{place}/participants/eve", None),
            ("DELETE", f"/conversations/{place}/participants/ann", None),
            ("POST", f"/conversations/{place}/read", {"message_id": thing}),
            ("GET", f"/conversations/{place}/notification-settings", None),
            ("PUT", f"/conversations/{place}/notification-settings", {"level": "all"}),
            ("GET", f"/messages/{thing}", None),
            ("PATCH", f"/messages/{thing}", {"content": "x"}),
            ("DELETE", f"/messages/{thing}", None),
            ("GET", f"/messages/{thing}/receipts", None),
        ]
        found = [await eve.call(*call) for call in calls]
        return [(answer.status_code, answer.text) for answer in found]

    hidden, absent = await answers(conversation, message["id"]), await answers(nowhere, nothing)
    assert hidden == absent
    assert {status for status, _ in hidden} == {404}
    async with House(house.server) as elsewhere:
        other = elsewhere.rest("ann")
        assert (await other.get(f"/conversations/{conversation}")).status_code == 404
        assert (await other.get(f"/messages/{message['id']}")).status_code == 404


# Participants.


async def test_people_join_and_leave(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob, cy = await house.device("bob"), await house.device("cy")
    path = f"/conversations/{conversation}/participants"
    problem(await house.rest("bob").post(path, {"user_ids": ["cy"]}), 403, "FORBIDDEN")
    joined = await house.rest("ann").post(path, {"user_ids": ["cy", 8], "role": "admin"})
    assert joined.status_code == 200
    assert roles(joined.json()) == {"ann": "admin", "bob": "member", "cy": "admin", 8: "admin"}
    for device in (bob, cy):
        for user in ("cy", 8):
            told = await device.next("participant.joined", user_id=user)
            assert (told["conversation_id"], told["role"]) == (conversation, "admin")
            assert told["seq"] in (2, 3)
    await house.say("bob", conversation, "welcome")
    await cy.next("message.new")
    problem(await house.rest("bob").delete(f"{path}/cy"), 403, "FORBIDDEN")
    assert (await house.rest("cy").delete(f"{path}/8")).status_code == 200
    assert (await house.rest("bob").delete(f"{path}/bob")).status_code == 200
    left = await bob.next("participant.left", user_id="bob")
    assert (left["by"], left["conversation_id"]) == ("bob", conversation)
    gone = await cy.next("participant.left", user_id=8)
    assert gone["by"] == "cy"
    problem(await house.rest("ann").delete(f"{path}/nobody"), 404, "NOT_FOUND")


async def test_joining_again_changes_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = await house.device("bob")
    path = f"/conversations/{conversation}/participants"
    assert (await house.rest("ann").post(path, {"user_ids": ["bob"]})).status_code == 200
    assert await bob.so_far() == []


async def test_a_group_is_never_without_an_admin(house: House) -> None:
    conversation = await house.group("ann", "bob")
    path = f"/conversations/{conversation}"
    assert (await house.rest("ann").delete(f"{path}/participants/ann")).status_code == 200
    assert roles((await house.rest("bob").get(path)).json()) == {"bob": "admin"}


async def test_a_direct_conversation_is_not_joined_or_left(house: House) -> None:
    made = await house.rest("ann").post(
        "/conversations", {"kind": "direct", "participant_ids": ["bob"]}
    )
    path = f"/conversations/{made.json()['id']}/participants"
    problem(await house.rest("ann").post(path, {"user_ids": ["cy"]}), 403, "FORBIDDEN")
    problem(await house.rest("ann").delete(f"{path}/bob"), 403, "FORBIDDEN")


# Messages.


async def test_pages_before_after_and_around(house: House) -> None:
    conversation = await house.group("ann", "bob")
    said = [await house.say("ann", conversation, str(number)) for number in range(10)]
    rest = house.rest("bob")
    path = f"/conversations/{conversation}/messages"

    async def page(**query: Any) -> tuple[str, bool]:
        answer = await rest.get(path, **query)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return "".join(message["content"] for message in body["messages"]), body["has_more"]

    assert await page() == ("0123456789", False)
    assert await page(limit=3) == ("789", True)
    middle = said[5]
    for place in (middle["seq"], middle["id"], middle["id"].upper()):
        assert await page(before=place, limit=3) == ("234", True)
        assert await page(before=place) == ("01234", False)
        assert await page(after=place, limit=3) == ("678", True)
        assert await page(after=place) == ("6789", False)
        assert await page(around=place, limit=5) == ("34567", True)
        assert await page(around=place, limit=50) == ("0123456789", False)
    assert await page(after=middle["created_at"]) == ("6789", False)
    assert await page(before=middle["created_at"]) in (("01234", False), ("012345", False))
    assert await page(around=middle["created_at"], limit=3) == ("456", True)
    assert await page(after="2020-01-01T00:00:00Z", limit=2) == ("01", True)
    assert await page(before="2020-01-01T00:00:00Z") == ("", False)
    assert await page(after="2999-01-01T00:00:00+09:00") == ("", False)


async def test_next_leads_through_all_messages(house: House) -> None:
    conversation = await house.group("ann")
    for number in range(7):
        await house.say("ann", conversation, str(number))
    rest = house.rest("ann")
    path = f"/conversations/{conversation}/messages"
    for first, expected in (({}, ["56", "34", "12", "0"]), ({"after": 0}, ["01", "23", "45", "6"])):
        query: dict[str, Any] = {"limit": 2, **first}
        pages = []
        while True:
            answer = (await rest.get(path, **query)).json()
            pages.append("".join(message["content"] for message in answer["messages"]))
            assert answer["has_more"] is (answer["next"] is not None)
            if not answer["has_more"]:
                break
            query = {"limit": 2, "page": answer["next"]}
        assert pages == expected


async def test_tombstones_keep_their_place_in_pages(house: House) -> None:
    conversation = await house.group("ann")
    said = [await house.say("ann", conversation, str(number)) for number in range(3)]
    await house.rest("ann").delete(f"/messages/{said[1]['id']}")
    answer = await house.rest("ann").get(f"/conversations/{conversation}/messages")
    assert [m["content"] for m in answer.json()["messages"]] == ["0", "", "2"]


@pytest.mark.parametrize(
    "query",
    [
        {"before": "x"},
        {"before": "9" * 18},
        {"before": "9" * 19},
        {"after": "9" * 20},
        {"around": "9" * 400},
        {"before": "-1"},
        {"after": "1.5"},
        {"after": ""},
        {"after": "\0"},
        {"before": str(uuid.uuid4())},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "x"},
        {"limit": "9" * 30},
        {"page": "x"},
        {"page": "before-x"},
        {"page": "before-" + "9" * 19},
        {"page": "after-" + "9" * 30},
        {"before": "1", "after": "1"},
        {"after": "9999-12-31T23:59:59-23:59"},
        {"after": "0001-01-01T00:00:00+23:59"},
    ],
)
async def test_places_that_are_none_are_refused(house: House, query: dict[str, str]) -> None:
    conversation = await house.group("ann")
    await house.say("ann", conversation, "x")
    answer = await house.rest("ann").get(f"/conversations/{conversation}/messages", **query)
    if query == {"before": "9" * 18}:  # a time in microseconds, far away
        assert answer.status_code == 200
    else:
        assert answer.status_code in (404, 422), answer.text
        assert answer.json()["code"] in ("NOT_FOUND", "VALIDATION")


@pytest.mark.parametrize(
    "page", ["x", "", "=", "\0", "한", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTp4", "é" * 50]
)
async def test_pages_of_conversations_that_nobody_gave_out_are_refused(
    house: House, page: str
) -> None:
    problem(await house.rest("ann").get("/conversations", page=page), 422, "VALIDATION")


async def test_an_idempotency_key_is_a_client_id(house: House) -> None:
    conversation = await house.group("ann", "bob")
    rest = house.rest("ann")
    path = f"/conversations/{conversation}/messages"
    headers = {"Idempotency-Key": "key-1"}
    first = await rest.post(path, {"content": "one"}, headers=headers)
    assert first.status_code == 201
    assert first.json()["client_id"] == "key-1"
    again = await rest.post(path, {"content": "two"}, headers=headers)
    assert (again.status_code, again.json()) == (200, first.json())
    ann = await house.device("ann")
    sent = await ann.ask(
        "message.send", conversation_id=conversation, content="three", client_id="key-1"
    )
    assert sent["data"] == first.json()


async def test_one_message_and_who_has_read_it(house: House) -> None:
    conversation = await house.group("ann", "bob", "cy")
    first = await house.say("ann", conversation, "1")
    second = await house.say("ann", conversation, "2")
    rest = house.rest("bob")
    assert (await rest.get(f"/messages/{first['id']}")).json() == first
    ann = await house.device("ann")
    read = await rest.post(f"/conversations/{conversation}/read", {"message_id": first["id"]})
    assert read.status_code == 200
    told = await ann.next("message.read")
    assert (told["message_id"], told["user_id"]) == (first["id"], "bob")

    async def readers(message: Frame) -> list[str]:
        answer = (await rest.get(f"/messages/{message['id']}/receipts")).json()
        return [receipt["user_id"] for receipt in answer["receipts"]]

    assert await readers(first) == ["bob"]
    assert await readers(second) == []
    other = await house.group("bob")
    answer = await rest.post(f"/conversations/{other}/read", {"message_id": first["id"]})
    problem(answer, 404, "NOT_FOUND", "Message not found")


async def test_edits_and_deletions_over_rest_are_told(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    bob = await house.device("bob")
    rest = house.rest("ann")
    edited = await rest.patch(f"/messages/{message['id']}", {"content": "y"})
    assert edited.status_code == 200
    assert (await bob.next("message.edited"))["data"] == edited.json()
    gone = await rest.delete(f"/messages/{message['id']}")
    assert gone.status_code in (200, 204)
    assert (await bob.next("message.deleted"))["message_id"] == message["id"]


# One's own settings, and numbers.


async def test_notification_settings(house: House) -> None:
    conversation = await house.group("ann", "bob")
    rest = house.rest("ann")
    path = f"/conversations/{conversation}"
    settings = f"{path}/notification-settings"
    fresh = (await rest.get(settings)).json()
    assert (fresh["level"], fresh["muted_until"]) == ("all", None)
    bob = await house.device("bob")
    until = "2999-01-01T00:00:00.000000Z"
    for body, muted in (
        ({"level": "none"}, True),
        ({"level": "mentions"}, False),
        ({"level": "all", "muted_until": until}, True),
        ({"level": "all", "muted_until": "2001-01-01T00:00:00Z"}, False),
        ({"level": "all", "muted_until": None}, False),
    ):
        answer = await rest.put(settings, body)
        assert answer.status_code == 200
        assert answer.json()["level"] == body["level"]
        assert (await rest.get(settings)).json() == answer.json()
        assert (await rest.get(path)).json()["muted"] is muted, body
        assert (await house.rest("bob").get(path)).json()["muted"] is False
    assert await bob.so_far() == []
    for wrong in (
        {"level": "some"},
        {"level": "all", "muted_until": "tomorrow"},
        {"level": "all", "muted_until": 5},
        {"level": "all", "muted_until": "9999-12-31T23:59:59-23:59"},
        {"level": "all", "muted_until": "0001-01-01T00:00:00+23:59"},
        {"level": "all", "extra": 1},
    ):
        problem(await rest.put(settings, wrong), 422, "VALIDATION")


async def test_stats_are_for_admins(house: House) -> None:
    await house.group("ann", "bob")
    await house.device("ann")
    await house.device("ann")
    await house.device("bob")
    problem(await house.rest("ann").get("/stats"), 403, "FORBIDDEN")
    numbers: Frame = {}
    async with asyncio.timeout(PATIENCE):
        while numbers.get("total_connections") != 3:
            # What another node knows takes it a moment to say.
            numbers = (await house.rest("boss", roles=["admin"]).get("/stats")).json()
    assert numbers["online_users"] == 2
    assert numbers["active_conversations"] == 1
    other = await house.rest("boss", roles=["admin"], org="elsewhere").get("/stats")
    assert other.json()["total_connections"] == 0


async def test_roles_decide_what_a_sender_appears_as(house: House) -> None:
    conversation = await house.group("ann", "bot", "backend")
    path = f"/conversations/{conversation}/messages"
    for user, given, appears in (
        ("ann", [], "user"),
        ("bot", ["agent"], "agent"),
        ("backend", ["service"], "system"),
        ("ann", ["admin"], "user"),
    ):
        answer = await house.rest(user, roles=given).post(path, {"content": "x"})
        assert answer.json()["sender_type"] == appears
    notice = {"content": "notice", "message_type": "system"}
    problem(await house.rest("ann").post(path, notice), 403, "FORBIDDEN")
    assert (await house.rest("backend", roles=["service"]).post(path, notice)).status_code == 201
    stream = {"content": "x", "message_type": "stream"}
    problem(await house.rest("ann").post(path, stream), 422, "VALIDATION")


async def test_rest_needs_a_good_token(house: House) -> None:
    url = f"{house.server.url}/api/v1/messenger/conversations"
    client = house.rest("ann").client
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Basic {house.token('ann')}"},
        {"Authorization": f"Bearer {house.token('ann', ttl=-1)}"},
        {"Authorization": f"Bearer {house.token('ann')}x"},
    ):
        answer = await client.get(url, headers=headers)
        problem(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
    answer = await client.get(
        url, params={"token": house.token("ann")}, headers={"Authorization": ""}
    )
    assert answer.status_code == 200
