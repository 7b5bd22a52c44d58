"""What people try: codes guessed, texts that hide or break something, addresses made up."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.surfaces.live.hall import Hall, ask, id_of, open_hall, seat_of
from tests.surfaces.live.test_talking import everyone
from tests.surfaces.people import House, OpenHouse, error, problem

HTML = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "&lt;b&gt; &amp; \\u003cb\\u003e",
    "{{7*7}} ${7*7} <%= 7*7 %>",
    "'; DROP TABLE seats; --",
]


async def test_codes_cannot_be_guessed(open_house: OpenHouse) -> None:
    async with open_house(live_guesses_per_minute="10") as house:
        hall = await open_hall(house)
        ann = await hall.guest("ann")
        ended = await open_hall(house)
        await ended.as_host("PATCH", body={"status": "ended"})
        answers = []
        for number in range(20):
            path = f"/{ended.code}" if number % 2 else "/AAAAAA"
            if number % 3:
                answers.append(await ask(house, "GET", path))
            else:
                answers.append(
                    await ask(house, "POST", f"{path}/participants", {"nickname": "guesser"})
                )
        statuses = [answer.status_code for answer in answers]
        assert statuses[:10] == [404] * 10
        assert statuses[10:] == [429] * 10
        refused = problem(answers[-1], 429, "RATE_LIMIT", "Too many attempts")
        assert refused["retry_after"] > 0
        assert int(answers[-1].headers["retry-after"]) >= 1
        # A code that is right is no more told than one that is wrong, over WebSocket neither.
        problem(await hall.ask("GET"), 429, "RATE_LIMIT")
        problem(await hall.ask("POST", "/participants", {"nickname": "x"}), 429, "RATE_LIMIT")
        problem(await hall.ask("GET", token="wrong"), 429, "RATE_LIMIT")
        for code, participant in ((hall.code, id_of(ann)), ("AAAAAA", str(uuid.uuid4()))):
            socket = await hall.connect(participant, "wrong", code=code)
            assert await socket.closed() == (1013, "Too many attempts")
        # Whoever has a seat is not concerned.
        assert (await hall.ask("GET", token=ann.connected["token"])).status_code == 200
        assert (await hall.enter(seat_of(ann))).connected["type"] == "connected"
        assert (await hall.as_host("GET"))["status"] == "active"


async def test_wrong_tokens_are_guesses_too(open_house: OpenHouse) -> None:
    async with open_house(live_guesses_per_minute="5") as house:
        hall = await open_hall(house)
        seat = await hall.join("ann")
        reasons = []
        for _ in range(7):
            socket = await hall.connect(seat["participant_id"], "wrong")
            reasons.append(await socket.closed())
        assert reasons == [(1008, "Participant not found")] * 5 + [(1013, "Too many attempts")] * 2


async def test_an_address_takes_only_so_many_seats(open_house: OpenHouse) -> None:
    async with open_house(live_joins_per_minute="3") as house:
        hall = await open_hall(house)
        seats = [await hall.join(f"p{n}") for n in range(3)]
        answer = await hall.ask("POST", "/participants", {"nickname": "one more"})
        problem(answer, 429, "RATE_LIMIT", "Too many participants at once")
        again = await hall.ask("POST", "/participants", {}, seats[0]["token"])
        assert again.status_code == 201, "coming back takes no seat"


async def test_nobody_is_believed_where_they_are(open_house: OpenHouse) -> None:
    async with open_house(live_guesses_per_minute="3") as house:
        for number in range(6):
            headers = {
                "X-Forwarded-For": f"203.0.113.{number}",
                "Forwarded": f"for=203.0.113.{number}",
            }
            answer = await ask(house, "GET", "/AAAAAA", headers=headers)
            stock = not house.server.log.startswith("Madang")
            if not stock:
                assert answer.status_code == (404 if number < 3 else 429)


async def test_a_trusted_proxy_is_believed(open_house: OpenHouse) -> None:
    async with open_house(
        live_guesses_per_minute="3", trusted_proxies="127.0.0.1,10.0.0.0/8"
    ) as house:
        hall = await open_hall(house, settings={"seats_per_address": 1})

        async def guess(address: str) -> int:
            headers = {"X-Forwarded-For": address}
            return (await ask(house, "GET", "/AAAAAA", headers=headers)).status_code

        assert [await guess("203.0.113.1") for _ in range(4)] == [404, 404, 404, 429]
        assert await guess("198.51.100.9, 203.0.113.1") == 429, "what the client wrote itself"
        assert await guess("203.0.113.2") == 404
        # An IPv6 network is one address, whichever of its own a phone uses.
        assert [await guess(f"2001:db8::{n}") for n in range(1, 5)] == [404, 404, 404, 429]
        assert await guess("2001:db8:0:1::1") == 404

        async def socket_from(address: str) -> tuple[int, str]:
            headers = {"X-Forwarded-For": address}
            socket = await hall.connect(
                str(uuid.uuid4()), "wrong", code="AAAAAA", additional_headers=headers
            )
            return await socket.closed()

        assert await socket_from("203.0.113.1") == (1013, "Too many attempts")
        assert await socket_from("203.0.113.7") == (1008, "Session not found")

        async def join(address: str, nickname: str) -> int:
            headers = {"X-Forwarded-For": address}
            body = {"nickname": nickname}
            return (await hall.ask("POST", "/participants", body, headers=headers)).status_code

        assert await join("203.0.113.5", "ann") == 201
        assert await join("203.0.113.5", "ben") == 409
        assert await join("203.0.113.6", "ben") == 201


async def test_texts_that_are_too_long_are_refused_whole(hall: Hall) -> None:
    _, ann, ben = await everyone(hall)
    for kind, what in (("question", "Question"), ("chat_message", "Message")):
        answer = await ann.ask(kind, content="가" * 10_000)
        error(answer, "TOO_LARGE", f"{what} content is limited to 2000 characters")
        assert (await ann.ask(kind, content="가" * 2_000))["type"] == kind
    await ben.next("question")
    await ben.next("chat_message")
    await ann.raw('{"type": "question", "content": "' + "x" * 65_536 + '"}')
    assert (await ann.closed())[0] == 1009
    assert (await ben.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "nickname",
    [
        "",
        " ",
        "\u200b",
        "ann\u200b",
        "\u202enimda",
        "a\u2066b\u2069",
        "ann\x00",
        "ann\nben",
        "\u3164",
        "x" * 41,
        "x" * 300,
        "a" + "\u0301" * 20,
    ],
)
async def test_nicknames_that_hide_something_are_refused(hall: Hall, nickname: str) -> None:
    answer = await hall.ask("POST", "/participants", {"nickname": nickname})
    problem(answer, 422, "VALIDATION")
    ann = await hall.guest("ann")
    told = await ann.ask("participant_update", nickname=nickname)
    assert (told["type"], told["code"]) == ("error", "VALIDATION")


async def test_nicknames_that_look_alike_are_numbered(hall: Hall) -> None:
    await hall.join("paypal")
    for alike in ("раураl", "PayPal", "ｐａｙｐａｌ"):  # the first in Cyrillic letters
        nickname = (await hall.join(alike))["nickname"]
        assert nickname.rsplit(" ", 1)[-1].isdigit(), nickname
    assert (await hall.join("Host"))["nickname"] == "Host 2"


async def test_markup_is_text_and_comes_back_as_it_was(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    for text in HTML:
        assert (await ann.ask("chat_message", content=text))["content"] == text
        assert (await ben.next("chat_message"))["content"] == text
        await ann.ask("question", content=text)
        assert (await ben.next("question"))["content"] == text
        named = await ann.ask("participant_update", nickname=text[:40])
        assert named["participant_nickname"] == text[:40]
        assert (await ben.next("participant_update"))["participant_nickname"] == text[:40]
    await hall.as_host("PATCH", body={"title": HTML[0]})
    assert (await ben.next("session_update"))["title"] == HTML[0]
    for path in ("", "/messages", "/questions", "/participants", "/export.json"):
        answer = await hall.ask("GET", path, token=hall.host_token)
        assert answer.headers["content-type"] == "application/json"
    answer = await hall.ask("GET", "/export.csv", token=hall.host_token)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "attachment" in answer.headers["content-disposition"]
    assert (await host.ask("ping"))["type"] == "pong"


async def test_signs_nobody_sees_are_not_said(hall: Hall) -> None:
    _, ann, ben = await everyone(hall)
    await ann.ask("chat_message", content="\u202egnikcah\u202c is\u200b fun \x07")
    assert (await ben.next("chat_message"))["content"] == "gnikcah is fun"
    await ann.ask("chat_message", content="👩\u200d👩\u200d👧 می\u200cخواهم")
    assert (await ben.next("chat_message"))["content"] == "👩\u200d👩\u200d👧 می\u200cخواهم"


async def test_a_flood_of_messages_is_told_when_to_go_on(open_house: OpenHouse) -> None:
    async with open_house(rate_limit_enabled="true", rate_limit_messages_per_minute="5") as house:
        hall = await open_hall(house)
        ann, ben = await hall.guest("ann"), await hall.guest("ben")
        answers = [await ann.ask("chat_message", content=f"m{n}") for n in range(8)]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert len(refused) == 3
        assert (refused[0]["code"], refused[0]["message"]) == ("RATE_LIMIT", "Too many messages")
        assert refused[0]["retry_after"] > 0
        assert (await ben.ask("chat_message", content="not me"))["type"] == "chat_message"


async def test_rooms_are_no_business_of_the_messenger(house: House, hall: Hall) -> None:
    _, ann, _ = await everyone(hall)
    await ann.ask("chat_message", content="only here")
    room_id = hall.room["session_id"]
    teacher = house.rest("teacher")
    assert (await teacher.get("/conversations")).json()["conversations"] == []
    for path in (f"/conversations/{room_id}", f"/conversations/{room_id}/messages"):
        problem(await teacher.get(path), 404, "NOT_A_PARTICIPANT")
    body = {"content": "hello from outside"}
    answer = await teacher.post(f"/conversations/{room_id}/messages", body)
    problem(answer, 404, "NOT_A_PARTICIPANT")


async def test_who_is_invited_elsewhere_hears_nothing_of_it_in_the_room(
    house: House, hall: Hall
) -> None:
    _, ann, ben = await everyone(hall)
    group = await house.group("mallory", id_of(ann))
    await house.say("mallory", group, "psst")
    await ben.ask("chat_message", content="in the room")
    await ann.next("chat_message", content="in the room")
    assert "psst" not in str(ann.waiting)
    assert group not in str(ann.waiting)


async def test_a_backend_cannot_pretend_to_be_the_room(house: House, hall: Hall) -> None:
    ann = await hall.guest("ann")
    backend = house.rest("billing", roles=["service"]).client
    for kind in ("chat_message", "question", "poll_open", "room.changed", "participant_left"):
        body = {"type": kind, "payload": {}, "conversation_id": hall.room["session_id"]}
        problem(await backend.post("/api/v1/events", json=body), 422, "VALIDATION")
    body = {
        "type": "slide.shown",
        "payload": {"number": 3},
        "conversation_id": hall.room["session_id"],
    }
    assert (await backend.post("/api/v1/events", json=body)).status_code == 201
    told = await ann.next("slide.shown")
    assert (told["payload"], told["session_code"]) == ({"number": 3}, hall.code)


async def test_frames_before_the_welcome_are_answered_after_it(hall: Hall) -> None:
    seat = await hall.join("ann")
    socket = await hall.connect(seat["participant_id"], seat["token"])
    await socket.send("chat_message", id=1, content="at once")
    assert (await socket.receive())["type"] == "connected"
    assert (await socket.next("chat_message"))["reply_to"] == 1


async def test_joining_together_gives_everybody_a_seat_and_a_name(hall: Hall) -> None:
    seats = await asyncio.gather(*(hall.join("same") for _ in range(40)))
    assert len({seat["participant_id"] for seat in seats}) == 40
    assert len({seat["nickname"] for seat in seats}) == 40
