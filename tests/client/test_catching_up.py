"""Every event once and in order, whatever the connection does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from madang.client import Event, Gap, connect
from tests.client.scripted import Frame, Naps, Peer, event, resumed, scripted, take


def places(events: list[Any]) -> list[tuple[str, int]]:
    return [(one.conversation_id, one.seq) for one in events]


async def test_resume_is_the_first_frame_and_goes_on_where_it_was() -> None:
    async def cuts(peer: Peer) -> None:
        await peer.greet(1000)
        await peer.tell(event(1, 1001), event(2, 1002))
        await peer.cut()

    async def tells(peer: Peer) -> None:
        first = await peer.hear()
        assert (first["type"], first["cursor"]) == ("resume", 1002)
        await peer.greet(1004)
        await peer.tell(event(3, 1003), event(4, 1004), resumed(1004, 2), event(5, 1005))
        await peer.stay()

    async with (
        scripted(cuts, tells) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        assert places(await take(me.events(), 5)) == [("c", seq) for seq in range(1, 6)]
        assert me.cursor == 1005


async def test_the_cursor_moves_when_an_event_is_handed_over() -> None:
    async def script(peer: Peer) -> None:
        assert await peer.hear() == {"type": "resume", "cursor": 500, "id": "resume"}
        await peer.greet(1000)
        await peer.tell(event(8, 900), event(9, 950), resumed(1000, 2))
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t", cursor=500) as me:
        events = me.events()
        assert me.cursor == 500
        [first] = await take(events, 1)
        assert (me.cursor, first.cursor) == (900, 900)
        await take(events, 1)
        assert me.cursor == 950


async def test_without_a_cursor_it_goes_on_from_the_first_connection() -> None:
    async def cuts(peer: Peer) -> None:
        await peer.greet(1000)
        await peer.cut()

    async def tells(peer: Peer) -> None:
        assert (await peer.hear())["cursor"] == 1000
        await peer.greet(1001)
        await peer.tell(event(1, 1001), resumed(1001, 1))
        await peer.stay()

    async with (
        scripted(cuts, tells) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        assert places(await take(me.events(), 1)) == [("c", 1)]


async def test_repeats_are_dropped_and_conversations_do_not_disturb_each_other() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        one, two, three = event(1, 1001), event(2, 1002), event(3, 1003)
        other = event(1, 1004, "other")
        await peer.tell(one, one, two, one, two, three, other, three, other, event(4, 1005))
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        seen = places(await take(me.events(), 5))
        assert seen == [("c", 1), ("c", 2), ("c", 3), ("other", 1), ("c", 4)]


async def test_live_events_before_the_missed_ones_wait_for_them() -> None:
    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.greet(1002)
        # 3 and 4 happened after connecting; the server has told them twice, first too early.
        await peer.tell(event(4, 1004), event(1, 1001), event(2, 1002), event(3, 1003))
        await peer.tell(event(4, 1004), resumed(1004, 4), event(5, 1005))
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t", cursor=1000) as me:
        assert places(await take(me.events(), 5)) == [("c", seq) for seq in range(1, 6)]


async def test_a_hole_is_asked_for_before_anything_passes_it() -> None:
    async def skips(peer: Peer) -> None:
        await peer.greet()
        await peer.tell(event(1, 1001), event(3, 1003), event(4, 1004))
        await peer.stay()

    async def heals(peer: Peer) -> None:
        assert (await peer.hear())["cursor"] == 1001
        await peer.greet(1004)
        await peer.tell(event(2, 1002), event(3, 1003), event(4, 1004), resumed(1004, 3))
        await peer.stay()

    async with (
        scripted(skips, heals) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        assert places(await take(me.events(), 4)) == [("c", seq) for seq in range(1, 5)]


async def test_a_hole_that_the_server_confirms_is_believed_from_then_on() -> None:
    async def skips(peer: Peer) -> None:
        await peer.greet()
        await peer.tell(event(1, 1001), event(3, 1003))
        await peer.stay()

    async def insists(peer: Peer) -> None:
        await peer.hear()
        await peer.greet(1003)
        await peer.tell(event(3, 1003), resumed(1003, 1), event(5, 1005), event(9, 1009))
        await peer.stay()

    async with (
        scripted(skips, insists) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        assert places(await take(me.events(), 4)) == [("c", seq) for seq in (1, 3, 5, 9)]


async def test_who_was_removed_and_let_in_again_misses_what_was_between() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        left = {"type": "participant.left", "conversation_id": "c", "user_id": 7, "by": 8}
        joined = {"type": "participant.joined", "conversation_id": "c", "user_id": 7}
        await peer.tell(event(1, 1001), {**left, "seq": 2, "cursor": 1002})
        await peer.tell({**joined, "seq": 9, "cursor": 1009}, event(10, 1010))
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        seen = await take(me.events(), 4)
        assert places(seen) == [("c", seq) for seq in (1, 2, 9, 10)]
        assert (seen[1].user_id, seen[1].data["by"]) == ("7", "8")


async def test_what_cannot_be_recovered_is_an_explicit_gap() -> None:
    async def script(peer: Peer) -> None:
        await peer.hear()
        await peer.greet(900)
        await peer.tell(event(41, 901), resumed(900, 0, recovered=False, reason="epoch changed"))
        await peer.tell(event(42, 902))
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t", cursor=5000) as me:
        events = me.events()
        [gap] = await take(events, 1)
        assert gap == Gap("epoch changed", 900)
        assert me.cursor == 900
        assert places(await take(events, 2)) == [("c", 41), ("c", 42)]
        assert me.cursor == 902


async def test_the_epoch_goes_with_the_cursor() -> None:
    async def cuts(peer: Peer) -> None:
        await peer.greet(1000, epoch="first")
        await peer.tell(event(5, 1005))
        await peer.cut()

    async def restored(peer: Peer) -> None:
        asked = await peer.hear()
        assert (asked["cursor"], asked["epoch"]) == (1005, "first")
        await peer.greet(700, epoch="second")
        await peer.tell(resumed(700, 0, recovered=False, reason="other_epoch"))
        await peer.tell(event(3, 703))
        await peer.stay()

    async with (
        scripted(cuts, restored) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        before, gap = await take(me.events(), 2)
        assert (before.seq, gap) == (5, Gap("other_epoch", 700))
        assert (me.cursor, me.epoch) == (700, "second")
        # In the restored log the numbers begin anew: 3 is no repeat although 5 was seen.
        assert places(await take(me.events(), 1)) == [("c", 3)]


async def test_the_end_of_catching_up_says_nothing_of_live_events_behind_it() -> None:
    async def cuts(peer: Peer) -> None:
        await peer.hear()
        await peer.greet(1000)
        # 1001 happened meanwhile; it was to follow, and the connection broke before it.
        await peer.tell(resumed(1001))
        await peer.cut()

    async def tells(peer: Peer) -> None:
        assert (await peer.hear())["cursor"] == 1000
        await peer.greet(1001)
        await peer.tell(event(1, 1001), resumed(1001, 1))
        await peer.stay()

    async with (
        scripted(cuts, tells) as server,
        connect(server.url, token="t", cursor=900, timing=Naps().timing) as me,
    ):
        assert places(await take(me.events(), 1)) == [("c", 1)]


async def test_a_refused_resume_is_tried_again_after_the_hint() -> None:
    async def refuses(peer: Peer) -> None:
        asked = await peer.hear()
        await peer.greet(1001)
        busy = {"type": "error", "code": "UNAVAILABLE", "message": "Later", "retry_after": 750}
        await peer.tell({**busy, "reply_to": asked["id"]}, event(2, 1002))
        await peer.stay()

    async def tells(peer: Peer) -> None:
        assert (await peer.hear())["cursor"] == 1000
        await peer.greet(1002)
        await peer.tell(event(1, 1001), event(2, 1002), resumed(1002, 2))
        await peer.stay()

    naps = Naps()
    async with (
        scripted(refuses, tells) as server,
        connect(server.url, token="t", cursor=1000, timing=naps.timing) as me,
    ):
        assert places(await take(me.events(), 2)) == [("c", 1), ("c", 2)]
    assert naps.taken == [0.75]


async def test_a_slow_program_stops_the_reading_instead_of_filling_memory() -> None:
    count = 400
    told = 0
    full = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal told
        await peer.greet()
        for seq in range(1, count + 1):
            frame = event(seq, 1000 + seq)
            frame["data"]["content"] = "x" * 60_000
            write = asyncio.ensure_future(peer.tell(frame))
            done, _ = await asyncio.wait([write], timeout=0.3)
            if not done:
                full.set()
            await write
            told = seq
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t", buffer=10) as me:
        async with asyncio.timeout(20):
            await full.wait()
        assert told < count
        assert places(await take(me.events(), count)) == [("c", n + 1) for n in range(count)]
        assert server.connections == 1


async def test_a_program_that_sends_while_its_events_wait_neither_blocks_nor_loses_any() -> None:
    async def floods(peer: Peer) -> None:
        await peer.greet()
        await peer.tell(*(event(seq, 1000 + seq) for seq in range(1, 31)))
        await peer.confirm(await peer.hear(), 31)
        await peer.tell(event(31, 1031))
        await peer.stay()

    async def tells_again(peer: Peer) -> None:
        first = (await peer.hear())["cursor"] - 1000
        assert first >= 5
        await peer.greet(1031)
        await peer.tell(*(event(seq, 1000 + seq) for seq in range(first + 1, 32)), resumed(1031))
        await peer.stay()

    async with (
        scripted(floods, tells_again) as server,
        connect(server.url, token="t", buffer=5, timing=Naps().timing) as me,
    ):
        # Nobody reads the events while this waits: the confirmation stands behind all of them.
        await me.send("c", "hello")
        assert places(await take(me.events(), 31)) == [("c", n + 1) for n in range(31)]


async def test_a_program_without_interest_in_events_is_never_held_up() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for seq in range(1, 101):
            await peer.tell(event(seq, 1000 + seq))
            if seq % 50 == 0:
                await peer.confirm(await peer.hear(), seq)
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t", buffer=0) as me:
        await me.send("c", "one")
        await me.send("c", "two")
        assert me.cursor == 1100
        assert server.connections == 1


async def test_an_older_part_can_be_read_again_and_subscriptions_are_kept() -> None:
    async def first(peer: Peer) -> None:
        await peer.greet()
        await peer.tell(event(5, 1005))
        asked = await peer.hear()
        assert (asked["type"], asked["after"]) == ("subscribe", 2)
        await peer.tell(event(3, 903), event(4, 904), event(5, 1005))
        done = {"type": "subscribed", "conversation_id": "c", "seq": 5, "recovered": True}
        await peer.tell({**done, "reply_to": asked["id"]}, event(6, 1006))
        assert (await peer.hear())["type"] == "ping"
        await peer.cut()

    async def second(peer: Peer) -> None:
        assert (await peer.hear())["type"] == "resume"
        await peer.greet(1006)
        assert (await peer.hear())["type"] == "ping"
        await peer.tell({"type": "pong", "reply_to": "c2"}, resumed(1006))
        again = await peer.hear()
        assert (again["type"], again["after"]) == ("subscribe", 6)
        await peer.tell(event(7, 1007))
        await peer.stay()

    async with (
        scripted(first, second) as server,
        connect(server.url, token="t", timing=Naps().timing) as me,
    ):
        events = me.events()
        assert places(await take(events, 1)) == [("c", 5)]
        assert await me.subscribe("c", after=2) == 5
        assert places(await take(events, 3)) == [("c", 3), ("c", 4), ("c", 6)]
        assert me.cursor == 1006
        await me.ping()
        assert places(await take(events, 1)) == [("c", 7)]


async def test_signals_come_only_when_asked_for() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        for seq in (1, 2):
            await peer.hear()
            await peer.tell({"type": "typing.start", "user_id": 8, "conversation_id": "c"})
            await peer.tell(event(seq, 1000 + seq), {"type": "pong", "reply_to": f"c{seq}"})
        await peer.stay()

    async with scripted(script) as server, connect(server.url, token="t") as me:
        await me.ping()
        assert [one.type for one in await take(me.events(), 1)] == ["message.new"]
        events = me.events(signals=True)
        await me.ping()
        typing, new = await take(events, 2)
        assert (typing.type, typing.user_id, typing.conversation_id) == ("typing.start", "8", "c")
        assert isinstance(new, Event)


async def test_one_consumer_at_a_time() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.stay()

    async with scripted(script) as server:
        me = connect(server.url, token="t")
        await me.open()
        reading = asyncio.create_task(take(me.events(), 1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one consumer"):
            await anext(me.events())
        await me.close()
        with pytest.raises(StopAsyncIteration):
            await reading


async def test_a_log_cut_at_random_places_arrives_whole() -> None:
    """A small but honest server: it replays by cursor, is cut anywhere, and repeats itself."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    total, cuts = 300, 12
    log: list[Frame] = []
    seqs = {"a": 0, "b": 0, "c": 0}
    for number in range(total):
        conversation = rng.choice("abc")
        seqs[conversation] += 1
        log.append(event(seqs[conversation], 1001 + number, conversation))

    async def serve_part(peer: Peer, *, last: bool) -> None:
        cursor = (await peer.hear())["cursor"]
        live_from = rng.randint(cursor - 1000, total)
        await peer.greet(1000 + live_from)
        end = total if last else rng.randint(live_from, total)
        missed = log[cursor - 1000 : live_from]
        early = log[live_from : rng.randint(live_from, end)]
        frames = [*early, *missed, *early] if rng.random() < 0.5 else [*missed, *early]
        frames.append(resumed(1000 + live_from + len(early)))
        for frame in log[live_from + len(early) : end]:
            frames += [frame] * rng.choice((1, 1, 1, 2))
        for frame in frames if last else frames[: rng.randint(0, len(frames))]:
            await peer.tell(frame)
        await (peer.stay() if last else peer.cut())

    def part(number: int) -> Any:
        async def script(peer: Peer) -> None:
            await serve_part(peer, last=number == cuts)

        return script

    async with (
        scripted(*(part(number) for number in range(cuts + 1))) as server,
        connect(server.url, token="t", cursor=1000, buffer=7, timing=Naps().timing) as me,
    ):
        events: AsyncIterator[Any] = me.events()
        seen = await take(events, total)
        assert places(seen) == [(frame["conversation_id"], frame["seq"]) for frame in log]
        assert me.cursor == 1000 + total
