"""Runs: one at a time or not, each once, bounded, made again, ended and abandoned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.postgres import Postgres
from tests.surfaces.agents.conftest import Program, TwoPrograms
from tests.surfaces.agents.sessions import LONG, Api, Chat, answer_of, words
from tests.surfaces.conftest import SHORT
from tests.surfaces.people import Frame, House, Socket, problem
from tests.valkey import Valkey


async def wait_for_end(api: Api, message_id: str) -> dict[str, Any]:
    """A run, once it is over."""
    async with api.stream("GET", f"/runs/{message_id}/stream") as events:
        await events.all()
    found: dict[str, Any] = (await api.get(f"/runs/{message_id}")).json()
    return found


async def test_a_second_question_waits_its_turn(program: Chat) -> None:
    session = await program.session()
    ann = await program.join("ann", session)
    texts = [words(15), words(8), "third"]
    for number, text in enumerate(texts):
        await ann.send("message", content=text, client_id=str(number))
    answers = [await answer_of(ann) for _ in texts]
    assert [answer[1] for answer in answers] == texts
    history = await program.rest("ann").messages(session)
    seqs = {message["id"]: message["seq"] for message in history}
    assert [seqs[answer[0]] for answer in answers] == sorted(seqs[a[0]] for a in answers)


async def test_a_second_question_beside_the_first(program: Chat) -> None:
    session = await program.session("ann", "forever", when_busy="parallel")
    ann, api = await program.join("ann", session), program.rest("ann")
    runs = []
    for question in ("first", "second"):
        await ann.send("message", content=question)
        start = await ann.next("stream_start", patience=LONG)
        runs.append(start["message_id"])
        await ann.next("stream_chunk", patience=LONG, message_id=runs[-1])
    for run in runs:
        assert (await api.get(f"/runs/{run}")).json()["status"] == "streaming"
    for run in reversed(runs):
        assert not [frame for frame in ann.waiting if frame["type"] == "stream_end"]
        await api.post(f"/runs/{run}/stop")
        end = await ann.next("stream_end", patience=LONG)
        assert (end["message_id"], end["status"]) == (run, "cancelled")


async def test_a_second_question_ends_the_first(program: Chat) -> None:
    session = await program.session("ann", "numbers", when_busy="cancel")
    ann = await program.join("ann", session)
    other = await program.join("ann", session)
    await ann.send("message", content="100000")
    first = await ann.next("stream_start", patience=LONG)
    await ann.next("stream_chunk", patience=LONG)
    await other.send("message", content="3")
    end = await ann.next("stream_end", patience=LONG)
    assert (end["message_id"], end["status"]) == (first["message_id"], "cancelled")
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("0 1 2 ", "complete")


async def test_a_repeat_asks_nobody_again(program: Chat) -> None:
    session = await program.session()
    ann = await program.join("ann", session)
    api = program.rest("ann")
    path = f"/sessions/{session}/messages"
    await ann.send("message", content="once", client_id="c1", id=1)
    first = await ann.next("message", patience=LONG)
    run, _, _ = await answer_of(ann)
    await ann.send("message", content="once", client_id="c1", id=2)
    again = await ann.next("message")
    assert (again["message_id"], again["reply_to"]) == (first["message_id"], 2)
    answer = await api.post(path, {"content": "once", "client_id": "c1"})
    assert (answer.status_code, answer.json()["message_id"]) == (200, first["message_id"])
    assert answer.json()["runs"] == [run]
    # Whoever asks for the stream again watches the first answer.
    async with api.stream(
        "POST", f"{path}/stream", {"content": "once"}, idempotency_key="c1"
    ) as events:
        told = [one for _, one in await events.all()]
    assert [one["type"] for one in told] == ["stream_start", "stream_chunk", "stream_end"]
    assert {one["message_id"] for one in told} == {run}
    # Many at once.
    asked = [api.post(path, {"content": "hi", "client_id": "c2"}) for _ in range(8)]
    answers = await asyncio.gather(*asked)
    assert len({answer.json()["message_id"] for answer in answers}) == 1
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    await answer_of(ann)
    history = await api.messages(session)
    assert [message["content"] for message in history] == ["once", "once", "hi", "hi"]


async def test_runs_at_once_are_limited_over_all_nodes(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> None:
    limits = {"runs_per_user": "3", "runs_per_org": "4", "rate_limit_enabled": "true"}
    cluster = TwoPrograms(
        tmp_path / "limited", postgres, valkey_session, **{**SHORT, **limits, "drain_seconds": "0"}
    )
    cluster.start()
    try:
        one, other = cluster.nodes
        async with House(one) as here, House(other, here.org) as there:
            nodes = [Chat(here), Chat(there)]
            apis = [chat.rest("ann") for chat in nodes]
            session = await nodes[0].session("ann", "forever", when_busy="parallel")
            path = f"/sessions/{session}/messages"
            runs = []
            for number, api in enumerate((apis[0], apis[1], apis[1])):
                answer = await api.post(path, {"content": str(number)})
                runs += answer.json()["runs"]
            for api in apis:
                answer = await api.post(path, {"content": "one more"})
                told = problem(answer, 429, "RATE_LIMIT", "Too many runs at once")
                assert told["retry_after"] == 1000 and answer.headers["retry-after"] == "1"
            assert len(await apis[0].messages(session)) == 6  # It was not sent either.
            bobs = await nodes[1].session("bob", "forever", when_busy="parallel")
            at = f"/sessions/{bobs}/messages"
            assert (await nodes[0].rest("bob").post(at, {"content": "x"})).is_success
            for chat in nodes:
                refused = await chat.rest("bob").post(at, {"content": "y"})
                problem(refused, 429, "RATE_LIMIT", "Too many runs at once")
            stopped = await apis[1].post(f"/runs/{runs[0]}/stop")
            assert stopped.json()["status"] == "cancelled"
            assert (await apis[1].post(path, {"content": "now"})).status_code == 201
            problem(await apis[0].post(path, {"content": "again"}), 429, "RATE_LIMIT")
    finally:
        cluster.stop()


async def test_headers_tell_what_is_left_and_too_many_is_told(
    open_chat: Callable[..., Chat],
) -> None:
    chat = open_chat(rate_limit_enabled="true", rate_limit_messages_per_minute="4")
    async with chat.house:
        api = chat.rest("ann")
        session = await chat.session("ann", "bot")
        for left in (3, 2, 1, 0):
            answer = await api.post(f"/sessions/{session}/messages", {"content": "x"})
            assert answer.status_code == 201
            assert answer.headers["ratelimit-policy"] == '"messages";q=4;w=60'
            assert answer.headers["ratelimit"].startswith(f'"messages";r={left};t=')
        answer = await api.post(f"/sessions/{session}/messages", {"content": "x"})
        told = problem(answer, 429, "RATE_LIMIT", "Too many messages")
        assert 0 < told["retry_after"] <= 15_000
        assert answer.headers["ratelimit"].startswith('"messages";r=0;t=')
        socket = await chat.join("ann", session)
        await socket.send("message", content="x")
        error = await socket.next("error")
        assert (error["code"], error["message"]) == ("RATE_LIMIT", "Too many messages")
        assert error["retry_after"] > 0


async def test_stopping_before_the_first_word_and_while_it_waits(program: Chat) -> None:
    session = await program.session("ann", "forever")
    api = program.rest("ann")
    ann = await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    (first,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    (second,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    (third,) = (await api.post(path, {"content": "silent"})).json()["runs"]
    assert (await api.get(f"/runs/{second}")).json()["status"] == "waiting"
    # From another device; on another node, where there is one.
    other = program.rest("ann")
    assert (await other.post(f"/runs/{second}/stop")).json()["status"] == "cancelled"
    assert (await other.post(f"/runs/{first}/stop")).json()["status"] == "cancelled"
    _, text, end = await answer_of(ann, first)
    assert (text, end["status"], end["tokens_used"]) == ("", "cancelled", 0)
    start = await ann.next("stream_start", patience=LONG)
    assert start["message_id"] == third
    assert (await other.post(f"/runs/{third}/stop")).json()["status"] == "cancelled"


ENDINGS = ["stop", "archive", "handover", "send out"]


async def end_all(api: Api, session: str, waiting: str, how: str) -> None:
    """End what waits, in one of the ways that there are."""
    match how:
        case "stop":
            answer = await api.post(f"/runs/{waiting}/stop")
        case "archive":
            answer = await api.delete(f"/sessions/{session}")
        case "handover":
            answer = await api.post(f"/sessions/{session}/handover", {"to": "bob"})
        case _:
            answer = await api.delete(f"/sessions/{session}/participants/agent:forever")
    assert answer.is_success, answer.text


@pytest.mark.parametrize("how", ENDINGS)
async def test_what_waits_and_is_ended_is_told_to_everybody(program: Chat, how: str) -> None:
    session = await program.session("ann", "forever", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    phone = await program.house.device("bob")
    api = program.rest("ann")
    path = f"/sessions/{session}/messages"
    await api.post(path, {"content": "x"})
    (waiting,) = (await api.post(path, {"content": "y", "client_id": "y"})).json()["runs"]
    async with (
        program.rest("ann").stream(
            "POST", f"{path}/stream", {"content": "y"}, idempotency_key="y"
        ) as asked,
        program.rest("bob").stream("GET", f"/runs/{waiting}/stream") as watched,
    ):
        await end_all(api, session, waiting, how)
        for events in (asked, watched):
            ((identity, end),) = await events.all()
            assert identity == f"{waiting}:0"
            assert (end["type"], end["status"], end["length"]) == ("stream_end", "cancelled", 0)
    for socket in (ann, bob):
        end = await socket.next("stream_end", patience=LONG, message_id=waiting)
        assert (end["status"], end["tokens_used"], end["length"]) == ("cancelled", 0, 0)
    ended = await phone.next("run.ended", patience=LONG, message_id=waiting)
    assert (ended["status"], ended["data"]) == ("cancelled", None)
    found = (await api.get(f"/runs/{waiting}")).json()
    assert (found["status"], found["tokens_used"]) == ("cancelled", 0)
    # Whoever comes back is told too, and whoever asks now.
    back = await program.join("ann", session, after=ann.connected["seq"])
    assert (await back.next("stream_end", message_id=waiting))["seq"] == end["seq"]
    async with program.rest("ann").stream("GET", f"/runs/{waiting}/stream") as events:
        ((_, again),) = await events.all()
    assert again["status"] == "cancelled"


async def test_stopping_what_waits_over_the_socket(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann, other = await program.join("ann", session), await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    runs = []
    for content in "xyz":
        runs += (await program.rest("ann").post(path, {"content": content})).json()["runs"]
    await ann.send("stop", message_id=runs[1])
    for socket in (ann, other):
        end = await socket.next("stream_end", patience=LONG, message_id=runs[1])
        assert end["status"] == "cancelled"
    told = await ann.ask("stop", message_id=runs[2])
    assert (told["type"], told["message_id"]) == ("stream_end", runs[2])
    assert (told["status"], told["length"]) == ("cancelled", 0)
    # One who asks gets the end as the reply, and once; it stands at its place in the log.
    (running,) = await ends_after(ann, runs[0])
    assert running["seq"] > told["seq"] and running["reply_to"]
    assert (await other.next("stream_end", patience=LONG, message_id=runs[2]))["seq"]


async def ends_after(socket: Socket, run: str) -> list[Frame]:
    """The ends that a device is told which asks to stop this run."""
    first = await socket.ask("stop", message_id=run)
    others = [frame for frame in await socket.so_far() if frame.get("message_id") == run]
    return [first, *(frame for frame in others if frame["type"] == "stream_end")]


async def test_what_waits_is_ended_by_the_next_question(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann = await program.join("ann", session)
    path = f"/sessions/{session}/messages"
    api = program.rest("ann")
    runs = []
    for content in "xy":
        runs += (await api.post(path, {"content": content})).json()["runs"]
    assert (await api.patch(f"/sessions/{session}", {"when_busy": "cancel"})).is_success
    (last,) = (await api.post(path, {"content": "z"})).json()["runs"]
    for run in runs:
        end = await ann.next("stream_end", patience=LONG, message_id=run)
        assert end["status"] == "cancelled"
    assert (await ann.next("stream_start", patience=LONG, message_id=last))["reply_to_id"]


async def test_an_answer_is_made_again_and_chosen(program: Chat) -> None:
    session = await program.session("ann", "historian")
    ann = await program.join("ann", session)
    api = program.rest("ann")
    await ann.send("message", content="one")
    first, text, _ = await answer_of(ann)
    assert text == "user:one"
    answer = await api.post(f"/runs/{first}/regenerate")
    assert answer.status_code == 201
    second = answer.json()["message_id"]
    start = await ann.next("stream_start", patience=LONG)
    assert (start["message_id"], start["alternative_of"]) == (second, first)
    ann.waiting.insert(0, start)
    assert (await answer_of(ann, second))[1] == "user:one"
    # Only the chosen one is told to the agent; the latest counts unless another was chosen.
    await ann.send("message", content="two")
    assert (await answer_of(ann))[1] == "user:one | assistant:user:one | user:two"
    told = await ann.ask("choose", message_id=first)
    assert (told["type"], told["message_id"]) == ("answer_chosen", first)
    assert (await api.post(f"/runs/{first}/choose")).is_success
    history = await api.messages(session)
    answers = [one for one in history if one["reply_to_id"] == history[0]["id"]]
    assert [one["id"] for one in answers] == [first, second]
    choices = (await api.get(f"/sessions/{session}")).json()["choices"]
    assert choices == {history[0]["id"]: first}
    assert answers[1]["metadata"]["alternative_of"] == first
    told = await ann.ask("regenerate", message_id=second)
    assert told["type"] == "regenerating"
    await answer_of(ann, told["message_id"])
    problem(await api.post(f"/runs/{history[0]['id']}/regenerate"), 404, "NOT_FOUND")


async def test_an_answer_that_is_deleted_leaves_its_place_to_the_other(program: Chat) -> None:
    session = await program.session("ann", "historian")
    ann, api = await program.join("ann", session), program.rest("ann")
    await ann.send("message", content="one")
    first, text, _ = await answer_of(ann)
    second = (await api.post(f"/runs/{first}/regenerate")).json()["message_id"]
    await answer_of(ann, second)
    deleted = await program.house.rest("ann").delete(f"/messages/{second}")
    assert deleted.is_success
    await ann.send("message", content="two")
    assert (await answer_of(ann))[1] == f"user:one | assistant:{text} | user:two"


async def test_an_answer_is_made_again_while_the_agent_is_busy(program: Chat) -> None:
    """It waits, and is another answer to its question all the same."""
    session = await program.session("ann", "forever")
    ann = await program.join("ann", session)
    api = program.rest("ann")
    path = f"/sessions/{session}/messages"
    asked = (await api.post(path, {"content": "x", "client_id": "x"})).json()
    question, (first,) = asked["message_id"], asked["runs"]
    await api.post(f"/runs/{first}/stop")
    (busy,) = (await api.post(path, {"content": "y"})).json()["runs"]
    again = (await api.post(f"/runs/{first}/regenerate")).json()
    assert again["status"] == "waiting"
    assert (await api.post(f"/runs/{busy}/stop")).json()["status"] == "cancelled"
    start = await ann.next("stream_start", patience=LONG, message_id=again["message_id"])
    assert (start["reply_to_id"], start["alternative_of"]) == (question, first)
    kept = (await api.messages(session))[-1]
    assert kept["metadata"]["alternative_of"] == first
    # Of another one the first is the first still.
    await api.post(f"/runs/{again['message_id']}/stop")
    third = (await api.post(f"/runs/{again['message_id']}/regenerate")).json()["message_id"]
    start = await ann.next("stream_start", patience=LONG, message_id=third)
    assert start["alternative_of"] == first
    # Whoever comes while it is written is told so, too.
    late = await program.join("ann", session)
    start = await late.next("stream_start", patience=LONG, message_id=third)
    assert start["alternative_of"] == first
    async with api.stream("GET", f"/runs/{third}/stream") as events:
        assert (await events.next())[1]["alternative_of"] == first
    # Whoever repeats the question watches what it asked for, and none of the others.
    async with api.stream(
        "POST", f"{path}/stream", {"content": "x"}, idempotency_key="x"
    ) as events:
        told = [one for _, one in await events.all()]
    assert {one["message_id"] for one in told} == {first}


async def test_a_repeat_of_making_again_asks_nobody_again(program: Chat) -> None:
    session = await program.session("ann", "historian", participant_ids=["bob"])
    ann, api = await program.join("ann", session), program.rest("ann")
    await ann.send("message", content="one")
    first, _, _ = await answer_of(ann)
    path = f"/runs/{first}/regenerate"
    made = await asyncio.gather(*(api.post(path, {"client_id": "r1"}) for _ in range(5)))
    assert sorted(answer.status_code for answer in made) == [200] * 4 + [201]
    (second,) = {answer.json()["message_id"] for answer in made}
    await answer_of(ann, second)
    by_key = await api.post(path, headers={"Idempotency-Key": "r1"})
    assert (by_key.status_code, by_key.json()["message_id"]) == (200, second)
    assert by_key.json()["status"] == "complete"
    told = await ann.ask("regenerate", message_id=first, client_id="r1")
    assert (told["type"], told["message_id"]) == ("regenerating", second)
    # Of another key, of another person, and without one.
    others = [
        (await api.post(path, {"client_id": "r2"})).json()["message_id"],
        (await program.rest("bob").post(path, {"client_id": "r1"})).json()["message_id"],
        (await api.post(path)).json()["message_id"],
        (await ann.ask("regenerate", message_id=first))["message_id"],
    ]
    assert len({first, second, *others}) == 6
    for other in others:
        await answer_of(ann, other)
    assert len(await api.messages(session)) == 7


async def test_a_deleted_answer_ends_and_nothing_of_it_stays(program: Chat) -> None:
    session = await program.session("ann", "numbers")
    ann = await program.join("ann", session)
    await ann.send("message", content="100000")
    start = await ann.next("stream_start", patience=LONG)
    await ann.next("stream_chunk", patience=LONG)
    run = start["message_id"]
    deleted = await program.house.rest("ann").delete(f"/messages/{run}")
    assert deleted.is_success
    await ann.next("message_deleted", patience=LONG)
    end = await ann.next("stream_end", patience=LONG)
    assert (end["status"], end["length"]) == ("cancelled", 0)
    (_, kept) = await program.rest("ann").messages(session)
    assert (kept["content"], kept["metadata"]) == ("", {})
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        told = [one for _, one in await events.all()]
    assert "stream_chunk" not in [one["type"] for one in told]


async def test_archiving_stops_what_runs(program: Chat) -> None:
    session = await program.session("ann", "forever")
    ann = await program.join("ann", session)
    await ann.send("message", content="x")
    await ann.send("message", content="y")
    await ann.next("stream_chunk", patience=LONG)
    await program.rest("ann").delete(f"/sessions/{session}")
    end = await ann.next("stream_end", patience=LONG)
    assert end["status"] == "cancelled"
    listed = await program.rest("ann").messages(session)
    assert len(listed) == 3  # What waited never began.


async def test_what_breaks_is_told_without_the_inside(program: Chat) -> None:
    session = await program.session("ann", "broken")
    ann = await program.join("ann", session)
    for question, error in (
        ("public", "The printer is on fire"),
        ("secret", "The agent failed"),
        ("wrong", "The agent failed"),
    ):
        await ann.send("message", content=question)
        _, text, end = await answer_of(ann)
        assert (text, end["status"], end["error"]) == ("so far so good", "failed", error)
    flood = await program.session("ann", "flood")
    socket = await program.join("ann", flood)
    await socket.send("message", content="go")
    _, text, end = await answer_of(socket)
    assert (end["status"], end["error"]) == ("failed", "The answer is too long")
    assert text == ("flood 🌊 " * 10_000)[:50_000]
    halves = await program.session("ann", "halves")
    socket = await program.join("ann", halves)
    await socket.send("message", content="go")
    _, text, end = await answer_of(socket)
    assert (text, end["status"]) == ("a🌊b\ufffdc\ufffd d\ufffd", "complete")
    kept = (await program.rest("ann").messages(halves))[-1]["content"]
    assert kept == text


async def test_a_killed_node_leaves_what_was_checked(
    make_program: Callable[..., Program],
) -> None:
    """kill -9 in the middle: the answer ends as interrupted, with its text, and what waited for it
    begins."""
    server = make_program()
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "numbers")
        ann = await chat.join("ann", session)
        await ann.send("message", content="100000")
        start = await ann.next("stream_start", patience=LONG)
        await ann.send("message", content="2", id=1)
        second = (await ann.next("message", reply_to=1))["message_id"]
        text = ""
        run = start["message_id"]
        # Until some of it must be on disk, by what the history says.
        while not (await chat.rest("ann").messages(session))[1]["content"]:
            pass
        while len(text) < 100:
            text += (await ann.next("stream_chunk", patience=LONG))["content"]
        server.kill()
        server.restart()
        back = await chat.join("ann", session, after=start["seq"])
        end = await back.next("stream_end", patience=LONG, message_id=run)
        assert end["status"] == "interrupted"
        listed = await chat.rest("ann").messages(session)
        kept = next(one for one in listed if one["id"] == run)
        assert kept["metadata"]["status"] == "interrupted"
        whole = "".join(f"{number} " for number in range(100_000))
        assert kept["content"] and whole.startswith(kept["content"])
        assert end["length"] == len(kept["content"])
        start = await back.next("stream_start", patience=LONG, reply_to_id=second)
        back.waiting.insert(0, start)
        _, text, end = await answer_of(back, start["message_id"])
        assert (text, end["status"]) == ("0 1 ", "complete")


async def test_a_stopped_server_keeps_all_that_was_said_and_begins_what_waits(
    make_program: Callable[..., Program],
) -> None:
    """What is being said ends with all of it; what waits behind it loses nothing."""
    server = make_program(drain_seconds="0.5")
    async with House(server) as house:
        chat = Chat(house)
        session = await chat.session("ann", "numbers")
        ann = await chat.join("ann", session)
        for content in ("100000", "2", "3"):
            await ann.ask("message", content=content)
        text = ""
        while len(text) < 50:
            text += (await ann.next("stream_chunk", patience=LONG))["content"]
        assert server.terminate() == 0
        with suppress(ConnectionClosed):
            while True:
                ann.waiting.append(await ann.receive())
        text += "".join(one["content"] for one in ann.waiting if one["type"] == "stream_chunk")
        server.restart()
        back = await chat.join("ann", session)
        for _ in range(2):
            end = await back.next("stream_end", patience=LONG)
            assert end["status"] == "complete"
        history = await chat.rest("ann").messages(session)
        first, *others = [one for one in history if one["kind"] == "agent_message"]
        assert first["metadata"]["status"] == "interrupted"
        assert first["content"].startswith(text)
        assert [one["content"] for one in others] == ["0 1 ", "0 1 2 "]


async def test_a_killed_node_among_two_is_noticed_by_the_other(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> None:
    """Whoever watches on the other node is told the end, and the next answer is that node's."""
    cluster = TwoPrograms(tmp_path / "killed", postgres, valkey_session, **SHORT)
    cluster.start()
    try:
        one, other = cluster.nodes
        async with House(one) as here, House(other, here.org) as there:
            chat, beside = Chat(here), Chat(there)
            session = await chat.session("ann", "numbers")
            viewer = await beside.join("ann", session)
            asked = await chat.rest("ann").post(
                f"/sessions/{session}/messages", {"content": "100000"}
            )
            (run,) = asked.json()["runs"]
            text, begun = "", time.monotonic()
            while len(text) < 5000:
                chunk = await viewer.next("stream_chunk", patience=LONG)
                assert chunk["offset"] == len(text)
                text += chunk["content"]
            one.kill()
            lasted = time.monotonic() - begun
            end = await viewer.next("stream_end", patience=2 * LONG, message_id=run)
            assert end["status"] == "interrupted"
            text += "".join(
                frame["content"] for frame in viewer.waiting if frame["type"] == "stream_chunk"
            )
            kept = (await beside.rest("ann").messages(session))[-1]
            assert "".join(f"{n} " for n in range(100_000)).startswith(kept["content"])
            # Who watched has not seen more than is kept.
            assert kept["content"] == text and end["length"] == len(text)
            assert end["tokens_used"] > 500
            assert end["latency_ms"] < 1_000 * (lasted + 1)
            await viewer.send("message", content="3")
            start = await viewer.next("stream_start", patience=LONG)
            while start["message_id"] == run:
                start = await viewer.next("stream_start", patience=LONG)
            viewer.waiting.insert(0, start)
            assert (await answer_of(viewer, start["message_id"]))[1] == "0 1 2 "
    finally:
        cluster.stop()


async def test_what_waits_is_begun_by_another_node(
    tmp_path: Path, postgres: Postgres, valkey_session: Valkey
) -> None:
    cluster = TwoPrograms(
        tmp_path / "stopped", postgres, valkey_session, **SHORT, drain_seconds="0.5"
    )
    cluster.start()
    try:
        one, other = cluster.nodes
        async with House(one) as here, House(other, here.org) as there:
            chat, beside = Chat(here), Chat(there)
            session = await chat.session("ann", "numbers")
            viewer = await beside.join("ann", session)
            api = chat.rest("ann")
            runs = []
            for content in ("100000", "1000"):
                path = f"/sessions/{session}/messages"
                runs += (await api.post(path, {"content": content})).json()["runs"]
            await viewer.next("stream_chunk", patience=LONG)
            assert one.terminate() == 0
            end = await viewer.next("stream_end", patience=LONG, message_id=runs[0])
            assert end["status"] == "interrupted"
            _, text, end = await answer_of(viewer, runs[1])
            assert text == "".join(f"{number} " for number in range(1000))
            assert end["status"] == "complete"
    finally:
        cluster.stop()


async def test_what_an_agent_nests_too_deep_harms_no_history(program: Chat) -> None:
    session = await program.session("ann", "deep")
    ann = await program.join("ann", session)
    await ann.send("message", content="step")
    _, text, _ = await answer_of(ann)
    assert text == "That was deep."
    await ann.send("message", content="ask")
    asked = await ann.next("approval_request", patience=LONG)
    assert str(asked["details"]["how"]).count("[") == 30
    history = await program.rest("ann").messages(session)
    assert str(history[1]["metadata"]["steps"][0]["input"]).count("[") == 31
    found = await program.rest("ann").get("/search", q="deep")
    assert found.status_code == 200, found.text


async def test_an_answer_beyond_the_output_limit_is_read_to_its_end(
    make_program: Callable[..., Program],
) -> None:
    async with House(make_program(output_limit_bytes=str(64 * 1024))) as house:
        chat = Chat(house)
        session = await chat.session("ann")
        question = "\x01" * 20_000  # Six bytes each, as JSON.
        api = chat.rest("ann")
        sent = await api.post(f"/sessions/{session}/messages", {"content": question})
        (run,) = sent.json()["runs"]
        async with asyncio.timeout(LONG):
            while (await api.get(f"/runs/{run}")).json()["status"] == "streaming":
                pass
        for place in ({}, {"Last_Event_ID": f"{run}:-1"}):
            async with api.stream("GET", f"/runs/{run}/stream", **place) as events:
                told = await events.all()
            assert "".join(one.get("content", "") for _, one in told) == question
            assert told[-1][1]["type"] == "stream_end"
