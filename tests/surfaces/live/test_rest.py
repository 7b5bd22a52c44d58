"""The REST table of the live contract, row by row."""

from __future__ import annotations

import re
from datetime import datetime
from xml.etree import ElementTree

import pytest
import segno

from tests.surfaces.live.hall import Hall, ask, id_of, open_hall, plain, seat_of
from tests.surfaces.people import House, problem


async def test_opening_answers_as_the_contract_says(house: House) -> None:
    body = {"title": "Town hall", "settings": {"slow_mode_seconds": 3}}
    for path in ("", "/"):
        answer = await ask(house, "POST", path, body, house.token("teacher"))
        assert answer.status_code == 201, answer.text
        room = answer.json()
        assert room["status"] == "active"
        assert re.fullmatch("[ACDEFHJKMNPQRTUVWXY3479]{6}", room["session_code"])
        assert room["join_url"].endswith(f"/r/{room['session_code']}")
        assert len(room["host_token"]) >= 32
        assert room["session_id"] != room["participant_id"]
        assert room["settings"]["slow_mode_seconds"] == 3


async def test_codes_are_different(house: House) -> None:
    rooms = [await open_hall(house) for _ in range(10)]
    assert len({hall.code for hall in rooms}) == 10
    assert len({hall.host_token for hall in rooms}) == 10


async def test_opening_needs_a_users_token(house: House) -> None:
    hall = await open_hall(house)
    problem(await ask(house, "POST", "", {"title": "x"}), 401, "UNAUTHORIZED", "Missing token")
    answer = await ask(house, "POST", "", {"title": "x"}, hall.host_token)
    problem(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": " \u200b"},
        {"title": "x" * 201},
        {"title": 3},
        {"title": "x", "settings": {"colour": "red"}},
        {"title": "x", "settings": {"slow_mode_seconds": -1}},
        {"title": "x", "settings": []},
        {"title": "x", "language": "xx"},
        {"title": "x", "more": 1},
    ],
)
async def test_a_room_that_cannot_be_is_refused(house: House, body: object) -> None:
    answer = await ask(house, "POST", "", body, house.token("teacher"))
    assert answer.status_code in (413, 422), answer.text
    assert answer.json()["code"] in ("VALIDATION", "TOO_LARGE")


async def test_anyone_with_the_code_sees_what_the_room_is(hall: Hall) -> None:
    for code in (hall.code, hall.code.lower(), f"{hall.code[:3]}-{hall.code[3:]}"):
        room = (await ask(hall.house, "GET", f"/{code}")).json()
        assert (room["title"], room["status"]) == ("Town hall", "active")
        assert room["session_code"] == hall.code
        assert room["settings"]["questions_visible"] == "all"
        assert (room["online_count"], room["total_participants"]) == (0, 0)
        assert "host_token" not in room
        assert "host_key" not in room
        assert "blocked_words" not in room["settings"]


async def test_only_hosts_see_the_blocked_words(house: House) -> None:
    hall = await open_hall(house, settings={"blocked_words": ["spam"]})
    assert (await hall.as_host("GET"))["settings"]["blocked_words"] == ["spam"]
    ann = await hall.guest("ann")
    host = await hall.host()
    assert "spam" not in (await hall.ask("GET", token=seat_of(ann)["token"])).text
    await hall.as_host("PATCH", body={"settings": {"blocked_words": ["spam", "eggs"]}})
    assert "spam" not in str(await ann.next("session_update"))
    await host.next("session_update")


async def test_the_qr_code_is_the_join_link(hall: Hall) -> None:
    answer = await hall.ask("GET", "/qr.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["x-content-type-options"] == "nosniff"
    picture = ElementTree.fromstring(answer.text)
    link = (await hall.ask("GET")).json()["join_url"]
    drawn = picture.findtext("{http://www.w3.org/2000/svg}title")
    assert drawn is not None and drawn.endswith(f"/r/{hall.code}")
    assert link.endswith(f"/r/{hall.code}")
    modules = segno.make(drawn, error="m", micro=False).svg_inline(scale=8, border=4)
    path = re.search(r' d="(M4 [^"]+)"', modules)
    assert path is not None and path[1] in answer.text


async def test_joining_gives_a_seat(hall: Hall) -> None:
    seat = await hall.join("민지")
    assert seat["nickname"] == "민지"
    assert seat["participant_id"] and len(seat["token"]) >= 32
    assert (await hall.join("민지"))["nickname"] == "민지 2"
    assert (await hall.join("ＭＩＮＪＩ"))["nickname"] == "MINJI"
    assert (await hall.join("minji"))["nickname"] == "minji 2"
    status = (await hall.ask("GET", "/status")).json()
    assert status["total_participants"] == 4


async def test_the_same_token_is_the_same_seat(hall: Hall) -> None:
    seat = await hall.join("ann")
    for body in ({"nickname": "ann"}, {"nickname": "somebody else"}, {}):
        answer = await hall.ask("POST", "/participants", body, seat["token"])
        assert answer.status_code == 201
        assert answer.json() == seat
    answer = await hall.ask("POST", "/participants", {"token": seat["token"]})
    assert answer.json() == seat
    assert (await hall.ask("GET", "/status")).json()["total_participants"] == 1


async def test_the_hosts_token_is_the_hosts_seat(hall: Hall) -> None:
    for _ in range(3):
        answer = await hall.ask("POST", "/participants", {"nickname": "me"}, hall.host_token)
        seat = answer.json()
        assert seat["participant_id"] == hall.room["participant_id"]
        assert seat["role"] == "host"
        socket = await hall.enter(seat)
        assert socket.connected["role"] == "host"


async def test_a_token_of_no_seat_here_joins_anew(house: House, hall: Hall) -> None:
    elsewhere = await (await open_hall(house)).join("ann")
    for token in ("nonsense", elsewhere["token"]):
        seat = (await hall.ask("POST", "/participants", {"nickname": "ann"}, token)).json()
        assert seat["participant_id"] != elsewhere["participant_id"]
        assert seat["token"] != token


async def test_the_status_says_who_is_here(hall: Hall) -> None:
    ann, ben = await hall.guest("ann"), await hall.guest("ben")
    await hall.join("nobody yet")
    await ann.next("participant_joined", participant_id=id_of(ben))
    await hall.guest("cy")
    await ann.next("participant_joined")
    status = (await hall.ask("GET", "/status")).json()
    assert status.keys() == {
        "session_code",
        "status",
        "online_participants",
        "online_count",
        "total_participants",
    }
    assert {id_of(ann), id_of(ben)} < set(status["online_participants"])
    assert (status["online_count"], status["total_participants"]) == (3, 4)
    assert (status["session_code"], status["status"]) == (hall.code, "active")
    await ben.close()
    await ann.next("participant_left", participant_id=id_of(ben))
    status = (await hall.ask("GET", "/status")).json()
    assert id_of(ben) not in status["online_participants"]
    assert (status["online_count"], status["total_participants"]) == (2, 4)


async def test_the_host_counts_once_they_come(hall: Hall) -> None:
    await hall.join("ann")
    assert (await hall.ask("GET", "/status")).json()["total_participants"] == 1
    host, ben = await hall.host(), await hall.guest("ben")
    assert (await hall.ask("GET", "/status")).json()["total_participants"] == 3
    await host.close()
    await ben.next("participant_left", participant_id=id_of(host))
    assert (await hall.ask("GET", "/status")).json()["total_participants"] == 3


async def test_messages_come_newest_last_in_pages(hall: Hall) -> None:
    ann = await hall.guest("ann")
    told = [await ann.ask("chat_message", content=f"m{n}") for n in range(5)]
    await hall.question(ann, "not chat")
    answer = (await hall.ask("GET", "/messages?limit=3")).json()
    assert [one["content"] for one in answer["messages"]] == ["m2", "m3", "m4"]
    assert answer["has_more"] is True
    assert [plain(one) for one in answer["messages"]] == [plain(frame) for frame in told[2:]]
    older = (await hall.ask("GET", f"/messages?limit=3&before={answer['next']}")).json()
    assert [one["content"] for one in older["messages"]] == ["m0", "m1"]
    assert (older["has_more"], older["next"]) == (False, None)
    for limit in ("0", "201", "x"):
        problem(await hall.ask("GET", f"/messages?limit={limit}"), 422, "VALIDATION")


async def test_questions_are_sorted_by_votes_and_by_time(hall: Hall) -> None:
    ann, ben = await hall.guest("ann"), await hall.guest("ben")
    ids = [await hall.question(ann, f"q{n}") for n in range(4)]
    for voter, number in ((ann, 2), (ben, 2), (ann, 1), (ben, 3)):
        await voter.ask("question_vote", message_id=ids[number], up=True)
    token = seat_of(ann)["token"]

    async def listed(query: str) -> list[str]:
        found = (await hall.ask("GET", f"/questions{query}", token=token)).json()["questions"]
        return [question["content"] for question in found]

    assert await listed("") == ["q2", "q1", "q3", "q0"], "equal ones as they were asked"
    assert await listed("?sort=top") == ["q2", "q1", "q3", "q0"]
    assert await listed("?sort=new") == ["q3", "q2", "q1", "q0"]
    first = (await hall.ask("GET", "/questions?limit=2", token=token)).json()
    assert [question["votes"] for question in first["questions"]] == [2, 1]
    assert [question["voted"] for question in first["questions"]] == [True, True]
    assert [question["own"] for question in first["questions"]] == [True, True]
    following = (await hall.ask("GET", f"/questions?limit=2&page={first['next']}")).json()
    assert [question["content"] for question in following["questions"]] == ["q3", "q0"]
    assert [question["voted"] for question in following["questions"]] == [False, False]
    host = await hall.host()
    await host.ask("question_state", message_id=ids[0], state="answered")
    assert await listed("?state=answered") == ["q0"]
    assert await listed("?state=open") == ["q2", "q1", "q3"]
    for query in ("sort=best", "state=closed", "page=1", "page=a.b"):
        problem(await hall.ask("GET", f"/questions?{query}"), 422, "VALIDATION")


async def test_a_host_changes_the_room(hall: Hall) -> None:
    ann, host = await hall.guest("ann"), await hall.host()
    answer = await hall.as_host("PATCH", body={"status": "paused", "title": "Break"})
    assert (answer["status"], answer["title"]) == ("paused", "Break")
    for socket in (ann, host):
        told = await socket.next("session_update")
        assert (told["status"], told["title"]) == ("paused", "Break")
        assert told["session_code"] == hall.code
    assert (await ann.ask("chat_message", content="x"))["message"] == "Session is paused"
    settings = {
        "questions_visible": "host",
        "questions_need_approval": True,
        "anonymous_allowed": False,
        "slow_mode_seconds": 7,
        "chat_enabled": False,
    }
    changed = await hall.as_host("PATCH", body={"status": "active", "settings": settings})
    assert settings.items() <= changed["settings"].items()
    told = await ann.next("session_update")
    assert settings.items() <= told["settings"].items()
    assert (await hall.as_host("PATCH", body={}))["settings"] == changed["settings"]
    assert (await ann.ask("chat_message", content="x"))["message"] == "Chat is off"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", ""),
        ("DELETE", ""),
        ("GET", "/export.csv"),
        ("GET", "/export.json"),
        ("GET", "/participants"),
    ],
)
async def test_what_is_the_hosts_is_nobody_elses(
    house: House, hall: Hall, method: str, path: str
) -> None:
    seat = await hall.join("ann")
    body = {"status": "ended"} if method == "PATCH" else None
    text = "Only a host can do this"
    problem(await hall.ask(method, path, body, seat["token"]), 403, "FORBIDDEN", text)
    problem(await hall.ask(method, path, body), 403, "FORBIDDEN", text)
    other = await open_hall(house)
    for token in (other.host_token, "x", house.token("teacher")):
        answer = await hall.ask(method, path, body, token)
        problem(answer, 404, "NOT_FOUND", "Participant not found")
    assert (await hall.as_host("GET"))["status"] == "active"


async def test_a_token_of_another_room_reads_nothing_here(house: House, hall: Hall) -> None:
    other = await (await open_hall(house)).join("ann")
    for path in ("", "/status", "/messages", "/questions", "/polls"):
        answer = await hall.ask("GET", path, token=other["token"])
        problem(answer, 404, "NOT_FOUND", "Participant not found")


async def test_the_hosts_list_of_people(hall: Hall) -> None:
    ann, host = await hall.guest("ann"), await hall.host()
    await host.ask("moderate", action="mute", participant_id=id_of(ann))
    await hall.join("ben")
    people = (await hall.as_host("GET", "/participants"))["participants"]
    shown = {
        one["participant_nickname"]: (one["role"], one["is_online"], one["is_muted"])
        for one in people
    }
    assert shown == {
        "진행자": ("host", True, False),
        "ann": ("participant", True, True),
        "ben": ("participant", False, False),
    }
    first = await hall.as_host("GET", "/participants?limit=2")
    assert first["has_more"] is True
    rest = await hall.as_host("GET", f"/participants?limit=2&page={first['next']}")
    assert [one["participant_nickname"] for one in rest["participants"]] == ["ben"]


async def test_times_are_iso_8601_in_utc(hall: Hall) -> None:
    ann = await hall.guest("ann")
    told = await ann.ask("chat_message", content="now")
    assert told["timestamp"].endswith("Z")
    datetime.fromisoformat(told["timestamp"])
