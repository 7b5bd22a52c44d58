"""Runs whose node is killed or stopped: what was said is kept, what waits begins elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from tests.surfaces.agents.conftest import MakeTwo, Program
from tests.surfaces.agents.sessions import LONG, Chat, answer_of
from tests.surfaces.people import House


async def test_a_killed_node_leaves_what_was_checked(
    make_program: Callable[..., Program],
) -> None:
    """kill -9 in the middle: the answer ends as interrupted, with its text, and what waited for it
    begins."""
    server = make_program()
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "numbers")
        ann = await chat.join("ann", session)
        await ann.send("message", content="100000")
        start = await ann.next("stream_start", patience=LONG)
        await ann.send("message", content="2", id=1)
        second = (await ann.next("message", reply_to=1))["message_id"]
        text = ""
        run = start["message_id"]
        # Until some of it must be on disk, by what the history says.
        while not (await chat.rest("ann").messages(session))[1]["content"]:
            pass
        while len(text) < 100:
            text += (await ann.next("stream_chunk", patience=LONG))["content"]
        server.kill()
        server.restart()
        back = await chat.join("ann", session, after=start["seq"])
        end = await back.next("stream_end", patience=LONG, message_id=run)
        assert end["status"] == "interrupted"
        listed = await chat.rest("ann").messages(session)
        kept = next(one for one in listed if one["id"] == run)
        assert kept["metadata"]["status"] == "interrupted"
        whole = "".join(f"{number} " for number in range(100_000))
        assert kept["content"] and whole.startswith(kept["content"])
        assert end["length"] == len(kept["content"])
        start = await back.next("stream_start", patience=LONG, reply_to_id=second)
        back.waiting.insert(0, start)
        _, text, end = await answer_of(back, start["message_id"])
        assert (text, end["status"]) == ("0 1 ", "complete")


async def test_a_stopped_server_keeps_all_that_was_said_and_begins_what_waits(
    make_program: Callable[..., Program],
) -> None:
    """What is being said ends with all of it; what waits behind it loses nothing."""
    server = make_program(drain_seconds="0.5")
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "numbers")
        ann = await chat.join("ann", session)
        for content in ("100000", "2", "3"):
            await ann.ask("message", content=content)
        text = ""
        while len(text) < 50:
            text += (await ann.next("stream_chunk", patience=LONG))["content"]
        assert server.terminate() == 0
        with suppress(ConnectionClosed):
            while True:
                ann.waiting.append(await ann.receive())
        text += "".join(one["content"] for one in ann.waiting if one["type"] == "stream_chunk")
        server.restart()
        back = await chat.join("ann", session)
        for _ in range(2):
            end = await back.next("stream_end", patience=LONG)
            assert end["status"] == "complete"
        history = await chat.rest("ann").messages(session)
        first, *others = [one for one in history if one["kind"] == "agent_message"]
        assert first["metadata"]["status"] == "interrupted"
        assert first["content"].startswith(text)
        assert [one["content"] for one in others] == ["0 1 ", "0 1 2 "]


async def test_a_killed_node_among_two_is_noticed_by_the_other(make_two: MakeTwo) -> None:
    """Whoever watches on the other node is told the end, and the next answer is that node's."""
    chat, beside = await make_two()
    session = await chat.session("ann", "numbers")
    viewer = await beside.join("ann", session)
    asked = await chat.rest("ann").post(f"/sessions/{session}/messages", {"content": "100000"})
    (run,) = asked.json()["runs"]
    text, begun = "", time.monotonic()
    while len(text) < 5000:
        chunk = await viewer.next("stream_chunk", patience=LONG)
        assert chunk["offset"] == len(text)
        text += chunk["content"]
    chat.house.server.kill()
    lasted = time.monotonic() - begun
    end = await viewer.next("stream_end", patience=2 * LONG, message_id=run)
    assert end["status"] == "interrupted"
    text += "".join(frame["content"] for frame in viewer.waiting if frame["type"] == "stream_chunk")
    kept = (await beside.rest("ann").messages(session))[-1]
    assert "".join(f"{n} " for n in range(100_000)).startswith(kept["content"])
    # Who watched has not seen more than is kept.
    assert kept["content"] == text and end["length"] == len(text)
    assert end["tokens_used"] > 500
    assert end["latency_ms"] < 1_000 * (lasted + 1)
    await viewer.send("message", content="3")
    start = await viewer.next("stream_start", patience=LONG)
    while start["message_id"] == run:
        start = await viewer.next("stream_start", patience=LONG)
    viewer.waiting.insert(0, start)
    assert (await answer_of(viewer, start["message_id"]))[1] == "0 1 2 "


async def test_what_waits_is_begun_by_another_node(make_two: MakeTwo) -> None:
    chat, beside = await make_two(drain_seconds="0.5")
    session = await chat.session("ann", "numbers")
    viewer = await beside.join("ann", session)
    api = chat.rest("ann")
    runs = []
    for content in ("100000", "1000"):
        path = f"/sessions/{session}/messages"
        runs += (await api.post(path, {"content": content})).json()["runs"]
    await viewer.next("stream_chunk", patience=LONG)
    assert chat.house.server.terminate() == 0
    end = await viewer.next("stream_end", patience=LONG, message_id=runs[0])
    assert end["status"] == "interrupted"
    _, text, end = await answer_of(viewer, runs[1])
    assert text == "".join(f"{number} " for number in range(1000))
    assert end["status"] == "complete"
