"""Search in a room: for its hosts alone, and in the room's words."""

from __future__ import annotations

import asyncio

from tests.surfaces.live.hall import Hall, id_of, open_hall
from tests.surfaces.people import Frame, House, problem

PATIENCE = 30.0


async def found(hall: Hall, q: str, count: int) -> list[Frame]:
    """The answers, once the index knows of so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await hall.ask("GET", f"/search?q={q}", token=hall.host_token)
            assert answer.status_code == 200, answer.text
            results: list[Frame] = answer.json()["results"]
            if len(results) == count:
                return results


async def test_a_host_finds_questions_chat_and_polls(house: House) -> None:
    hall = await open_hall(house, settings={"questions_need_approval": True})
    host, minji = await hall.host(), await hall.guest("민지")
    asked = await hall.question(minji, "마당이 회의록을 지우나요?")
    said = (await minji.ask("chat_message", content="전체회의 때 봐요"))["message_id"]
    await host.ask("poll_open", question="회의는 언제?", kind="single", options=["월", "화"])
    results = await found(hall, "회의", 3)
    by_type = {result["type"]: result for result in results}
    question = by_type["question"]
    # It waits for approval, and hosts find it all the same.
    assert (question["message_id"], question["approved"]) == (asked, False)
    assert (question["participant_id"], question["votes"]) == (id_of(minji), 0)
    assert question["highlights"] == [
        {
            "field": "content",
            "text": "마당이 회의록을 지우나요?",
            "ranges": [[4, 6]],
            "offset": 0,
        }
    ]
    assert question["relevance"] > 0
    assert by_type["chat_message"]["message_id"] == said
    assert by_type["poll_open"]["options"] == ["월", "화"]
    # What is removed is found by nobody from then on.
    await host.ask("moderate", action="remove_message", message_id=asked)
    answer = await hall.ask("GET", "/search?q=회의록", token=hall.host_token)
    assert answer.json() == {"results": [], "has_more": False, "next": None}


async def test_who_asked_anonymously_stays_so(house: House) -> None:
    hall = await open_hall(house, settings={"anonymous_to_host": True})
    minji = await hall.guest("민지")
    await hall.question(minji, "who wrote this", anonymous=True)
    (result,) = await found(hall, "wrote", 1)
    assert result["participant_id"] is None
    assert id_of(minji) not in str(result)
    refused = await hall.ask("GET", f"/search?q=from:{id_of(minji)}", token=hall.host_token)
    problem(refused, 422, "VALIDATION", "q: from: cannot be asked for in a room")


async def test_only_hosts_search_and_only_their_room(house: House) -> None:
    hall, other = await open_hall(house), await open_hall(house)
    minji = await hall.guest("민지")
    await hall.question(minji, "needle here")
    await other.question(await other.guest("bob"), "needle there")
    (result,) = await found(hall, "needle", 1)
    assert result["content"] == "needle here"
    for token in (minji.connected["token"], None):
        problem(await hall.ask("GET", "/search?q=needle", token=token), 403, "FORBIDDEN")
    stranger = await hall.ask("GET", "/search?q=needle", token=other.host_token)
    problem(stranger, 404, "NOT_FOUND", "Participant not found")
    elsewhere = f"/search?q=needle in:{other.room['session_id']}"
    refused = await hall.ask("GET", elsewhere, token=hall.host_token)
    problem(refused, 422, "VALIDATION")
    problem(await hall.ask("GET", "/search?q=", token=hall.host_token), 422, "VALIDATION")


async def test_an_erased_room_leaves_nothing_to_find(house: House) -> None:
    hall = await open_hall(house)
    await hall.question(await hall.guest("민지"), "needle")
    await found(hall, "needle", 1)
    assert (await hall.ask("DELETE", "", token=hall.host_token)).status_code == 204
    problem(await hall.ask("GET", "/search?q=needle", token=hall.host_token), 404, "NOT_FOUND")
