"""What a viewer over Server-Sent Events takes of what is told."""

from __future__ import annotations

from typing import Any

import orjson

from madang.clock import SystemClock
from madang.gateways.entrance import Entrance
from madang.hub.frame import Frame
from madang.surfaces.agents.viewing import RunViewer, numbered


def frame(kind: str, message_id: str = "a", **fields: Any) -> Frame:
    return Frame(orjson.dumps({"type": kind, "message_id": message_id, **fields}))


def viewer(*runs: str) -> RunViewer:
    entrance = Entrance(
        lambda _: None, SystemClock(), origins=(), dev=False, most=10, heartbeat=25, timeout=60
    )
    return RunViewer(entrance, 2**20, runs)


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
