"""An agent behind HTTP: a service of somebody else that is asked with a signed request and answers
with Server-Sent Events.

The request is a POST of JSON, signed as `signing` says. Each event's data is one JSON object:

    {"type": "stream_chunk", "content": "…"}     more of the answer
    {"type": "run_step", "id", "kind", "name", "status", "content", "input", "output"}
    {"type": "usage", "tokens_used": N}
    {"type": "handover", "note"}
    {"type": "error", "message": "…"}            it cannot go on; people see the message
    {"type": "stream_end", "tokens_used": N}     that was all

Without `stream_end` the answer was cut, and the run fails with the text that came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import orjson
from httpx_sse import EventSource, SSEError

from madang.agents import refusals
from madang.agents.protocol import (
    STEP_STATUSES,
    Agent,
    AgentFailed,
    AgentRun,
    AskPerson,
    Said,
    Step,
    Usage,
)
from madang.agents.signing import key_of, retry_after, signed_headers
from madang.clock import Clock
from madang.guarded import NotAllowed, guarded_client

LIMIT = 16 * 1024 * 1024
"""Bytes of an answer, its framing included."""
BUSY = (429, 503)
"""What is asked again when it says so."""


def http_agent(url: str, secret: str, clock: Clock, *, private: bool, idle: float) -> Agent:
    """Asks the service at `url`; `idle` are the seconds it may be silent.

    Raises:
        ValueError: the secret is none.
    """
    key = key_of(secret)

    async def agent(run: AgentRun) -> AsyncIterator[Said]:
        body = orjson.dumps(
            {
                "message_id": run.message_id,
                "session_id": run.session_id,
                "org": run.org,
                "agent_id": run.agent_id,
                "user_id": run.user_id,
                "trace_id": run.trace_id,
                "question": run.question,
                "attachments": run.attachments,
                "messages": [
                    {
                        "role": turn.role,
                        "content": turn.content,
                        "user_id": turn.user_id,
                        "attachments": turn.attachments,
                    }
                    for turn in run.turns
                ],
                "metadata": run.metadata,
            }
        )
        headers = {
            **signed_headers(key, run.message_id, clock.now(), body),
            "accept": "text/event-stream",
            "traceparent": run.traceparent,
        }
        try:
            async with (
                guarded_client(private=private, limit=LIMIT, idle=idle, events=True) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                if answer.status_code not in (200, *BUSY):
                    text = await refusals.begun(answer)
                    refusals.refused(url, answer.status_code, text, (secret,), run)
                _check(answer, clock)
                async for said in _said(answer):
                    yield said
        except NotAllowed as error:
            refusals.not_allowed("an agent", error)
            raise AgentFailed("The agent's address is not allowed") from error
        except httpx.ConnectError as error:
            raise AgentFailed("The agent cannot be reached") from error
        except httpx.TimeoutException as error:
            raise AgentFailed("The agent said nothing for too long") from error
        except httpx.DecodingError as error:
            raise AgentFailed("The agent's answer is compressed") from error
        except httpx.HTTPError as error:
            raise AgentFailed("The agent's answer was cut") from error

    return agent


def _check(answer: httpx.Response, clock: Clock) -> None:
    if answer.status_code in BUSY:
        raise AgentFailed("The agent is busy", retry_after(answer.headers, clock.now()))
    if answer.status_code != 200:
        raise AgentFailed(f"The agent refused (HTTP {answer.status_code})")


async def _said(answer: httpx.Response) -> AsyncIterator[Said]:
    try:
        async for event in EventSource(answer).aiter_sse():
            if event.data == "[DONE]":
                return
            content = _json(event.data)
            match content.get("type"):
                case "stream_chunk":
                    yield _text(content.get("content"))
                case "stream_end":
                    tokens = content.get("tokens_used")
                    if type(tokens) is int and tokens >= 0:
                        yield Usage(tokens)
                    return
                case "run_step":
                    yield _step(content)
                case "usage" if type(content.get("tokens_used")) is int:
                    yield Usage(content["tokens_used"])
                case "handover":
                    note = content.get("note")
                    yield AskPerson(None if note is None else _text(note))
                case "error":
                    raise AgentFailed(_text(content.get("message", "The agent failed")))
                case _:
                    pass  # A newer service may say more.
    except SSEError as error:
        raise AgentFailed("The agent did not answer with events") from error
    raise AgentFailed("The agent's answer was cut")


def _json(data: str) -> dict[str, Any]:
    try:
        content = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise AgentFailed("The agent sent an event that is no JSON") from error
    if type(content) is not dict:
        raise AgentFailed("The agent sent an event that is no JSON object")
    return content


def _text(value: Any) -> str:
    if type(value) is not str:
        raise AgentFailed("The agent sent an event without text")
    return value


def _step(content: Mapping[str, Any]) -> Step:
    name, text, status = content.get("name"), content.get("content"), content.get("status")
    return Step(
        id=_text(content.get("id", ""))[:100],
        kind=_text(content.get("kind", "tool_call"))[:50],
        name=None if name is None else _text(name)[:200],
        status=status if status in STEP_STATUSES else "running",
        content=None if text is None else _text(text),
        input=content.get("input"),
        output=content.get("output"),
    )
