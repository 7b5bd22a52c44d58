"""Runs: one at a time or not, each once, made again, and whatever the agent says."""

from __future__ import annotations

import asyncio

from tests.surfaces.agents.sessions import LONG, Chat, answer_of, words
from tests.surfaces.people import problem


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
    question = (await api.messages(session))[0]["id"]
    assert (await api.get(f"/sessions/{session}")).json()["choices"] == {question: second}
    deleted = await program.house.rest("ann").delete(f"/messages/{second}")
    assert deleted.is_success
    assert (await api.get(f"/sessions/{session}")).json()["choices"] == {}
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
