"""Asking for a stream where an agent outside answers: it waits for the answer to begin."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.surfaces.agents.conftest import Program
from tests.surfaces.agents.sessions import LONG, Api, Chat, Events, words
from tests.surfaces.agents.test_limits import until_left
from tests.surfaces.people import Frame, House, Socket

IDLE = 0.3
"""Seconds that a server in a hurry waits for an agent."""


async def asked(chat: Chat, **fields: Any) -> tuple[str, Socket, list[Api]]:
    """A session of Ann's with an agent outside, the agent, and Ann on each node: first on the one
    where the agent is not."""
    session = await chat.session("ann", "bot-7", **fields)
    bot = await chat.join("bot-7", session, roles=["agent"])
    return session, bot, [chat.rest("ann"), chat.rest("ann")]


def text_of(told: list[tuple[str | None, Frame]]) -> str:
    """The text of a stream, whose chunks follow each other, as their ids say too."""
    text = ""
    for identity, frame in told:
        if frame["type"] == "stream_chunk":
            assert frame["offset"] == len(text)
            assert identity == f"{frame['message_id']}:{frame['index']}"
            text += frame["content"]
    return text


async def say(bot: Socket, text: str, **start: Any) -> str:
    """A whole answer; its message's id."""
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run, **start)
    for index, word in enumerate(text.split(" ")):
        space = " " if index else ""
        await bot.send("stream_chunk", message_id=run, content=space + word, index=index)
    await bot.send("stream_end", message_id=run, tokens_used=7)
    return run


def kinds(told: list[tuple[str | None, Frame]]) -> list[str]:
    """The types of frames, those of one kind that follow each other once."""
    found: list[str] = []
    for _, frame in told:
        if found[-1:] != [frame["type"]]:
            found.append(frame["type"])
    return found


async def test_its_answer_comes_on_the_stream_of_whoever_asked(program: Chat) -> None:
    session, bot, apis = await asked(program)
    path, text = f"/sessions/{session}/messages/stream", words(40)
    for number, api in enumerate(apis):
        body = {"content": f"well {number}?", "client_id": f"c{number}"}
        async with api.stream("POST", path, body) as events:
            question = (await bot.next("message", content=f"well {number}?"))["message_id"]
            run = await say(bot, text, reply_to_id=question)
            told = await events.all()
        assert kinds(told) == ["stream_start", "stream_chunk", "stream_end"]
        assert {frame["message_id"] for _, frame in told} == {run}
        assert (told[0][0], told[0][1]["reply_to_id"]) == (f"{run}:-1", question)
        assert text_of(told) == text
        end = told[-1][1]
        assert (end["status"], end["tokens_used"], end["length"]) == ("complete", 7, len(text))
        # Asked again it is the same answer, from where one left off.
        for last, at in ((None, 0), (told[1][0], len(told[1][1]["content"]))):
            named = {} if last is None else {"last_event_id": last}
            async with api.stream("POST", path, body, **named) as events:
                again = await events.all()
            rest = "".join(f["content"] for _, f in again if f["type"] == "stream_chunk")
            assert (rest, again[-1][1]["status"]) == (text[at:], "complete")


async def test_an_answer_that_does_not_say_what_it_replies_to(program: Chat) -> None:
    """It is the agent's first behind the question; not one that had begun before, and not one that
    is to another message."""
    session, bot, apis = await asked(program)
    api, path = apis[0], f"/sessions/{session}/messages"
    other = (await api.post(path, {"content": "another matter"})).json()["message_id"]
    before = str(uuid.uuid4())
    await bot.ask("stream_start", message_id=before)
    await bot.send("stream_chunk", message_id=before, content="before")
    body = {"content": "well?", "client_id": "c1"}
    async with api.stream("POST", f"{path}/stream", body) as events:
        await bot.next("message", content="well?")
        await bot.send("stream_end", message_id=before)
        await say(bot, "of another matter", reply_to_id=other)
        run = await say(bot, "that is it")
        await say(bot, "and this is not")
        told = await events.all()
    assert {frame["message_id"] for _, frame in told} == {run}
    assert (text_of(told), told[-1][1]["status"]) == ("that is it", "complete")
    for api in apis:
        async with api.stream("POST", f"{path}/stream", body) as events:
            again = await events.all()
        assert (again[0][1]["message_id"], text_of(again)) == (run, "that is it")


async def test_who_comes_back_while_it_waits_waits_on(program: Chat) -> None:
    """Also where the answer has begun meanwhile."""
    session, bot, apis = await asked(program)
    path, body = f"/sessions/{session}/messages/stream", {"content": "well?", "client_id": "c1"}
    for api in apis:
        async with api.stream("POST", path, body):
            pass
    run = str(uuid.uuid4())
    async with apis[1].stream("POST", path, body) as first:
        await bot.ask("stream_start", message_id=run)
        await bot.send("stream_chunk", message_id=run, content="so far ")
        while (await first.next())[1]["type"] != "stream_chunk":
            pass
        async with apis[0].stream("POST", path, body) as second:
            while (await second.next())[1]["type"] != "stream_chunk":
                pass
            await bot.send("stream_chunk", message_id=run, content="and on")
            await bot.send("stream_end", message_id=run)
            for events in (first, second):
                told = await events.all()
                assert told[-2][1]["content"] == "and on"
                assert told[-1][1]["status"] == "complete"
    history = await apis[0].messages(session)
    assert [message["content"] for message in history] == ["well?", "so far and on"]


async def test_one_that_is_stopped(program: Chat) -> None:
    session, bot, apis = await asked(program)
    path = f"/sessions/{session}/messages/stream"
    async with apis[0].stream("POST", path, {"content": "well?"}) as events:
        run = (await bot.ask("stream_start"))["message_id"]
        await bot.send("stream_chunk", message_id=run, content="so far")
        while (await events.next())[1]["type"] != "stream_chunk":
            pass
        assert (await apis[1].post(f"/runs/{run}/stop")).json()["status"] == "cancelled"
        ((_, end),) = await events.all()
    assert (end["type"], end["status"], end["length"]) == ("stream_end", "cancelled", 6)


async def sent(events: Events, message_id: str) -> None:
    """The stream ends without an answer."""
    assert await events.all() == [(None, {"type": "message_sent", "message_id": message_id})]


@pytest.mark.parametrize("how", ["handover", "send out", "archive", "delete"])
async def test_nobody_is_waited_for_where_nobody_is_to_answer(program: Chat, how: str) -> None:
    """From the moment on when that is so, whether it was waited for before or not."""
    session, bot, (api, other) = await asked(program)
    path = f"/sessions/{session}"
    body = {"content": "well?", "client_id": "c1"}
    async with api.stream("POST", f"{path}/messages/stream", body) as events:
        question = (await bot.next("message", content="well?"))["message_id"]
        match how:
            case "handover":
                done = await other.post(f"{path}/handover", {"to": "ann"})
            case "send out":
                done = await other.delete(f"{path}/participants/bot-7")
            case "delete":
                done = await program.house.rest("ann").delete(f"/messages/{question}")
            case _:
                done = await other.delete(path)
        assert done.is_success
        await sent(events, question)
    async with other.stream("POST", f"{path}/messages/stream", body) as events:
        await sent(events, question)
    if how == "handover":
        async with api.stream("POST", f"{path}/messages/stream", {"content": "hm"}) as events:
            ((_, told),) = await events.all()
            assert told["type"] == "message_sent"
        # Whom it names it asks all the same.
        body = {"content": "@bot-7, well?"}
        async with api.stream("POST", f"{path}/messages/stream", body) as events:
            await bot.next("message", content="@bot-7, well?")
            await say(bot, "so it is")
            assert text_of(await events.all()) == "so it is"


async def test_whom_a_message_does_not_ask_is_not_waited_for(program: Chat) -> None:
    session, _, (api, _) = await asked(program, participant_ids=["bob"], answers="mentioned")
    for content in ("between us", "@bob, and you?"):
        body = {"content": content}
        async with api.stream("POST", f"/sessions/{session}/messages/stream", body) as events:
            ((_, told),) = await events.all()
        assert told["type"] == "message_sent"


async def test_it_is_heard_beside_an_agent_of_the_servers(program: Chat) -> None:
    session, bot, (api, _) = await asked(program)
    path = f"/sessions/{session}"
    assert (await api.post(f"{path}/participants", {"agent_ids": ["echo"]})).is_success
    content = "@echo @bot-7 well?"
    async with api.stream("POST", f"{path}/messages/stream", {"content": content}) as events:
        question = (await bot.next("message", content=content))["message_id"]
        while (await events.next())[1]["type"] != "stream_end":
            pass
        run = await say(bot, "that is it", reply_to_id=question)
        told = await events.all()
    assert {frame["message_id"] for _, frame in told} == {run}
    assert text_of(told) == "that is it"


@pytest.fixture
async def hasty(make_program: Callable[..., Program]) -> AsyncIterator[Chat]:
    """One node that waits for agents for a short while only."""
    async with House(make_program(run_idle_seconds=str(IDLE))) as house:
        yield Chat(house)


async def test_one_that_never_answers_is_waited_for_so_long(hasty: Chat) -> None:
    session, bot, (api, _) = await asked(hasty)
    path, begun = f"/sessions/{session}/messages/stream", time.monotonic()
    async with api.stream("POST", path, {"content": "well?", "client_id": "c1"}) as events:
        question = (await bot.next("message"))["message_id"]
        await sent(events, question)
    assert time.monotonic() - begun >= IDLE
    await until_left(api, 1)
    # What it says after that is told as ever, and to whoever asks again.
    run = await say(bot, "late", reply_to_id=question)
    async with api.stream("POST", path, {"content": "well?", "client_id": "c1"}) as events:
        told = await events.all()
    assert (told[0][1]["message_id"], text_of(told)) == (run, "late")


async def test_who_hangs_up_is_forgotten(one: Chat) -> None:
    """Their place is free, and the answer is as if they were there."""
    session, bot, (api, _) = await asked(one)
    path = f"/sessions/{session}/messages/stream"
    for number in range(5):
        async with api.stream("POST", path, {"content": f"well {number}?"}):
            await bot.next("message", content=f"well {number}?")
            await until_left(api, 2)
        await until_left(api, 1)
    run = await say(bot, "that is it")
    end = await bot.next("stream_end", patience=LONG, message_id=run)
    assert end["status"] == "complete"
    assert (await api.messages(session))[-1]["content"] == "that is it"
