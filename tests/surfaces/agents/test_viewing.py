"""What a viewer over Server-Sent Events takes of what is told."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

import orjson

from madang.clock import SystemClock
from madang.gateways.entrance import Entrance
from madang.hub.frame import Frame
from madang.surfaces.agents.seats import PIECE
from madang.surfaces.agents.viewer import RunViewer, pieces
from madang.surfaces.agents.viewing import numbered


def frame(kind: str, message_id: str = "a", **fields: Any) -> Frame:
    return Frame(orjson.dumps({"type": kind, "message_id": message_id, **fields}))


def viewer(*runs: str, limit: int = 2**20) -> RunViewer:
    entrance = Entrance(
        lambda _: None, SystemClock(), origins=(), dev=False, most=10, heartbeat=25, timeout=60
    )
    watching = RunViewer(entrance, limit)
    for run in runs:
        watching.add(run)
    return watching


async def told(watching: RunViewer) -> list[Frame]:
    return [frame async for frame in watching.told()]


async def test_what_is_told_is_read_once_and_encoded_once_for_all() -> None:
    frames = [
        frame("stream_start"),
        frame("stream_chunk", content="one ", index=0, offset=0),
        frame("run_step", step=0, status="running"),
        frame("stream_chunk", content="two", index=1, offset=4),
        frame("stream_end", status="complete"),
    ]
    content = [one.content for one in frames]
    for _ in range(3):
        watching = viewer("a")
        for one in frames:
            watching.write(one)
        assert all(mine is one for mine, one in zip(await told(watching), frames, strict=True))
    assert all(one.content is first for one, first in zip(frames, content, strict=True))


async def test_what_was_had_is_cut_off_and_what_is_not_of_its_runs_left_out() -> None:
    watching = viewer("a", "b")
    watching.had("a", 4)
    for one in (
        frame("stream_start"),
        frame("stream_chunk", content="one ", index=0, offset=0),
        frame("stream_chunk", content="one two 안녕", index=2, offset=0),
        frame("stream_chunk", "other", content="x", index=0, offset=0),
        frame("typing", "a"),
        frame("stream_chunk", "b", content="b", index=0, offset=0),
        frame("stream_end"),
        frame("stream_end"),
        frame("stream_end", "b"),
    ):
        watching.write(one)
    last = {"a": 0}
    events = [numbered(one, last) for one in await told(watching)]
    assert [event.id for event in events] == ["a:2", "b:0", "a:3", "b:1"]
    first = orjson.loads(str(events[0].data))
    assert (first["content"], first["offset"]) == ("two 안녕", 4)


async def test_what_was_told_before_it_came_comes_first_and_makes_nobody_slow() -> None:
    watching = viewer("a", limit=1_000)
    begun = [frame("stream_start")]
    begun += [frame("stream_chunk", content="x" * 500, index=n, offset=n * 500) for n in range(9)]
    for one in begun:
        watching.begin(one)
    rest = frame("stream_chunk", content="y", index=9, offset=4_500)
    watching.write(rest)
    watching.begin(frame("approval_request"))
    watching.write(frame("stream_end"))
    assert watching.open
    kinds = [one.content["type"] for one in await told(watching)]
    assert kinds[:-3] == [one.content["type"] for one in begun]
    assert kinds[-3:] == ["approval_request", "stream_chunk", "stream_end"]
    # Whoever does not read what comes then is.
    watching = viewer("a", limit=1_000)
    watching.begin(begun[0])
    for one in begun[1:]:
        watching.write(one)
    assert not watching.open
    assert [one.content["type"] for one in await told(watching)] == [
        one.content["type"] for one in begun[:3]
    ]


async def test_a_long_text_is_written_as_it_is_taken() -> None:
    text, ends = "안" * 10_000_000, range(10_000, 10_000_001, 10_000)
    watching = viewer("a", limit=1_000)
    watching.begin(frame("stream_start"))
    tracemalloc.start()
    try:
        watching.begin_text("a", text, ends, 0)
        rest = frame("stream_chunk", content="yz", index=1_000, offset=len(text))
        watching.write(rest)
        watching.write(frame("stream_end"))
        found, most = 0, 0
        async for one in watching.told():
            if one.content["type"] == "stream_chunk":
                assert one.content["offset"] == found
                found += len(one.content["content"])
            most = max(most, tracemalloc.get_traced_memory()[0])
        assert found == len(text) + 2
        # Some pieces, as text, as JSON and read again; all of them are 30 MB of JSON alone.
        assert most < 5_000_000
    finally:
        tracemalloc.stop()


async def test_what_was_read_and_is_not_so_any_more_is_not_told() -> None:
    text, ends = "x" * (3 * PIECE), (PIECE, 2 * PIECE, 3 * PIECE)
    watching = viewer("a", "b")
    watching.begin_text("a", text, ends, 0)
    watching.begin(frame("stream_end"))
    frames = watching.told()
    assert (await anext(frames)).content["index"] == 0
    watching.changed("other")
    assert (await anext(frames)).content["index"] == 1
    watching.changed("a")
    assert [one async for one in frames] == [] and not watching.open
    # What comes as it is told is not read before: its end follows.
    watching = viewer("a")
    watching.write(frame("stream_start"))
    watching.changed("a")
    watching.write(frame("stream_end"))
    assert [one.content["type"] for one in await told(watching)] == ["stream_start", "stream_end"]


def test_a_text_in_pieces_can_be_come_back_to_after_each() -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(200):
        ends: list[int] = []
        for _ in range(rng.randrange(12)):
            size = rng.choice((0, 1, 10, PIECE // 3, PIECE, PIECE + 1, PIECE * 2))
            ends.append((ends[-1] if ends else 0) + size)
        text = "".join(rng.choices("ab", k=ends[-1] if ends else rng.randrange(3)))
        offset = rng.choice([0, *ends])
        for one in pieces("a", text, ends, offset):
            content = one.content
            assert content["offset"] == offset
            assert content["content"] == text[offset : offset + len(content["content"])]
            offset += len(content["content"])
            assert offset == len(text) or offset == ends[content["index"]]
        assert offset == len(text)
