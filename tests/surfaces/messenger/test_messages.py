"""Sending, editing, deleting, reading, reacting: every reply and every event of the table."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from madang.testing import assert_event
from tests.surfaces.people import House, error, problem

OpenHouse = Callable[..., House]

MESSAGE_FIELDS = {
    "id",
    "conversation_id",
    "seq",
    "sender_id",
    "sender_type",
    "message_type",
    "content",
    "metadata",
    "reply_to_id",
    "attachments",
    "reactions",
    "created_at",
    "edited_at",
    "deleted_at",
    "client_id",
}


async def test_a_message_is_confirmed_and_reaches_every_device_of_everyone(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, tablet = await house.device("ann"), await house.device("ann")
    bob, phone = await house.device("bob"), await house.device("bob")
    sent = await ann.ask(
        "message.send", conversation_id=conversation, content="안녕 👋", client_id="c-1"
    )
    assert sent["type"] == "message.sent"
    assert sent["client_id"] == "c-1"
    message = sent["data"]
    assert message["id"] == sent["message_id"]
    assert message.keys() >= MESSAGE_FIELDS
    assert uuid.UUID(message["id"]).version == 7
    expected = {
        "conversation_id": conversation,
        "seq": 2,
        "sender_id": "ann",
        "sender_type": "user",
        "message_type": "text",
        "content": "안녕 👋",
        "metadata": {},
        "reply_to_id": None,
        "attachments": [],
        "reactions": {},
        "edited_at": None,
        "deleted_at": None,
        "client_id": "c-1",
    }
    assert {name: message[name] for name in expected} == expected
    assert message["created_at"].endswith("Z")
    cursors = set()
    for device in (ann, tablet, bob, phone):
        new = assert_event(await device.so_far(), type="message.new", data=message)
        assert new["conversation_id"] == conversation
        assert new["seq"] == 2
        assert "reply_to" not in new
        cursors.add(new["cursor"])
    assert len(cursors) == 1


async def test_without_an_id_there_is_no_reply_to(house: House) -> None:
    conversation = await house.group("ann")
    ann = await house.device("ann")
    await ann.send("message.send", conversation_id=conversation, content="x")
    assert "reply_to" not in await ann.next("message.sent")


async def test_seqs_have_no_gaps_and_cursors_rise(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    for number in range(20):
        await ann.send("message.send", conversation_id=conversation, content=str(number))
    heard = [await bob.next("message.new") for _ in range(20)]
    assert [frame["data"]["content"] for frame in heard] == [str(n) for n in range(20)]
    assert [frame["seq"] for frame in heard] == list(range(2, 22))
    cursors = [frame["cursor"] for frame in heard]
    assert cursors == sorted(set(cursors))


async def test_numeric_senders_are_json_integers(house: House) -> None:
    conversation = await house.group("7", "8")
    seven, eight = await house.device("7"), await house.device("8")
    sent = await seven.ask("message.send", conversation_id=conversation, content="x")
    assert sent["data"]["sender_id"] == 7
    await eight.ask("reaction.add", message_id=sent["message_id"], emoji="👍")
    assert (await seven.next("reaction.added"))["user_id"] == 8
    read = await house.rest("7").get(f"/messages/{sent['message_id']}")
    assert read.json()["reactions"] == {"👍": [8]}


async def test_a_message_may_carry_what_a_client_needs(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    first = await ann.ask("message.send", conversation_id=conversation, content="first")
    file = {"name": "a.png", "size": 3, "content_type": "image/png"}
    await ann.ask(
        "message.send",
        conversation_id=conversation,
        content="",
        message_type="file",
        attachments=[file],
        metadata={"width": 3, "nested": {"한": [1, None, True]}},
        reply_to_id=first["message_id"],
    )
    message = (await bob.next("message.new", seq=3))["data"]
    assert message["message_type"] == "file"
    assert message["attachments"] == [file]
    assert message["metadata"] == {"width": 3, "nested": {"한": [1, None, True]}}
    assert message["reply_to_id"] == first["message_id"]


async def test_a_reply_must_be_to_a_message_of_the_same_conversation(house: House) -> None:
    here, elsewhere = await house.group("ann", "bob"), await house.group("ann", "cy")
    other = await house.say("ann", elsewhere, "elsewhere")
    ann = await house.device("ann")
    for parent in (other["id"], str(uuid.uuid4())):
        answer = await ann.ask(
            "message.send", conversation_id=here, content="x", reply_to_id=parent
        )
        error(answer, "NOT_FOUND", "Message not found")


async def test_a_repeated_client_id_gives_the_first_message_and_adds_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, tablet, bob = [await house.device(user) for user in ("ann", "ann", "bob")]
    ask = {"conversation_id": conversation, "client_id": "same"}
    first = await ann.ask("message.send", content="one", **ask)
    for device in (ann, tablet):
        again = await device.ask("message.send", content="two", **ask)
        assert again["type"] == "message.sent"
        assert again["message_id"] == first["message_id"]
        assert again["data"] == first["data"]
    answer = await house.rest("ann").post(
        f"/conversations/{conversation}/messages", {"content": "three", "client_id": "same"}
    )
    assert answer.status_code == 200
    assert answer.json() == first["data"]
    assert_event(await bob.so_far(), type="message.new")
    other = await bob.ask("message.send", content="mine", **ask)
    assert other["message_id"] != first["message_id"]


async def test_a_burst_of_the_same_client_id_adds_one_message(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    for number in range(10):
        await ann.send(
            "message.send",
            id=number,
            conversation_id=conversation,
            content=str(number),
            client_id="burst",
        )
    ids = {(await ann.next("message.sent", reply_to=number))["message_id"] for number in range(10)}
    assert len(ids) == 1
    assert_event(await bob.so_far(), type="message.new", data={"content": "0"})


async def test_a_repeat_is_answered_though_the_conversation_was_archived_since(
    house: House,
) -> None:
    conversation = await house.group("ann", "bob")
    ann = await house.device("ann")
    ask = {"conversation_id": conversation, "content": "x", "client_id": "once"}
    first = await ann.ask("message.send", **ask)
    await house.rest("ann").delete(f"/conversations/{conversation}")
    assert (await ann.ask("message.send", **ask))["message_id"] == first["message_id"]


async def test_who_is_not_in_it_may_not_send_read_or_type(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    eve = await house.device("eve")
    for place in (conversation, str(uuid.uuid4())):
        answer = await eve.ask("message.send", conversation_id=place, content="x")
        error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
        for kind in ("typing", "typing.start", "typing.stop", "subscribe", "unsubscribe"):
            answer = await eve.ask(kind, conversation_id=place)
            error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
    for unseen in (message["id"], str(uuid.uuid4())):
        for kind, fields in (
            ("message.edit", {"content": "y"}),
            ("message.delete", {}),
            ("message.read", {}),
            ("reaction.add", {"emoji": "x"}),
            ("reaction.remove", {"emoji": "x"}),
        ):
            answer = await eve.ask(kind, message_id=unseen, **fields)
            error(answer, "NOT_FOUND", "Message not found")


async def test_an_edit_is_one_frame_for_everyone_with_reply_to_for_who_asked(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, tablet, bob = [await house.device(user) for user in ("ann", "ann", "bob")]
    message = await house.say("ann", conversation, "befor")
    answer = await ann.ask("message.edit", message_id=message["id"], content="before")
    assert answer["type"] == "message.edited"
    assert answer["message_id"] == message["id"]
    assert answer["data"]["content"] == "before"
    assert answer["data"]["edited_at"].endswith("Z")
    asked = await ann.so_far()
    assert not [frame for frame in asked if frame["type"] == "message.edited"]
    plain = {name: value for name, value in answer.items() if name != "reply_to"}
    for device in (tablet, bob):
        assert assert_event(await device.so_far(), type="message.edited") == plain


async def test_an_edit_without_an_id_comes_once(house: House) -> None:
    conversation = await house.group("ann")
    message = await house.say("ann", conversation, "x")
    ann = await house.device("ann")
    await ann.send("message.edit", message_id=message["id"], content="y")
    await ann.next("message.edited")
    assert await ann.so_far() == []


async def test_only_the_sender_edits(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("bob", conversation, "mine")
    ann = await house.device("ann")
    answer = await ann.ask("message.edit", message_id=message["id"], content="yours")
    error(answer, "FORBIDDEN", "Only sender can edit message")
    problem(
        await house.rest("ann").patch(f"/messages/{message['id']}", {"content": "yours"}),
        403,
        "FORBIDDEN",
        "Only sender can edit message",
    )


async def test_deleting_leaves_a_tombstone_everywhere(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann, bob = await house.device("ann"), await house.device("bob")
    message = await house.say(
        "bob", conversation, "secret", metadata={"k": "secret"}, attachments=[{"name": "secret"}]
    )
    await ann.ask("reaction.add", message_id=message["id"], emoji="secret")
    cursor = bob.connected["cursor"]
    answer = await bob.ask("message.delete", message_id=message["id"])
    assert answer["type"] == "message.deleted"
    assert answer["message_id"] == message["id"]
    assert answer["conversation_id"] == conversation
    assert_event(
        await ann.so_far(),
        type="message.deleted",
        message_id=message["id"],
        conversation_id=conversation,
    )
    assert not [f for f in await bob.so_far() if f["type"] == "message.deleted"]
    rest = house.rest("ann")
    listed = await rest.get(f"/conversations/{conversation}/messages")
    (tombstone,) = listed.json()["messages"]
    assert tombstone["content"] == ""
    assert tombstone["deleted_at"].endswith("Z")
    assert tombstone["seq"] == message["seq"]
    assert "secret" not in listed.text
    assert "secret" not in (await rest.get(f"/messages/{message['id']}")).text
    assert "secret" not in (await rest.get("/conversations")).text
    late = await house.connect("ann")
    await late.send("resume", cursor=cursor)
    await late.next("resumed")
    assert "secret" not in str([f.get("data") for f in late.waiting])


async def test_an_admin_deletes_what_others_said_and_a_member_does_not(house: House) -> None:
    conversation = await house.group("ann", "bob", "cy")
    message = await house.say("bob", conversation, "x")
    ann, cy = await house.device("ann"), await house.device("cy")
    answer = await cy.ask("message.delete", message_id=message["id"])
    error(answer, "FORBIDDEN", "Only sender or admin can delete message")
    problem(
        await house.rest("cy").delete(f"/messages/{message['id']}"),
        403,
        "FORBIDDEN",
        "Only sender or admin can delete message",
    )
    assert (await ann.ask("message.delete", message_id=message["id"]))["type"] == "message.deleted"


async def test_what_is_deleted_can_be_deleted_again_and_not_edited_or_reacted_to(
    house: House,
) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.ask("message.delete", message_id=message["id"])
    assert (await ann.ask("message.delete", message_id=message["id"]))["type"] == "message.deleted"
    assert_event(await bob.so_far(), type="message.deleted")
    answer = await ann.ask("message.edit", message_id=message["id"], content="back")
    error(answer, "NOT_FOUND", "Message not found")
    answer = await ann.ask("reaction.add", message_id=message["id"], emoji="👍")
    error(answer, "NOT_FOUND", "Message not found")


async def test_reading_is_confirmed_and_told_to_every_device(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    ann, bob, phone = [await house.device(user) for user in ("ann", "bob", "bob")]
    confirmed = await bob.ask("message.read", message_id=message["id"])
    assert confirmed["type"] == "read.confirmed"
    assert confirmed["message_id"] == message["id"]
    for device in (ann, bob, phone):
        told = await device.next("message.read")
        assert told["message_id"] == message["id"]
        assert told["user_id"] == "bob"
        assert told["conversation_id"] == conversation
        assert not [frame for frame in await device.so_far() if frame["type"] == "message.read"]


async def test_reading_moves_forward_only(house: House) -> None:
    conversation = await house.group("ann", "bob")
    messages = [await house.say("ann", conversation, str(number)) for number in range(4)]
    ann, bob = await house.device("ann"), await house.device("bob")
    rest = house.rest("bob")

    async def unread() -> int:
        return int((await rest.get(f"/conversations/{conversation}")).json()["unread_count"])

    assert await unread() == 4
    await bob.ask("message.read", message_id=messages[2]["id"])
    assert await unread() == 1
    for older in (messages[0], messages[2]):
        answer = await bob.ask("message.read", message_id=older["id"])
        assert answer["type"] == "read.confirmed"
        assert answer["message_id"] == older["id"]
    assert await unread() == 1
    assert_event(await ann.so_far(), type="message.read")
    view = (await rest.get(f"/conversations/{conversation}")).json()
    me = next(person for person in view["participants"] if person["user_id"] == "bob")
    assert me["last_read_seq"] == messages[2]["seq"]


async def test_own_and_deleted_messages_are_not_unread(house: House) -> None:
    conversation = await house.group("ann", "bob")
    await house.say("bob", conversation, "mine")
    gone = await house.say("ann", conversation, "gone")
    await house.say("ann", conversation, "there")
    await house.rest("ann").delete(f"/messages/{gone['id']}")
    view = (await house.rest("bob").get("/conversations")).json()["conversations"][0]
    assert view["unread_count"] == 1


async def test_reactions_come_and_go_once(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    ann, bob = await house.device("ann"), await house.device("bob")
    for kind in ("added", "removed"):
        request = "reaction.add" if kind == "added" else "reaction.remove"
        for _ in range(2):
            answer = await bob.ask(request, message_id=message["id"], emoji="👍🏽")
            expected = {
                "type": f"reaction.{kind}",
                "message_id": message["id"],
                "conversation_id": conversation,
                "user_id": "bob",
                "emoji": "👍🏽",
            }
            assert {name: answer[name] for name in expected} == expected
        assert_event(await ann.so_far(), type=f"reaction.{kind}", emoji="👍🏽", user_id="bob")
        assert not [one for one in await bob.so_far() if one["type"] != "user.online"]
        now = (await house.rest("ann").get(f"/messages/{message['id']}")).json()["reactions"]
        assert now == ({"👍🏽": ["bob"]} if kind == "added" else {})


async def test_content_must_be_there_and_small_enough(house: House) -> None:
    conversation = await house.group("ann")
    message = await house.say("ann", conversation, "x")
    ann = await house.device("ann")
    for content in ("", "   ", "\n\t"):
        answer = await ann.ask("message.send", conversation_id=conversation, content=content)
        error(answer, "VALIDATION", "Message content cannot be empty")
        answer = await ann.ask("message.edit", message_id=message["id"], content=content)
        error(answer, "VALIDATION", "Message content cannot be empty")
    error(
        await ann.ask("message.send", conversation_id=conversation),
        "VALIDATION",
        "Message content cannot be empty",
    )
    rest = house.rest("ann")
    path = f"/conversations/{conversation}/messages"
    problem(
        await rest.post(path, {"content": " "}),
        422,
        "VALIDATION",
        "Message content cannot be empty",
    )
    for content in ("x" * 65_537, "한" * 21_846):
        problem(await rest.post(path, {"content": content}), 413, "TOO_LARGE", "Message too large")
        problem(
            await rest.patch(f"/messages/{message['id']}", {"content": content}),
            413,
            "TOO_LARGE",
            "Message too large",
        )
    assert (await rest.post(path, {"content": "x" * 65_536})).status_code == 201


async def test_ids_that_are_not_ids_are_named(house: House) -> None:
    ann = await house.device("ann")
    bad: object
    for bad in ("", "x", "../etc", "1", 1, None, {}, ["a"], True, "0" * 36, "g" * 36):
        for kind in ("message.send", "typing.start", "subscribe", "unsubscribe"):
            answer = await ann.ask(kind, conversation_id=bad)
            error(answer, "INVALID_ID", "Invalid conversation_id format")
        for kind in ("message.edit", "message.delete", "message.read", "reaction.add"):
            answer = await ann.ask(kind, message_id=bad)
            error(answer, "INVALID_ID", "Invalid message_id format")
    for kind in ("message.send", "subscribe"):
        error(await ann.ask(kind), "INVALID_ID", "Invalid conversation_id format")


async def test_a_reply_comes_though_the_conversation_was_unsubscribed_from(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    ann = await house.device("ann")
    assert (await ann.ask("unsubscribe", conversation_id=conversation))["type"] == "unsubscribed"
    answer = await ann.ask("message.edit", message_id=message["id"], content="y")
    assert answer["type"] == "message.edited"
    answer = await ann.ask("reaction.add", message_id=message["id"], emoji="x")
    assert answer["type"] == "reaction.added"
    assert await ann.so_far() == []


async def test_an_archived_conversation_is_read_only(house: House) -> None:
    conversation = await house.group("ann", "bob")
    message = await house.say("ann", conversation, "x")
    ann = await house.device("ann")
    assert (await house.rest("ann").delete(f"/conversations/{conversation}")).status_code == 200
    assert (await ann.next("conversation.archived"))["conversation_id"] == conversation
    for kind, fields in (
        ("message.send", {"conversation_id": conversation, "content": "y"}),
        ("message.edit", {"message_id": message["id"], "content": "y"}),
        ("message.delete", {"message_id": message["id"]}),
        ("reaction.add", {"message_id": message["id"], "emoji": "y"}),
    ):
        assert (await ann.ask(kind, **fields))["code"] == "CONFLICT"
    rest = house.rest("bob")
    listed = await rest.get(f"/conversations/{conversation}/messages")
    assert [m["content"] for m in listed.json()["messages"]] == ["x"]
    assert (await rest.get(f"/conversations/{conversation}")).json()["status"] == "archived"


async def test_too_many_messages_are_told_when_to_go_on(open_house: OpenHouse) -> None:
    limits = {"rate_limit_enabled": "true", "rate_limit_messages_per_minute": "5"}
    async with open_house(**limits) as house:
        conversation = await house.group("ann", "bob")
        ann, bob = await house.device("ann"), await house.device("bob")
        ask = {"conversation_id": conversation, "content": "x"}
        for _ in range(5):  # that the group was made counts apart
            assert (await ann.ask("message.send", **ask))["type"] == "message.sent"
        answer = await ann.ask("message.send", **ask)
        error(answer, "RATE_LIMIT", "Too many messages")
        assert 0 < answer["retry_after"] <= 12_000
        refused = await house.rest("ann").post(
            f"/conversations/{conversation}/messages", {"content": "x"}
        )
        body = problem(refused, 429, "RATE_LIMIT", "Too many messages")
        assert 0 < body["retry_after"] <= 12_000
        assert 0 < int(refused.headers["retry-after"]) <= 12
        assert (await bob.ask("message.send", **ask))["type"] == "message.sent"
