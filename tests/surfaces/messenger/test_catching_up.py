"""Subscribe and resume: what was missed, whole and in order, once, with live traffic around it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable

import pytest

from tests.surfaces.people import Frame, House, Socket, error

OpenHouse = Callable[..., House]


def events(frames: list[Frame]) -> list[Frame]:
    """Those that came from the log."""
    return [frame for frame in frames if "seq" in frame and frame["type"] != "subscribed"]


def told(frames: list[Frame]) -> list[str]:
    """The contents of the messages among them, in order."""
    return [f["data"]["content"] for f in frames if f["type"] == "message.new"]


async def test_subscribe_without_after_says_where_the_conversation_stands(house: House) -> None:
    conversation = await house.group("ann", "bob")
    await house.say("bob", conversation, "x")
    ann = await house.device("ann")
    answer = await ann.ask("subscribe", conversation_id=conversation)
    assert answer["type"] == "subscribed"
    assert answer["conversation_id"] == conversation
    assert answer["seq"] == 2
    assert answer["recovered"] is True
    assert await ann.so_far() == []


@pytest.mark.parametrize("live", [True, False])
async def test_subscribe_after_a_seq_gives_what_came_after_it(house: House, live: bool) -> None:
    conversation = await house.group("ann", "bob")
    for number in range(5):
        await house.say("bob", conversation, str(number))
    ann = await house.device("ann", live=live)
    await ann.send("subscribe", id="s", conversation_id=conversation, after=3)
    missed = [await ann.receive() for _ in range(3)]
    assert told(missed) == ["2", "3", "4"]
    assert [frame["seq"] for frame in missed] == [4, 5, 6]
    answer = await ann.receive()
    assert (answer["type"], answer["seq"], answer["reply_to"]) == ("subscribed", 6, "s")
    await house.say("bob", conversation, "live")
    assert told([await ann.next("message.new")]) == ["live"]


async def test_subscribe_after_a_cursor_gives_what_came_after_it(house: House) -> None:
    conversation, other = await house.group("ann", "bob"), await house.group("ann", "cy")
    watching = await house.device("bob")
    for number in range(3):
        await house.say("bob", conversation, str(number))
        await house.say("ann", other, "elsewhere")
    cursor = (await watching.next("message.new"))["cursor"]
    ann = await house.device("ann")
    await ann.ask("subscribe", conversation_id=conversation, after=cursor)
    assert told(ann.waiting) == ["1", "2"]


async def test_subscribing_again_doubles_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    for number in range(4):
        await house.say("bob", conversation, str(number))
    ann = await house.device("ann")
    for after in (3, 3, 1, 0):
        answer = await ann.ask("subscribe", conversation_id=conversation, after=after)
        assert answer["recovered"] is True
    found = events(await ann.so_far())
    assert sorted(frame["seq"] for frame in found) == [1, 2, 3, 4, 5]


async def test_subscribe_after_what_is_not_yet_is_not_recovered(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann = await house.device("ann")
    for after in (999, 2**61):
        answer = await ann.ask("subscribe", conversation_id=conversation, after=after)
        assert answer["type"] == "subscribed"
        assert answer["recovered"] is False
    assert events(await ann.so_far()) == []


@pytest.mark.parametrize("after", [-1, "3", 1.5, True, {}, [], 2**63, 2**64, 10**30])
async def test_after_must_be_a_place(house: House, after: object) -> None:
    conversation = await house.group("ann", "bob")
    ann = await house.device("ann")
    answer = await ann.ask("subscribe", conversation_id=conversation, after=after)
    assert answer["code"] == "VALIDATION"


async def test_unsubscribed_is_quiet_until_subscribed_again(house: House) -> None:
    conversation, other = await house.group("ann", "bob"), await house.group("ann", "bob")
    ann, tablet, bob = [await house.device(user) for user in ("ann", "ann", "bob")]
    answer = await ann.ask("unsubscribe", conversation_id=conversation)
    assert answer["type"] == "unsubscribed"
    assert answer["conversation_id"] == conversation
    await bob.send("typing.start", conversation_id=conversation)
    quiet = await house.say("bob", conversation, "quiet")
    await house.say("bob", other, "loud")
    assert told(await tablet.so_far()) == ["quiet", "loud"]
    heard = await ann.so_far()
    assert told(heard) == ["loud"]
    assert not [f for f in heard if f["type"].startswith("typing")]
    await ann.ask("subscribe", conversation_id=conversation, after=quiet["seq"] - 1)
    assert told(ann.waiting) == ["quiet"]
    await house.say("bob", conversation, "again")
    assert told([await ann.next("message.new", conversation_id=conversation, seq=3)]) == ["again"]


async def test_resume_gives_everything_missed_in_every_conversation_in_order(house: House) -> None:
    first, second = await house.group("ann", "bob"), await house.group("ann", "cy")
    seen = (await house.device("ann")).connected["cursor"]
    kept = await house.say("bob", first, "a")
    await house.say("cy", second, "b")
    await house.say("bob", first, "c")
    cy = await house.device("cy")
    await cy.ask("message.read", message_id=(await house.say("ann", second, "d"))["id"])
    await cy.ask("reaction.add", message_id=(await house.say("ann", second, "e"))["id"], emoji="x")
    await house.rest("bob").patch(f"/messages/{kept['id']}", {"content": "a, edited"})
    third = await house.group("bob", "ann")
    ann = await house.connect("ann")
    await ann.next("system")
    await ann.send("resume", id=5, cursor=seen)
    answer = await ann.next("resumed")
    assert answer["reply_to"] == 5
    assert answer["recovered"] is True
    missed = events(ann.waiting)
    assert answer["events"] == len(missed) == 9
    assert answer["cursor"] >= missed[-1]["cursor"]
    cursors = [frame["cursor"] for frame in missed]
    assert cursors == sorted(set(cursors))
    assert min(cursors) > seen
    assert told(missed) == ["a, edited", "b", "c", "d", "e"]
    assert [f["type"] for f in missed if f["type"] != "message.new"] == [
        "message.read",
        "reaction.added",
        "message.edited",
        "conversation.created",
    ]
    assert missed[-1]["data"]["id"] == third


async def test_resume_in_the_address_does_the_same(house: House) -> None:
    conversation = await house.group("ann", "bob")
    seen = (await house.device("ann")).connected["cursor"]
    await house.say("bob", conversation, "missed")
    ann = await house.connect("ann", query=f"cursor={seen}")
    assert (await ann.next("resumed"))["events"] == 1
    assert told(ann.waiting) == ["missed"]


async def test_resume_from_where_one_is_gives_nothing(house: House) -> None:
    await house.group("ann", "bob")
    ann = await house.device("ann")
    answer = await ann.ask("resume", cursor=ann.connected["cursor"])
    assert (answer["type"], answer["events"], answer["recovered"]) == ("resumed", 0, True)


async def test_resuming_twice_doubles_nothing(house: House) -> None:
    conversation = await house.group("ann", "bob")
    seen = (await house.device("ann")).connected["cursor"]
    for number in range(3):
        await house.say("bob", conversation, str(number))
    ann = await house.connect("ann")
    first = await ann.ask("resume", cursor=seen)
    again = await ann.ask("resume", cursor=seen)
    assert (first["events"], again["events"]) == (3, 0)
    assert told(await ann.so_far()) == ["0", "1", "2"]


async def test_a_cursor_from_the_future_is_not_recovered(house: House) -> None:
    conversation = await house.group("ann", "bob")
    await house.say("bob", conversation, "x")
    ann = await house.device("ann", live=False)
    answer = await ann.ask("resume", cursor=ann.connected["cursor"] + 3_600_000_000)
    assert answer["type"] == "resumed"
    assert answer["recovered"] is False
    assert answer["events"] == 0
    assert isinstance(answer["reason"], str)
    assert events(await ann.so_far()) == []
    await house.say("bob", conversation, "live")
    assert told([await ann.next("message.new")]) == ["live"]


async def test_another_epoch_is_answered_with_where_one_stands_now(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann = await house.device("ann")
    old = (await ann.ask("resume", cursor=0))["cursor"]
    await house.say("bob", conversation, "later")
    newest = (await ann.next("message.new"))["cursor"]
    assert newest > old
    for cursor in (old, 0, newest):
        answer = await ann.ask("resume", cursor=cursor, epoch="of another log")
        assert (answer["recovered"], answer["reason"]) == (False, "other_epoch")
        assert (answer["cursor"], answer["events"]) == (newest, 0)


async def test_a_gap_too_long_is_not_recovered_and_not_told_in_part(open_house: OpenHouse) -> None:
    async with open_house(max_replay_events="5") as house:
        conversation = await house.group("ann", "bob")
        seen = (await house.device("ann")).connected["cursor"]
        for number in range(6):
            await house.say("bob", conversation, str(number))
        ann = await house.device("ann", live=False)
        answer = await ann.ask("resume", cursor=seen)
        assert answer["recovered"] is False
        assert answer["reason"]
        assert events(await ann.so_far()) == []


@pytest.mark.parametrize("cursor", [None, "x", "", -1, True, {}, [], 2**63, 2**64, 10**40, 1e308])
async def test_a_cursor_must_be_a_number(house: House, cursor: object) -> None:
    ann = await house.device("ann")
    assert (await ann.ask("resume", cursor=cursor))["code"] == "VALIDATION"
    assert (await ann.ask("resume"))["code"] == "VALIDATION"


async def test_a_cursor_in_the_address_must_be_a_number(house: House) -> None:
    for text in ("x", "nan", "inf", "-1", "1e999", "%00"):
        ann = await house.connect("ann", query=f"cursor={text}")
        assert (await ann.next("error"))["code"] == "VALIDATION"
        assert (await ann.ask("ping"))["type"] == "pong"


async def test_what_was_deleted_meanwhile_is_not_told(house: House) -> None:
    conversation = await house.group("ann", "bob")
    seen = (await house.device("ann")).connected["cursor"]
    message = await house.say("bob", conversation, "secret")
    await house.rest("bob").patch(f"/messages/{message['id']}", {"content": "secret again"})
    await house.rest("bob").delete(f"/messages/{message['id']}")
    for ask in ("resume", "subscribe"):
        ann = await house.device("ann", live=False)
        fields: dict[str, object] = {"cursor": seen} if ask == "resume" else {"after": 0}
        if ask == "subscribe":
            fields["conversation_id"] = conversation
        await ann.ask(ask, **fields)
        # On a node that heard of it only now, the deletion comes after the answer.
        frames = events(await ann.so_far())
        assert "message.deleted" in [frame["type"] for frame in frames]
        assert "secret" not in str(frames)


async def test_who_was_removed_gets_that_event_and_nothing_after_it(house: House) -> None:
    conversation = await house.group("ann", "bob", "cy")
    live, away = await house.device("bob"), await house.device("bob")
    seen = away.connected["cursor"]
    await away.close()
    message = await house.say("ann", conversation, "before")
    gone = await house.rest("ann").delete(f"/conversations/{conversation}/participants/bob")
    assert gone.status_code == 200
    await house.say("ann", conversation, "after")
    await (await house.device("cy")).send("typing.start", conversation_id=conversation)
    frames = events(await live.so_far())
    assert [frame["type"] for frame in frames] == ["message.new", "participant.left"]
    left = frames[-1]
    assert (left["user_id"], left["by"], left["conversation_id"]) == ("bob", "ann", conversation)
    back = await house.connect("bob")
    answer = await back.ask("resume", cursor=seen)
    resumed = events(back.waiting)
    assert answer["events"] == len(resumed)
    assert resumed[-1]["type"] == "participant.left"
    assert "after" not in told(resumed)
    for device in (live, back):
        for ask in ("subscribe", "typing.start"):
            answer = await device.ask(ask, conversation_id=conversation)
            error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
        answer = await device.ask("message.read", message_id=message["id"])
        error(answer, "NOT_FOUND", "Message not found")
        assert "after" not in told(await device.so_far())
    rest = house.rest("bob")
    for path in (
        f"/conversations/{conversation}",
        f"/conversations/{conversation}/messages",
        f"/conversations/{conversation}/notification-settings",
        f"/messages/{message['id']}",
        f"/messages/{message['id']}/receipts",
    ):
        assert (await rest.get(path)).status_code == 404
    assert (await rest.get("/conversations")).json()["conversations"] == []


async def test_who_is_added_again_hears_again(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = await house.device("bob")
    rest = house.rest("ann")
    await rest.delete(f"/conversations/{conversation}/participants/bob")
    await house.say("ann", conversation, "meanwhile")
    await rest.post(f"/conversations/{conversation}/participants", {"user_ids": ["bob"]})
    await house.say("ann", conversation, "welcome back")
    heard = events(await bob.so_far())
    assert [f["type"] for f in heard] == ["participant.left", "participant.joined", "message.new"]
    assert told(heard) == ["welcome back"]


async def test_nothing_is_lost_or_doubled_while_everyone_talks(house: House) -> None:
    """Several rooms talk without a pause while devices come, resume, and go at any moment."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    rooms = [await house.group("ann", "bob", title=str(number)) for number in range(3)]
    bob = await house.device("bob")
    cursor = (await house.device("ann")).connected["cursor"]
    talking = True
    said: list[str] = []

    async def talk() -> None:
        while talking:
            content = str(len(said))
            said.append(content)
            await bob.send(
                "message.send", conversation_id=chance.choice(rooms), content=content, id=content
            )
            await bob.next("message.sent", reply_to=content)

    talker = asyncio.create_task(talk())
    heard: list[Frame] = []
    try:
        for _ in range(12):
            ann = await house.connect("ann")
            await ann.next("system")
            if chance.random() < 0.5:
                await ann.send("subscribe", conversation_id=chance.choice(rooms))
            await ann.send("resume", cursor=cursor)
            for _ in range(chance.randrange(1, 40)):
                frame = await ann.receive()
                if "cursor" in frame and frame["type"] == "message.new":
                    heard.append(frame)
                    cursor = frame["cursor"]
            await ann.close()
    finally:
        talking = False
        await talker
    ann = await house.connect("ann")
    await ann.next("system")
    await ann.ask("resume", cursor=cursor)
    heard += [f for f in await ann.so_far() if f["type"] == "message.new"]
    cursors = [frame["cursor"] for frame in heard]
    assert cursors == sorted(set(cursors))
    assert told(heard) == said
    for room in rooms:
        seqs = [frame["seq"] for frame in heard if frame["conversation_id"] == room]
        assert seqs == list(range(2, len(seqs) + 2))


async def test_a_subscription_in_the_middle_of_traffic_has_no_seam(house: House) -> None:
    conversation = await house.group("ann", "bob")
    bob = await house.device("bob")
    total = 200

    async def talk() -> None:
        for number in range(total):
            await bob.send("message.send", conversation_id=conversation, content=str(number))

    talker = asyncio.create_task(talk())
    ann: Socket = await house.device("ann", live=False)
    await ann.send("subscribe", conversation_id=conversation, after=1)
    seqs: list[int] = []
    while len(seqs) < total:
        seqs.append((await ann.next("message.new"))["seq"])
    await talker
    assert seqs == list(range(2, total + 2))


async def test_no_one_catches_up_on_what_is_not_theirs(house: House) -> None:
    conversation = await house.group("ann", "bob")
    await house.say("ann", conversation, "private")
    eve = await house.device("eve", live=False)
    for place in (conversation, str(uuid.uuid4())):
        answer = await eve.ask("subscribe", conversation_id=place, after=0)
        error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
    assert (await eve.ask("resume", cursor=0))["events"] == 0
    async with House(house.server) as elsewhere:
        ann = await elsewhere.device("ann", live=False)
        assert (await ann.ask("resume", cursor=0))["events"] == 0
        answer = await ann.ask("subscribe", conversation_id=conversation, after=0)
        error(answer, "NOT_A_PARTICIPANT", "Not a participant of this conversation")
