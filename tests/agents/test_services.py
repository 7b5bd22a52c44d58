"""Agents behind HTTP and behind an OpenAI-compatible address, against a real server that works and
that fails. What came is kept, to the byte; why it ended is told, and nothing of the inside."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from madang.agents.catalog import open_catalog
from madang.clock import SystemClock
from madang.compose import Madang
from madang.settings import Settings, SettingsError
from tests.agents.service import Service, configured, public_names, serving
from tests.agents.watching import answered, session
from tests.conftest import Server
from tests.files.clients import Uploader
from tests.ports import free_port
from tests.surfaces.agents.sessions import LONG, Chat, answer_of
from tests.surfaces.people import House, unharmed


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


@pytest.fixture(params=["http", "openai"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Make = Callable[..., Chat]


@pytest.fixture
async def make_chat(tmp_path: Path, service: Service, kind: str) -> AsyncIterator[Make]:
    """A server whose agents ask the service."""
    made: list[tuple[Server, House]] = []

    def make(**settings: str) -> Chat:
        wanted: dict[str, Any] = {
            "agents": json.dumps(configured(service.url, kind)),
            "agents_private_addresses": "true",
            "run_text_limit": "50000",
            **settings,
        }
        server = Server(tmp_path / f"server-{len(made)}", **wanted)
        server.start()
        house = House(server)
        made.append((server, house))
        return Chat(house)

    yield make
    for server, house in made:
        await house.__aexit__(None, None, None)
        server.stop()
        unharmed(server)


async def ask(chat: Chat, agent: str, question: str = "안녕?") -> tuple[str, dict[str, Any]]:
    """The text of an answer and its message, as history has it."""
    session = await chat.session("ann", agent)
    ann = await chat.join("ann", session)
    await ann.send("message", content=question)
    message_id, text, end = await answer_of(ann)
    kept = (await chat.rest("ann").messages(session))[-1]
    assert (kept["id"], kept["content"]) == (message_id, text)
    assert kept["metadata"]["status"] == end["status"]
    assert end.get("error") == kept["metadata"].get("error")
    return text, kept["metadata"]


async def test_what_works_and_what_is_asked(make_chat: Make, service: Service, kind: str) -> None:
    chat = make_chat()
    text, metadata = await ask(chat, "works")
    assert (text, metadata["status"]) == ("안녕 🌊 hello", "complete")
    assert metadata["tokens_used"] == 17
    (asked,) = service.asked
    trace = metadata["trace_id"]
    assert asked.headers["traceparent"].startswith(f"00-{trace}-")
    if kind == "openai":
        assert asked.headers["authorization"] == "Bearer sk-secret"
        assert asked.json["messages"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "안녕?"},
        ]
        assert (asked.json["model"], asked.json["temperature"]) == ("m", 0.5)
        assert asked.json["tools"][0]["function"]["name"] == "f"
        return
    assert asked.json["question"] == "안녕?"
    assert asked.json["messages"] == [
        {"role": "user", "content": "안녕?", "user_id": "ann", "attachments": []}
    ]
    assert asked.json["attachments"] == []
    signed = b"%b.%b.%b" % (
        asked.headers["webhook-id"].encode(),
        asked.headers["webhook-timestamp"].encode(),
        asked.body,
    )
    key = base64.b64decode("c2VjcmV0")
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-signature"] == f"v1,{digest}"
    assert asked.headers["webhook-id"] == asked.json["message_id"]


FAILURES = {
    "cut": ("whole ", "The agent's answer was cut"),
    "cut-character": ("안녕 🌊", "The agent's answer was cut"),
    "very-busy": ("", "The agent is busy"),
    "malformed": ("good ", "The agent sent an event that is no JSON"),
    "no-end": ("and then", "The agent's answer was cut"),
    "refuses": ("", "The agent refused (HTTP 500)"),
    "compressed": ("", "The agent's answer is compressed"),
}


async def test_what_fails_keeps_what_came(make_chat: Make) -> None:
    chat = make_chat()
    for agent, (text, error) in FAILURES.items():
        said, metadata = await ask(chat, agent)
        assert (agent, said, metadata["error"]) == (agent, text, error)
        assert metadata["status"] == "failed"
    said, metadata = await ask(chat, "error")
    assert said == "".join(f"{number} " for number in range(100))
    assert (metadata["status"], metadata["tokens_used"]) == ("failed", 100)
    _, metadata = await ask(chat, "page")
    assert metadata["status"] == "failed"
    # What went wrong there is for whoever runs the server.
    assert "a secret of the inside" in chat.house.server.log


async def test_why_one_refuses_is_logged_without_keys_or_words(make_chat: Make) -> None:
    chat = make_chat(log_format="json")
    for status in (401, 403, 404, 400):
        _, metadata = await ask(chat, f"refuses-{status}", "say nothing of this")
        assert metadata["error"] == f"The agent refused (HTTP {status})"
    log = chat.house.server.log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line for line in lines if line["event"] == "an agent refused"]
    assert [(line["level"], line["status"]) for line in told] == [
        ("warning", status) for status in (401, 403, 404, 400)
    ]
    for line in told[:3]:
        assert line["host"] == "127.0.0.1"
        assert line["said"].startswith("Wrong key … for …: ") and len(line["said"]) == 200
    assert "said" not in told[3]
    for hidden in ("sk-secret", "whsec_", "say nothing of this"):
        assert hidden not in log


async def test_one_that_is_busy_is_asked_again(make_chat: Make, service: Service) -> None:
    chat = make_chat()
    text, metadata = await ask(chat, "busy")
    assert (text, metadata["status"]) == ("안녕 🌊 hello", "complete")
    assert len(service.asked) == 2


async def test_one_that_says_until_when_it_is_busy_is_asked_then(
    make_chat: Make, service: Service
) -> None:
    chat = make_chat()
    text, metadata = await ask(chat, "busy-until")
    assert (text, metadata["status"]) == ("안녕 🌊 hello", "complete")
    assert len(service.asked) == 2


async def test_no_count_is_too_large_to_be_kept(make_chat: Make) -> None:
    text, metadata = await ask(make_chat(), "large-count")
    assert (text, metadata["status"]) == ("counted", "complete")
    assert metadata["tokens_used"] == 2**53 - 1


async def test_a_slow_first_token_is_waited_for(make_chat: Make, service: Service) -> None:
    chat = make_chat()
    session = await chat.session("ann", "slow")
    ann = await chat.join("ann", session)
    await ann.send("message", content="well?")
    start = await ann.next("stream_start", patience=LONG)
    service.gate.set()
    chunk = await ann.next("stream_chunk", patience=LONG)
    assert (chunk["content"], chunk["index"]) == ("at last", 0)
    end = await ann.next("stream_end", patience=LONG)
    assert (end["message_id"], end["status"]) == (start["message_id"], "complete")


async def test_one_that_stalls_is_given_up(make_chat: Make, service: Service) -> None:
    chat = make_chat(run_idle_seconds="0.4")
    text, metadata = await ask(chat, "stall")
    assert (text, metadata["status"]) == ("begun", "failed")
    assert metadata["error"] == "The agent said nothing for too long"
    async with asyncio.timeout(LONG):
        await service.hung_up.wait()


async def test_stopping_hangs_up(make_chat: Make, service: Service) -> None:
    chat = make_chat()
    session = await chat.session("ann", "stall")
    ann = await chat.join("ann", session)
    await ann.send("message", content="well?")
    chunk = await ann.next("stream_chunk", patience=LONG)
    await ann.send("stop", message_id=chunk["message_id"])
    assert (await ann.next("stream_end", patience=LONG))["status"] == "cancelled"
    async with asyncio.timeout(LONG):
        await service.hung_up.wait()


async def test_floods_end(make_chat: Make) -> None:
    chat = make_chat()
    text, metadata = await ask(chat, "flood")
    assert text == ("flood 🌊 " * 50_000)[:50_000]
    assert (metadata["status"], metadata["error"]) == ("failed", "The answer is too long")
    text, metadata = await ask(chat, "endless")
    assert (text, metadata["status"]) == ("", "failed")
    text, metadata = await ask(chat, "many-lines")
    assert (text, metadata["status"]) == ("well", "failed")


async def test_steps(make_chat: Make) -> None:
    chat = make_chat()
    text, metadata = await ask(chat, "steps")
    assert (text, metadata["status"]) == ("done", "complete")
    thinking, call = metadata["steps"]
    assert (thinking["kind"], thinking["content"]) == ("thinking", "hmm")
    assert thinking["status"] == "complete"
    assert (call["kind"], call["name"], call["input"]) == ("tool_call", "f", {"a": 1})
    assert call["status"] == "complete"


@pytest.mark.parametrize("kind", ["openai"])
@pytest.mark.parametrize("then", ["says", "ends", "is-cut"])
async def test_thinking_ends_where_text_begins_and_with_the_answer(
    make_chat: Make, then: str
) -> None:
    chat = make_chat()
    session = await chat.session("ann", f"thinks-and-{then}")
    ann = await chat.join("ann", session)
    await ann.send("message", content="well?")
    asked = await ann.next("stream_start", patience=LONG)
    steps = []
    while True:
        frame = await ann.next(patience=LONG, message_id=asked["message_id"])
        if frame["type"] != "run_step":
            break
        steps.append((frame["kind"], frame["status"], frame.get("content")))
    assert steps == [("thinking", "running", "hm"), ("thinking", "complete", None)]
    if frame["type"] != "stream_end":
        frame = await ann.next("stream_end", patience=LONG)
    assert frame["status"] == ("failed" if then == "is-cut" else "complete")
    (step,) = (await chat.rest("ann").messages(session))[-1]["metadata"]["steps"]
    assert (step["status"], step["content"]) == ("complete", "hm")


async def test_where_nobody_listens(make_chat: Make, kind: str) -> None:
    config = configured(f"http://127.0.0.1:{free_port()}", kind)["works"]
    _, metadata = await ask(make_chat(agents=json.dumps({"gone": config})), "gone")
    assert (metadata["status"], metadata["error"]) == ("failed", "The agent cannot be reached")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "no address",
        "agents.example.com/a",
        "ftp://agents.example.com/",
        "http:///a",
        "http://ann:secret@agents.example.com/",
        "http://0177.0.0.1/",
        "http://①②⑦.⓪.⓪.①/",
    ],
)
def test_an_address_that_is_none_is_refused_at_the_start(url: str, kind: str) -> None:
    config = {**configured("http://127.0.0.1", kind)["works"], "url": url}
    given = json.dumps({"wrong": config})
    with pytest.raises(SettingsError, match=r"wrong\..*url: .*address"):
        open_catalog(given, SystemClock(), delay=0, idle=1, private=False)


async def test_no_agent_is_asked_inside(make_chat: Make, service: Service) -> None:
    """At its own address, where addresses inside are not allowed."""
    chat = make_chat(agents_private_addresses="false")
    _, metadata = await ask(chat, "works")
    assert metadata["status"] == "failed"
    assert metadata["error"] == "The agent's address is not allowed"
    lines = chat.house.server.log.splitlines()
    warned = [line for line in lines if "MADANG_AGENTS_PRIVATE_ADDRESSES=true" in line]
    assert all("127.0.0.1" in line for line in warned)
    assert sum("the agent works is at a private address" in line for line in warned) == 1
    assert sum("was not asked" in line for line in warned) == 1
    assert service.asked == []


async def test_no_redirect_leads_inside(
    tmp_path: Path, service: Service, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first address is taken for a public one, the second is looked at as any."""
    public_names(monkeypatch)
    outside = f"http://public.example:{service.port}"
    config = configured(outside, kind)["inside"]
    app = Madang(Settings(dev=True, data_dir=tmp_path, agents=json.dumps({"typed": config})))
    await app.start()
    try:
        room = await session(app)
        told = await answered(app, room, "안녕?")
    finally:
        await app.stop()
    assert told.metadata["status"] == "failed"
    assert told.metadata["error"] == "The agent's address is not allowed"
    assert [one.path.split("/")[1] for one in service.asked] == ["inside"]


async def test_files_are_told(make_chat: Make, service: Service, kind: str) -> None:
    """Also those of a message without text, and of what was said before."""
    chat = make_chat()
    session = await chat.session("ann", "works")
    ann = await chat.join("ann", session)
    sent = [
        await Uploader(chat.house, "ann").sent(session, name, b"%PDF-1.7 x", **fields)
        for name, fields in (("plan.pdf", {"message": "see page 3"}), ("more.pdf", {}))
    ]
    for _ in sent:
        await answer_of(ann)
    files = [
        {
            "file_id": one["file_id"],
            "name": one["file_info"]["name"],
            "type": "application/pdf",
            "size": 10,
            "file_url": f"/api/chat/files/{one['file_id']}",
        }
        for one in sent
    ]
    said = [one for one in service.asked[-1].json["messages"] if one["role"] == "user"]
    if kind == "openai":
        lines = [f"[{f['name']} (application/pdf, 10 bytes): {f['file_url']}]" for f in files]
        assert [one["content"] for one in said] == [f"see page 3\n{lines[0]}", lines[1]]
        return
    assert [one["attachments"] for one in said] == [[files[0]], [files[1]]]
    assert [one["content"] for one in said] == ["see page 3", ""]
    assert service.asked[-1].json["attachments"] == [files[1]]
    assert service.asked[-1].json["question"] == ""
