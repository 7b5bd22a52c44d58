"""People and agents in one session: who is meant, who has taken over, who is asked."""

from __future__ import annotations

from tests.surfaces.agents.sessions import LONG, Chat, answer_of
from tests.surfaces.people import Frame, Socket, problem


async def test_who_is_mentioned_answers(program: Chat) -> None:
    session = await program.session("ann", "echo", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    api = program.rest("ann")
    let_in = await api.post(f"/sessions/{session}/participants", {"agent_ids": ["historian"]})
    assert {one["user_id"] for one in let_in.json()["participants"]} == {
        "ann",
        "bob",
        "agent:echo",
        "agent:historian",
    }
    assert (await bob.next("system", event="participant_joined"))["user_id"] == "agent:historian"
    await ann.send("message", content="hello all")
    _, text, _ = await answer_of(bob)
    assert text == "hello all"  # Nobody was mentioned: the session's own agent.
    await bob.send("message", content="@historian, what was said?")
    start = await ann.next("stream_start", patience=LONG, agent_id="historian")
    ann.waiting.insert(0, start)
    _, text, _ = await answer_of(ann, start["message_id"])
    assert text == "user:hello all | user:hello all | user:@historian, what was said?"
    # Both at once; each once, whoever is named twice.
    await bob.send("message", content="@echo @historian @echo @nobody")
    asked = (await bob.next("message", content="@echo @historian @echo @nobody"))["message_id"]
    starts = [await bob.next("stream_start", patience=LONG, reply_to_id=asked) for _ in range(2)]
    assert {one["agent_id"] for one in starts} == {"echo", "historian"}
    # A person is meant: no agent answers. Nor does one answer another.
    answer = await api.post(f"/sessions/{session}/messages", {"content": "@bob, and you?"})
    assert answer.json()["runs"] == []
    changed = await api.patch(f"/sessions/{session}", {"answers": "mentioned"})
    assert changed.json()["answers"] == "mentioned"
    answer = await api.post(f"/sessions/{session}/messages", {"content": "between us"})
    assert answer.json()["runs"] == []
    async with api.stream(
        "POST", f"/sessions/{session}/messages/stream", {"content": "and so"}
    ) as events:
        assert [one["type"] for _, one in await events.all()] == ["message_sent"]
    answer = await api.post(f"/sessions/{session}/messages", {"content": "hey @echo!"})
    assert len(answer.json()["runs"]) == 1


async def test_coming_and_going_is_told_to_the_others(chat: Chat) -> None:
    session = await chat.session("ann", participant_ids=["bob"])
    ann = await chat.join("ann", session)
    bob = await chat.join("bob", session)
    joined = await ann.next("system", event="user_joined")
    assert (joined["user_id"], joined["timestamp"][-1]) == ("bob", "Z")
    await bob.send("typing", is_typing=True)
    assert (await ann.next("typing"))["is_typing"] is True
    assert (await ann.next("typing", is_typing=False))["user_id"] == "bob"  # By itself.
    assert not [frame for frame in await bob.so_far() if frame["type"] == "typing"]
    await bob.close()
    assert (await ann.next("system", event="user_left"))["user_id"] == "bob"


async def test_coming_and_going_is_told_once_for_all_devices_on_all_nodes(chat: Chat) -> None:
    session = await chat.session("ann", participant_ids=["bob"])
    watchers = [await chat.join("ann", session) for _ in range(2)]
    devices = [await chat.join("bob", session) for _ in range(4)]
    for device in devices[:3]:
        await device.close()
    # Told in order: whatever else would have been told before this is there by then.
    await devices[3].send("message", content="still here")
    for watcher in watchers:
        await watcher.next("message", content="still here", patience=LONG)
    await devices[3].close()
    for watcher in watchers:
        await watcher.next("system", event="user_left", patience=LONG)
        coming = [one for one in await watcher.so_far() if one.get("user_id") == "bob"]
        assert [one["event"] for one in coming if one["type"] == "system"] == ["user_joined"]
    # Who comes back has come again.
    await chat.join("bob", session)
    for watcher in watchers:
        await watcher.next("system", event="user_joined", patience=LONG)


async def test_who_is_sent_out_hears_no_more(program: Chat) -> None:
    session = await program.session("ann", "numbers", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    api = program.rest("ann")
    await ann.send("message", content="100000")
    start = await bob.next("stream_start", patience=LONG)
    run = start["message_id"]
    async with program.rest("bob").stream("GET", f"/runs/{run}/stream") as events:
        await events.next()
        answer = await api.delete(f"/sessions/{session}/participants/bob")
        assert answer.is_success
        told = [one for _, one in await events.all()]
        assert "stream_end" not in [one["type"] for one in told]
    code, _ = await bob.closed()
    assert code == 4009
    problem(await program.rest("bob").get(f"/runs/{run}/stream"), 404, "NOT_FOUND")
    # The agent itself is sent out: what it says ends.
    left = await api.delete(f"/sessions/{session}/participants/agent:numbers")
    assert left.is_success, left.text
    end = await ann.next("stream_end", patience=LONG)
    assert end["status"] == "cancelled"
    answer = await api.post(f"/sessions/{session}/messages", {"content": "there?"})
    assert answer.json()["runs"] == []
    problem(await api.delete(f"/sessions/{session}/participants/ann"), 409, "CONFLICT")


async def test_a_person_takes_over_and_gives_back(program: Chat) -> None:
    session = await program.session("ann", "numbers", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    api = program.rest("ann")
    await ann.send("message", content="100000")
    await ann.next("stream_chunk", patience=LONG)
    told = await bob.ask("handover", to="bob", note="let me")
    assert told.items() >= {"to": "bob", "by": "bob", "note": "let me"}.items()
    heard = await ann.next("handover", patience=LONG)
    assert heard["to"] == "bob" and heard["seq"] > 1
    end = await ann.next("stream_end", patience=LONG)
    assert end["status"] == "cancelled"
    assert (await api.get(f"/sessions/{session}")).json()["handler"] == "bob"
    answer = await api.post(f"/sessions/{session}/messages", {"content": "5"})
    assert answer.json()["runs"] == []
    assert (await bob.ask("handover", to="bob"))["to"] == "bob"  # It is so already.
    back = await api.post(f"/sessions/{session}/handover", {"to": None})
    assert back.json()["handler"] is None
    answer = await api.post(f"/sessions/{session}/messages", {"content": "2"})
    (run,) = answer.json()["runs"]
    start = await ann.next("stream_start", patience=LONG, message_id=run)
    ann.waiting.insert(0, start)
    assert (await answer_of(ann, run))[1] == "0 1 "
    problem(await api.post(f"/sessions/{session}/handover", {"to": "eve"}), 404, "NOT_FOUND")


async def test_an_agent_gives_up(program: Chat) -> None:
    session = await program.session("ann", "clerk")
    ann = await program.join("ann", session)
    await ann.send("message", content="help")
    _, text, end = await answer_of(ann)
    assert (text, end["status"]) == ("A person will help you.", "complete")
    told = await ann.next("handover", patience=LONG)
    assert told.items() >= {"to": "*", "by": "agent:clerk", "note": "too hard"}.items()
    answer = await program.rest("ann").post(
        f"/sessions/{session}/messages", {"content": "anybody?"}
    )
    assert answer.json()["runs"] == []


async def test_a_run_asks_and_goes_on_with_the_answer(program: Chat) -> None:
    session = await program.session("ann", "careful", participant_ids=["bob"])
    ann, bob = await program.join("ann", session), await program.join("bob", session)
    await ann.send("message", content="clean up")
    asked = await bob.next("approval_request", patience=LONG)
    assert (
        asked.items()
        >= {
            "agent_id": "careful",
            "question": "Delete everything?",
            "options": ["approve", "deny", "later"],
            "details": {"files": 3},
        }.items()
    )
    run, request = asked["message_id"], asked["request_id"]
    # Whoever comes now is told what is asked, by the stream.
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        told = [(await events.next())[1] for _ in range(3)]
        assert [one["type"] for one in told] == [
            "stream_start",
            "stream_chunk",
            "approval_request",
        ]
    wrong = await bob.ask("approval_answer", message_id=run, request_id=request, answer="perhaps")
    assert wrong["code"] == "VALIDATION"
    wrong = await bob.ask("approval_answer", message_id=run, request_id="x", answer="deny")
    assert (wrong["code"], wrong["message"]) == ("NOT_FOUND", "Approval not found")
    path = f"/runs/{run}/approvals/{request}"
    problem(await program.rest("eve").post(path, {"answer": "approve"}), 404, "NOT_FOUND")
    answer = await program.rest("bob").post(path, {"answer": "approve", "note": "go on"})
    assert answer.is_success
    told_so = await ann.next("approval_answer", patience=LONG)
    assert told_so.items() >= {"answer": "approve", "user_id": "bob", "note": "go on"}.items()
    ann.waiting.sort(key=lambda frame: not frame["type"].startswith("stream"))
    _, text, end = await answer_of(ann)
    assert text == "May I? bob says approve (go on)"
    assert end["status"] == "complete"
    problem(await program.rest("ann").post(path, {"answer": "deny"}), 409, "CONFLICT")
    assert (await program.rest("bob").post(path, {"answer": "approve", "note": "x"})).is_success
    kept = (await program.rest("ann").messages(session))[-1]["metadata"]["approvals"][request]
    assert (kept["answer"], kept["by"]) == ("approve", "bob")
    # Characters of the answer that stood before it.
    assert kept["at"] == len("May I? ")


async def test_thinking_and_tools_are_told_beside_the_text(program: Chat) -> None:
    session = await program.session("ann", "thinker")
    ann = await program.join("ann", session)
    await ann.send("message", content="life")
    run, text, end = await answer_of_with_steps(ann)
    assert (text, end["tokens_used"]) == ("I call a tool. Done.", 42)
    kept = (await program.rest("ann").messages(session))[-1]["metadata"]["steps"]
    assert [(one["step"], one["kind"], one["status"]) for one in kept] == [
        (0, "thinking", "complete"),
        (1, "tool_call", "complete"),
    ]
    assert kept[0]["content"] == "Let me think of life"
    assert (kept[1]["name"], kept[1]["input"], kept[1]["output"]) == (
        "search",
        {"q": "life"},
        ["found"],
    )
    assert (kept[0]["at"], kept[1]["at"]) == (0, len("I call a tool. "))
    async with program.rest("ann").stream("GET", f"/runs/{run}/stream") as events:
        told = [one["type"] for _, one in await events.all()]
    assert told == ["stream_start", "run_step", "run_step", "stream_chunk", "stream_end"]


async def answer_of_with_steps(ann: Socket) -> tuple[str, str, Frame]:
    """As `answer_of`; the steps told on the way add up to what they are at the end."""
    start = await ann.next("stream_start", patience=LONG)
    run = start["message_id"]
    text, thought = "", ""
    steps: dict[int, Frame] = {}
    while True:
        frame = await ann.next(patience=LONG, message_id=run)
        if frame["type"] == "stream_chunk":
            text = text[: frame["offset"]] + frame["content"]
        elif frame["type"] == "run_step":
            steps[frame["step"]] = frame
            if "content" in frame:
                thought = thought[: frame["offset"]] + frame["content"]
        elif frame["type"] == "stream_end":
            assert thought == "Let me think of life"
            assert [steps[number]["status"] for number in (0, 1)] == ["complete"] * 2
            return run, text, frame


async def test_whoever_writes_by_the_messenger_is_answered_too(program: Chat) -> None:
    """One log, whatever surface: the answer is a message there, whole at its end."""
    session = await program.session("ann", "echo")
    phone = await program.house.device("ann")
    ann = await program.join("ann", session)
    await phone.send("message.send", conversation_id=session, content="by phone")
    _, text, _ = await answer_of(ann)
    assert text == "by phone"
    begun = await phone.next("message.new", data={"message_type": "stream"}, patience=LONG)
    assert begun["data"]["metadata"]["status"] == "streaming"
    ended = await phone.next("run.ended", patience=LONG)
    assert (ended["status"], ended["data"]["content"]) == ("complete", "by phone")
    assert ended["message_id"] == begun["data"]["id"]
    back = await program.house.device("ann", live=False)
    await back.send("resume", cursor=begun["cursor"] - 1)
    again = await back.next("message.new", patience=LONG)
    assert again["data"]["content"] == "by phone"  # As it is now.
    assert (await back.next("run.ended"))["cursor"] == ended["cursor"]
