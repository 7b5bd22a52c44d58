"""Agents outside: they connect with an `agent` token and stream their own answers."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from tests.surfaces.agents.conftest import Program
from tests.surfaces.agents.sessions import LONG, Chat, answer_of, two, words
from tests.surfaces.people import House, error, problem


async def test_its_answer_is_everybodys(program: Chat) -> None:
    session, ann, bot = await two(program)
    await ann.send("message", content="well?")
    question = (await bot.next("message"))["message_id"]
    run = str(uuid.uuid4())
    text = words(50)
    # All at once: its beginning need not be on disk for it to go on.
    metadata = {"model": "m-1", "status": "perfect", "steps": 7, "error": "none"}
    await bot.send("stream_start", message_id=run, reply_to_id=question, metadata=metadata)
    for index, word in enumerate(text.split(" ")):
        space = " " if index else ""
        await bot.send("stream_chunk", message_id=run, content=space + word, index=index)
    await bot.send("run_step", message_id=run, step_id="s", name="look", status="complete")
    await bot.send("stream_end", message_id=run, tokens_used=99, latency_ms=10**9)
    for socket in (ann, bot):
        found, said, end = await answer_of(socket)
        assert (found, said) == (run, text)
        assert (end["status"], end["tokens_used"]) == ("complete", 99)
        assert end["latency_ms"] == 10**9 and "error" not in end
    kept = (await program.rest("ann").messages(session))[-1]
    assert (kept["id"], kept["content"], kept["sender_id"]) == (run, text, "bot-7")
    assert (kept["sender_type"], kept["reply_to_id"]) == ("agent", question)
    # What the server says of it is nobody else's to say.
    assert (kept["metadata"]["model"], kept["metadata"]["status"]) == ("m-1", "complete")
    assert kept["metadata"]["steps"][0]["name"] == "look"
    assert (kept["metadata"]["latency_ms"], kept["metadata"].get("error")) == (10**9, None)
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        told = {one["type"]: one for _, one in await events.all()}
    assert told["stream_chunk"]["content"] == text
    listed = await program.rest("ann").get(f"/sessions/{session}")
    assert listed.json()["agent"]["id"] == "bot-7"


async def test_a_name_of_its_own_will_do(program: Chat) -> None:
    _, ann, bot = await two(program)
    await bot.send("stream_start", message_id="answer-1", id=5)
    started = await bot.next("stream_started", reply_to=5)
    await bot.send("stream_chunk", message_id="answer-1", content="hi ")
    await bot.send("stream_chunk", message_id=started["message_id"], content="there")
    await bot.send("stream_end", message_id="answer-1")
    start = await ann.next("stream_start", patience=LONG)
    assert (start["message_id"], start["client_id"]) == (started["message_id"], "answer-1")
    ann.waiting.insert(0, start)
    assert (await answer_of(ann))[1] == "hi there"


async def test_what_is_out_of_order_or_after_the_end_changes_nothing(program: Chat) -> None:
    session, ann, bot = await two(program)
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run)
    await bot.send("stream_chunk", message_id=run, content="a", index=0)
    for index in (0, 2, 7):
        await bot.send("stream_chunk", message_id=run, content="X", index=index)
        error = await bot.next("error", patience=LONG)
        assert (error["code"], error["message"]) == ("VALIDATION", "index: 1 comes next")
    await bot.send("stream_chunk", message_id=run, content="b", index=1)
    again = await bot.ask("stream_start", message_id=run)
    assert again["code"] == "CONFLICT"
    await bot.send("stream_end", message_id=run)
    await bot.next("stream_end", patience=LONG)
    for kind, fields in (
        ("stream_chunk", {"content": "late"}),
        ("stream_end", {}),
        ("run_step", {"step_id": "s"}),
        ("approval_request", {"question": "?"}),
    ):
        error = await bot.ask(kind, message_id=run, **fields)
        assert (error["code"], error["message"]) == ("CONFLICT", "The run has ended"), kind
    for unknown in (str(uuid.uuid4()), "nothing"):
        error = await bot.ask("stream_chunk", message_id=unknown, content="x")
        assert error["code"] == "NOT_FOUND"
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("ab", "complete")
    kept = (await program.rest("ann").messages(session))[-1]
    assert kept["content"] == "ab"


async def test_whose_answer_it_is(program: Chat) -> None:
    """Not a person's, not one's in another session, not one of another agent."""
    session, ann, bot = await two(program)
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run)
    await ann.next("stream_start", patience=LONG)
    for kind, fields in (
        ("stream_start", {}),
        ("stream_chunk", {"message_id": run, "content": "x"}),
        ("stream_end", {"message_id": run}),
        ("run_step", {"message_id": run, "step_id": "s"}),
    ):
        assert (await ann.ask(kind, **fields))["code"] == "FORBIDDEN"
    other = await program.join("bot-7", session, roles=["agent"])
    assert (await other.ask("stream_chunk", message_id=run, content="x"))["code"] == "NOT_FOUND"
    elsewhere = await program.join("bot-7", await program.session("ann", "bot-7"), roles=["agent"])
    assert (await elsewhere.ask("stream_start", message_id=run))["code"] == "CONFLICT"
    rival = await program.rest("ann").post(
        f"/sessions/{session}/participants", {"user_ids": ["bot-9"]}
    )
    assert rival.is_success
    third = await program.join("bot-9", session, roles=["agent"])
    assert (await third.ask("stream_start", message_id=run))["code"] == "CONFLICT"
    stranger = await program.open("bot-8", session, roles=["agent"])
    assert (await stranger.closed())[0] == 1008
    # A person stops it; it hears of that and says no more.
    answer = await program.rest("ann").post(f"/runs/{run}/stop")
    assert answer.json()["status"] == "cancelled"
    await bot.next("stream_end", patience=LONG)
    error = await bot.ask("stream_chunk", message_id=run, content="x")
    assert error["code"] == "CONFLICT"


async def test_one_that_floods_is_cut(program: Chat) -> None:
    _, ann, bot = await two(program)
    flood = str(uuid.uuid4())
    await bot.send("stream_start", message_id=flood)
    for _ in range(30):
        await bot.send("stream_chunk", message_id=flood, content="x" * 2000)
    _, text, end = await answer_of(ann)
    assert (len(text), end["status"]) == (50_000, "failed")
    assert end["error"] == "The answer is too long"


async def test_its_answers_count_for_those_who_asked(make_program: Callable[..., Program]) -> None:
    """What it says by itself counts for the org alone: many people may talk with it at once."""
    server = make_program(runs_per_user="2", runs_per_org="6", rate_limit_enabled="true")
    async with House(server) as house:
        chat = Chat(house)
        bots, questions = [], []
        for user in ("ann", "bob"):
            session = await chat.session(user, "bot-7")
            api = chat.rest(user)
            path = f"/sessions/{session}/messages"
            questions.append((await api.post(path, {"content": "well?"})).json()["message_id"])
            bots.append(await chat.join("bot-7", session, roles=["agent"]))
        for bot, question in zip(bots, questions, strict=True):
            for _ in range(2):
                told = await bot.ask("stream_start", reply_to_id=question)
                assert told["type"] == "stream_started"
            told = await bot.ask("stream_start", reply_to_id=question)
            assert (told["code"], told["message"]) == ("RATE_LIMIT", "Too many runs at once")
        for _ in range(2):
            assert (await bots[0].ask("stream_start"))["type"] == "stream_started"
        assert (await bots[0].ask("stream_start"))["code"] == "RATE_LIMIT"


async def test_it_asks_people_and_hears_their_answer(program: Chat) -> None:
    _, ann, bot = await two(program)
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run)
    await bot.send("approval_request", message_id=run, request_id="r1", question="May I?")
    asked = await ann.next("approval_request", patience=LONG)
    assert asked["options"] == ["approve", "deny"]
    told = await ann.ask("approval_answer", message_id=run, request_id="r1", answer="approve")
    assert (told["answer"], told["user_id"]) == ("approve", "ann")
    heard = await bot.next("approval_answer", patience=LONG)
    assert (heard["request_id"], heard["answer"]) == ("r1", "approve")
    answer = await program.rest("bot-7", roles=["agent"]).post(
        f"/runs/{run}/approvals/r1", {"answer": "deny"}
    )
    problem(answer, 403, "FORBIDDEN")


async def test_only_people_answer_what_is_asked(program: Chat) -> None:
    """Neither another agent nor a service, by whatever way; nor the session's own agent, with
    whatever token."""
    others = ["bob", "bot-8", "backend"]
    session = await program.session("ann", "bot-7", participant_ids=others)
    bob, bot = (
        await program.join("bob", session),
        await program.join("bot-7", session, roles=["agent"]),
    )
    run = str(uuid.uuid4())
    await bot.send("stream_start", message_id=run)
    await bot.send("approval_request", message_id=run, request_id="r1", question="May I?")
    await bob.next("approval_request", patience=LONG)
    answer = {"answer": "approve"}
    for user, roles in (
        ("bot-8", ["agent"]),
        ("bot-8", ["agent", "admin"]),
        ("backend", ["service"]),
        ("bot-7", []),
    ):
        rest = program.rest(user, roles=roles)
        told = await rest.post(f"/runs/{run}/approvals/r1", answer)
        problem(told, 403, "FORBIDDEN", "Only people answer approvals")
        socket = await program.join(user, session, roles=roles)
        refused = await socket.ask("approval_answer", message_id=run, request_id="r1", **answer)
        error(refused, "FORBIDDEN", "Only people answer approvals")
    admin = program.rest("bob", roles=["admin"])
    assert (await admin.post(f"/runs/{run}/approvals/r1", answer)).is_success
    heard = await bot.next("approval_answer", patience=LONG)
    assert (heard["user_id"], heard["answer"]) == ("bob", "approve")


async def test_nul_is_in_nothing_that_is_said(program: Chat) -> None:
    session, ann, bot = await two(program)
    run = str(uuid.uuid4())
    await bot.ask("stream_start", message_id=run)
    for kind, name, fields in (
        ("stream_start", "message_id", {"message_id": "a\0"}),
        ("stream_start", "client_id", {"client_id": "a\0"}),
        ("run_step", "step_id", {"message_id": run, "step_id": "a\0"}),
        ("run_step", "kind", {"message_id": run, "step_id": "s", "kind": "a\0"}),
        ("approval_request", "question", {"message_id": run, "question": "a\0"}),
        ("approval_request", "options", {"message_id": run, "question": "?", "options": ["\0"]}),
        (
            "approval_request",
            "request_id",
            {"message_id": run, "question": "?", "request_id": "a\0"},
        ),
        ("stream_end", "error", {"message_id": run, "error": "a\0"}),
        ("handover", "note", {"to": "ann", "note": "a\0"}),
    ):
        told = await bot.ask(kind, **fields)
        assert told["code"] in ("VALIDATION", "INVALID_ID"), told
        assert name in told["message"]
    body = {"to": "ann", "note": "a\0"}
    refused = await program.rest("ann").post(f"/sessions/{session}/handover", body)
    problem(refused, 422, "VALIDATION", "note: must not contain NUL")
    asked = {"message_id": run, "request_id": "r1", "question": "May I?"}
    await bot.send("approval_request", **asked, details={"a\0": ["b\0"]})
    assert (await ann.next("approval_request"))["details"] == {"a\ufffd": ["b\ufffd"]}
    told = await ann.ask(
        "approval_answer", message_id=run, request_id="r1", answer="deny", note="a\0"
    )
    error(told, "VALIDATION", "note: must not contain NUL")
    step = {"message_id": run, "step_id": "s", "content": "c\0"}
    await bot.send("run_step", **step, input={"a\0": "b\0"}, output="d\0")
    told = await ann.next("run_step")
    assert (told["content"], told["input"]) == ("c\ufffd", {"a\ufffd": "b\ufffd"})
    assert told["output"] == "d\ufffd"


async def test_answers_without_a_name_are_answers_of_their_own(one: Chat) -> None:
    _, ann, bot = await two(one)
    runs = []
    for _ in range(3):
        started = await bot.ask("stream_start")
        runs.append(started["message_id"])
        await bot.send("stream_chunk", message_id=runs[-1], content=f"{len(runs)}")
    assert len(set(runs)) == 3
    for number, run in enumerate(runs, 1):
        await bot.send("stream_end", message_id=run)
        assert (await answer_of(ann, run))[1] == str(number)


async def test_nothing_said_takes_its_number(one: Chat) -> None:
    _, ann, bot = await two(one)
    run = (await bot.ask("stream_start"))["message_id"]
    for index in range(3):
        await bot.send("stream_chunk", message_id=run, content="", index=index)
    error = await bot.ask("stream_chunk", message_id=run, content="", index=1)
    assert (error["code"], error["message"]) == ("VALIDATION", "index: 3 comes next")
    await bot.send("approval_request", message_id=run, question="May I?")
    request = (await ann.next("approval_request", patience=LONG))["request_id"]
    # An id of its time, as all are: the first half of it tells when it was made.
    assert uuid.UUID(request).int >> 80 > 1_700_000_000_000
    await bot.send("stream_end", message_id=run)
    _, text, end = await answer_of(ann)
    assert (text, end["tokens_used"]) == ("", 0)


async def test_its_steps_count_as_signals(make_program: Callable[..., Program]) -> None:
    limited = make_program(rate_limit_enabled="true", rate_limit_messages_per_minute="10")
    async with House(limited) as house:
        _, ann, bot = await two(Chat(house))
        run = (await bot.ask("stream_start"))["message_id"]
        for _ in range(200):
            await bot.send("run_step", message_id=run, step_id="s", content="x")
        error = await bot.next("error", patience=LONG)
        assert error["code"] == "RATE_LIMIT"
        # What it says does not: that has its own bound.
        for index in range(200):
            await bot.send("stream_chunk", message_id=run, content="x", index=index)
        await bot.send("stream_end", message_id=run)
        assert (await answer_of(ann))[1] == "x" * 200


async def test_an_id_that_is_there_is_refused_in_whatever_org(program: Chat) -> None:
    _, _, bot = await two(program)
    run = str(uuid.uuid4())
    await bot.ask("stream_start", message_id=run)
    async with House(program.house.server) as house:
        for chat in (program, Chat(house)):
            _, _, other = await two(chat)
            told = await other.ask("stream_start", message_id=run)
            assert (told["code"], told["message"]) == ("CONFLICT", "There is a message of this id")
            told = await other.ask("stream_start", message_id=str(uuid.uuid4()))
            assert told["type"] == "stream_started"


async def test_what_is_refused_while_its_beginning_is_awaited_says_which_it_is(one: Chat) -> None:
    """All of it is sent at once."""
    _, ann, bot = await two(one)
    run = str(uuid.uuid4())
    await bot.send("stream_start", id="start", message_id=run)
    await bot.send("stream_chunk", id="early", message_id=run, content="x", index=7)
    await bot.send("stream_chunk", id=5, message_id=run, content="x", offset=7)
    await bot.send("stream_chunk", message_id=run, content="said")
    await bot.send("stream_end", message_id=run)
    await bot.send("run_step", id="late", message_id=run, step_id="s")
    for reply_to, code in (("early", "VALIDATION"), (5, "VALIDATION"), ("late", "CONFLICT")):
        error = await bot.next("error", patience=LONG, reply_to=reply_to)
        assert error["code"] == code
    assert (await answer_of(ann))[1] == "said"


async def test_what_carries_an_id_is_answered(program: Chat) -> None:
    """What an event tells, by that event; the rest by where the answer is."""
    _, ann, bot = await two(program)
    run = str(uuid.uuid4())
    started = await bot.ask("stream_start", message_id=run)
    assert (started["type"], started["index"], started["offset"]) == ("stream_started", 0, 0)
    for index, (word, offset) in enumerate((("안녕 ", 3), ("🌊", 4))):
        taken = await bot.ask("stream_chunk", message_id=run, content=word)
        told = {name: taken[name] for name in ("type", "message_id", "index", "offset")}
        assert told == {
            "type": "stream_taken",
            "message_id": run,
            "index": index + 1,
            "offset": offset,
        }
    taken = await bot.ask("run_step", message_id=run, step_id="s", status="complete")
    assert (taken["type"], taken["index"], taken["offset"]) == ("stream_taken", 2, 4)
    question = await bot.ask("approval_request", message_id=run, request_id="r", question="May I?")
    end = await bot.ask("stream_end", message_id=run, tokens_used=2)
    assert (end["type"], end["status"], end["length"]) == ("stream_end", "complete", 4)
    # Everybody else is told the same, as no reply; and the agent is told it once.
    asked = await ann.next("approval_request", patience=LONG)
    _, text, told_end = await answer_of(ann)
    assert text == "안녕 🌊"
    for reply, told in ((question, asked), (end, told_end)):
        reply.pop("reply_to")
        assert reply == told
    kinds = [frame["type"] for frame in await bot.so_far()]
    assert not {"approval_request", "stream_end"} & set(kinds)


async def test_what_follows_a_beginning_that_is_refused_is_refused(one: Chat) -> None:
    _, _, bot = await two(one)
    run = str(uuid.uuid4())
    await bot.send("stream_start", id=1, message_id=run, reply_to_id=str(uuid.uuid4()))
    await bot.send("stream_chunk", id=2, message_id=run, content="x")
    await bot.send("stream_end", id=3, message_id=run)
    for reply_to in (1, 2, 3):
        error = await bot.next("error", patience=LONG, reply_to=reply_to)
        assert (error["code"], error["message"]) == ("NOT_FOUND", "Message not found")


@pytest.mark.parametrize("status", ["complete", "failed", "cancelled", "interrupted"])
async def test_it_says_how_it_ended(program: Chat, status: str) -> None:
    _, ann, bot = await two(program)
    run = (await bot.ask("stream_start"))["message_id"]
    await bot.send("stream_chunk", message_id=run, content="so far")
    error = await bot.ask("stream_end", message_id=run, latency_ms=2**53)
    assert error["code"] == "VALIDATION"
    await bot.send("stream_end", message_id=run, status=status)
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("so far", status)
    assert 0 <= end["latency_ms"] < 60_000  # The server measures where nobody else says.


async def test_what_it_says_of_itself_is_to_be_true(program: Chat) -> None:
    session, ann, bot = await two(program)
    run = str(uuid.uuid4())
    true = {
        "session_id": session,
        "sender_id": "bot-7",
        "sender_type": "agent",
        "agent_id": "bot-7",
        "timestamp": "2026-11-21T03:55:06Z",
    }
    frames: tuple[tuple[str, dict[str, object]], ...] = (
        ("stream_start", {}),
        ("stream_chunk", {"content": "said", "index": 0}),
        ("run_step", {"step_id": "s"}),
        ("approval_request", {"question": "?"}),
        ("stream_end", {}),
    )
    for kind, fields in frames:
        for name, false in (
            ("session_id", str(uuid.uuid4())),
            ("session_id", "nowhere"),
            ("sender_id", "ann"),
            ("sender_type", "user"),
            ("agent_id", "echo"),
            ("agent_id", 7),
            ("agent_id", ["bot-7"]),
        ):
            error = await bot.ask(kind, message_id=run, **fields, **{**true, name: false})
            assert error["code"] == "VALIDATION" and error["message"].startswith(name), error
        await bot.send(kind, message_id=run, **fields, **true)
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("said", "complete")


async def test_an_id_of_digits_may_be_said_as_a_number(program: Chat) -> None:
    session = await program.session("ann", "77")
    ann = await program.join("ann", session)
    bot = await program.join("77", session, roles=["agent"])
    started = await bot.ask("stream_start", sender_id=77, agent_id="77")
    await bot.send("stream_end", message_id=started["message_id"], sender_id="77", agent_id=77)
    assert (await answer_of(ann))[2]["status"] == "complete"


async def test_its_metadata_are_bounded_as_a_messages_are(
    make_program: Callable[..., Program],
) -> None:
    async with House(make_program(ws_message_size_limit="2000")) as house:
        _, ann, bot = await two(Chat(house))
        error = await bot.ask("stream_start", metadata=[1])
        assert error["code"] == "VALIDATION"
        deep: object = 7
        for _ in range(40):
            deep = [deep]
        assert (await bot.ask("stream_start", metadata={"deep": deep}))["code"] == "VALIDATION"
        started = await bot.ask("stream_start", metadata={"x": "y" * 1_500})
        assert started["type"] == "stream_started"
        await bot.send("stream_start", metadata={"x": "y" * 2_000})
        assert (await bot.closed())[0] == 1009
        await ann.next("stream_start", patience=LONG)
