"""The way of an answer: asked, streamed, ended; watched late, again, and from elsewhere."""

from __future__ import annotations

import asyncio
import json

import httpx

from tests.surfaces.agents.sessions import LONG, Chat, answer_of, words
from tests.surfaces.people import PATIENCE, Frame, problem

LATE = words(30)
"""What an answer says that takes so long that another one waits for it."""


async def test_a_message_is_answered_over_the_socket(chat: Chat) -> None:
    session = await chat.session()
    ann = await chat.join("ann", session)
    await ann.send("message", content="Hello there, 안녕", client_id="c1", id=7)
    mine = await ann.next("message")
    assert (mine["sender_type"], mine["sender_id"], mine["content"]) == (
        "user",
        "ann",
        "Hello there, 안녕",
    )
    assert mine["reply_to"] == 7
    message_id, text, end = await answer_of(ann)
    assert text == "Hello there, 안녕"
    assert (end["status"], end["tokens_used"], end["length"]) == ("complete", 3, len(text))
    assert end["latency_ms"] >= 0
    question, answer = (await chat.rest("ann").messages(session))[-2:]
    assert (question["id"], question["kind"]) == (mine["message_id"], "user_message")
    assert (answer["id"], answer["content"], answer["kind"]) == (message_id, text, "agent_message")
    assert answer["reply_to_id"] == mine["message_id"]
    assert (answer["sender_type"], answer["message_type"]) == ("agent", "stream")
    assert answer["metadata"]["tokens_used"] == 3
    assert answer["metadata"]["latency_ms"] == end["latency_ms"]
    assert answer["metadata"]["status"] == "complete"


async def test_every_device_of_everybody_watches_the_same(chat: Chat) -> None:
    session = await chat.session(participant_ids=["bob"])
    devices = [await chat.join(user, session) for user in ("ann", "ann", "bob", "bob")]
    text = words(40)
    await devices[0].send("message", content=text)
    answers = await asyncio.gather(*map(answer_of, devices))
    assert {answer[1] for answer in answers} == {text}
    assert len({answer[0] for answer in answers}) == 1


async def test_who_comes_late_gets_the_text_so_far_and_the_rest(chat: Chat) -> None:
    session = await chat.session("ann", "bot-7")
    ann = await chat.join("ann", session)
    bot = await chat.join("bot-7", session, roles=["agent"])
    said = words(60)
    text, third = "", len(said) // 3
    await bot.send("stream_start", message_id="a")
    await bot.send("stream_chunk", message_id="a", content=said[:third])
    while len(text) < third:
        text += (await ann.next("stream_chunk", patience=LONG))["content"]
    late = [await chat.join("ann", session) for _ in range(4)]
    for at in range(third, len(said), 10):
        await bot.send("stream_chunk", message_id="a", content=said[at : at + 10])
    await bot.send("stream_end", message_id="a")
    for socket in late:
        assert (await answer_of(socket))[1] == said
    assert not [f for f in late[0].waiting if f["type"].startswith("stream")]


async def test_an_answer_over_events(chat: Chat) -> None:
    session = await chat.session()
    text = words(20)
    async with chat.rest("ann").stream(
        "POST", f"/sessions/{session}/messages/stream", {"content": text, "stream": True}
    ) as events:
        told = await events.all()
    (first_id, start), *chunks, (last_id, end) = told
    message_id = start["message_id"]
    assert (start["type"], first_id) == ("stream_start", f"{message_id}:-1")
    assert [one["type"] for _, one in chunks] == ["stream_chunk"] * len(chunks)
    assert [identity for identity, _ in chunks] == [
        f"{message_id}:{one['index']}" for _, one in chunks
    ]
    assert [one["index"] for _, one in chunks] == sorted({one["index"] for _, one in chunks})
    assert "".join(one["content"] for _, one in chunks) == text
    assert (end["type"], end["status"], end["tokens_used"]) == ("stream_end", "complete", 20)
    assert last_id == f"{message_id}:{chunks[-1][1]['index'] + 1}"


async def test_events_go_on_after_the_last_one_while_it_runs_and_when_it_is_done(
    chat: Chat,
) -> None:
    session = await chat.session()
    api = chat.rest("ann")
    text = words(60)
    had, last = "", ""
    async with api.stream(
        "POST", f"/sessions/{session}/messages/stream", {"content": text}
    ) as events:
        while len(had) < len(text) // 4:
            identity, told = await events.next()
            last = identity or last
            had += told.get("content", "")
    run = last.partition(":")[0]
    path = f"/runs/{run}/stream"
    # Twice: while it is under way, each time from where it was left.
    for part in (2, 4):
        async with chat.rest("ann").stream("GET", path, last_event_id=last) as events:
            while len(had) < len(text) * part // 5:
                identity, told = await events.next()
                last = identity or last
                assert told["type"] == "stream_chunk"
                had += told["content"]
    async with chat.rest("ann").stream("GET", path, last_event_id=last) as events:
        for identity, told in await events.all():
            had += told.get("content", "")
            if told["type"] == "stream_chunk":
                last = identity or last
    assert had == text
    # It is over: from the start, from the middle, and after everything.
    async with chat.rest("ann").stream("GET", path) as events:
        whole = [told for _, told in await events.all()]
    assert [told["type"] for told in whole] == ["stream_start", "stream_chunk", "stream_end"]
    assert whole[1]["content"] == text
    async with chat.rest("ann").stream("GET", path, last_event_id=f"{run}:0") as events:
        rest = [told for _, told in await events.all()]
    assert text.endswith(rest[0]["content"]) and len(rest[0]["content"]) < len(text)
    assert rest[0]["offset"] + len(rest[0]["content"]) == len(text)
    async with chat.rest("ann").stream("GET", path, last_event_id=last) as events:
        assert [told["type"] for _, told in await events.all()] == ["stream_end"]


async def test_events_of_several_answers_go_on_each_from_its_own_place(program: Chat) -> None:
    session = await program.session("ann", "echo")
    api = program.rest("ann")
    let_in = {"agent_ids": ["historian"]}
    assert (await api.post(f"/sessions/{session}/participants", let_in)).is_success
    path = f"/sessions/{session}/messages/stream"
    text = "@echo @historian " + words(20)
    whole: dict[str, str] = {}
    had: dict[str, list[tuple[str, str]]] = {}
    async with api.stream("POST", path, {"content": text, "client_id": "c"}) as events:
        for identity, told in await events.all():
            assert identity is not None
            run = identity.partition(":")[0]
            whole[run] = whole.get(run, "") + told.get("content", "")
            if told["type"] == "stream_chunk":
                had.setdefault(run, []).append((identity, whole[run]))
    assert sorted(whole.values()) == sorted((text, f"user:{text}"))
    for run, chunks in had.items():
        # The last that it had was the first chunk of this run: the other one begins anew.
        place, begun = chunks[0]
        async with api.stream(
            "POST", path, {"content": text, "client_id": "c"}, last_event_id=place
        ) as events:
            again = [told for _, told in await events.all()]
        assert [one["message_id"] for one in again if one["type"] == "stream_start"] == [
            other for other in whole if other != run
        ]
        for other in whole:
            rest = "".join(one.get("content", "") for one in again if one["message_id"] == other)
            assert rest == (whole[other][len(begun) :] if other == run else whole[other])
    (question, *_) = await api.messages(session)
    for wrong in (f"{question['id']}:0", "x"):
        answer = await api.post(
            f"/sessions/{session}/messages/stream",
            {"content": text, "client_id": "c"},
            headers={"Last-Event-ID": wrong},
        )
        problem(answer, 422, "VALIDATION")
    # Where the message is new, it does not matter where its sender was before.
    async with api.stream(
        "POST", path, {"content": "new", "client_id": "n"}, last_event_id=f"{question['id']}:0"
    ) as events:
        new = [one.get("content", "") for _, one in await events.all()]
    assert "".join(new) == "new"
    answer = await api.post(path, {"content": "not sent"}, headers={"Last-Event-ID": "x"})
    problem(answer, 422, "VALIDATION", "Last-Event-ID: not one that was given out")
    assert "not sent" not in [message["content"] for message in await api.messages(session)]


async def test_stopping_keeps_the_text(chat: Chat) -> None:
    session = await chat.session()
    ann = await chat.join("ann", session)
    other = await chat.join("ann", session)
    text = words(2000)
    await ann.send("message", content=text)
    start = await other.next("stream_start", patience=LONG)
    await other.next("stream_chunk", patience=LONG)
    answer = await chat.rest("ann").post(f"/runs/{start['message_id']}/stop")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    _, said, end = await answer_of(ann)
    assert end["status"] == "cancelled"
    assert text.startswith(said) and 0 < len(said) < len(text)
    kept = (await chat.rest("ann").messages(session))[-1]
    assert (kept["content"], kept["metadata"]["status"]) == (said, "cancelled")
    assert end["length"] == len(said)
    # Stopping what has ended changes nothing; the socket says so too.
    again = await chat.rest("ann").post(f"/runs/{start['message_id']}/stop")
    assert again.json()["status"] == "cancelled"
    told = await other.ask("stop", message_id=start["message_id"])
    assert {**end, "reply_to": told["reply_to"]} == told


async def test_an_end_is_told_late_as_it_was_told(chat: Chat) -> None:
    """With its place in the log: over events, and to a socket that comes back. Also that of an
    answer that waited for its turn, and never began."""
    session = await chat.session("ann", "bot-7")
    api, path = chat.rest("ann"), f"/sessions/{session}"
    assert (await api.post(f"{path}/participants", {"agent_ids": ["echo"]})).is_success
    ann = await chat.join("ann", session)
    since = (await ann.ask("message", content="@bob and I", client_id="c"))["seq"]
    async with api.stream("POST", f"{path}/messages/stream", {"content": f"@echo {LATE}"}) as live:
        ends = [(await live.all())[-1][1]]
    runs = [
        (await api.post(f"{path}/messages", {"content": f"@echo {LATE}"})).json()["runs"][0]
        for _ in range(4)
    ]
    waits = runs[-1]
    await api.post(f"/runs/{waits}/stop")
    ends += [await ann.next("stream_end", patience=LONG, message_id=run) for run in runs]
    assert ends[-1]["length"] == 0
    again = await chat.join("ann", session, after=since)
    for end in ends:
        assert {"seq", "cursor", "timestamp"} <= end.keys()
        run = end["message_id"]
        async with chat.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
            assert (await events.all())[-1][1] == end
        assert await again.next("stream_end", patience=LONG, message_id=run) == end


async def test_places_of_other_runs_and_none(chat: Chat) -> None:
    session = await chat.session()
    ann = await chat.join("ann", session)
    runs = []
    for text in ("one", "two"):
        await ann.send("message", content=text)
        runs.append((await answer_of(ann))[0])
    api = chat.rest("ann")

    async def at(place: str, run: str = runs[0]) -> httpx.Response:
        return await api.call("GET", f"/runs/{run}/stream", headers={"Last-Event-ID": place})

    other = f"{runs[1]}:0"
    problem(await at(other), 422, "VALIDATION", "Last-Event-ID: not of this run")
    wrong = ("x", ":0", runs[0], f"{runs[0]}:x", f"{runs[0]}:-2", f"{runs[0]}:1e3", "1:2:3")
    for place in (*wrong, f"{runs[0]}:{2**40}"):
        problem(await at(place), 422, "VALIDATION")
    for place in ("", f"{runs[0]}:99", f"{runs[0].upper()}:-1"):
        assert (await at(place)).status_code == 200
    assert b"stream_chunk" not in (await at(f"{runs[0]}:99")).content
    # Who has had the end is not asked to come again: a browser would, for ever.
    async with api.stream("GET", f"/runs/{runs[0]}/stream") as events:
        ids = [identity for identity, _ in await events.all()]
    done = await at(str(ids[-1]))
    assert (done.status_code, done.content) == (204, b"")
    assert b"stream_end" in (await at(str(ids[-2]))).content


async def test_a_line_of_an_event_ends_where_everybody_takes_it_to_end(chat: Chat) -> None:
    session = await chat.session()
    api, text = chat.rest("ann"), "one\u2028two\u2029 three\x85 안녕 \\u2028"
    asked = await api.post(
        f"/sessions/{session}/messages/stream", {"content": text, "client_id": "c"}
    )
    told = [json.loads(line[5:]) for line in asked.text.splitlines() if line.startswith("data:")]
    assert "".join(frame.get("content", "") for frame in told) == text
    # Without a stream it is answered as one that is only sent; here, the repeat of the first.
    body = {"content": text, "client_id": "c", "stream": False}
    again = await api.post(f"/sessions/{session}/messages/stream", body)
    assert (again.status_code, again.json()["runs"]) == (200, [told[0]["message_id"]])


async def test_ids_of_digits_are_texts_here(chat: Chat) -> None:
    session = await chat.session("1002", participant_ids=[7])
    user = await chat.join("1002", session)
    await user.send("message", content="hi", message_type="user_message")
    assert (await user.next("message"))["sender_id"] == "1002"
    await answer_of(user)
    api = chat.rest("7")
    (first, _) = await api.messages(session)
    assert (first["sender_id"], first["message_type"]) == ("1002", "text")
    seen = (await api.get(f"/sessions/{session}")).json()
    assert (seen["user_id"], seen["participants"][0]["user_id"]) == ("1002", "1002")
    found: list[Frame] = []
    async with asyncio.timeout(PATIENCE):
        while not found:
            found = (await api.get("/search", q="hi", session_id=session)).json()["results"]
    assert {one["sender_id"] for one in found} <= {"1002", "agent:echo"}
    eve = chat.rest("eve")
    problem(await eve.get("/search", q="hi", session_id=session), 404, "NOT_FOUND")


async def test_coming_back_to_the_socket_misses_nothing(chat: Chat) -> None:
    """`after` says what was had: everything since, an answer that ended meanwhile whole, and one
    that is under way as far as it is."""
    session = await chat.session("ann", participant_ids=["bob"])
    ann, bob = await chat.join("ann", session), await chat.join("bob", session)
    await ann.send("message", content="one")
    _, _, end = await answer_of(ann)
    await ann.close()
    await bob.send("message", content="two 안녕")
    question = (await bob.next("message", content="two 안녕"))["message_id"]
    start = await bob.next("stream_start", patience=LONG, reply_to_id=question)
    run = start["message_id"]
    bob.waiting.insert(0, start)
    await answer_of(bob, run)
    text = words(40)
    await bob.send("message", content=text)
    question = (await bob.next("message", content=text))["message_id"]
    under_way = await bob.next("stream_start", patience=LONG, reply_to_id=question)
    await bob.next("stream_chunk", patience=LONG, message_id=under_way["message_id"])
    back = await chat.join("ann", session, after=end["seq"])
    assert back.connected["recovered"] is True
    frame = await back.next("message", content="two 안녕")
    assert frame["seq"] > end["seq"]
    start = await back.next("stream_start", message_id=run)
    back.waiting.insert(0, start)
    assert (await answer_of(back, run))[1] == "two 안녕"
    start = await back.next("stream_start", patience=LONG, message_id=under_way["message_id"])
    back.waiting.insert(0, start)
    assert (await answer_of(back, under_way["message_id"]))[1] == text
    ahead = await chat.join("ann", session, after=10_000)
    assert ahead.connected["recovered"] is False
