"""An agent behind an OpenAI-compatible address, by the official client (the extra `openai`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import orjson

from madang.agents import refusals
from madang.agents.http_agent import BUSY, LIMIT
from madang.agents.protocol import (
    Agent,
    AgentFailed,
    AgentRun,
    Said,
    Step,
    StepStatus,
    Tool,
    ToolFailed,
    Turn,
    Usage,
)
from madang.agents.signing import retry_after
from madang.agents.speech import MOST_STEP_JSON
from madang.agents.tools import (
    MOST_ARGUMENTS,
    SHARE_OF_IDLE,
    Result,
    arguments_of,
    result_of,
)
from madang.clock import Clock
from madang.guarded import NotAllowed, guarded_client

MOST_ROUNDS = 10
"""How often the model is asked for one answer: again after each round of calls."""
MOST_RESULTS = 1024 * 1024
"""Characters of the results of one answer's calls together."""


def openai_agent(
    *,
    model: str,
    key: str,
    url: str | None,
    system: str | None,
    temperature: float | None,
    tools: Sequence[Mapping[str, Any]],
    tool: Callable[[str], Tool | None],
    clock: Clock,
    private: bool,
    idle: float,
) -> Agent:
    """Asks `model`. Its thinking (`reasoning_content`, as several servers send it) and the calls of
    `tools` are told as steps. `tool` finds what answers calls of a name: the model is told the
    results, and goes on. A call that nothing answers is the application's to carry out, and the
    last thing that the model says."""

    async def agent(run: AgentRun) -> AsyncIterator[Said]:
        messages: list[Any] = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn.role, "content": _content(turn)} for turn in run.turns]
        asked: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if temperature is not None:
            asked["temperature"] = temperature
        if tools:
            asked["tools"] = list(tools)
        # The client is typed for the next httpx, and takes this one.
        http: Any = guarded_client(private=private, limit=LIMIT, idle=idle, events=True)
        begun = False
        client = openai.AsyncOpenAI(api_key=key, base_url=url, http_client=http, max_retries=0)
        calling = _Calling(run, tool, idle * SHARE_OF_IDLE)
        try:
            async with client:
                for _ in range(MOST_ROUNDS):
                    stream = await client.chat.completions.create(
                        model=model,
                        messages=messages,
                        stream=True,
                        extra_headers={"traceparent": run.traceparent},
                        **asked,
                    )
                    begun = True
                    calling.begin()
                    async for said in calling.heard(stream):
                        yield said
                    if not calling.can_go_on:
                        for step in calling.left():
                            yield step
                        return
                    messages.append(calling.said())
                    for call in calling.calls.values():
                        result = await calling.call(call)
                        yield call.step("failed" if result.failed else "complete", result.output)
                        messages.append(
                            {"role": "tool", "tool_call_id": call.id, "content": result.text}
                        )
                raise AgentFailed("The agent comes to no end with its tools")
        except openai.APITimeoutError as error:
            raise AgentFailed("The agent said nothing for too long") from error
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, NotAllowed):
                refusals.not_allowed("an agent", error.__cause__)
            raise _connection(error.__cause__, begun) from error
        except openai.APIStatusError as error:
            if error.status_code in BUSY:
                seconds = retry_after(error.response.headers, clock.now())
                raise AgentFailed("The agent is busy", seconds) from error
            answer: Any = error.response
            text = await refusals.begun(answer)
            refusals.refused(str(client.base_url), error.status_code, text, (key,), run)
            raise AgentFailed(f"The agent refused (HTTP {error.status_code})") from error
        except openai.OpenAIError as error:
            raise AgentFailed("The agent failed") from error
        except httpx.TimeoutException as error:
            raise AgentFailed("The agent said nothing for too long") from error
        except httpx.DecodingError as error:
            raise AgentFailed("The agent's answer is compressed") from error
        except httpx.HTTPError as error:
            raise AgentFailed("The agent's answer was cut") from error
        except UnicodeDecodeError as error:
            raise AgentFailed("The agent's answer was cut") from error
        except (orjson.JSONDecodeError, ValueError) as error:
            raise AgentFailed("The agent sent an event that is no JSON") from error

    return agent


def _connection(cause: BaseException | None, begun: bool) -> AgentFailed:
    if isinstance(cause, NotAllowed):
        return AgentFailed("The agent's address is not allowed")
    if isinstance(cause, httpx.DecodingError):
        return AgentFailed("The agent's answer is compressed")
    if begun:
        return AgentFailed("The agent's answer was cut")
    return AgentFailed("The agent cannot be reached")


def _content(turn: Turn) -> str:
    """What was said, and a line for each file with it."""
    files = [
        f"[{one.name} ({one.type}, {one.size} bytes): {one.file_url}]" for one in turn.attachments
    ]
    return "\n".join([turn.content, *files] if turn.content else files)


@dataclass(slots=True)
class _Call:
    """A call of a tool as the model goes on saying it. `id` is the model's; `step_id` is its own
    among all calls of the run, whatever the model calls them."""

    id: str
    step_id: str
    name: str
    number: int
    arguments: str = ""

    def step(self, status: StepStatus, output: Any = None) -> Step:
        told = self._input(status)
        return Step(self.step_id, "tool_call", self.name, status, input=told, output=output)

    def _input(self, status: StepStatus) -> Any:
        """The arguments, once they are whole; what are none as the text that they are, once it is
        said that there is no more of them."""
        said = self.arguments
        over = status != "running"
        # Each delta comes here: what has no end yet is not read.
        if len(said) <= MOST_STEP_JSON and (over or said.rstrip().endswith("}")):
            with suppress(ToolFailed):
                return arguments_of(said)
        # The rest would not be kept.
        return said[: MOST_STEP_JSON + 1] if over else None


@dataclass(slots=True)
class _Calling:
    """The rounds of one answer: what the model says in each, and the calls in it."""

    run: AgentRun
    find: Callable[[str], Tool | None]
    seconds: float
    calls: dict[int, _Call] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    round: int = 0
    number: int = 0
    tokens: int = 0
    """Of the rounds before this one."""
    used: int = 0
    """Of this one."""
    results: int = 0
    """Characters of results so far."""
    named: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Another round."""
        self.round += 1
        self.calls, self.text = {}, []
        self.tokens, self.used = self.tokens + self.used, 0

    async def heard(self, stream: Any) -> AsyncIterator[Said]:
        """What the model says in this round. Its thinking ends where it says something else."""
        thinking = "thinking" if self.round == 1 else f"thinking-{self.round}"
        thought = Step(thinking, "thinking", status="complete")
        thinks = ended = False
        try:
            async for chunk in stream:
                if chunk.usage is not None and type(chunk.usage.total_tokens) is int:
                    self.used = max(0, chunk.usage.total_tokens)
                    yield Usage(self.tokens + self.used)
                for choice in chunk.choices[:1]:
                    delta = choice.delta
                    more = getattr(delta, "reasoning_content", None)
                    if isinstance(more, str) and more:
                        yield Step(thinking, "thinking", content=more)
                        thinks = True
                    if thinks and (delta.tool_calls or delta.content):
                        yield thought
                        thinks = False
                    for call in delta.tool_calls or ():
                        yield self._called(call)
                    if delta.content:
                        self.text.append(delta.content)
                        yield delta.content
                    ended = ended or choice.finish_reason is not None
        except Exception:
            if thinks:
                yield thought
            raise
        if thinks:
            yield thought
        if not ended:
            raise AgentFailed("The agent's answer was cut")

    def _called(self, delta: Any) -> Step:
        call = self.calls.get(delta.index)
        function = delta.function
        if call is None:
            self.number += 1
            given = delta.id or f"call-{self.number}"
            step_id = given[:80] if given[:80] not in self.named else f"{given[:80]}-{self.number}"
            self.named.add(step_id)
            name = (function.name if function is not None else None) or ""
            call = self.calls[delta.index] = _Call(given, step_id, name, self.number)
        # What is more is refused, and need not be kept for that.
        if function is not None and function.arguments and len(call.arguments) <= MOST_ARGUMENTS:
            call.arguments += function.arguments
        return call.step("running")

    @property
    def can_go_on(self) -> bool:
        """Whether there are calls, and something answers each of them."""
        return bool(self.calls) and all(self.find(call.name) for call in self.calls.values())

    def left(self) -> list[Step]:
        """The calls that are left to the application."""
        return [call.step("complete") for call in self.calls.values()]

    def said(self) -> dict[str, Any]:
        """What the model has said in this round, as it is told so in the next."""
        return {
            "role": "assistant",
            "content": "".join(self.text) or None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": _told(call.arguments)},
                }
                for call in self.calls.values()
            ],
        }

    async def call(self, call: _Call) -> Result:
        """What came of a call."""
        tool = self.find(call.name)
        assert tool is not None, "looked up before"
        result = await result_of(
            tool, self.run, call.name, call.arguments, call.number, self.seconds
        )
        self.results += len(result.text)
        if self.results > MOST_RESULTS:
            text = "The tools' answers are too large together"
            return Result(text, text, failed=True)
        return result


def _told(arguments: str) -> str:
    """Arguments as the model is told them again: some servers take nothing but a JSON object."""
    try:
        arguments_of(arguments)
    except ToolFailed:
        return "{}"
    return arguments if arguments.strip() else "{}"
