"""Sessions over REST, as the contract page has them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from tests.surfaces.agents.sessions import Chat, answer_of
from tests.surfaces.people import problem


async def test_a_session_from_beginning_to_end(chat: Chat) -> None:
    ann = chat.rest("ann")
    answer = await ann.post("/sessions", {"agent_id": "echo", "metadata": {"color": "green"}})
    assert answer.status_code == 201
    made = answer.json()
    assert (
        made.items()
        >= {
            "user_id": "ann",
            "agent_id": "echo",
            "title": None,
            "status": "active",
        }.items()
    )
    assert len(made["trace_id"]) == 32 and made["created_at"].endswith("Z")
    session = made["session_id"]
    answer = await ann.post(
        f"/sessions/{session}/messages",
        {"content": "  What is\n a courtyard? ", "message_type": "text", "metadata": {}},
    )
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["status"], sent.keys() >= {"message_id", "created_at"}) == ("sent", True)
    socket = await chat.join("ann", session, after=0)
    _, text, _ = await answer_of(socket)
    assert text == "  What is\n a courtyard? "
    found = (await ann.get(f"/sessions/{session}")).json()
    assert found["title"] == "What is"
    assert found["agent"].items() >= {"id": "echo", "name": "Echo", "avatar_url": None}.items()
    assert found["metadata"] == {"color": "green"}
    assert found["message_count"] == 2
    assert {one["user_id"] for one in found["participants"]} == {"ann", "agent:echo"}
    assert found["last_activity"] >= found["created_at"]
    (listed,) = (await ann.get("/sessions")).json()["sessions"]
    assert (
        listed.items()
        >= {
            "session_id": session,
            "title": "What is",
            "agent_id": "echo",
            "agent_name": "Echo",
            "last_message": text,
            "unread_count": 1,
            "status": "active",
        }.items()
    )
    read = await ann.post(f"/sessions/{session}/read", {"message_id": sent["message_id"]})
    assert read.json()["unread_count"] == 1
    messages = await ann.messages(session)
    read = await ann.post(f"/sessions/{session}/read", {"message_id": messages[-1]["id"]})
    assert read.json()["unread_count"] == 0
    changed = await ann.patch(f"/sessions/{session}", {"title": "Yards", "metadata": {"n": 1}})
    assert (changed.json()["title"], changed.json()["metadata"]) == ("Yards", {"n": 1})
    gone = await ann.delete(f"/sessions/{session}")
    assert gone.json() == {"message": "Session archived successfully", "session_id": session}
    assert (await ann.get(f"/sessions/{session}")).json()["status"] == "archived"
    problem(await ann.post(f"/sessions/{session}/messages", {"content": "hello?"}), 409, "CONFLICT")
    archived = (await ann.get("/sessions", status="archived")).json()
    assert (archived["total"], archived["has_more"]) == (1, False)
    assert (await ann.get("/sessions", status="active")).json()["total"] == 0
    back = await ann.post(f"/sessions/{session}/restore")
    assert back.json()["status"] == "active"
    assert (await ann.patch(f"/sessions/{session}", {"status": "archived"})).json()[
        "status"
    ] == "archived"
    again = (await ann.patch(f"/sessions/{session}", {"status": "active"})).json()
    assert (again["status"], again["title"]) == ("active", "Yards")


async def test_a_change_is_one_event_and_whole_or_none(chat: Chat) -> None:
    session = await chat.session()
    api = chat.rest("ann")
    path = f"/sessions/{session}"
    ann = await chat.join("ann", session)
    for status in ("archived", "active"):
        change = {"title": status, "metadata": {"s": status}, "when_busy": "parallel"}
        changed = (await api.patch(path, {**change, "status": status})).json()
        assert {name: changed[name] for name in change} == change
        assert changed["status"] == status
        told = await ann.next("system", event="session_updated")
        assert (told["title"], told["status"], told["metadata"]["s"]) == (status,) * 3
        assert told["seq"] == changed["last_seq"]
        # It is so already.
        assert (await api.patch(path, {"status": status})).json()["last_seq"] == told["seq"]
    await api.delete(path)
    before = (await api.get(path)).json()
    for refused in ({"title": "x"}, {"title": "x", "status": "archived"}, {"answers": "mentioned"}):
        problem(await api.patch(path, refused), 409, "CONFLICT", "Conversation is archived")
    assert (await api.get(path)).json() == before


async def test_lists_are_paged_and_filtered(chat: Chat) -> None:
    ann = chat.rest("ann")
    made = [await chat.session("ann", title=f"s{n}") for n in range(5)]
    other = await chat.session("ann", "bot-7")
    await chat.session("bob")
    first = (await ann.get("/sessions", limit=4)).json()
    rest = (await ann.get("/sessions", limit=4, offset=4)).json()
    assert (first["total"], first["has_more"], rest["has_more"]) == (6, True, False)
    ids = [one["session_id"] for one in (*first["sessions"], *rest["sessions"])]
    assert ids == [other, *reversed(made)]
    echoes = (await ann.get("/sessions", agent_id="echo")).json()
    assert (echoes["total"], len(echoes["sessions"])) == (5, 5)
    (bot,) = (await ann.get("/sessions", agent_id="bot-7")).json()["sessions"]
    assert (bot["session_id"], bot["agent_name"]) == (other, "bot-7")
    agents = (await ann.get("/agents")).json()["agents"]
    assert {"id": "echo", "name": "Echo"}.items() <= agents[0].items()


async def test_a_configured_agent_outside_says_as_whom_it_speaks(
    open_chat: Callable[..., Chat],
) -> None:
    chat = open_chat(agents='{"bot": {"kind": "outside", "user_id": "bot-7"}}')
    async with chat.house:
        ann = chat.rest("ann")
        agents = (await ann.get("/agents")).json()["agents"]
        assert {one["id"]: one["user_id"] for one in agents} == {
            "echo": "agent:echo",
            "bot": "bot-7",
        }
        for asked in ("bot", "bot-7"):
            session = await chat.session("ann", asked)
            found = (await ann.get(f"/sessions/{session}")).json()
            assert (found["agent_id"], found["agent"]["user_id"]) == ("bot", "bot-7")


async def test_history_before_and_after(chat: Chat) -> None:
    ann = chat.rest("ann")
    session = await chat.session("ann", "bot-7")
    sent = [
        (await ann.post(f"/sessions/{session}/messages", {"content": str(n)})).json()
        for n in range(7)
    ]
    page = (await ann.get(f"/sessions/{session}/messages", limit=3)).json()
    assert [one["content"] for one in page["messages"]] == ["4", "5", "6"]
    assert (page["total"], page["has_more"]) == (7, True)

    async def contents(**query: str | int) -> list[str]:
        return [one["content"] for one in await ann.messages(session, limit=2, **query)]

    for before in (sent[4]["message_id"], sent[4]["seq"]):
        assert await contents(before=before) == ["2", "3"]
        assert await contents(after=before) == ["5", "6"]
    assert await contents(before=sent[3]["created_at"]) == ["1", "2"]
    assert await contents(after=sent[3]["created_at"]) == ["4", "5"]
    path = f"/sessions/{session}/messages"
    problem(await ann.get(path, before="never"), 422, "VALIDATION")
    moment = datetime.fromisoformat(sent[3]["created_at"])
    micros = round(moment.timestamp() * 1_000_000)
    assert await contents(before=micros) == ["1", "2"]
    assert await contents(after=micros) == ["4", "5"]
    # Seconds, milliseconds and nanoseconds are none.
    for number in (micros // 1_000_000, micros // 1_000, micros * 1_000 // 10, 10**9 + 1):
        why = "before: a number beyond 1000000000 is a time in microseconds"
        problem(await ann.get(path, before=number), 422, "VALIDATION", why)
    assert (await ann.get(path, after=10**9)).json()["messages"] == []
    problem(await ann.get(path, before=1, after=1), 422, "VALIDATION")
    problem(await ann.get(path, before=str(uuid.uuid4())), 404, "NOT_FOUND")


async def test_history_is_read_to_its_end_by_time(chat: Chat) -> None:
    """A question and its answer are of one commit, and no two messages of one time."""
    session = await chat.session("ann")
    ann, api = await chat.join("ann", session), chat.rest("ann")
    for number in range(4):
        await ann.send("message", content=str(number))
        await answer_of(ann)
    whole = [one["id"] for one in await api.messages(session)]
    assert len(whole) == 8
    forward, backward = ["2000-01-01T00:00:00Z"], ["2050-01-01T00:00:00Z"]
    read: list[str] = []
    while page := await api.messages(session, limit=1, after=forward[-1]):
        read.append(page[0]["id"])
        forward.append(page[0]["created_at"])
    assert read == whole
    read.clear()
    while page := await api.messages(session, limit=3, before=backward[-1]):
        read[:0] = [one["id"] for one in page]
        backward.append(page[0]["created_at"])
    assert read == whole


async def test_strangers_find_nothing(chat: Chat) -> None:
    """Another's session and its runs answer as what does not exist."""
    session = await chat.session("ann")
    ann = await chat.join("ann", session)
    await ann.send("message", content="hi")
    run, _, _ = await answer_of(ann)
    nowhere = str(uuid.uuid4())
    eve = chat.rest("eve")
    for here, of in ((session, run), (nowhere, nowhere)):
        answers = [
            await eve.get(f"/sessions/{here}"),
            await eve.patch(f"/sessions/{here}", {"title": "mine"}),
            await eve.delete(f"/sessions/{here}"),
            await eve.post(f"/sessions/{here}/restore"),
            await eve.get(f"/sessions/{here}/messages"),
            await eve.get(f"/sessions/{here}/messages", before=of),
            await eve.post(f"/sessions/{here}/messages", {"content": "hi"}),
            await eve.post(f"/sessions/{here}/messages/stream", {"content": "hi"}),
            await eve.post(f"/sessions/{here}/read", {"message_id": of}),
            await eve.post(f"/sessions/{here}/handover", {"to": "eve"}),
            await eve.post(f"/sessions/{here}/participants", {"user_ids": ["eve"]}),
            await eve.delete(f"/sessions/{here}/participants/ann"),
        ]
        for answer in answers:
            problem(answer, 404, "NOT_FOUND", "Session not found")
        for answer in (
            await eve.get(f"/runs/{of}"),
            await eve.get(f"/runs/{of}/stream"),
            await eve.post(f"/runs/{of}/stop"),
            await eve.post(f"/runs/{of}/regenerate"),
            await eve.post(f"/runs/{of}/choose"),
            await eve.post(f"/runs/{of}/approvals/x", {"answer": "approve"}),
        ):
            problem(answer, 404, "NOT_FOUND", "Message not found")
        socket = await chat.open("eve", here)
        assert await socket.closed() == (1008, "Session not found")
    # Not even the agent's own name helps, nor another org's.
    socket = await chat.open("ann", session, org="another")
    assert await socket.closed() == (1008, "Session not found")
    group = await chat.house.group("ann", "bob")
    problem(await chat.rest("ann").get(f"/sessions/{group}"), 404, "NOT_FOUND")
    socket = await chat.open("ann", group)
    assert await socket.closed() == (1008, "Session not found")


async def test_what_is_wrong_is_told(chat: Chat) -> None:
    ann = chat.rest("ann")
    problem(await ann.post("/sessions", {"agent_id": "echo", "more": 1}), 422, "VALIDATION")
    problem(await ann.post("/sessions", {}), 422, "VALIDATION", "Missing field: agent_id")
    misnamed = await ann.post("/sessions", {"agent": "echo"})
    problem(misnamed, 422, "VALIDATION", "Unknown field: agent")
    no_id = await ann.post("/sessions", {"agent_id": ""})
    problem(no_id, 422, "INVALID_ID", "Invalid agent_id format")
    said = b'{"agent_id":"echo"}'
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        as_form = await ann.post("/sessions", content=said, headers={"content-type": kind})
        problem(as_form, 422, "VALIDATION", "Send Content-Type: application/json")
    unsaid = await ann.post("/sessions", content=said)
    problem(unsaid, 422, "VALIDATION", "Send Content-Type: application/json")
    as_json = {"content-type": "application/json"}
    no_object = await ann.post("/sessions", content=b'"echo"', headers=as_json)
    problem(no_object, 422, "VALIDATION", "Request body must be a JSON object")
    problem(await ann.post("/sessions", {"agent_id": "agent:echo"}), 404, "NOT_FOUND")
    problem(await ann.post("/sessions", {"agent_id": "ann"}), 422, "VALIDATION")
    allowed = "status: Input should be 'active' or 'archived'"
    problem(await ann.get("/sessions", status="gone"), 422, "VALIDATION", allowed)
    problem(await ann.get("/sessions/no-id"), 422, "INVALID_ID", "Invalid session_id format")
    problem(await ann.get("/runs/no-id"), 422, "INVALID_ID", "Invalid message_id format")
    session = await chat.session("ann", participant_ids=["bob"])
    path = f"/sessions/{session}/messages"
    answer = await ann.post(path, {"content": " "})
    problem(answer, 422, "VALIDATION", "Message content cannot be empty")
    problem(await ann.post(path, {"content": "x" * 70_000}), 413, "TOO_LARGE")
    problem(await chat.rest("bob").patch(f"/sessions/{session}", {"title": "x"}), 403, "FORBIDDEN")
    socket = await chat.join("ann", session)
    for text, code in (
        ("{", "INVALID_JSON"),
        ("[]", "INVALID_JSON"),
        ('{"type":1}', "VALIDATION"),
        ('{"type":"message","content":"","id":1}', "VALIDATION"),
        ('{"type":"message","content":"x","evil":1}', "VALIDATION"),
        ('{"type":"stop","message_id":"x"}', "INVALID_ID"),
        ('{"type":"stop","message_id":"' + session + '"}', "NOT_FOUND"),
        ('{"type":"stream_start"}', "FORBIDDEN"),
        ('{"type":"read","message_id":"' + session + '"}', "NOT_FOUND"),
    ):
        await socket.raw(text)
        assert (await socket.next("error"))["code"] == code, text
    await socket.raw('{"type":"unheard of"}')
    assert await socket.so_far() == []
