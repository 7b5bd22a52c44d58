"""Who gets in, who is refused before any frame, and with which words."""

from __future__ import annotations

import uuid

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.surfaces.live.hall import Hall, ask, id_of, open_hall, seat_of
from tests.surfaces.people import Frame, House, Socket, error


async def refused(socket: Socket) -> tuple[int, str]:
    """The close, before which nothing was sent."""
    with pytest.raises(ConnectionClosed):
        await socket.receive()
    return await socket.closed()


async def test_the_first_frame_says_where_one_is(hall: Hall) -> None:
    seat = await hall.join("ann")
    ann = await hall.enter(seat)
    told = ann.connected
    assert told["type"] == "connected"
    assert (told["participant_id"], told["participant_nickname"]) == (seat["participant_id"], "ann")
    assert (told["role"], told["is_muted"], told["heartbeat"]) == ("participant", False, 25)
    assert isinstance(told["cursor"], int) and told["epoch"]
    room = (await hall.ask("GET", token=seat["token"])).json()
    assert told["session"].items() <= room.items()
    host = await hall.host()
    assert host.connected["role"] == "host"


async def test_the_code_may_be_typed_in_small_letters(hall: Hall) -> None:
    seat = await hall.join("ann")
    socket = await hall.connect(seat["participant_id"], seat["token"], code=hall.code.lower())
    assert (await socket.receive())["type"] == "connected"


async def test_the_token_may_come_in_a_header_or_as_a_subprotocol(hall: Hall) -> None:
    seat = await hall.join("ann")
    headers = {"Authorization": f"Bearer {seat['token']}"}
    socket = await hall.connect(seat["participant_id"], None, additional_headers=headers)
    assert (await socket.receive())["type"] == "connected"
    offered = ["madang.v1", f"bearer.{seat['token']}"]
    socket = await hall.connect(seat["participant_id"], None, subprotocols=offered)
    assert socket.connection.subprotocol == "madang.v1"
    assert (await socket.receive())["type"] == "connected"


async def test_unknown_rooms_and_seats_are_refused_before_any_frame(
    house: House, hall: Hall
) -> None:
    seat, other = await hall.join("ann"), await hall.join("ben")
    elsewhere = await (await open_hall(house)).join("ann")
    me, token, nobody = seat["participant_id"], seat["token"], str(uuid.uuid4())
    cases = [
        ("AAAAAA", me, token, "Session not found"),
        ("no-room", me, token, "Session not found"),
        ("AAAAAA", "nonsense", token, "Session not found"),
        (hall.code, "nonsense", token, "Invalid participant ID"),
        (hall.code, me[:-1], token, "Invalid participant ID"),
        (hall.code, nobody, token, "Participant not found"),
        (hall.code, me, None, "Participant not found"),
        (hall.code, me, "", "Participant not found"),
        (hall.code, me, "wrong", "Participant not found"),
        (hall.code, me, other["token"], "Participant not found"),
        (hall.code, elsewhere["participant_id"], elsewhere["token"], "Participant not found"),
        (hall.code, me, elsewhere["token"], "Participant not found"),
        (hall.code, me, house.token("teacher"), "Participant not found"),
        (hall.code, "host", token, "Participant not found"),
        (hall.code, hall.room["participant_id"], token, "Participant not found"),
    ]
    for code, participant, given, reason in cases:
        socket = await hall.connect(participant, given, code=code)
        assert await refused(socket) == (1008, reason), (code, participant, given)


async def test_a_path_without_a_seat_is_not_found(house: House, hall: Hall) -> None:
    for path in ("", hall.code, f"{hall.code}/a/b"):
        address = f"ws://127.0.0.1:{house.server.port}/api/v1/ws/{path}"
        with pytest.raises(InvalidStatus) as failure:
            await connect(address)
        assert failure.value.response.status_code in (403, 404)


async def test_a_host_connects_by_their_seat_or_the_word_host(hall: Hall) -> None:
    for participant in (hall.room["participant_id"], "host"):
        socket = await hall.connect(participant, hall.host_token)
        told = await socket.next("connected")
        assert (told["role"], told["participant_id"]) == ("host", hall.room["participant_id"])


async def test_a_fresh_seat_becomes_the_hosts_by_the_hosts_token(hall: Hall) -> None:
    seat = await hall.join("Prof. Kim")
    socket = await hall.connect(seat["participant_id"], hall.host_token)
    told = await socket.next("connected")
    assert (told["role"], told["participant_id"]) == ("host", seat["participant_id"])
    # From then on with its own token, too.
    again = await hall.enter(seat)
    assert again.connected["role"] == "host"
    await again.so_far()
    ann = await hall.guest("ann")
    await again.next("participant_joined", participant_id=id_of(ann))
    taken = await hall.connect(id_of(ann), hall.host_token)
    assert await refused(taken) == (1008, "Participant not found")


async def test_a_host_leaves_and_returns_on_two_devices(hall: Hall) -> None:
    ann = await hall.guest("ann")
    first, second = await hall.host(), await hall.host()
    await ann.next("participant_joined", participant_id=id_of(first))
    await first.close()
    assert (await second.ask("ping"))["type"] == "pong"
    await hall.question(ann, "still there?")
    assert (await second.next("question"))["content"] == "still there?"
    await second.close()
    await ann.next("participant_left", participant_id=id_of(first))
    question = await hall.question(ann, "and now?")
    third = await hall.host()
    await ann.next("participant_joined", participant_id=id_of(first))
    assert (await third.ask("question_state", message_id=question, state="live"))["state"] == "live"


async def test_a_refresh_keeps_seat_nickname_and_votes_and_is_not_told(hall: Hall) -> None:
    ann, ben = await hall.guest("ann"), await hall.guest("ben")
    await ann.next("participant_joined", participant_id=id_of(ben))
    question = await hall.question(ann, "why?")
    await ben.ask("question_vote", message_id=question, up=True)
    seat = seat_of(ben)
    await ben.close()
    ben = await hall.enter(seat)
    assert ben.connected["participant_nickname"] == "ben"
    told = await ben.ask("question_vote", message_id=question, up=True)
    assert (told["type"], told["votes"]) == ("question_update", 1)
    found = (await hall.ask("GET", "/questions", token=seat["token"])).json()["questions"]
    assert found[0]["voted"] is True
    await ben.ask("chat_message", content="back")
    await ann.next("chat_message", content="back")
    kinds = [frame["type"] for frame in ann.waiting]
    assert "participant_left" not in kinds
    assert "participant_joined" not in kinds


async def test_coming_and_going_is_told_to_the_others_in_the_rooms_language(house: House) -> None:
    texts = {
        "ko": ("새 참가자가 접속했습니다.", "{b}en님이 떠났습니다."),
        "en": ("A new participant has joined.", "{b}en has left."),
    }
    for language, (joined, left) in texts.items():
        hall = await open_hall(house, language=language)
        ann, ben = await hall.guest("ann"), await hall.guest("{b}en")
        told = await ann.next("participant_joined", participant_id=id_of(ben))
        assert told["message"] == joined
        more = await hall.enter(seat_of(ben))
        await more.close()
        await ben.close()
        told = await ann.next("participant_left")
        assert (told["participant_id"], told["message"]) == (id_of(ben), left)
        assert [f for f in ann.waiting if f.get("participant_id") == id_of(ben)] == []
        assert all(f.get("participant_id") != id_of(ann) for f in ann.waiting), "not of oneself"


async def test_an_ended_room_is_as_one_that_never_was(house: House, hall: Hall) -> None:
    ann, host = await hall.guest("ann"), await hall.host()
    question = await hall.question(ann, "why?")
    await hall.as_host("PATCH", body={"status": "ended"})
    assert (await ann.next("session_update"))["status"] == "ended"

    def comparable(answer: httpx.Response, code: str) -> tuple[int, str, list[str]]:
        return answer.status_code, answer.text.replace(code, "CODE"), sorted(answer.headers)

    unknown = "AAAAAA"
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/status", None),
        ("GET", "/messages", None),
        ("GET", "/questions", None),
        ("GET", "/qr.svg", None),
        ("PATCH", "", {"status": "active"}),
        ("POST", "/participants", {"nickname": "late"}),
        ("GET", "/export.csv", None),
    ):
        for token in (None, "wrong"):
            there = await ask(house, method, f"/{hall.code}{path}", body, token)
            nowhere = await ask(house, method, f"/{unknown}{path}", body, token)
            assert comparable(there, hall.code) == comparable(nowhere, unknown), (method, path)
            assert there.json()["detail"] == "Session not found"
    for participant in (id_of(ann), str(uuid.uuid4()), "nonsense", "host"):
        for token in (None, "wrong"):
            socket = await hall.connect(participant, token)
            assert await refused(socket) == (1008, "Session not found")

    # Who has a seat still comes in, and reads.
    seat = seat_of(ann)
    again = await hall.enter(seat)
    assert again.connected["session"]["status"] == "ended"
    ended = "Session has ended"
    requests: list[Frame] = [
        {"type": "chat_message", "content": "x"},
        {"type": "question", "content": "x"},
        {"type": "question_vote", "message_id": question, "up": True},
        {"type": "participant_update", "nickname": "x"},
        {"type": "typing", "is_typing": True},
    ]
    for request in requests:
        fields = {name: request[name] for name in request if name != "type"}
        error(await again.ask(request["type"], **fields), "CONFLICT", ended)
    for request in (
        {"type": "question_state", "message_id": question, "state": "live"},
        {"type": "moderate", "action": "mute", "participant_id": id_of(ann)},
        {"type": "poll_open", "question": "x", "kind": "cloud"},
    ):
        fields = {name: request[name] for name in request if name != "type"}
        error(await host.ask(request["type"], **fields), "CONFLICT", ended)
    found = await hall.ask("GET", "/questions", token=seat["token"])
    assert found.json()["questions"][0]["content"] == "why?"
    assert (await hall.as_host("GET"))["status"] == "ended"
    assert (await hall.ask("GET", "/export.csv", token=hall.host_token)).status_code == 200
    answer = await hall.ask("PATCH", "", {"status": "active"}, hall.host_token)
    assert (answer.status_code, answer.json()["detail"]) == (409, ended)
