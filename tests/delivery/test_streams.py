"""Answers while they are written: merged, and whole for every viewer, whatever the bus loses and
whenever somebody comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from madang.agents.protocol import AgentRun, Said
from madang.model.runs import own_agent
from madang.services.messages import DeleteMessage, SendMessage
from madang.services.sessions import CreateSession
from tests.agents.watching import ORG, Typed, Viewer, ask, session, turns, watch
from tests.conftest import eventually
from tests.delivery.conftest import PATIENCE


async def test_what_the_bus_loses_is_asked_for(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    here, there = await cluster(lambda told: rng.random() < 0.3)
    typed, room = Typed(here), await session(here)
    viewers = [await watch(here, room), await watch(there, room)]
    await ask(here, room)
    text = ""
    for number in range(400):
        text += f"{number}안🌊 "
        typed.type(f"{number}안🌊 ")
        if number % 40 == 0:
            await eventually(lambda: viewers[0].text == text)  # noqa: B023
            viewers += [await watch(here, room), await watch(there, room)]
        await turns(rng.randrange(4))
    typed.type(None)
    async with asyncio.timeout(PATIENCE):
        for viewer in viewers:
            await eventually(lambda: viewer.ended, PATIENCE)  # noqa: B023
    assert {viewer.text for viewer in viewers} == {text}
    assert here.bus.lost > 50
    assert there.agents.streams.asked > 0


async def test_where_nothing_arrives_the_end_brings_it_all(cluster: Callable[..., Any]) -> None:
    here, there = await cluster(lambda told: True)
    typed, room = Typed(here), await session(here)
    viewer = await watch(there, room)
    await ask(here, room)
    typed.type("all ", "of ", "it", None)
    await eventually(lambda: viewer.ended, PATIENCE)
    assert viewer.text == "all of it"
    kinds = [frame["type"] for frame in viewer.told()]
    assert kinds[-3:] == ["stream_start", "stream_chunk", "stream_end"]


async def test_what_is_read_from_the_log_after_its_end_begins_all_the_same(
    cluster: Callable[..., Any],
) -> None:
    """The log refers to the message as it is now: over, or deleted."""
    here, there = await cluster(lambda told: True)
    typed, room = Typed(here), await session(here)
    viewer, other = await watch(there, room), await watch(here, room)
    here.bus.dumb = True
    runs = [await ask(here, room), await ask(here, room)]
    typed.type("all ", "of ", "it", None, "gone", None)
    await eventually(lambda: ends_of(other) == runs, PATIENCE)
    await here.writer.write(DeleteMessage(ORG, runs[1], "ann"))
    assert not viewer.told()
    await there.delivery.check_heads()
    await eventually(lambda: ends_of(viewer) == runs, PATIENCE)
    assert viewer.frames_of(runs[0]) == ["stream_start", "stream_chunk", "stream_end"]
    assert viewer.frames_of(runs[1])[:2] == ["stream_start", "stream_end"]
    assert [chunk["content"] for chunk in viewer.chunks()] == ["all of it"]


def ends_of(viewer: Viewer) -> list[str]:
    return [frame["message_id"] for frame in viewer.told() if frame["type"] == "stream_end"]


async def test_five_hundred_who_refresh_have_it_to_the_byte(cluster: Callable[..., Any]) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    nodes = await cluster(lambda told: False)
    typed, room = Typed(nodes[0]), await session(nodes[0])
    first = await watch(nodes[0], room)
    run = await ask(nodes[0], room)
    viewers: list[Viewer] = []
    text = ""

    async def refresh() -> None:
        await turns(rng.randrange(200))
        viewer = await watch(rng.choice(nodes), room)
        viewers.append(viewer)

    coming = [asyncio.ensure_future(refresh()) for _ in range(500)]
    number = 0
    while not all(task.done() for task in coming):
        text += (said := f"{number} 안녕🌊 ")
        typed.type(said)
        number += 1
        await turns(3)
    await asyncio.gather(*coming)
    for _ in range(20):
        text += (said := f"{number} ")
        typed.type(said)
    typed.type(None)
    await eventually(lambda: all(viewer.ended for viewer in (first, *viewers)), PATIENCE)
    assert {viewer.text for viewer in (first, *viewers)} == {text}
    kept = await nodes[1].store.message(ORG, run, "ann")
    assert kept is not None and kept.content == text


async def test_a_long_answer_reaches_who_comes_late_however_many_there_are(
    cluster: Callable[..., Any],
) -> None:
    """More is under way than a connection may have unsent: it comes in pieces, whole."""
    here, there = await cluster(lambda told: False)
    texts = ["안녕🌊" * 60_000, "x" * 190_000, "🌊" * 199_999]

    async def long(run: AgentRun) -> AsyncIterator[Said]:
        yield texts[len(run.question) - 1]
        await asyncio.Event().wait()  # It never ends.

    here.agent("typed")(long)
    opened = await here.writer.write(
        CreateSession(ORG, "ann", own_agent("typed"), when_busy="parallel")
    )
    room = opened.conversation.id
    first = await watch(here, room)
    runs = {}
    for number, text in enumerate(texts, 1):
        done = await here.writer.write(SendMessage(ORG, room, "ann", "?" * number))
        runs[done.runs[0]] = text
    await eventually(lambda: len(first.chunks()) >= 3, PATIENCE)

    def texts_of(viewer: Viewer) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in viewer.chunks():
            before = found.get(chunk["message_id"], "")
            assert chunk["offset"] == len(before)
            found[chunk["message_id"]] = before + chunk["content"]
        return found

    for node in (here, there):
        late = await watch(node, room)
        await eventually(lambda: texts_of(late) == runs, PATIENCE)  # noqa: B023
        assert max(len(chunk["content"]) for chunk in late.chunks()) <= 65_536
