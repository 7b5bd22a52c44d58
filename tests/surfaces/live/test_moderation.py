"""What a host does about what is said and who says it, and what the room sees of it."""

from __future__ import annotations

import pytest

from tests.surfaces.live.hall import Hall, id_of, open_hall, seat_of
from tests.surfaces.live.test_talking import everyone
from tests.surfaces.people import House, error, problem


async def test_a_removed_message_is_gone_everywhere(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    before = ben.connected["cursor"]
    chat = (await ann.ask("chat_message", content="a rude word"))["message_id"]
    question = await hall.question(ann, "a rude question")
    for removed in (chat, question):
        answer = await host.ask("moderate", action="remove_message", message_id=removed)
        assert (answer["type"], answer["message_id"]) == ("message_removed", removed)
        for socket in (ann, ben):
            assert (await socket.next("message_removed"))["message_id"] == removed
        again = await host.ask("moderate", action="remove_message", message_id=removed)
        assert again["type"] == "message_removed"
    late = await hall.enter(seat_of(ben), live=False, query=f"cursor={before}")
    await late.next("resumed")
    assert "rude" not in str(late.waiting)
    for path in ("/messages", "/questions", "/export.csv", "/export.json"):
        assert "rude" not in (await hall.ask("GET", path, token=hall.host_token)).text
    answer = await ben.ask("question_vote", message_id=question, up=True)
    error(answer, "NOT_FOUND", "Question not found")


async def test_who_is_muted_votes_and_does_not_speak(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    question = await hall.question(ben, "why?")
    answer = await host.ask("moderate", action="mute", participant_id=id_of(ann))
    assert (answer["type"], answer["is_muted"]) == ("participant_update", True)
    for socket in (ann, ben):
        told = await socket.next("participant_update", participant_id=id_of(ann))
        assert (told["is_muted"], told["participant_nickname"]) == (True, "ann")
    for kind in ("chat_message", "question"):
        error(await ann.ask(kind, content="let me speak"), "FORBIDDEN", "You are muted")
    answer = await ann.ask("participant_update", nickname="other")
    error(answer, "FORBIDDEN", "You are muted")
    assert (await ann.ask("question_vote", message_id=question, up=True))["votes"] == 1
    again = await hall.enter(seat_of(ann))
    assert again.connected["is_muted"] is True, "latecomers see the same room"
    await host.ask("moderate", action="unmute", participant_id=id_of(ann))
    await ann.next("participant_update", is_muted=False)
    assert (await ann.ask("chat_message", content="thanks"))["type"] == "chat_message"


async def test_who_is_kicked_is_told_and_closed_with_4009(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    more = await hall.enter(seat_of(ann))
    await ann.ask("chat_message", content="stays said")
    answer = await host.ask("moderate", action="kick", participant_id=id_of(ann))
    assert (answer["type"], answer["participant_id"]) == ("participant_left", id_of(ann))
    for socket in (ann, more):
        assert (await socket.next("moderated"))["action"] == "kick"
        assert (await socket.closed())[0] == 4009
        assert [f for f in socket.waiting if f["type"] == "participant_left"] == []
    told = await ben.next("participant_left")
    assert (told["participant_id"], told["message"]) == (id_of(ann), "ann님이 떠났습니다.")
    refused = await hall.connect(id_of(ann), ann.connected["token"])
    assert await refused.closed() == (1008, "Participant not found")
    answer_ = await hall.ask("GET", "/questions", token=ann.connected["token"])
    problem(answer_, 404, "NOT_FOUND", "Participant not found")
    # They may come again, as somebody new.
    again = await hall.ask("POST", "/participants", {"nickname": "ann"}, ann.connected["token"])
    assert again.json()["participant_id"] != id_of(ann)
    assert (await hall.enter(again.json())).connected["role"] == "participant"
    found = (await hall.ask("GET", "/messages")).json()["messages"]
    assert [one["content"] for one in found] == ["stays said"]
    error(
        await host.ask("moderate", action="kick", participant_id=id_of(ann)),
        "NOT_FOUND",
        "Participant not found",
    )
    kinds = [f["type"] for f in await ben.so_far() if f.get("participant_id") == id_of(ann)]
    assert kinds == ["chat_message"], "they left once"


async def test_who_is_banned_cannot_come_back(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    eve = await hall.guest("eve", device="eves-browser")
    await host.ask("moderate", action="ban", participant_id=id_of(eve))
    assert (await eve.next("moderated"))["action"] == "ban"
    assert (await eve.closed())[0] == 4009
    await ann.next("participant_left", participant_id=id_of(eve))
    await ben.next("participant_left", participant_id=id_of(eve))
    token = eve.connected["token"]
    refused = await hall.connect(id_of(eve), token)
    assert await refused.closed() == (1008, "Participant not found")
    for given in (None, token):
        body = {"nickname": "eve again", "device": "eves-browser"}
        answer = await hall.ask("POST", "/participants", body, given)
        problem(answer, 404, "NOT_FOUND", "Session not found")
    assert (await hall.join("somebody else", device="another"))["nickname"] == "somebody else"


async def test_hosts_are_not_moderated(hall: Hall) -> None:
    host = await hall.host()
    for action in ("mute", "kick", "ban"):
        answer = await host.ask("moderate", action=action, participant_id=id_of(host))
        error(answer, "FORBIDDEN", "A host cannot be moderated")


@pytest.mark.parametrize("action", ["remove_message", "mute", "unmute", "kick", "ban"])
async def test_participants_moderate_nobody(hall: Hall, action: str) -> None:
    _, ann, ben = await everyone(hall)
    chat = (await ben.ask("chat_message", content="mine"))["message_id"]
    about = {"message_id": chat} if action == "remove_message" else {"participant_id": id_of(ben)}
    answer = await ann.ask("moderate", action=action, **about)
    error(answer, "FORBIDDEN", "Only a host can do this")
    assert (await ben.ask("chat_message", content="still here"))["type"] == "chat_message"


async def test_hosts_actions_are_not_participants(hall: Hall) -> None:
    _, ann, ben = await everyone(hall)
    question = await hall.question(ben, "why?")
    text = "Only a host can do this"
    for kind, fields in (
        ("question_state", {"message_id": question, "state": "live"}),
        ("poll_open", {"question": "x", "kind": "cloud"}),
        ("poll_close", {"message_id": question}),
    ):
        error(await ann.ask(kind, **fields), "FORBIDDEN", text)


async def test_blocked_words_are_not_said(house: House) -> None:
    hall = await open_hall(house, settings={"blocked_words": ["banana"]})
    ann = await hall.guest("ann")
    for kind, what in (("chat_message", "Message"), ("question", "Question")):
        answer = await ann.ask(kind, content="a BANANA, please")
        error(answer, "VALIDATION", f"{what} contains a blocked word")
    joining = await hall.ask("POST", "/participants", {"nickname": "Banana"})
    problem(joining, 422, "VALIDATION", "Nickname contains a blocked word")


async def test_a_full_room_takes_nobody_else(house: House) -> None:
    hall = await open_hall(house, settings={"max_seats": 2})
    seats = []
    while (answer := await hall.ask("POST", "/participants", {"nickname": "x"})).is_success:
        seats.append(answer.json())
    problem(answer, 409, "CONFLICT", "Session is full")
    assert len(seats) == 2
    # Whoever has a seat keeps it, and a place that is free is taken again.
    again = await hall.ask("POST", "/participants", {}, seats[0]["token"])
    assert again.json()["participant_id"] == seats[0]["participant_id"]
    host = await hall.host()
    await host.ask("moderate", action="kick", participant_id=seats[0]["participant_id"])
    await hall.join("y")
    problem(await hall.ask("POST", "/participants", {"nickname": "z"}), 409, "CONFLICT")
