"""Search over REST, on servers of every kind: found soon after it was said, and gone at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.files.clients import Uploader
from tests.surfaces.people import Frame, House, problem

OpenHouse = Callable[..., House]
PATIENCE = 30.0
MESSAGE_FIELDS = {"id", "conversation_id", "seq", "sender_id", "content", "created_at", "metadata"}


async def ask(house: House, user: str, q: str, **query: Any) -> httpx.Response:
    return await house.rest(user).get("/search", q=q, **query)


async def found(house: House, user: str, q: str, count: int, **query: Any) -> list[Frame]:
    """The answers, once the index knows of so many."""
    rest = house.rest(user)
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await rest.get("/search", q=q, **query)
            assert answer.status_code == 200, answer.text
            results: list[Frame] = answer.json()["results"]
            if len(results) == count:
                return results


async def test_what_is_said_is_found(house: House) -> None:
    room = await house.group("ann", "bob")
    said = await house.say("ann", room, "지난 <b>회의록</b>을 보냅니다")
    await house.say("bob", room, "내일은 전체회의")
    results = await found(house, "bob", "회의", 2)
    result = next(each for each in results if each["id"] == said["id"])
    assert result.items() >= {**said, "message_id": said["id"], "session_id": room}.items()
    assert result.keys() >= MESSAGE_FIELDS | {"relevance", "highlights"}
    (highlight,) = result["highlights"]
    assert highlight == {
        "field": "content",
        "text": "지난 <b>회의록</b>을 보냅니다",
        "ranges": [[6, 8]],
        "offset": 0,
    }
    (one,) = await found(house, "bob", "회의 from:ann", 1, conversation_id=room)
    assert one["id"] == said["id"]
    assert await found(house, "eve", "회의", 0) == []


async def test_sessions_are_searched_alike(house: House) -> None:
    room = await house.group("ann", "bob")
    said = await house.say("ann", room, "the answer")
    await found(house, "bob", "answer", 1)
    client = house.rest("bob").client
    answer = await client.get("/api/chat/search", params={"q": "answer", "session_id": room})
    assert [each["message_id"] for each in answer.json()["results"]] == [said["id"]]
    refused = await client.get("/api/chat/search", params={"q": "answer", "session_id": "x"})
    problem(refused, 422, "INVALID_ID", "Invalid session_id format")
    refused = await ask(house, "bob", "answer", conversation_id="x")
    problem(refused, 422, "INVALID_ID", "Invalid conversation_id format")


async def test_gone_at_once(house: House) -> None:
    room = await house.group("ann", "bob")
    said = await house.say("ann", room, "a mistake")
    await found(house, "bob", "mistake", 1)
    assert (await house.rest("ann").delete(f"/messages/{said['id']}")).is_success
    answer = await ask(house, "bob", "mistake")
    assert answer.json() == {"results": [], "has_more": False, "next": None}


async def test_names_of_files_are_found_and_go_with_their_message(house: House) -> None:
    room = await house.group("ann", "bob")
    ann = Uploader(house, "ann")
    sent = await ann.sent(room, "분기보고서_final.pdf", b"%PDF-1.7", message="see page 3")
    (result,) = await found(house, "bob", "보고서 has:file", 1)
    assert result["message_id"] == sent["message_id"]
    assert result["attachments"][0]["name"] == "분기보고서_final.pdf"
    (name,) = [each for each in result["highlights"] if each["field"] == "attachment"]
    assert (name["text"], name["ranges"]) == ("분기보고서_final.pdf", [[2, 5]])
    # One that was uploaded and not sent is nobody's to find.
    await ann.begun(room, 10, filename="분기보고서_draft.pdf")
    assert (await house.rest("ann").delete(f"/messages/{sent['message_id']}")).is_success
    assert (await ask(house, "bob", "보고서")).json()["results"] == []


async def test_access_ends_at_once(house: House) -> None:
    room = await house.group("ann", "bob")
    await house.say("ann", room, "a secret")
    await found(house, "bob", "secret", 1)
    assert (await house.rest("ann").delete(f"/conversations/{room}/participants/bob")).is_success
    assert (await ask(house, "bob", "secret")).json()["results"] == []
    missing = "0" * 8 + "-0000-7000-8000-" + "0" * 12
    answers = [
        problem(await ask(house, "bob", "secret", conversation_id=place), 404, "NOT_A_PARTICIPANT")
        for place in (room, missing)
    ]
    assert answers[0] == answers[1]


async def test_pages(house: House) -> None:
    room = await house.group("ann")
    for number in range(7):
        await house.say("ann", room, f"word {number}")
    await found(house, "ann", "word", 7)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        page = (await ask(house, "ann", "word", **query)).json()
        seen += [each["content"] for each in page["results"]]
        assert page["has_more"] == (page["next"] is not None)
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == [f"word {number}" for number in range(7)]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": ""},
        {"q": "!"},
        {"q": '"open'},
        {"q": "has:pictures"},
        {"q": "after:nonsense"},
        {"q": "x" * 501},
        {"q": "x", "limit": "0"},
        {"q": "x", "limit": "101"},
        {"q": "x", "limit": "many"},
        {"q": "x", "cursor": "nonsense"},
        {"q": "a\0b"},
        {"q": "') OR 1=1 --\" x"},
    ],
)
async def test_what_is_wrong_is_told(house: House, query: dict[str, str]) -> None:
    told = problem(await house.rest("ann").get("/search", **query), 422, "VALIDATION")
    for internal in ("SQL", "search_", "Traceback", "psycopg", "asyncpg", "sqlite"):
        assert internal not in told["detail"]


@pytest.mark.parametrize(
    "q", ["'; DROP TABLE messages; --", "a & b | !c", "NEAR(a b)", "a*", "{a}: ^b", "x AND y", "%_"]
)
async def test_other_languages_are_only_words(house: House, q: str) -> None:
    answer = await ask(house, "ann", q)
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 422:
        problem(answer, 422, "VALIDATION", "q: there is no word in it to look for")


async def test_who_asks(house: House) -> None:
    client = house.rest("ann").client
    for path in ("/api/v1/messenger/search", "/api/chat/search"):
        answer = await client.get(path, params={"q": "x"}, headers={"Authorization": ""})
        problem(answer, 401, "UNAUTHORIZED")


async def test_too_many_searches(open_house: OpenHouse) -> None:
    async with open_house(rate_limit_enabled="true", rate_limit_searches_per_minute="2") as house:
        for _ in range(2):
            assert (await ask(house, "ann", "x")).status_code == 200
        told = problem(await ask(house, "ann", "x"), 429, "RATE_LIMIT", "Too many searches")
        assert 0 < told["retry_after"] <= 60_000
        assert (await ask(house, "bob", "x")).status_code == 200
        # What cannot be read costs nothing.
        problem(await ask(house, "bob", "!"), 422, "VALIDATION")
        assert (await ask(house, "bob", "x")).status_code == 200


async def test_without_search(open_house: OpenHouse) -> None:
    async with open_house(search_enabled="false") as house:
        assert (await ask(house, "ann", "x")).status_code == 404
