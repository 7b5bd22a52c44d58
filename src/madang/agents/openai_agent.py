"""An agent behind an OpenAI-compatible address, by the official client (the extra `openai`)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import openai
import orjson

from madang.agents.http_agent import LIMIT, retry_after
from madang.agents.protocol import Agent, AgentFailed, AgentRun, Said, Step, Usage
from madang.agents.speech import MOST_STEP_JSON
from madang.guarded import NotAllowed, guarded_client


def openai_agent(
    *,
    model: str,
    key: str,
    url: str | None,
    system: str | None,
    temperature: float | None,
    tools: Sequence[Mapping[str, Any]],
    private: bool,
    idle: float,
) -> Agent:
    """Asks `model`. Its thinking (`reasoning_content`, as several servers send it) and the calls of
    `tools` are told as steps; the calls themselves are the application's to carry out."""

    async def agent(run: AgentRun) -> AsyncIterator[Said]:
        messages: list[Any] = [{"role": "system", "content": system}] if system else []
        messages += [{"role": turn.role, "content": turn.content} for turn in run.turns]
        asked: dict[str, Any] = {"stream_options": {"include_usage": True}}
        if temperature is not None:
            asked["temperature"] = temperature
        if tools:
            asked["tools"] = list(tools)
        # The client is typed for the next httpx, and takes this one.
        http: Any = guarded_client(private=private, limit=LIMIT, idle=idle, events=True)
        begun = False
        client = openai.AsyncOpenAI(api_key=key, base_url=url, http_client=http, max_retries=0)
        try:
            async with client:
                stream = await client.chat.completions.create(
                    model=model,
                    messages=messages,
                    stream=True,
                    extra_headers={"traceparent": run.traceparent},
                    **asked,
                )
                begun = True
                async for said in _said(stream):
                    yield said
        except openai.RateLimitError as error:
            seconds = retry_after(error.response.headers)
            raise AgentFailed("The agent is busy", seconds) from error
        except openai.APITimeoutError as error:
            raise AgentFailed("The agent said nothing for too long") from error
        except openai.APIConnectionError as error:
            raise _connection(error.__cause__, begun) from error
        except openai.APIStatusError as error:
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


async def _said(stream: Any) -> AsyncIterator[Said]:
    calls: dict[int, Step] = {}
    ended = False
    async for chunk in stream:
        if chunk.usage is not None:
            yield Usage(max(0, chunk.usage.total_tokens or 0))
        for choice in chunk.choices[:1]:
            delta = choice.delta
            thought = getattr(delta, "reasoning_content", None)
            if isinstance(thought, str) and thought:
                yield Step("thinking", "thinking", content=thought)
            for call in delta.tool_calls or ():
                yield _called(calls, call)
            if delta.content:
                yield delta.content
            if choice.finish_reason is not None:
                ended = True
                for step in calls.values():
                    yield Step(step.id, "tool_call", step.name, "complete", input=step.input)
    if not ended:
        raise AgentFailed("The agent's answer was cut")


def _called(calls: dict[int, Step], call: Any) -> Step:
    before = calls.get(call.index)
    name = call.function.name if call.function is not None else None
    said = (call.function.arguments if call.function is not None else None) or ""
    step = Step(
        before.id if before else (call.id or f"call-{call.index}"),
        "tool_call",
        before.name if before else name,
        # The rest would not be kept, and each delta tells all of it.
        input=((before.input if before else "") + said)[: MOST_STEP_JSON + 1],
    )
    calls[call.index] = step
    return step
