"""AG-UI, spoken by its own published client."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.surfaces.agents.conftest import HERE, Program
from tests.surfaces.agents.sessions import LONG, Chat, Events
from tests.surfaces.people import House, problem


class AgUi:
    """The client, in Node."""

    def __init__(self, process: asyncio.subprocess.Process, chat: Chat) -> None:
        self._process = process
        self._chat = chat

    async def run(self, agent: str, thread: str, user: str = "ann", **asked: Any) -> Any:
        """Run an agent; what the client made of it."""
        house = self._chat.house
        line = {
            "url": f"{house.server.url}/api/agui/{agent}",
            "token": house.token(user),
            "threadId": thread,
            "runId": str(uuid.uuid4()),
            **asked,
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(json.dumps(line).encode() + b"\n")
        async with asyncio.timeout(LONG):
            told = await stdout.readline()
        assert told, "the client has ended"
        return json.loads(told)


@pytest.fixture
async def agui(program: Chat, agui_client: Path) -> AsyncIterator[AgUi]:
    async with client_of(program, agui_client) as client:
        yield client


@asynccontextmanager
async def client_of(chat: Chat, home: Path) -> AsyncIterator[AgUi]:
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        str(HERE / "agui.mjs"),
        str(home),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield AgUi(process, chat)
    finally:
        process.kill()
        await process.communicate()


def user_says(text: str) -> dict[str, str]:
    return {"id": str(uuid.uuid4()), "role": "user", "content": text}


async def posted(
    chat: Chat, agent: str, thread: str, user: str = "ann", **asked: Any
) -> tuple[httpx.Response, list[Any]]:
    """Run an agent without the client: the answer, and its events."""
    body = {"threadId": thread, "runId": "r", "messages": [], **asked}
    async with chat.house.server.rest(user, org=chat.house.org) as client:
        answer = await client.post(f"/api/agui/{agent}", json=body, timeout=LONG)
    lines = answer.text.splitlines() if answer.is_success else []
    return answer, [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def types(made: Any) -> list[str]:
    """The events' types, those that repeat told once."""
    found: list[str] = []
    for event in made["events"]:
        if not found or found[-1] != event["type"]:
            found.append(event["type"])
    return found


async def test_a_run_and_a_second_in_the_same_thread(agui: AgUi, program: Chat) -> None:
    thread = str(uuid.uuid4())
    first = user_says("안녕 🌊 hello " * 10)
    made = await agui.run("echo", thread, messages=[first])
    assert made["error"] is None
    assert types(made) == [
        "RUN_STARTED",
        "TEXT_MESSAGE_START",
        "TEXT_MESSAGE_CONTENT",
        "TEXT_MESSAGE_END",
        "RUN_FINISHED",
    ]
    (question, answer) = made["messages"]
    assert (answer["role"], answer["content"]) == ("assistant", first["content"])
    finished = made["events"][-1]
    assert finished["outcome"] == {"type": "success"}
    assert finished["usage"] == [{"totalTokens": 30}]
    # The same message again asks nobody again.
    again = await agui.run("echo", thread, messages=[question])
    assert again["messages"][-1] == answer
    made = await agui.run("historian", thread, messages=[user_says("and?")])
    assert made["messages"][-1]["content"] == "user:and?"  # A thread of another agent's.
    made = await agui.run("echo", thread, messages=[*made["messages"], user_says("second")])
    assert made["messages"][-1]["content"] == "second"
    sessions = (await program.rest("ann").get("/sessions", agent_id="echo")).json()
    assert sessions["total"] == 1
    history = await program.rest("ann").messages(sessions["sessions"][0]["session_id"])
    assert [message["content"] for message in history] == [
        first["content"],
        first["content"],
        "second",
        "second",
    ]


async def test_thinking_and_tools(agui: AgUi) -> None:
    made = await agui.run("thinker", "t", messages=[user_says("life")])
    assert made["error"] is None
    told = types(made)
    assert (told[0], told[-1]) == ("RUN_STARTED", "RUN_FINISHED")
    assert [name for name in told if name.startswith("REASONING")] == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]
    assert [name for name in told if name.startswith("TOOL_CALL")] == [
        "TOOL_CALL_START",
        "TOOL_CALL_ARGS",
        "TOOL_CALL_END",
        "TOOL_CALL_RESULT",
    ]
    assert told.index("REASONING_END") < told.index("TEXT_MESSAGE_CONTENT")
    assert told[-2] == "TEXT_MESSAGE_END"
    by_role = {message["role"]: message for message in made["messages"]}
    assert by_role["reasoning"]["content"] == "Let me think of life"
    (call,) = by_role["assistant"]["toolCalls"]
    assert call["function"] == {"name": "search", "arguments": '{"q":"life"}'}
    assert by_role["assistant"]["content"] == "I call a tool. Done."
    assert by_role["tool"]["content"] == '["found"]'
    assert made["events"][-1]["usage"] == [{"totalTokens": 42}]


async def test_what_a_run_asks_is_an_interrupt_and_its_answer_resumes(agui: AgUi) -> None:
    thread = str(uuid.uuid4())
    made = await agui.run("careful", thread, messages=[user_says("clean up")])
    outcome = made["events"][-1]["outcome"]
    assert outcome["type"] == "interrupt"
    (interrupt,) = outcome["interrupts"]
    assert interrupt["message"] == "Delete everything?"
    assert interrupt["metadata"] == {"files": 3}
    resume = [{"interruptId": interrupt["id"], "status": "resolved", "payload": "deny"}]
    made = await agui.run("careful", thread, messages=made["messages"], resume=resume)
    assert made["error"] is None
    assert made["messages"][-1]["content"] == "ann says deny"
    assert made["events"][-1]["outcome"] == {"type": "success"}


@pytest.mark.parametrize(
    ("resume", "answer"),
    [
        ({"payload": True}, "approve"),
        ({"payload": {"approved": True}}, "approve"),
        ({"payload": {"answer": True}}, "approve"),
        ({"payload": "later"}, "later"),
        ({"payload": {"answer": "later"}}, "later"),
        ({"payload": False}, "deny"),
        ({"payload": {"approved": False}}, "deny"),
        ({"payload": {"answer": False}}, "deny"),
        ({"status": "cancelled"}, "deny"),
        ({"status": "cancelled", "payload": True}, "deny"),
        ({}, None),
        ({"payload": 0}, None),
        ({"payload": 1}, None),
        ({"payload": []}, None),
        ({"payload": {}}, None),
        ({"payload": "no"}, None),
        ({"payload": {"approved": None}}, None),
        ({"payload": {"approved": False, "answer": "approve"}}, None),
        ({"status": "rejected", "payload": True}, None),
    ],
)
async def test_only_a_yes_is_a_yes(
    program: Chat, resume: dict[str, Any], answer: str | None
) -> None:
    thread = str(uuid.uuid4())
    _, told = await posted(program, "careful", thread, messages=[user_says("clean up")])
    (interrupt,) = told[-1]["outcome"]["interrupts"]
    entry = {"interruptId": interrupt["id"], "status": "resolved", **resume}
    given, told = await posted(program, "careful", thread, resume=[entry])
    if answer is None:
        problem(given, 422, "VALIDATION")
        entry = {"interruptId": interrupt["id"], "payload": "later"}
        given, told = await posted(program, "careful", thread, resume=[entry])
    said = "".join(event.get("delta", "") for event in told)
    assert said == f"ann says {answer or 'later'}", given.text


async def test_what_fails_is_an_error(agui: AgUi) -> None:
    made = await agui.run("broken", "t", messages=[user_says("public")])
    assert made["error"] == "The printer is on fire"
    assert made["events"][-1] == {
        "type": "RUN_ERROR",
        "message": "The printer is on fire",
        "code": "FAILED",
    }
    made = await agui.run("broken", "t", messages=[user_says("secret")])
    assert made["error"] == "The agent failed"


async def test_what_waits_and_is_ended_ends_the_stream(program: Chat) -> None:
    session = await program.session("ann", "forever")
    api = program.rest("ann")
    await api.post(f"/sessions/{session}/messages", {"content": "x"})
    body = {"threadId": session, "runId": "r", "messages": [user_says("y")]}
    house = program.house
    async with (
        house.server.rest("ann", org=house.org) as client,
        client.stream("POST", "/api/agui/forever", json=body, timeout=LONG) as answer,
    ):
        assert answer.status_code == 200
        assert (await api.delete(f"/sessions/{session}")).is_success
        told = Events(answer)
        assert (await told.next())[1]["type"] == "RUN_STARTED"
        ((_, finished),) = await told.all()
    assert finished["type"] == "RUN_FINISHED"
    assert finished["outcome"] == {"type": "cancelled"}


async def test_whom_it_is_not_for(program: Chat) -> None:
    house = program.house
    body: dict[str, Any] = {
        "threadId": "t",
        "runId": "r",
        "messages": [],
        "tools": [],
        "context": [],
    }
    async with house.server.rest("ann", org=house.org) as client:
        answer = await client.post("/api/agui/nobody", json=body)
        problem(answer, 404, "NOT_FOUND", "Agent not found")
        problem(await client.post("/api/agui/echo", json=body), 422, "VALIDATION")
        resume = [{"interruptId": "x:1:y", "status": "resolved", "payload": "deny"}]
        answer = await client.post("/api/agui/echo", json={**body, "resume": resume})
        problem(answer, 404, "NOT_FOUND", "Interrupt not found")
    async with httpx.AsyncClient(base_url=house.server.url) as client:
        problem(await client.post("/api/agui/echo", json=body), 401, "UNAUTHORIZED")
    # A session of the caller's with another agent is not answered by that one, nor by this.
    session = await program.session("ann", "historian")
    async with house.server.rest("ann", org=house.org) as client:
        theirs = {**body, "threadId": session, "messages": [user_says("who?")]}
        answer = await client.post("/api/agui/echo", json=theirs)
        problem(answer, 409, "CONFLICT", "The thread is a session of another agent")
    assert await program.rest("ann").messages(session) == []
    # Another user's thread of the same name is another; another's session is none of one's own.
    session = await program.session("ann")
    async with house.server.rest("bob", org=house.org) as client:
        body = {**body, "threadId": session, "messages": [user_says("mine?")]}
        answer = await client.post("/api/agui/echo", json=body, timeout=LONG)
        assert answer.status_code == 200
    assert await program.rest("ann").messages(session) == []


async def test_what_is_refused_makes_no_session_and_what_makes_one_is_counted(
    make_program: Callable[..., Program],
) -> None:
    server = make_program(rate_limit_enabled="true", rate_limit_messages_per_minute="3")
    async with House(server) as house:
        chat = Chat(house)

        async def sessions() -> int:
            return int((await chat.rest("ann").get("/sessions")).json()["total"])

        resume = [{"interruptId": f"{uuid.uuid4()}:0:x", "payload": "approve"}]
        for asked, status, code in (
            ({"messages": []}, 422, "VALIDATION"),
            ({"messages": [user_says("a\0b")]}, 422, "VALIDATION"),
            ({"messages": [user_says(" ")]}, 422, "VALIDATION"),
            ({"messages": [{**user_says(""), "content": 7}]}, 422, "VALIDATION"),
            ({"messages": [user_says("x" * 70_000)]}, 413, "TOO_LARGE"),
            ({"resume": resume}, 404, "NOT_FOUND"),
        ):
            answer, _ = await posted(chat, "echo", str(uuid.uuid4()), **asked)
            problem(answer, status, code)
        assert await sessions() == 0
        for number in range(3):
            answer, _ = await posted(chat, "echo", f"t{number}", messages=[user_says("hi")])
            assert answer.status_code == 200
        answer, _ = await posted(chat, "echo", "t3", messages=[user_says("hi")])
        problem(answer, 429, "RATE_LIMIT")
        assert await sessions() == 3


async def test_a_resume_is_of_its_own_thread(program: Chat) -> None:
    _, told = await posted(program, "careful", "one", messages=[user_says("clean up")])
    (interrupt,) = told[-1]["outcome"]["interrupts"]
    resume = [{"interruptId": interrupt["id"], "payload": "later"}]
    for agent, thread in (("careful", "two"), ("echo", "one")):
        answer, _ = await posted(program, agent, thread, resume=resume)
        problem(answer, 404, "NOT_FOUND", "Interrupt not found")
    answer, told = await posted(program, "careful", "one", resume=resume)
    assert "".join(event.get("delta", "") for event in told) == "ann says later"


async def test_long_ids_of_messages_are_told_apart(program: Chat) -> None:
    for last in "AB":
        message = {**user_says(last), "id": "x" * 199 + last}
        for _ in range(2):  # Once by its id.
            _, told = await posted(program, "echo", "t", messages=[message])
            assert "".join(event.get("delta", "") for event in told) == last
    sessions = (await program.rest("ann").get("/sessions")).json()["sessions"]
    assert len(await program.rest("ann").messages(sessions[0]["session_id"])) == 4
