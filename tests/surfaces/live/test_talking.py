"""Chat, questions, votes and typing: who is told what, exactly."""

from __future__ import annotations

import asyncio

import pytest

from tests.surfaces.live.hall import Hall, id_of, open_hall, plain
from tests.surfaces.people import Frame, House, Socket, error


async def everyone(hall: Hall) -> tuple[Socket, Socket, Socket]:
    """A host and two participants who have heard of each other's coming."""
    host, ann, ben = await hall.host(), await hall.guest("ann"), await hall.guest("ben")
    for socket in (host, ann):
        await socket.next("participant_joined", participant_id=id_of(ben))
    await ben.so_far()
    await ann.so_far()
    await host.so_far()
    return host, ann, ben


async def test_chat_is_told_to_all_and_to_the_sender(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    await ann.send("chat_message", content="안녕 <b>all</b>")
    told = await ann.next("chat_message")
    expected = {
        "type": "chat_message",
        "message_id": told["message_id"],
        "content": "안녕 <b>all</b>",
        "participant_id": id_of(ann),
        "participant_nickname": "ann",
        "timestamp": told["timestamp"],
        "session_code": hall.code,
    }
    assert expected.items() <= told.items()
    assert isinstance(told["seq"], int) and isinstance(told["cursor"], int)
    for socket in (host, ben):
        assert await socket.next("chat_message") == told


async def test_a_request_with_an_id_is_answered_once(hall: Hall) -> None:
    _, ann, ben = await everyone(hall)
    answer = await ann.ask("chat_message", content="one", client_id="c1")
    assert answer["reply_to"] and answer["content"] == "one"
    again = await ann.ask("chat_message", content="one, again", client_id="c1")
    assert (again["message_id"], again["content"]) == (answer["message_id"], "one")
    assert [f for f in await ann.so_far() if f["type"] == "chat_message"] == []
    told = [f for f in await ben.so_far() if f["type"] == "chat_message"]
    assert [frame["content"] for frame in told] == ["one"]
    assert "reply_to" not in told[0]


async def test_order_is_the_same_for_all(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    for number in range(20):
        await ann.send("chat_message", content=f"a{number}")
        await ben.send("chat_message", content=f"b{number}")
    heard = []
    for socket in (host, ann, ben):
        heard.append([await socket.next("chat_message") for _ in range(40)])
    assert heard[0] == heard[1] == heard[2]
    cursors = [frame["cursor"] for frame in heard[0]]
    assert cursors == sorted(set(cursors))
    assert [f["content"] for f in heard[0] if f["content"][0] == "a"] == [
        f"a{n}" for n in range(20)
    ]


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ({"type": "chat_message", "content": ""}, "VALIDATION", "Message content cannot be empty"),
        ({"type": "chat_message"}, "VALIDATION", "Message content cannot be empty"),
        (
            {"type": "chat_message", "content": " \u200b\u202e\n"},
            "VALIDATION",
            "Message content cannot be empty",
        ),
        ({"type": "question", "content": "  "}, "VALIDATION", "Question content cannot be empty"),
        ({"type": "question"}, "VALIDATION", "Question content cannot be empty"),
        ({"type": "teleport"}, "VALIDATION", "Unknown message type: teleport"),
        ({"type": "x" * 200}, "VALIDATION", "Unknown message type: " + "x" * 100),
        ({"type": 3}, "VALIDATION", "type: must be a string"),
        ({}, "VALIDATION", "type: must be a string"),
        ({"type": "chat_message", "content": 3}, "VALIDATION", None),
        ({"type": "chat_message", "content": "x", "colour": "red"}, "VALIDATION", None),
        (
            {"type": "question_vote", "message_id": "x", "up": True},
            "INVALID_ID",
            "Invalid message_id format",
        ),
        ({"type": "question_vote", "up": True}, None, None),
        (
            {"type": "moderate", "action": "kick", "participant_id": "x"},
            "INVALID_ID",
            "Invalid participant_id format",
        ),
        ({"type": "moderate", "action": "kick"}, "VALIDATION", "Missing field: participant_id"),
        ({"type": "moderate", "action": "remove_message"}, None, "Missing field: message_id"),
        ({"type": "moderate", "action": "shout"}, "VALIDATION", None),
        ({"type": "participant_update"}, "VALIDATION", "Missing field: nickname"),
    ],
)
async def test_what_is_wrong_is_said(
    hall: Hall, request_: Frame, code: str | None, message: str | None
) -> None:
    host = await hall.host()
    fields = {name: request_[name] for name in request_ if name != "type"}
    if "type" in request_:
        answer = await host.ask(request_["type"], **fields)
    else:
        await host.raw('{"id": "q"}')
        answer = await host.next(reply_to="q")
    assert answer["type"] == "error", answer
    if code is not None:
        assert answer["code"] == code
    if message is not None:
        assert answer["message"] == message
    assert (await host.ask("ping"))["type"] == "pong"


async def test_what_is_no_json_is_said(hall: Hall) -> None:
    ann = await hall.guest("ann")
    for text in ("{", "", "[]", "1", "null", '"chat_message"'):
        await ann.raw(text)
        error(await ann.next("error"), "INVALID_JSON", "Invalid JSON format")


async def test_slow_mode_says_how_long_to_wait(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    await hall.as_host("PATCH", body={"settings": {"slow_mode_seconds": 30}})
    await ann.next("session_update")
    assert (await ann.ask("chat_message", content="one"))["type"] == "chat_message"
    answer = await ann.ask("chat_message", content="two")
    assert answer["code"] == "RATE_LIMIT"
    seconds = answer["message"].removeprefix("Slow mode: wait ").removesuffix(" s")
    assert 20 < int(seconds) <= 30
    assert 20_000 < answer["retry_after"] <= 30_000
    assert (await ben.ask("chat_message", content="mine"))["type"] == "chat_message"
    for text in ("as", "fast", "as I like"):
        assert (await host.ask("chat_message", content=text))["type"] == "chat_message"


async def test_a_question_is_told_as_the_contract_says(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    await ann.send("question", content="why?")
    told = await ben.next("question")
    expected = {
        "type": "question",
        "message_id": told["message_id"],
        "content": "why?",
        "participant_id": id_of(ann),
        "participant_nickname": "ann",
        "timestamp": told["timestamp"],
        "session_code": hall.code,
        "votes": 0,
        "state": "open",
    }
    assert expected.items() <= told.items()
    for socket in (host, ann):
        assert plain(await socket.next("question")) == plain(told)


async def test_a_vote_counts_once_however_often_it_is_sent(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    question = await hall.question(ann, "why?")
    for _ in range(3):
        answer = await ben.ask("question_vote", message_id=question, up=True)
        assert (answer["type"], answer["votes"], answer["voted"]) == ("question_update", 1, True)
    told = await host.next("question_update", votes=1)
    expected = {"type": "question_update", "message_id": question, "votes": 1, "state": "open"}
    assert expected.items() <= told.items()
    await ann.ask("question_vote", message_id=question, up=True)
    await host.next("question_update", votes=2)
    await ben.ask("question_vote", message_id=question, up=False)
    await host.next("question_update", votes=1)
    again = await ben.ask("question_vote", message_id=question, up=False)
    assert again["votes"] == 1
    await ann.next("question_update", votes=1)


async def test_votes_on_other_rooms_questions_find_nothing(house: House, hall: Hall) -> None:
    other = await open_hall(house)
    eve = await other.guest("eve")
    elsewhere = await other.question(eve, "theirs")
    poll = await (await other.host()).ask(
        "poll_open", question="theirs?", kind="single", options=["a", "b"]
    )
    host, ann, _ = await everyone(hall)
    chat = await ann.ask("chat_message", content="no question")
    for asked, of in ((elsewhere, "Question"), (chat["message_id"], "Question")):
        answer = await ann.ask("question_vote", message_id=asked, up=True)
        error(answer, "NOT_FOUND", f"{of} not found")
    answer = await host.ask("question_state", message_id=elsewhere, state="live")
    error(answer, "NOT_FOUND", "Question not found")
    answer = await host.ask("moderate", action="remove_message", message_id=elsewhere)
    error(answer, "NOT_FOUND", "Message not found")
    answer = await host.ask("moderate", action="kick", participant_id=id_of(eve))
    error(answer, "NOT_FOUND", "Participant not found")
    answer = await ann.ask("poll_vote", message_id=poll["message_id"], choices=[0])
    error(answer, "NOT_FOUND", "Poll not found")
    assert (await eve.ask("ping"))["type"] == "pong"
    kept = (await other.as_host("GET", "/questions"))["questions"]
    assert [(one["votes"], one["state"]) for one in kept] == [(0, "open")]


async def test_states_are_the_hosts_and_one_question_is_live(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    one, two = await hall.question(ann, "one"), await hall.question(ann, "two")
    answer = await ann.ask("question_state", message_id=one, state="live")
    error(answer, "FORBIDDEN", "Only a host can do this")
    assert (await host.ask("question_state", message_id=one, state="live"))["state"] == "live"
    assert (await ben.next("question_update", message_id=one))["state"] == "live"
    await host.ask("question_state", message_id=two, state="live")
    assert (await ben.next("question_update", message_id=one))["state"] == "answered"
    assert (await ben.next("question_update", message_id=two))["state"] == "live"
    states = {
        q["message_id"]: q["state"] for q in (await hall.as_host("GET", "/questions"))["questions"]
    }
    assert states == {one: "answered", two: "live"}
    await host.ask("question_state", message_id=two, state="dismissed")
    assert (await ben.next("question_update", message_id=two))["state"] == "dismissed"
    found = (await hall.ask("GET", "/questions")).json()["questions"]
    assert [question["message_id"] for question in found] == [one]
    answer = await host.ask("question_state", message_id=one, state="gone")
    assert answer["code"] == "VALIDATION"


async def test_questions_wait_for_approval(hall: Hall) -> None:
    await hall.as_host("PATCH", body={"settings": {"questions_need_approval": True}})
    host, ann, ben = await everyone(hall)
    question = await hall.question(ann, "may I?")
    hidden = await hall.question(ann, "and this?")
    told = await host.next("question", message_id=question)
    assert (told["state"], told["votes"], told["content"]) == ("open", 0, "may I?")
    await ben.ask("chat_message", content="after it")
    assert [f for f in await ben.so_far() if f["type"].startswith("question")] == []
    answer = await ben.ask("question_vote", message_id=question, up=True)
    error(answer, "NOT_FOUND", "Question not found")
    assert (await hall.ask("GET", "/questions")).json()["questions"] == []
    await host.ask("question_state", message_id=question, state="approved")
    told = await ben.next("question", message_id=question)
    assert (told["content"], told["state"], told["participant_nickname"]) == (
        "may I?",
        "approved",
        "ann",
    )
    for socket in (ann, ben):
        assert (await socket.next("question_update", message_id=question))["state"] == "approved"
    assert [frame for frame in await ann.so_far() if frame["type"] == "question"] == [], "twice"
    assert (await ben.ask("question_vote", message_id=question, up=True))["votes"] == 1
    await host.ask("question_state", message_id=hidden, state="dismissed")
    await ann.next("question_update", message_id=hidden, state="dismissed")
    await ben.ask("chat_message", content="still nothing")
    assert hidden not in str(await ben.so_far())
    for seat, expected in ((None, [question]), (hall.host_token, [question, hidden])):
        found = (await hall.ask("GET", "/questions", token=seat)).json()["questions"]
        assert [one["message_id"] for one in found] == expected


async def test_questions_may_be_the_hosts_alone(hall: Hall) -> None:
    await hall.as_host("PATCH", body={"settings": {"questions_visible": "host"}})
    host, ann, ben = await everyone(hall)
    more = await hall.enter({"participant_id": id_of(ann), "token": ann.connected["token"]})
    question = await hall.question(ann, "only for you")
    assert (await host.next("question"))["content"] == "only for you"
    assert (await more.next("question"))["content"] == "only for you", "it is theirs"
    await host.ask("question_state", message_id=question, state="live")
    await more.next("question_update", state="live")
    await ben.ask("chat_message", content="after it")
    frames = await ben.so_far()
    assert question not in str(frames)
    for path in ("/questions", "/questions?state=live", "/messages"):
        assert question not in (await hall.ask("GET", path)).text
    await hall.as_host("PATCH", body={"settings": {"questions_visible": "all"}})
    await ben.next("session_update")
    found = (await hall.ask("GET", "/questions")).json()["questions"]
    assert [one["content"] for one in found] == ["only for you"]


async def test_anonymous_is_anonymous_to_participants(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    question = await hall.question(ann, "who am I?", anonymous=True)
    told = await ben.next("question")
    assert (told["participant_id"], told["participant_nickname"]) == (None, "익명")
    assert id_of(ann) not in str(told)
    told = await host.next("question")
    assert (told["participant_id"], told["participant_nickname"]) == (id_of(ann), "ann")
    await host.ask("question_state", message_id=question, state="live")
    told = await ben.next("question_update")
    assert id_of(ann) not in str(told)
    found = (await hall.ask("GET", "/questions")).json()["questions"][0]
    assert (found["participant_id"], found["participant_nickname"]) == (None, "익명")
    assert (await hall.as_host("GET", "/questions"))["questions"][0]["participant_id"] == id_of(ann)


async def test_anonymous_may_be_so_to_the_host_too(house: House) -> None:
    hall = await open_hall(house, settings={"anonymous_to_host": True}, language="en")
    host, ann, ben = await everyone(hall)
    await hall.question(ann, "guess who", anonymous=True)
    for socket in (host, ben):
        told = await socket.next("question")
        assert (told["participant_id"], told["participant_nickname"]) == (None, "Anonymous")
    # What was promised is kept, whatever the room says later.
    await hall.as_host("PATCH", body={"settings": {"anonymous_to_host": False}})
    found = (await hall.as_host("GET", "/questions"))["questions"][0]
    assert found["participant_id"] is None
    for path in ("/export.csv", "/export.json"):
        text = (await hall.ask("GET", path, token=hall.host_token)).text
        assert "guess who" in text
        assert id_of(ann) not in text
        assert '"ann"' not in text
    own = (await hall.ask("GET", "/questions", token=ann.connected["token"])).json()["questions"][0]
    assert own["own"] is True


async def test_anonymous_may_be_forbidden(hall: Hall) -> None:
    await hall.as_host("PATCH", body={"settings": {"anonymous_allowed": False}})
    ann = await hall.guest("ann")
    answer = await ann.ask("question", content="x", anonymous=True)
    error(answer, "FORBIDDEN", "Anonymous questions are off")


async def test_a_new_nickname_is_told_to_all(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    await ann.send("participant_update", nickname="Ann B.")
    for socket in (host, ann, ben):
        told = await socket.next("participant_update", participant_id=id_of(ann))
        expected = {
            "participant_nickname": "Ann B.",
            "is_online": True,
            "session_code": hall.code,
        }
        assert expected.items() <= told.items()
    await ann.ask("chat_message", content="it is me")
    assert (await ben.next("chat_message"))["participant_nickname"] == "Ann B."
    assert (await ben.ask("participant_update", nickname="ann b."))["participant_nickname"] == (
        "ann b. 2"
    )


async def test_typing_is_told_to_the_others_and_ends_by_itself(hall: Hall) -> None:
    host, ann, ben = await everyone(hall)
    await ann.send("typing", is_typing=True)
    for socket in (host, ben):
        told = await socket.next("typing")
        assert told == {
            "type": "typing",
            "participant_id": id_of(ann),
            "participant_nickname": "ann",
            "is_typing": True,
            "session_code": hall.code,
        }
        assert (await socket.next("typing"))["is_typing"] is False
    await ann.send("typing", is_typing=True)
    await ben.next("typing", is_typing=True)
    await ann.ask("chat_message", content="done")
    await ben.next("typing", is_typing=False)
    await ann.send("typing", is_typing=True)
    await ben.next("typing", is_typing=True)
    await ann.send("typing", is_typing=False)
    await ben.next("typing", is_typing=False)
    await ann.send("typing", is_typing=True)
    await ben.next("typing", is_typing=True)
    assert [f for f in await ann.so_far() if f["type"] == "typing"] == []
    await ann.close()
    await ben.next("typing", is_typing=False)


async def test_counts_are_told_at_most_ten_times_a_second(hall: Hall) -> None:
    _host, ann, ben = await everyone(hall)
    voters = [await hall.guest(f"v{n}") for n in range(20)]
    ids = [await hall.question(ann, f"q{n}") for n in range(10)]
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for question in ids:
        for voter in voters:
            await voter.send("question_vote", message_id=question, up=True)
    counts: dict[str, int] = dict.fromkeys(ids, 0)
    frames = 0
    while min(counts.values()) < len(voters):
        told = await ben.next("question_update")
        assert told["votes"] >= counts[told["message_id"]], "a count never goes back"
        counts[told["message_id"]] = told["votes"]
        frames += 1
    seconds = loop.time() - begun
    assert frames <= 10 * seconds + 2, f"{frames} frames in {seconds:.2f} s"
    assert counts == dict.fromkeys(ids, len(voters))
