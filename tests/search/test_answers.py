"""What agents answer is found like what people say, and no longer when it is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.conftest import Server
from tests.postgres import Postgres
from tests.surfaces.agents.sessions import Api, Chat, answer_of
from tests.surfaces.people import Frame, House


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """A server on either database, with nobody on it."""
    settings = {"rate_limit_enabled": "false"}
    if request.param == "postgresql":
        postgres: Postgres = request.getfixturevalue("postgres")
        settings["database_url"] = postgres.fresh_database()[1]
    server: Server = request.getfixturevalue("make_server")(**settings)
    async with House(server) as house:
        yield house


async def found(api: Api, asked: str) -> list[Frame]:
    results: list[Frame] = (await api.get("/search", q=asked)).json()["results"]
    return results


async def found_at_last(api: Api, asked: str, count: int) -> list[Frame]:
    """The answers, as soon as there are so many."""
    async with asyncio.timeout(30):
        while len(results := await found(api, asked)) != count:
            pass
    return results


async def test_answers_are_found_until_they_are_deleted(house: House) -> None:
    chat = Chat(house)
    session = await chat.session("ann", "echo")
    ann, api, eve = await chat.join("ann", session), chat.rest("ann"), chat.rest("eve")
    await ann.send("message", content="zebracorn 회의록")
    run, text, _ = await answer_of(ann)
    assert "zebracorn" in text

    both = await found_at_last(api, "zebracorn", 2)
    answer = next(each for each in both if each["id"] == run)
    question = next(each for each in both if each["id"] != run)
    assert (answer["sender_id"], answer["sender_type"]) == ("agent:echo", "agent")
    assert answer["content"] == text
    assert (await found(api, "회의 from:agent:echo"))[0]["id"] == run
    assert await found(eve, "zebracorn") == []

    assert (await house.rest("ann").delete(f"/messages/{run}")).is_success
    assert [each["id"] for each in await found(api, "zebracorn")] == [question["id"]]
    # And when the index has followed: of what came later all is found, of this nothing.
    await api.post(f"/sessions/{session}/messages", {"content": "quaggafish"})
    await found_at_last(api, "quaggafish", 2)
    assert [each["id"] for each in await found(api, "zebracorn")] == [question["id"]]
    assert await found(api, "from:agent:echo 회의") == []
