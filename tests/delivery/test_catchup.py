"""Catching up: exactly what was missed, in order, once; from memory without a query, from the log
with one query a page."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.delivery.catchup import PAGE
from madang.ports.store import Missed
from madang.protocol.codes import CloseCode
from madang.protocol.errors import MadangError, NotAParticipant
from madang.services.conversations import AddParticipants, RemoveParticipant
from madang.services.messages import DeleteMessage, EditMessage
from madang.surfaces.messenger.frames import encode_reply
from tests.conftest import eventually
from tests.delivery.conftest import Node
from tests.hub.recording import Recorder

MakeNode = Callable[..., Any]


def told(recorder: Recorder) -> list[tuple[str, int]]:
    return [(frame["conversation_id"], frame["seq"]) for frame in recorder.events()]


async def test_memory_answers_without_a_query(node: Node) -> None:
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")
    first = await node.app.send(room, "ben", "one")
    await node.app.send(room, "ben", "two")
    node.disconnect(ann)
    cursor = ann.events()[0]["cursor"]
    await node.app.send(room, "ben", "three")
    again = await node.connect("ann", hold=True)
    with node.statements() as statements:
        done = await node.resume(again, cursor)
    assert statements == []
    assert told(again) == [(room, first.seq + 1), (room, first.seq + 2)]
    assert (done.events, done.recovered) == (2, True)
    assert done.cursor == again.events()[-1]["cursor"]
    assert len(again.writes) == 1, "what was missed goes out with one write"


async def test_the_log_answers_with_one_query_a_page(node: Node) -> None:
    room = await node.group("ann", "ben")
    count = 2 * PAGE + 10
    await asyncio.gather(*(node.app.send(room, "ben", f"{n}") for n in range(count)))
    ann = await node.connect("ann", hold=True)
    with node.statements() as statements:
        done = await node.resume(ann, 0)
    reads = [one for one in statements if one.lstrip().upper().startswith(("SELECT", "WITH"))]
    # One tells whether the cursor is good, one whether it is not too much, once the first page is
    # full; the first page also tells of a conversation.
    counts = [one for one in reads if "count(*) FROM wanted" in one]
    pages = [
        one for one in reads if one not in counts and ("events AS e" in one or "wanted" in one)
    ]
    assert (len(counts), len(pages)) == (1, 3)
    assert len(reads) <= 1 + 1 + 3 + 2, reads
    assert done.events == count + 1
    assert told(ann) == [(room, seq) for seq in range(1, count + 2)]


async def test_live_events_wait_for_what_was_missed(node: Node) -> None:
    room = await node.group("ann", "ben")
    for number in range(5):
        await node.app.send(room, "ben", f"{number}")
    ann = await node.connect("ann", hold=True)
    resumed = asyncio.ensure_future(node.resume(ann, 0))
    await asyncio.gather(resumed, *(node.app.send(room, "ben", "live") for _ in range(20)))
    await eventually(lambda: len(ann.events()) == 26)
    assert told(ann) == [(room, seq) for seq in range(1, 27)]


async def test_the_cursor_it_ends_with_never_passes_what_is_still_held(node: Node) -> None:
    """A client may keep the cursor of `resumed` and drop before the held events reach it."""
    room = await node.group("ann", "ben")
    base = (await node.connect("ben")).floor
    ann = await node.connect("ann", hold=True)
    await node.app.send(room, "ben", "while ann is held")
    ended: list[int] = []
    sent_by_then: list[int] = []

    def done(caught: Any) -> None:
        ended.append(caught.cursor)
        sent_by_then.append(len(ann.events()))

    node.app.catchup.resume(ann, base, done)
    assert ended
    held = ann.events()[sent_by_then[0] :]
    assert held, "the event was held until the catch-up had ended"
    assert ended[0] < held[0]["cursor"]


async def test_any_cursor_gives_exactly_what_came_after_it(node: Node) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rooms = [await node.group("ann", "ben") for _ in range(4)]
    watching = await node.connect("ann")
    for _ in range(60):
        await node.app.send(chance.choice(rooms), "ben", "x")
    await asyncio.sleep(0)
    truth = [frame["cursor"] for frame in watching.events()]
    assert truth == sorted(truth)
    for _ in range(30):
        at = chance.randrange(len(truth))
        cursor = truth[at] + chance.choice((-1, 0, 0))
        ann = await node.connect("ann", hold=True)
        done = await node.resume(ann, cursor)
        expected = [one for one in truth if one > cursor]
        assert [frame["cursor"] for frame in ann.events()] == expected
        assert done.events == len(expected)
        node.disconnect(ann)


async def test_a_cursor_beyond_the_log(node: Node) -> None:
    await node.group("ann", "ben")
    ann = await node.connect("ann", hold=True)
    done = await node.resume(ann, ann.floor + 1)
    assert (done.recovered, done.reason, done.events) == (False, "unknown_cursor", 0)
    assert ann.events() == []


async def test_too_many_events_are_not_sent_in_part(make_node: MakeNode) -> None:
    node: Node = await make_node(max_replay_events=100)
    room = await node.group("ann", "ben")
    await asyncio.gather(*(node.app.send(room, "ben", "x") for _ in range(120)))
    ann = await node.connect("ann", hold=True)
    done = await node.resume(ann, 0)
    assert (done.recovered, done.reason, done.events) == (False, "too_many", 0)
    assert ann.events() == []
    await node.app.send(room, "ben", "live")
    await asyncio.sleep(0)
    assert [frame["data"]["content"] for frame in ann.events()] == ["live"]


@pytest.mark.parametrize("from_memory", [True, False])
async def test_a_deleted_text_is_in_no_replay(make_node: MakeNode, from_memory: bool) -> None:
    node: Node = await make_node()
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")
    kept = await node.app.send(room, "ben", "the first wording")
    gone = await node.app.send(room, "ben", "the secret")
    node.disconnect(ann)
    cursor = ann.floor
    await node.app.writer.write(EditMessage("default", kept.id, "ben", "the second wording"))
    await node.app.writer.write(DeleteMessage("default", gone.id, "ben"))
    if not from_memory:
        for channel in node.app.hub.channels.values():
            while channel.recent:
                channel.drop_oldest()
    again = await node.connect("ann", hold=True)
    with node.statements() as statements:
        assert (await node.resume(again, cursor)).events == 4
    assert (statements == []) is from_memory
    assert "secret" not in str(again.told())
    assert "first wording" not in str(again.told())
    new = [frame for frame in again.events() if frame["type"] == "message.new"]
    assert [frame["data"]["content"] for frame in new] == ["the second wording", ""]
    assert new[1]["data"]["deleted_at"] is not None


@pytest.mark.parametrize("from_memory", [True, False])
async def test_who_was_removed_meanwhile_hears_that_and_no_more(
    make_node: MakeNode, from_memory: bool
) -> None:
    node: Node = await make_node()
    room = await node.group("ann", "ben")
    await node.app.send(room, "ann", "before")
    ben = await node.connect("ben")
    cursor = ben.floor
    node.disconnect(ben)
    await node.app.send(room, "ann", "while he is away")
    await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await node.app.send(room, "ann", "after")
    if not from_memory:
        node.app.hub.forget(node.app.hub.members["default", "ben"])
    again = await node.connect("ben", hold=True)
    await node.resume(again, cursor)
    assert [frame["type"] for frame in again.events()] == ["participant.left"]
    with pytest.raises(NotAParticipant):
        await node.subscribe(again, room, 0)


async def test_membership_changes_take_effect_at_their_place_in_the_log(node: Node) -> None:
    room = await node.group("ann")
    ben = await node.connect("ben")
    for _ in range(3):
        await node.app.send(room, "ann", "out")
        await node.app.writer.write(AddParticipants("default", room, "ann", ("ben",)))
        await node.app.send(room, "ann", "in")
        await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await node.app.send(room, "ann", "out")
    await asyncio.sleep(0)
    kinds = [frame["type"] for frame in ben.events()]
    assert kinds == ["participant.joined", "message.new", "participant.left"] * 3
    assert "out" not in str([frame.get("data") for frame in ben.events()])


async def test_subscribing_from_a_seq_or_a_cursor(node: Node) -> None:
    room = await node.group("ann", "ben")
    messages = [await node.app.send(room, "ben", f"{n}") for n in range(6)]
    by_seq = await node.connect("ann")
    done = await node.subscribe(by_seq, room, messages[2].seq)
    assert (done.seq, done.events, done.recovered) == (7, 3, True)
    assert told(by_seq) == [(room, seq) for seq in (5, 6, 7)]
    cursor = by_seq.events()[0]["cursor"]
    by_cursor = await node.connect("ann")
    assert (await node.subscribe(by_cursor, room, cursor)).events == 2
    assert told(by_cursor) == [(room, 6), (room, 7)]
    nothing = await node.connect("ann")
    assert (await node.subscribe(nothing, room, None)).seq == 7
    assert nothing.events() == []
    beyond = await node.subscribe(nothing, room, 99)
    assert (beyond.recovered, beyond.reason) == (False, "unknown_cursor")


async def test_subscribing_and_resuming_tell_an_event_once(node: Node) -> None:
    rooms = [await node.group("ann", "ben") for _ in range(2)]
    for room in rooms * 3:
        await node.app.send(room, "ben", "x")
    ann = await node.connect("ann", hold=True)
    await node.subscribe(ann, rooms[0], 2)
    await node.resume(ann, 0)
    await node.subscribe(ann, rooms[1], 0)
    assert sorted(told(ann)) == sorted({(room, seq) for room in rooms for seq in (1, 2, 3, 4)})


async def test_subscribing_before_resuming_keeps_the_order(node: Node) -> None:
    """A new connection that subscribed may still ask for what is older than what is live."""
    room = await node.group("ann", "ben")
    cursor = (await node.connect("ben")).floor
    await node.app.send(room, "ann", "missed")
    ben = await node.connect("ben", hold=True)
    await node.subscribe(ben, room, None)
    live = await node.connect("ben")
    await node.app.send(room, "ann", "live")
    await eventually(lambda: len(live.events()) == 1)
    await node.resume(ben, cursor)
    await eventually(lambda: len(ben.events()) == 2)
    assert [frame["data"]["content"] for frame in ben.events()] == ["missed", "live"]


async def test_a_muted_conversation_is_caught_up_when_subscribed_again(node: Node) -> None:
    room = await node.group("ann", "ben")
    ann = await node.connect("ann")
    await node.app.send(room, "ben", "heard")
    await asyncio.sleep(0)
    ann.mute(room)
    for text in ("missed 1", "missed 2"):
        await node.app.send(room, "ben", text)
    await node.subscribe(ann, room, ann.events()[-1]["seq"])
    await node.app.send(room, "ben", "live")
    await asyncio.sleep(0)
    contents = [frame["data"]["content"] for frame in ann.events()]
    assert contents == ["heard", "missed 1", "missed 2", "live"]


async def test_held_too_long_is_too_slow(make_node: MakeNode) -> None:
    node: Node = await make_node(output_limit_bytes=65_536)
    room = await node.group("ann", "ben")
    ann = await node.connect("ann", hold=True)
    ben = await node.connect("ben")
    for _ in range(60):
        await node.app.send(room, "ben", "x" * 2000)
    await asyncio.sleep(0)
    assert ann.closings == [CloseCode.TOO_SLOW]
    assert len(ben.events()) == 60


async def test_many_who_come_back_share_their_reads(make_node: Callable[..., Any]) -> None:
    """Twenty rooms of ten, five events missed in each: a handful of reads, not two for each."""
    bus = MemoryBus(SystemClock())
    one, other = await make_node(bus.end()), await make_node(bus.end())
    rooms = [
        await one.group(f"r{room}-0", *(f"r{room}-{n}" for n in range(1, 10))) for room in range(20)
    ]
    cursor = one.app.hub.heads["default"]
    for room, conversation in enumerate(rooms):
        for number in range(5):
            await one.app.send(conversation, f"r{room}-0", f"{room} {number}")
    gone = await one.group("r3-1", "r3-2")
    await one.app.writer.write(RemoveParticipant("default", rooms[3], "r3-0", "r3-1"))
    people = [f"r{room}-{n}" for room in range(20) for n in range(10)]
    back = {user: await other.connect(user, hold=True) for user in people}
    with other.statements() as statements:
        done = await asyncio.gather(*(other.resume(back[user], cursor) for user in people))
    assert all(caught_up.recovered for caught_up in done)
    reads = [line for line in statements if "events" in line]
    assert len(reads) < 40, f"{len(reads)} reads for {len(people)} people in {len(rooms)} rooms"
    for user in people:
        seen = [(frame["conversation_id"], frame["type"]) for frame in back[user].events()]
        room = rooms[int(user[1:].partition("-")[0])]
        expected = [(room, "message.new")] * 5
        if user in ("r3-1", "r3-2"):
            expected.append((gone, "conversation.created"))
        if user.startswith("r3-"):
            expected.append((room, "participant.left"))
        if user == "r3-1":
            expected = [expected[5], expected[6]]
        assert seen == expected, user
        cursors = [frame["cursor"] for frame in back[user].events()]
        assert cursors == sorted(set(cursors))
    await one.app.send(rooms[0], "r0-0", "live")
    await eventually(lambda: all(len(back[user].events()) == 6 for user in people[:10]))


async def test_what_is_read_for_many_is_not_of_what_was_deleted_meanwhile(
    make_node: Callable[..., Any],
) -> None:
    bus = MemoryBus(SystemClock())
    one, other = await make_node(bus.end()), await make_node(bus.end())
    room = await one.group("u0", *(f"u{n}" for n in range(1, 30)))
    cursor = one.app.hub.heads["default"]
    sent = await one.app.send(room, "u0", "secret")
    back = [await other.connect(f"u{n}", hold=True) for n in range(30)]
    read = other.app.store.missed
    deleted = DeleteMessage("default", sent.id, "u0")

    async def reads_and_then_it_is_deleted(*args: Any) -> Missed:
        found: Missed = await read(*args)
        await other.app.writer.write(deleted)
        return found

    other.app.catchup._storm._store = SimpleNamespace(missed=reads_and_then_it_is_deleted)
    await asyncio.gather(*(other.resume(connection, cursor) for connection in back))
    await eventually(lambda: all(len(connection.events()) == 2 for connection in back))
    told = [str(connection.told()) for connection in back[10:]]
    assert not [text for text in told if "secret" in text]


async def test_what_was_held_of_a_conversation_goes_with_the_access_to_it(node: Node) -> None:
    """Neither a part of what was missed nor what came meanwhile: only that one was removed."""
    room = await node.group("ann", "ben")
    await node.app.send(room, "ann", "missed")
    ben = await node.connect("ben", hold=True)
    await node.app.send(room, "ann", "held")
    await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    done = await node.resume(ben, ben.floor)
    assert done.recovered
    assert [frame["type"] for frame in ben.events()] == ["participant.left"]


async def test_what_was_held_follows_on_what_was_told_up_to_the_leaving(node: Node) -> None:
    """The catch-up told of the conversation, and only then they were removed."""
    room = await node.group("ann", "ben")
    await node.app.send(room, "ann", "missed")
    ben = await node.connect("ben", hold=True)
    await node.app.send(room, "ann", "held")
    log = node.app.catchup._log

    async def reach(org_id: str, cursor: int | None) -> None:
        """The last thing a catch-up does waits for the removal, once it has told of the room."""
        if ben.events():
            await node.app.send(room, "ann", "held too")
            await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
        await log.reach(org_id, cursor)

    node.app.catchup._log = SimpleNamespace(alone=False, reach=reach)
    done = await node.resume(ben, 0)
    assert done.events == 2
    await eventually(lambda: len(ben.events()) == 5)
    assert [frame["seq"] for frame in ben.events()] == [1, 2, 3, 4, 5]


async def test_resuming_ahead_of_where_one_came_in_gets_nothing_twice(node: Node) -> None:
    """Another device had it meanwhile, and its cursor is what is shown."""
    room = await node.group("ann", "ben")
    old, new = await node.connect("ben"), await node.connect("ben", hold=True)
    for text in ("one", "two"):
        await node.app.send(room, "ann", text)
    await eventually(lambda: len(old.events()) == 2)
    await node.resume(new, old.events()[0]["cursor"])
    await eventually(lambda: len(new.events()) == 1)
    assert new.events()[0]["data"]["content"] == "two"


async def test_a_request_is_answered_though_its_event_is_dropped(node: Node) -> None:
    room = await node.group("ann", "ben")
    sent = await node.app.send(room, "ben", "mine")
    ben = await node.connect("ben", hold=True)
    answer = partial(encode_reply, reply_to="q1")

    def done(result: Any, _: MadangError | None) -> None:
        node.app.delivery.reply(result.event, ben, answer)

    node.app.writer.submit(DeleteMessage("default", sent.id, "ben"), done)
    await node.app.writer.write(RemoveParticipant("default", room, "ann", "ben"))
    await node.resume(ben, ben.floor)
    first, *rest = ben.told()
    assert (first["type"], first["reply_to"]) == ("message.deleted", "q1")
    assert not first.keys() & {"seq", "cursor"}
    assert [frame["type"] for frame in rest] == ["participant.left"]
