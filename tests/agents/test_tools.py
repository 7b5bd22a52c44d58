"""The calls of tools that a model makes are answered, by services behind HTTP and by functions of
the program, and the model goes on with the results."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from madang.agents.catalog import open_catalog
from madang.agents.protocol import ToolCall, ToolFailed
from madang.agents.signing import key_of, sign
from madang.compose import Madang
from madang.settings import Settings, SettingsError
from madang.testing import JumpingClock
from tests.agents.service import Service, configured, public_names, serving
from tests.agents.watching import LONG, ORG, answered, ask, session, watch
from tests.conftest import eventually

SECRET = "whsec_" + base64.b64encode(b"the tool's").decode()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as running:
        yield running


def tool(name: str, url: str | None = None, **fields: str) -> dict[str, Any]:
    """As it stands in the configuration."""
    own = {} if url is None else {"url": url, "secret": SECRET}
    return {"type": "function", "function": {"name": name, "parameters": {}}, **own, **fields}


class Make(Protocol):
    """Starts a server with a model that calls these tools."""

    async def __call__(self, *tools: dict[str, Any], **settings: Any) -> Madang: ...


@pytest.fixture
async def make(tmp_path: Path, service: Service) -> AsyncIterator[Make]:
    made: list[Madang] = []

    async def make(*tools: dict[str, Any], **settings: Any) -> Madang:
        config = {**configured(service.url, "openai")["calls"], "tools": tools}
        given: dict[str, Any] = {
            "agents": json.dumps({"typed": config}),
            "agents_private_addresses": True,
            **settings,
        }
        app = Madang(Settings(dev=True, data_dir=tmp_path, **given))
        await app.start()
        made.append(app)
        return app

    yield make
    for app in made:
        await app.stop()


async def test_a_service_answers_a_call(make: Make, service: Service) -> None:
    app = await make(tool("look", f"{service.url}/tool/json"))
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    await eventually(lambda: viewer.ended, LONG)
    found = await app.store.message(ORG, run, "ann")
    assert found is not None
    assert (found.content, found.metadata["status"]) == ('I look. {"found":["it"]}', "complete")
    assert found.metadata["tokens_used"] == 2 * 17
    (step,) = found.metadata["steps"]
    wanted = {"kind": "tool_call", "name": "look", "status": "complete", "at": len("I look. ")}
    assert step.items() >= wanted.items()
    assert (step["input"], step["output"]) == ({"q": "well?"}, {"found": ["it"]})
    # What the service was asked.
    first, called, second = service.asked
    assert called.json == {
        "name": "look",
        "arguments": {"q": "well?"},
        "session_id": room,
        "message_id": run,
        "user_id": "ann",
        "org": ORG,
    }
    named, timestamp = called.headers["webhook-id"], int(called.headers["webhook-timestamp"])
    assert named == f"{run}.1"
    signed = sign(key_of(SECRET), named, timestamp, called.body)
    assert called.headers["webhook-signature"] == signed
    assert called.headers["traceparent"] == first.headers["traceparent"]
    # What the model was told: nothing of the server's own.
    assert first.json["tools"] == second.json["tools"] == [tool("look")]
    assert second.json["messages"][2:] == [
        {
            "role": "assistant",
            "content": "I look. ",
            "tool_calls": [
                {
                    "id": "c0",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"q": "well?"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": '{"found":["it"]}'},
    ]


async def test_a_call_is_told_as_running_while_it_is_made(make: Make) -> None:
    app = await make(tool("look"))
    made = asyncio.Event()

    @app.tool("look")
    async def look(call: ToolCall) -> list[str]:
        await made.wait()
        return ["it"]

    viewer = await watch(app, room := await session(app))
    await ask(app, room)
    whole = {"status": "running", "name": "look", "input": {"q": "well?"}}
    await eventually(lambda: viewer.steps.get("c0", {}).items() >= whole.items(), LONG)
    assert "output" not in viewer.steps["c0"]
    made.set()
    await eventually(lambda: viewer.ended, LONG)
    assert viewer.steps["c0"].items() >= {"status": "complete", "output": ["it"]}.items()


async def test_functions_of_the_program_answer_in_turn(make: Make, service: Service) -> None:
    app = await make(tool("add"), tool("say", f"{service.url}/tool/text"), tool("look", "http://x"))
    at_once: list[str] = []
    most = 0

    @app.tool("add")
    async def add(call: ToolCall) -> dict[str, Any]:
        nonlocal most
        at_once.append(call.name)
        most = max(most, len(at_once))
        await asyncio.sleep(0)
        at_once.remove(call.name)
        return {"sum": sum(call.arguments["of"]), "for": call.user_id}

    @app.tool("look")
    async def look(call: ToolCall) -> str:
        """In the place of the service of that name."""
        return f"{call.user_id}\0\ud83c"

    found = await answered(app, await session(app), 'add {"of": [1, 2]}')
    wanted = '{"sum":3,"for":"ann"} | 찾았다\ufffd | ann\ufffd\ufffd'
    assert found.content == f"I look. {wanted}"
    outputs = [step["output"] for step in found.metadata["steps"]]
    assert outputs == [{"sum": 3, "for": "ann"}, "찾았다\ufffd", "ann\ufffd\ufffd"]
    assert most == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("refuses", "The tool refused (HTTP 500)"),
        ("no-json", "The tool's answer is no JSON"),
        ("no-text", "The tool's answer is no text"),
        ("large", "The tool's answer was cut, or is too large"),
        ("stalls", "The tool took too long"),
    ],
)
async def test_a_service_that_fails_is_told_to_the_model(
    make: Make, service: Service, how: str, text: str
) -> None:
    app = await make(tool("look", f"{service.url}/tool/{how}"), run_idle_seconds=2)
    found = await answered(app, await session(app), "look")
    assert (found.content, found.metadata["status"]) == (f"I look. {text}", "complete")
    (step,) = found.metadata["steps"]
    assert (step["status"], step["output"]) == ("failed", text)


async def test_a_function_that_fails_is_told_to_the_model(make: Make, service: Service) -> None:
    names = ("public", "secret", "no-json", "large", "slow")
    app = await make(*map(tool, names), run_idle_seconds=2)

    async def failing(call: ToolCall) -> Any:
        match call.name:
            case "public":
                raise ToolFailed("The shelf is empty\0")
            case "secret":
                raise RuntimeError("a secret of the inside")
            case "no-json":
                return {1: object()}
            case "large":
                return "x" * (256 * 1024 + 1)
        return await asyncio.Event().wait()

    for name in names:
        app.tool(name)(failing)
    found = await answered(app, await session(app), "look")
    told = [
        "The shelf is empty\ufffd",
        "The tool failed",
        "The tool failed",
        "The tool's answer is too large",
        "The tool took too long",
    ]
    assert found.content == "I look. " + " | ".join(told)
    steps = found.metadata["steps"]
    assert [(step["status"], step["output"]) for step in steps] == [("failed", t) for t in told]


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("{no", "The arguments are no JSON"),
        ("[1]", "The arguments are no JSON object"),
        ("7", "The arguments are no JSON object"),
        ('{"a": "' + "x" * 65_536 + '"}', "The arguments are too long"),
    ],
)
async def test_arguments_that_are_none_are_told_to_the_model(
    make: Make, service: Service, said: str, text: str
) -> None:
    app = await make(tool("look", f"{service.url}/tool/json"))
    found = await answered(app, await session(app), f"look {said}")
    assert found.content == f"I look. {text}"
    (step,) = found.metadata["steps"]
    assert step["status"] == "failed"
    assert step["input"] == said or len(said) > 8_192
    assert [one.path for one in service.asked] == ["/calls/v1/chat/completions"] * 2
    (call,) = service.asked[1].json["messages"][2]["tool_calls"]
    assert call["function"]["arguments"] == "{}"


async def test_a_model_that_never_ends_its_calls_is_given_up(make: Make, service: Service) -> None:
    app = await make(tool("look", f"{service.url}/tool/json"))
    found = await answered(app, await session(app), "again")
    assert found.metadata["status"] == "failed"
    assert found.metadata["error"] == "The agent comes to no end with its tools"
    asked = [one for one in service.asked if one.path.startswith("/calls/")]
    assert len(asked) == 10
    # The model's own ids are the same in each round; the steps are not.
    steps = found.metadata["steps"]
    assert len(steps) == len({step["step_id"] for step in steps}) == 10
    assert [step["status"] for step in steps] == ["complete"] * 10
    assert found.content == "I look. " * 10


async def test_what_nothing_answers_ends_the_run(make: Make, service: Service) -> None:
    """As does a round of calls of which one is answered by nothing: none is made."""
    app = await make(tool("theirs"), tool("look", f"{service.url}/tool/json"))

    @app.tool("other")
    async def other(call: ToolCall) -> str:
        """It is not this agent's, whatever its model says."""
        raise AssertionError

    room = await session(app)
    found = await answered(app, room, "look")
    assert (found.content, found.metadata["status"]) == ("I look. ", "complete")
    told = [(step["name"], step["status"], "output" in step) for step in found.metadata["steps"]]
    assert told == [("theirs", "complete", False), ("look", "complete", False)]
    found = await answered(app, await session(app), "other")
    assert [step["status"] for step in found.metadata["steps"]] == ["complete"]
    assert [one.path for one in service.asked] == ["/calls/v1/chat/completions"] * 2


async def test_stopping_hangs_up_on_a_tool(make: Make, service: Service) -> None:
    app = await make(tool("look", f"{service.url}/tool/stalls"))
    room = await session(app)
    viewer = await watch(app, room)
    run = await ask(app, room)
    await eventually(lambda: any("/tool/" in one.path for one in service.asked), LONG)
    await app.agents.runner.stop(ORG, run)
    await eventually(lambda: viewer.ended, LONG)
    async with asyncio.timeout(LONG):
        await service.hung_up.wait()


async def test_no_tool_is_asked_inside(
    make: Make, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither at its address nor by a redirect."""
    public_names(monkeypatch)
    outside = f"http://public.example:{service.port}"
    model = configured(outside, "openai")["calls"]
    for url in (f"{service.url}/tool/json", f"{outside}/tool/inside"):
        config = json.dumps({"typed": {**model, "tools": [tool("look", url)]}})
        app = await make(agents=config, agents_private_addresses=False)
        found = await answered(app, await session(app), "look")
        assert found.content == "I look. The tool's address is not allowed"
    paths = [one.path for one in service.asked if not one.path.startswith("/calls/")]
    assert paths == ["/tool/inside"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"type": "function", "url": "https://a.example", "secret": "s"}, "with a name"),
        (tool("look", secret="s"), "has no secret"),
        (tool("look", "ftp://a.example"), "an address begins with"),
        ({**tool("look"), "url": "https://a.example"}, "tool look of the agent m needs a secret"),
        (tool("look", "https://a.example", secret="whsec_!"), "has a secret that begins with"),
    ],
)
def test_a_tool_that_cannot_be_used_is_refused_at_the_start(
    given: dict[str, Any], told: str
) -> None:
    config = {**configured("http://127.0.0.1", "openai")["works"], "tools": [given]}
    with pytest.raises(SettingsError, match=told) as refused:
        open_catalog(json.dumps({"m": config}), JumpingClock(), delay=0, idle=1, private=False)
    assert "whsec_!" not in str(refused.value)
