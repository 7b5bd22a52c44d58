"""Catching up when it is hard: readers that are slow, messages that go meanwhile, much at once."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from madang.delivery.catchup import IN_ONE_WRITE, MOST_WAITING, PAGE, READERS
from madang.model.nouns import Event
from madang.protocol.codes import CloseCode
from madang.services.conversations import AddParticipants, RemoveParticipant
from madang.services.messages import DeleteMessage, EditMessage
from madang.surfaces.messenger.frames import encode_reply
from tests.conftest import eventually
from tests.delivery.conftest import Node
from tests.hub.recording import Recorder

BIG = "x" * 10_000


class Stalled(Recorder):
    """A client that has stopped reading: nothing that is written leaves while it is `stuck`."""

    __slots__ = ("stuck",)

    def __init__(self) -> None:
        super().__init__()
        self.stuck = True

    @property
    def unsent(self) -> int:
        return self.stuck and sum(len(frame.text) for frames in self.writes for frame in frames)


async def stalled(node: Node, user: str) -> Stalled:
    like = await node.connect(user)
    connection = Stalled()
    connection.identity = like.identity
    assert like.member is not None
    node.app.hub.attach(like.member, connection)
    node.disconnect(like)
    node.app.catchup.hold(connection)
    return connection


async def many_messages(node: Node, count: int, content: str = BIG) -> str:
    room = await node.group("ann", "ben", "cem")
    await asyncio.gather(*(node.app.send(room, "ben", content) for _ in range(count)))
    return room


async def test_readers_that_are_slow_hold_up_nobody_else(node: Node) -> None:
    await many_messages(node, 60)
    slow = [await stalled(node, "ann") for _ in range(2 * READERS)]
    for connection in slow:
        node.app.catchup.resume(connection, 0, lambda _: None)
    await eventually(lambda: all(connection.writes for connection in slow))
    done = await node.resume(await node.connect("cem", hold=True), 0)
    assert (done.recovered, done.events) == (True, 61)
    for connection in slow:
        node.disconnect(connection)


async def test_no_write_is_larger_than_a_reader_may_fall_behind(node: Node) -> None:
    await many_messages(node, PAGE // 4)
    ann = await node.connect("ann", hold=True)
    await node.resume(ann, 0)
    largest = max(sum(len(frame.text) for frame in frames) for frames in ann.writes)
    assert largest < IN_ONE_WRITE + len(BIG) * 2
    assert ann.closings == []


async def test_a_message_deleted_while_a_reader_is_slow_is_sent_without_its_text(
    node: Node,
) -> None:
    room = await many_messages(node, 60)
    secret = await node.app.send(room, "ben", "the secret")
    ann = await stalled(node, "ann")
    node.app.catchup.resume(ann, 0, lambda _: None)
    await eventually(lambda: bool(ann.writes))
    await node.app.writer.write(DeleteMessage("default", secret.id, "ben"))
    already = len(ann.events())
    assert secret.seq > already, "it was not sent yet"
    before = len(ann.writes)
    ann.stuck = False
    await eventually(lambda: any(e["type"] == "message.deleted" for e in ann.events()))
    assert b"the secret" not in b"".join(f.text for frames in ann.writes[before:] for f in frames)


async def test_unsubscribing_and_coming_back_leaves_no_gap(node: Node) -> None:
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")
    await node.subscribe(ann, room, 0)
    node.app.hub.flush()
    ann.mute(room)
    last = ann.events()[-1]["seq"]
    for number in range(5):
        await node.app.send(room, "ben", f"{number}")
    ann.forget()
    done = await node.subscribe(ann, room, last)
    assert (done.recovered, done.events) == (True, 5)
    assert [frame["seq"] for frame in ann.events()] == [last + n for n in range(1, 6)]


async def test_leaving_and_coming_back_is_told_once_each(node: Node) -> None:
    room = await node.group("ann", "ben")
    await node.connect("ann")  # keeps the channel, and so its memory
    ben = await node.connect("ben")
    cursor = ben.floor
    await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await node.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
    node.disconnect(ben)
    again = await node.connect("ben", hold=True)
    with node.statements() as statements:
        await node.resume(again, cursor)
    assert statements == []
    assert [frame["type"] for frame in again.events()] == [
        "participant.left",
        "participant.joined",
    ]


async def test_two_changes_of_a_message_in_one_turn_keep_both_replies(node: Node) -> None:
    room = await node.group("ann", "ben")
    message = await node.app.send(room, "ann", "one")
    ann = await node.connect("ann")

    def answered(reply_to: int, event: Event | None) -> None:
        assert event is not None
        node.app.delivery.reply(event, ann, partial(encode_reply, reply_to=reply_to))

    for number in (1, 2):
        write = EditMessage("default", message.id, "ann", f"edit {number}")
        node.app.writer.submit(
            write,
            lambda done, _, number=number: answered(number, done.event),  # type: ignore[misc]
        )
    await eventually(lambda: len(ann.events()) == 2)
    assert [frame["reply_to"] for frame in ann.events()] == [1, 2]


async def test_an_event_that_was_told_before_its_commit_was_known_is_told_once(node: Node) -> None:
    """The answer to the commit was lost, and the log was read meanwhile."""
    room = await node.group("ann", "ben")
    message = await node.app.send(room, "ann", "one")
    ann = await node.connect("ann")
    done = await node.app.writer.write(EditMessage("default", message.id, "ann", "two"))
    await eventually(lambda: len(ann.events()) == 1)
    node.app.delivery.reply(done.event, ann, partial(encode_reply, reply_to="q1"))
    event, answer = ann.told()
    assert (answer["type"], answer["reply_to"]) == ("message.edited", "q1")
    assert event["data"] == answer["data"]
    assert not answer.keys() & {"seq", "cursor"}


async def test_a_flood_of_catch_ups_is_cut_off(node: Node) -> None:
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")
    before = len(asyncio.all_tasks())
    for _ in range(MOST_WAITING + 10):
        node.app.catchup.subscribe(ann, room, 0, lambda _: None, lambda _: None)
    assert len(asyncio.all_tasks()) <= before + 1
    assert ann.closings == [CloseCode.TRY_LATER]


async def test_one_caller_that_fails_does_not_keep_others_from_their_member(node: Node) -> None:
    await node.group("ann", "ben")

    def fails(*_: object) -> None:
        raise ValueError("planted")

    node.app.members.want("default", "ann", fails)
    async with asyncio.timeout(10):
        ann, ben = await asyncio.gather(
            node.app.members.get("default", "ann"), node.app.members.get("default", "ben")
        )
    assert (ann.user_id, ben.user_id) == ("ann", "ben")


async def test_forgetting_a_stranger_of_the_same_name_keeps_the_member(node: Node) -> None:
    await node.group("ann", "ben")
    ann = await node.connect("ann")
    follower = await node.connect("ann")
    node.app.hub.follow_org(follower)
    assert follower.member is not None
    stranger = follower.member
    node.disconnect(follower)
    node.app.hub.forget(stranger)
    assert node.app.hub.members["default", "ann"] is ann.member


@pytest.mark.parametrize("planted", [ValueError("planted")])
async def test_a_batch_that_cannot_be_sent_cuts_its_readers_off(
    node: Node, planted: Exception
) -> None:
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")

    def broken(_: Event) -> bytes:
        raise planted

    node.app.hub.encoders = (broken, broken)
    await node.app.send(room, "ben", "never told")
    await eventually(lambda: bool(ann.closings))
    assert ann.closings == [CloseCode.INTERNAL]
