"""Runs are bounded: so many at once over all nodes, so many messages a minute, so much output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.surfaces.agents.conftest import MakeTwo, Program
from tests.surfaces.agents.sessions import LONG, Chat
from tests.surfaces.people import House, problem


async def test_runs_at_once_are_limited_over_all_nodes(make_two: MakeTwo) -> None:
    limits = {"runs_per_user": "3", "runs_per_org": "4", "rate_limit_enabled": "true"}
    nodes = await make_two(**limits, drain_seconds="0")
    apis = [chat.rest("ann") for chat in nodes]
    session = await nodes[0].session("ann", "forever", when_busy="parallel")
    path = f"/sessions/{session}/messages"
    runs = []
    for number, api in enumerate((apis[0], apis[1], apis[1])):
        answer = await api.post(path, {"content": str(number)})
        runs += answer.json()["runs"]
    for api in apis:
        answer = await api.post(path, {"content": "one more"})
        told = problem(answer, 429, "RATE_LIMIT", "Too many runs at once")
        assert told["retry_after"] == 1000 and answer.headers["retry-after"] == "1"
    assert len(await apis[0].messages(session)) == 6  # It was not sent either.
    bobs = await nodes[1].session("bob", "forever", when_busy="parallel")
    at = f"/sessions/{bobs}/messages"
    assert (await nodes[0].rest("bob").post(at, {"content": "x"})).is_success
    for chat in nodes:
        refused = await chat.rest("bob").post(at, {"content": "y"})
        problem(refused, 429, "RATE_LIMIT", "Too many runs at once")
    stopped = await apis[1].post(f"/runs/{runs[0]}/stop")
    assert stopped.json()["status"] == "cancelled"
    assert (await apis[1].post(path, {"content": "now"})).status_code == 201
    problem(await apis[0].post(path, {"content": "again"}), 429, "RATE_LIMIT")


async def test_headers_tell_what_is_left_and_too_many_is_told(
    open_chat: Callable[..., Chat],
) -> None:
    chat = open_chat(rate_limit_enabled="true", rate_limit_messages_per_minute="4")
    async with chat.house:
        api = chat.rest("ann")
        session = await chat.session("ann", "bot")
        for left in (3, 2, 1, 0):
            answer = await api.post(f"/sessions/{session}/messages", {"content": "x"})
            assert answer.status_code == 201
            assert answer.headers["ratelimit-policy"] == '"messages";q=4;w=60'
            assert answer.headers["ratelimit"].startswith(f'"messages";r={left};t=')
        answer = await api.post(f"/sessions/{session}/messages", {"content": "x"})
        told = problem(answer, 429, "RATE_LIMIT", "Too many messages")
        assert 0 < told["retry_after"] <= 15_000
        assert answer.headers["ratelimit"].startswith('"messages";r=0;t=')
        socket = await chat.join("ann", session)
        await socket.send("message", content="x")
        error = await socket.next("error")
        assert (error["code"], error["message"]) == ("RATE_LIMIT", "Too many messages")
        assert error["retry_after"] > 0


async def test_an_answer_beyond_the_output_limit_is_read_to_its_end(
    make_program: Callable[..., Program],
) -> None:
    async with House(make_program(output_limit_bytes=str(64 * 1024))) as house:
        chat = Chat(house)
        session = await chat.session("ann")
        question = "\x01" * 20_000  # Six bytes each, as JSON.
        api = chat.rest("ann")
        sent = await api.post(f"/sessions/{session}/messages", {"content": question})
        (run,) = sent.json()["runs"]
        async with asyncio.timeout(LONG):
            while (await api.get(f"/runs/{run}")).json()["status"] == "streaming":
                pass
        for place in ({}, {"Last_Event_ID": f"{run}:-1"}):
            async with api.stream("GET", f"/runs/{run}/stream", **place) as events:
                told = await events.all()
            assert "".join(one.get("content", "") for _, one in told) == question
            assert told[-1][1]["type"] == "stream_end"


async def test_a_question_that_is_refused_is_not_counted(make_two: MakeTwo) -> None:
    limits = {"runs_per_user": "1", "rate_limit_messages_per_minute": "5"}
    nodes = await make_two(**limits, rate_limit_enabled="true", drain_seconds="0")
    session = await nodes[0].session("ann", "forever", when_busy="parallel")
    path = f"/sessions/{session}/messages"
    asked = await nodes[0].rest("ann").post(path, {"content": "begin"})
    (run,) = asked.json()["runs"]
    too_many = "Too many runs at once"
    for chat in nodes:
        socket = await chat.join("ann", session)
        messenger = f"/api/v1/messenger/conversations/{session}/messages"
        for number in range(3):
            refused = await chat.rest("ann").post(path, {"content": str(number)})
            problem(refused, 429, "RATE_LIMIT", too_many)
            http = chat.house.rest("ann").client
            refused = await http.post(messenger, json={"content": str(number)})
            problem(refused, 429, "RATE_LIMIT", too_many)
            await socket.send("message", content=str(number))
            assert (await socket.next("error"))["message"] == too_many
    assert (await nodes[1].rest("ann").post(f"/runs/{run}/stop")).is_success
    # At least these are left on each, whatever the other was told meanwhile.
    for chat in nodes:
        answer = await chat.rest("ann").post(path, {"content": "again"})
        assert answer.status_code == 201, answer.text
        (run,) = answer.json()["runs"]
        await chat.rest("ann").post(f"/runs/{run}/stop")
