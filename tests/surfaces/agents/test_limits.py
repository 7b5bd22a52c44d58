"""What is kept is counted, and who listens takes a place, whichever way they come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import httpx
import pytest

from tests.surfaces.agents.conftest import Program
from tests.surfaces.agents.sessions import LONG, Api, Chat, answer_of
from tests.surfaces.people import House, Socket, problem

MANY = 40
"""Far more than pass in a minute, and far fewer than the signals that do."""
PLACES = 5


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterable[Program]:
    """Ten messages a minute, and ten changes."""
    home = tmp_path_factory.mktemp("limited")
    running = Program(home, rate_limit_messages_per_minute="10")
    running.start()
    yield running
    running.stop()


Again = Callable[[int], Awaitable[httpx.Response]]


async def hand_over(api: Api, session: str) -> Again:
    return lambda n: api.post(f"/sessions/{session}/handover", {"to": ("ann", None)[n % 2]})


async def change(api: Api, session: str) -> Again:
    return lambda n: api.patch(f"/sessions/{session}", {"metadata": {"n": n}})


async def archive(api: Api, session: str) -> Again:
    async def again(n: int) -> httpx.Response:
        if n % 2:
            return await api.post(f"/sessions/{session}/restore")
        return await api.delete(f"/sessions/{session}")

    return again


async def let_in(api: Api, session: str) -> Again:
    return lambda n: api.post(f"/sessions/{session}/participants", {"user_ids": [f"user-{n}"]})


async def send_out(api: Api, session: str) -> Again:
    body = {"user_ids": [f"user-{n}" for n in range(MANY)]}
    assert (await api.post(f"/sessions/{session}/participants", body)).status_code == 200
    return lambda n: api.delete(f"/sessions/{session}/participants/user-{n}")


async def rename_by_the_messenger(api: Api, session: str) -> Again:
    path = f"/api/v1/messenger/conversations/{session}"
    return lambda n: api.client.request("PATCH", path, json={"title": f"{n}"})


async def run_of(api: Api, session: str) -> str:
    """An answer that is under way."""
    sent = await api.post(f"/sessions/{session}/messages", {"content": "@careful go"})
    (run,) = sent.json()["runs"]
    async with asyncio.timeout(LONG):
        while not any(
            message["metadata"].get("approvals") for message in await api.messages(session)
        ):
            pass
    return str(run)


async def choose(api: Api, session: str) -> Again:
    run = await run_of(api, session)
    return lambda _: api.post(f"/runs/{run}/choose")


async def answer_approval(api: Api, session: str) -> Again:
    run = await run_of(api, session)
    request = next(iter((await api.messages(session))[-1]["metadata"]["approvals"]))
    path = f"/runs/{run}/approvals/{request}"
    return lambda _: api.post(path, {"answer": "approve"})


WAYS = (
    hand_over,
    change,
    archive,
    let_in,
    send_out,
    rename_by_the_messenger,
    choose,
    answer_approval,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_what_is_kept_counts_over_rest(
    limited: Program, way: Callable[[Api, str], Awaitable[Again]]
) -> None:
    async with House(limited) as house:
        chat = Chat(house)
        session = await chat.session("ann", "careful", answers="mentioned")
        again = await way(chat.rest("ann"), session)
        for number in range(MANY):
            answer = await again(number)
            if answer.status_code == 429:
                problem(answer, 429, "RATE_LIMIT", "Too many changes")
                return
            assert answer.is_success, answer.text
        raise AssertionError("all of them passed")


async def too_many(
    ask: Callable[[int], Awaitable[dict[str, Any]]], text: str = "Too many changes"
) -> None:
    for number in range(MANY):
        told = await ask(number)
        if told["type"] == "error":
            assert (told["code"], told["message"]) == ("RATE_LIMIT", text)
            assert told["retry_after"] > 0
            return
    raise AssertionError("all of them passed")


async def test_what_is_kept_counts_over_the_socket(limited: Program) -> None:
    """Each in an org of its own, where nothing was counted yet."""

    async def ann_in(house: House) -> tuple[Socket, Api, str]:
        chat = Chat(house)
        session = await chat.session("ann", "careful", answers="mentioned")
        return await chat.join("ann", session), chat.rest("ann"), session

    async with House(limited) as house:
        ann, _, _ = await ann_in(house)
        await too_many(lambda n: ann.ask("handover", to=("ann", None)[n % 2]))
    async with House(limited) as house:
        ann, api, session = await ann_in(house)
        run = await run_of(api, session)
        await too_many(lambda _: ann.ask("choose", message_id=run))
    async with House(limited) as house:
        ann, api, session = await ann_in(house)
        run = await run_of(api, session)
        request = (await ann.next("approval_request", patience=LONG))["request_id"]
        fields = {"message_id": run, "request_id": request, "answer": "approve"}
        await too_many(lambda _: ann.ask("approval_answer", **fields))


async def test_an_outside_agents_answers_count_as_its_messages(limited: Program) -> None:
    async with House(limited) as house:
        chat = Chat(house)
        session = await chat.session("ann", "bot-7")
        ann = await chat.join("ann", session)
        bot = await chat.join("bot-7", session, roles=["agent"])
        numbers = count()

        async def say(_: int) -> dict[str, Any]:
            started = await bot.ask("stream_start")
            if started["type"] == "stream_started":
                run = started["message_id"]
                await bot.send("stream_chunk", message_id=run, content=f"{next(numbers)}")
                await bot.send("stream_end", message_id=run)
                await answer_of(ann, run)
            return started

        await too_many(say, "Too many messages")
        # They are its own: whoever it talks with may still speak.
        assert (await ann.ask("message", content="still here"))["type"] == "message"


Open = Callable[[], Any]


async def test_who_listens_takes_a_place(make_program: Callable[..., Program]) -> None:
    """One more is refused before its answer begins, and nothing was sent for it."""
    server = make_program(ws_max_connections=str(PLACES))
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "forever")
        api = chat.rest("ann")
        run = (await api.post(f"/sessions/{session}/messages", {"content": "go"})).json()["runs"][0]
        said = {"id": "m", "role": "user", "content": "go"}
        thread = {"threadId": "t", "runId": "r", "messages": [said]}
        message = {"content": "one more"}
        ways: dict[str, tuple[str, str, Any]] = {
            "a run": ("GET", f"/api/chat/runs/{run}/stream", None),
            "a question": ("POST", f"/api/chat/sessions/{session}/messages/stream", message),
            "AG-UI": ("POST", "/api/agui/forever", thread),
            "the log": ("GET", "/api/v1/events/stream", None),
        }

        def stream(name: str) -> Any:
            method, path, body = ways[name]
            return api.client.stream(method, path, json=body, timeout=LONG)

        async with AsyncExitStack() as first:
            await first.enter_async_context(stream("a run"))
            async with AsyncExitStack() as rest:
                for name in ("a question", "the log", "a run", "a run"):
                    opened = await rest.enter_async_context(stream(name))
                    assert opened.status_code == 200
                before = await api.messages(session)
                sessions = (await api.get("/sessions")).json()["total"]
                for method, path, body in ways.values():
                    refused = await api.client.request(method, path, json=body)
                    told = problem(refused, 503, "UNAVAILABLE", "Too many connections")
                    assert told["retry_after"] > 0 and int(refused.headers["retry-after"]) > 0
                assert await api.messages(session) == before
                assert (await api.get("/sessions")).json()["total"] == sessions
            # Those have gone: there is room, for as many as there were, however they come.
            await until_left(api, 1)
            outcomes = await asyncio.gather(
                *(first.enter_async_context(stream("a run")) for _ in range(4 * PLACES))
            )
            codes = sorted(answer.status_code for answer in outcomes)
            assert codes == [200] * (PLACES - 1) + [503] * (4 * PLACES - PLACES + 1)
        await until_left(api, 0)
        device = await house.device("ann")
        assert (await device.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("way", ["a question", "AG-UI"])
async def test_nothing_was_sent_for_those_who_found_no_place(
    make_program: Callable[..., Program], way: str
) -> None:
    """However many come at once: what is refused is neither said nor answered."""
    server = make_program(ws_max_connections=str(PLACES))
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "forever")
        api = chat.rest("ann")

        def asking(number: int) -> Any:
            if way == "a question":
                path = f"/api/chat/sessions/{session}/messages/stream"
                return api.client.stream("POST", path, json={"content": f"{number}"}, timeout=LONG)
            said = {"id": f"m{number}", "role": "user", "content": f"{number}"}
            thread = {"threadId": session, "runId": f"r{number}", "messages": [said]}
            return api.client.stream("POST", "/api/agui/forever", json=thread, timeout=LONG)

        async with AsyncExitStack() as open_ones:
            answers = await asyncio.gather(
                *(open_ones.enter_async_context(asking(n)) for n in range(4 * PLACES))
            )
            heard = {n for n, answer in enumerate(answers) if answer.status_code == 200}
            assert len(heard) == PLACES
            page = (await api.get(f"/sessions/{session}/messages?limit=100")).json()["messages"]
            asked = [one["content"] for one in page if one["sender_type"] == "user"]
            assert sorted(asked, key=int) == [f"{n}" for n in sorted(heard)]


async def until_left(api: Api, connections: int) -> None:
    """Wait until so many are connected."""
    async with asyncio.timeout(LONG):
        while True:
            metrics = (await api.client.get("/metrics")).text
            lines = [
                line for line in metrics.splitlines() if line.startswith("madang_connections{")
            ]
            if sum(float(line.rpartition(" ")[2]) for line in lines) == connections:
                return
