"""Limits over REST: what is left stands on every answer that was counted, what is too much says
when to come again, and all of it holds over all nodes together."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import pytest

from tests.cluster import TwoNodes
from tests.conftest import Server
from tests.files.clients import Uploader, form
from tests.postgres import Postgres
from tests.surfaces.people import House, problem
from tests.valkey import Valkey

PATIENCE = 30.0
MESSENGER, CHAT, ROOMS = "/api/v1/messenger", "/api/chat", "/api/v1/sessions"


def left(answer: httpx.Response) -> dict[str, int]:
    """How many more would pass, by limit, as the two headers agree."""
    policies = re.findall(
        r'"([\w-]+)";q=(\d+);w=60(?:, |$)', answer.headers.get("ratelimit-policy", "")
    )
    states = re.findall(r'"([\w-]+)";r=(\d+);t=(\d+)(?:, |$)', answer.headers.get("ratelimit", ""))
    assert [name for name, _ in policies] == [name for name, _, _ in states]
    for (_, most), (_, passing, reset) in zip(policies, states, strict=True):
        assert int(passing) <= int(most)
        assert 0 <= int(reset) <= 60
    return {name: int(passing) for name, passing, _ in states}


async def test_every_limited_route_tells_what_is_left(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(rate_limit_messages_per_minute="1000")
    async with House(server) as house:
        http = house.rest("ann").client
        told: list[tuple[str, dict[str, int]]] = []

        async def ask(method: str, path: str, body: Any = None, **more: Any) -> Any:
            answer = await http.request(method, path, json=body, **more)
            assert answer.is_success, answer.text
            told.append((f"{method} {path}", left(answer)))
            return answer.json() if answer.content else None

        group = {"kind": "group", "participant_ids": ["bob"]}
        room = (await ask("POST", f"{MESSENGER}/conversations", group))["id"]
        text = {"content": "hello"}
        message = await ask("POST", f"{MESSENGER}/conversations/{room}/messages", text)
        await ask("PATCH", f"{MESSENGER}/messages/{message['id']}", text)
        joining = {"user_ids": ["cho"]}
        await ask("POST", f"{MESSENGER}/conversations/{room}/participants", joining)
        session = (await ask("POST", f"{CHAT}/sessions", {"agent_id": "echo"}))["session_id"]
        await ask("POST", f"{CHAT}/sessions/{session}/messages", text)
        await ask("POST", f"{CHAT}/sessions/{session}/participants", {"user_ids": ["bob"]})
        await ask("GET", f"{CHAT}/agents")
        opened = await ask("POST", ROOMS, {"title": "Hall"})
        # What is opened and arranged is counted apart: nobody who talks is kept from it.
        counted: dict[str, list[int]] = {"messages": [], "changes": []}
        for name, limits in told:
            said = "/messages" in name or name.startswith("GET")
            for of, passing in limits.items():
                counted[of].append(passing)
            assert "changes" in limits or said, name
            assert "messages" in limits or not said, name
        for passings in counted.values():  # Some pass again meanwhile.
            assert passings[0] == 999 > min(passings)
        assert len(counted["changes"]) == 5
        told.clear()
        for path in (f"{CHAT}/sessions/{session}/files", f"{MESSENGER}/conversations/{room}/files"):
            headers, content = form("a.txt", b"text")
            answer = await http.post(path, content=content, headers=headers)
            assert left(answer).keys() == {"uploads", "messages"}
        ann = Uploader(house, "ann")
        begun = await ann.begin(room, 4)
        assert left(begun).keys() == {"uploads", "messages"}
        assert left(await ann.append(begun.headers["location"], 0, b"text")).keys() == {
            "upload-requests"
        }
        for path in (f"{MESSENGER}/search", f"{CHAT}/search"):
            await ask("GET", path, params={"q": "hello"})
        host = {"authorization": f"Bearer {opened['host_token']}"}
        code = opened["session_code"]
        await ask("GET", f"{ROOMS}/{code}/search", params={"q": "hello"}, headers=host)
        assert [limits.keys() for _, limits in told] == [{"searches"}] * 3
        async with httpx.AsyncClient(base_url=server.url) as nobody:
            joined = await nobody.post(f"{ROOMS}/{code}/participants", json={"nickname": "민지"})
            assert left(joined).keys() == {"guesses", "joins"}
            wrong = [left(await nobody.get(f"{ROOMS}/ZZZZZZ"))["guesses"] for _ in range(2)]
            assert wrong[1] == wrong[0] - 1
            refused = await nobody.get(f"{MESSENGER}/conversations")
        # Where nothing is counted nothing is said.
        for answer in (await http.get(f"{MESSENGER}/conversations"), refused):
            assert left(answer) == {}


async def test_too_many_says_when_to_come_again(make_server: Callable[..., Server]) -> None:
    server = make_server(rate_limit_messages_per_minute="2", rate_limit_searches_per_minute="1")
    async with House(server) as house:
        room = await house.group("ann", "bob")
        http = house.rest("ann").client
        say = f"{MESSENGER}/conversations/{room}/messages"
        answers = [await http.post(say, json={"content": "x"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        searches = [await http.get(f"{CHAT}/search", params={"q": "x"}) for _ in range(2)]
        assert [answer.status_code for answer in searches] == [200, 429]
        for refused, name in ((answers[2], "messages"), (searches[1], "searches")):
            told = problem(refused, 429, "RATE_LIMIT")
            assert left(refused) == {name: 0}
            seconds = int(refused.headers["retry-after"])
            assert seconds - 1 < told["retry_after"] / 1000 <= seconds


@pytest.fixture(scope="module")
def two_limited_nodes(
    postgres: Postgres, valkey_session: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterable[TwoNodes]:
    running = TwoNodes(
        tmp_path_factory.mktemp("limited"),
        postgres,
        valkey_session,
        rate_limit_messages_per_minute="12",
        rate_limit_uploads_per_minute="4",
        runs_per_user="2",
        runs_per_org="3",
        stream_delay_ms="1000",
    )
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def two(two_limited_nodes: TwoNodes) -> AsyncIterator[list[House]]:
    """One org, as each of two nodes serves it."""
    async with House(two_limited_nodes) as house:
        first, second = two_limited_nodes.nodes
        async with House(first, house.org) as one, House(second, house.org) as other:
            yield [one, other]


async def agreed(two: list[House], user: str) -> int:
    """Wait until both nodes say that about as many messages are left to the user: what was used on
    either is known to both. How many that are."""
    async with asyncio.timeout(PATIENCE):
        while True:
            told = [left(await h.rest(user).client.get(f"{CHAT}/agents"))["messages"] for h in two]
            if abs(told[0] - told[1]) <= 1:  # One may have passed again between the two looks.
                return max(told)


async def test_messages_are_counted_on_all_nodes_together(two: list[House]) -> None:
    one, other = two
    room = await one.group("ann", "bob")
    for number in range(9):
        await one.say("ann", room, str(number))
    await other.say("ann", room, "elsewhere")
    # By its own count eleven more would pass there.
    at, passing = time.monotonic(), await agreed(two, "ann")
    passed, say = 0, f"/conversations/{room}/messages"
    while (answer := await other.rest("ann").post(say, {"content": "x"})).is_success:
        passed += 1
    problem(answer, 429, "RATE_LIMIT", "Too many messages")
    assert passed <= passing + again(at, 12)
    # Everybody has an allowance of their own.
    await other.say("bob", room, "x")


def again(since: float, per_minute: int) -> float:
    """How many more have passed again since, at most."""
    return 1 + (time.monotonic() - since) * per_minute / 60


async def test_uploads_are_counted_on_all_nodes_together(two: list[House]) -> None:
    one, other = two
    room = await one.group("ann", "bob")
    here, there = Uploader(one, "ann"), Uploader(other, "ann")
    for number in range(5):
        await one.say("ann", room, str(number))
    at = time.monotonic()
    for who in (here, here, here, there):
        assert (await who.begin(room, 10)).status_code == 201
    await agreed(two, "ann")
    # By its own count three more would pass there.
    passed = 0
    while (answer := await there.begin(room, 10)).is_success:
        passed += 1
    problem(answer, 429, "RATE_LIMIT", "Too many uploads")
    assert passed <= again(at, 4)
    assert int(answer.headers["retry-after"]) > 0


async def test_runs_at_once_are_counted_on_all_nodes_together(two: list[House]) -> None:
    one, other = two
    long = {"content": " ".join("word" for _ in range(2000))}

    async def ask(house: House, user: str, session: str) -> httpx.Response:
        http = house.rest(user).client
        return await http.post(f"{CHAT}/sessions/{session}/messages", json=long)

    async def session(house: House, user: str) -> str:
        body = {"agent_id": "echo", "when_busy": "parallel"}
        answer = await house.rest(user).client.post(f"{CHAT}/sessions", json=body)
        return str(answer.json()["session_id"])

    anns, bobs = await session(one, "ann"), await session(other, "bob")
    runs: list[str] = []
    for house, user, place in ((one, "ann", anns), (other, "ann", anns), (other, "bob", bobs)):
        answer = await ask(house, user, place)
        assert answer.status_code == 201, answer.text
        runs += answer.json()["runs"]
    # Ann has two, on two nodes; the org has three.
    for house, user, place in ((one, "ann", anns), (other, "ann", anns), (one, "bob", bobs)):
        refused = await ask(house, user, place)
        problem(refused, 429, "RATE_LIMIT", "Too many runs at once")
        assert int(refused.headers["retry-after"]) >= 1
    for run, user in zip(runs, ("ann", "ann", "bob"), strict=True):
        await other.rest(user).client.post(f"{CHAT}/runs/{run}/stop")


async def test_an_upload_that_is_refused_for_messages_is_not_counted(
    make_server: Callable[..., Server],
) -> None:
    server = make_server(rate_limit_messages_per_minute="2", rate_limit_uploads_per_minute="3")
    async with House(server) as house:
        room = await house.group("ann", "bob")
        for number in range(2):
            await house.say("ann", room, str(number))
        ann = Uploader(house, "ann")
        for _ in range(5):
            refused = await ann.begin(room, 10)
            problem(refused, 429, "RATE_LIMIT", "Too many messages")
            assert left(refused) == {"uploads": 3, "messages": 0}
