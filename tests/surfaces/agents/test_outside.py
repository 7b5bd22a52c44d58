"""Agents outside: they connect with an `agent` token and stream their own answers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable

import pytest

from tests.surfaces.agents.conftest import Program
from tests.surfaces.agents.sessions import LONG, Chat, answer_of, words
from tests.surfaces.people import House, Socket, error, problem


async def two(chat: Chat) -> tuple[str, Socket, Socket]:
    """A session of Ann's with an agent outside: its id, she and it."""
    session = await chat.session("ann", "bot-7")
    ann = await chat.join("ann", session)
    bot = await chat.join("bot-7", session, roles=["agent"])
    return session, ann, bot


async def test_its_answer_is_everybodys(program: Chat) -> None:
    session, ann, bot = await two(program)
    await ann.send("message", content="well?")
    question = (await bot.next("message"))["message_id"]
    run = str(uuid.uuid4())
    text = words(50)
    # All at once: its beginning need not be on disk for it to go on.
    await bot.send("stream_start", message_id=run, reply_to_id=question)
    for index, word in enumerate(text.split(" ")):
        space = " " if index else ""
        await bot.send("stream_chunk", message_id=run, content=space + word, index=index)
    await bot.send("run_step", message_id=run, step_id="s", name="look", status="complete")
    await bot.send("stream_end", message_id=run, tokens_used=99, latency_ms=10**9)
    for socket in (ann, bot):
        found, said, end = await answer_of(socket)
        assert (found, said) == (run, text)
        assert (end["status"], end["tokens_used"]) == ("complete", 99)
        assert end["latency_ms"] < 10**9  # The server measures.
    kept = (await program.rest("ann").messages(session))[-1]
    assert (kept["id"], kept["content"], kept["sender_id"]) == (run, text, "bot-7")
    assert (kept["sender_type"], kept["reply_to_id"]) == ("agent", question)
    assert kept["metadata"]["steps"][0]["name"] == "look"
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
    assert (await other.ask("stream_start", message_id=run))["code"] == "CONFLICT"
    stranger = await program.open("bot-8", session, roles=["agent"])
    assert (await stranger.closed())[0] == 1008
    # A person stops it; it hears of that and says no more.
    answer = await program.rest("ann").post(f"/runs/{run}/stop")
    assert answer.json()["status"] == "cancelled"
    await bot.next("stream_end", patience=LONG)
    error = await bot.ask("stream_chunk", message_id=run, content="x")
    assert error["code"] == "CONFLICT"


async def test_one_that_floods_is_cut_and_one_that_goes_is_interrupted(program: Chat) -> None:
    session, ann, bot = await two(program)
    flood, left = str(uuid.uuid4()), str(uuid.uuid4())
    await bot.send("stream_start", message_id=flood)
    for _ in range(30):
        await bot.send("stream_chunk", message_id=flood, content="x" * 2000)
    _, text, end = await answer_of(ann)
    assert (len(text), end["status"]) == (50_000, "failed")
    assert end["error"] == "The answer is too long"
    await bot.send("stream_start", message_id=left)
    await bot.send("stream_chunk", message_id=left, content="and then")
    await ann.next("stream_chunk", message_id=left, patience=LONG)
    await bot.close()
    end = await ann.next("stream_end", message_id=left, patience=LONG)
    assert end["status"] == "interrupted"
    kept = (await program.rest("ann").messages(session))[-1]
    assert kept["content"] == "and then"


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


@pytest.fixture
async def one(make_program: Callable[..., Program]) -> AsyncIterator[Chat]:
    """One node: a connection that comes back comes to the same."""
    async with House(make_program()) as house:
        yield Chat(house)


async def test_one_that_comes_back_goes_on_where_it_was(one: Chat) -> None:
    """Also while the server takes its first connection for alive, and after that is gone."""
    session, ann, bot = await two(one)
    await bot.send("stream_start", message_id="answer", client_id="a1")
    await bot.send("stream_chunk", message_id="answer", content="안녕 ", index=0, offset=0)
    await bot.send("stream_chunk", message_id="answer", content="🌊 ", index=1, offset=3)
    start = await ann.next("stream_start", patience=LONG)
    again = await one.join("bot-7", session, roles=["agent"])
    started = await again.ask("stream_start", message_id="answer", client_id="a1")
    assert started["message_id"] == start["message_id"]
    assert (started["index"], started["offset"]) == (2, 5)
    # It repeats what it does not know to have arrived, and is told what comes next.
    error = await again.ask("stream_chunk", message_id="answer", content="안녕 ", index=0)
    assert (error["code"], error["message"]) == ("VALIDATION", "index: 2 comes next")
    error = await again.ask("stream_chunk", message_id="answer", content="안녕 ", offset=3)
    assert (error["code"], error["message"]) == ("VALIDATION", "offset: 5 comes next")
    await again.send("stream_chunk", message_id="answer", content="x", index=2, offset=5)
    # The one before says no more, and its end is not the answer's.
    error = await bot.ask("stream_chunk", message_id="answer", content="late", index=3)
    assert (error["code"], error["message"]) == ("CONFLICT", "Another connection goes on with it")
    await bot.close()
    await again.send("stream_chunk", message_id="answer", content="y", index=3, offset=6)
    await again.send("stream_end", message_id="answer")
    ann.waiting.insert(0, start)
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("안녕 🌊 xy", "complete")
    third = await one.join("bot-7", session, roles=["agent"])
    over = await third.ask("stream_start", message_id="answer", client_id="a1")
    assert over["message_id"] == start["message_id"] and "index" not in over
    error = await third.ask("stream_chunk", message_id="answer", content="z")
    assert (error["code"], error["message"]) == ("CONFLICT", "The run has ended")


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


async def test_nothing_said_is_refused(one: Chat) -> None:
    _, ann, bot = await two(one)
    run = (await bot.ask("stream_start"))["message_id"]
    assert (await bot.ask("stream_chunk", message_id=run, content=""))["code"] == "VALIDATION"
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
