"""An agent behind HTTP: a service of somebody else that is asked with a signed request and answers
with Server-Sent Events.

The request is a POST of JSON, signed as the Standard Webhooks specification says (`webhook-id`,
`webhook-timestamp`, `webhook-signature: v1,…`, HMAC-SHA256 over `id.timestamp.body`). Each event's
data is one JSON object:

    {"type": "stream_chunk", "content": "…"}     more of the answer
    {"type": "run_step", "id", "kind", "name", "status", "content", "input", "output"}
    {"type": "usage", "tokens_used": N}
    {"type": "handover", "note"}
    {"type": "error", "message": "…"}            it cannot go on; people see the message
    {"type": "stream_end", "tokens_used": N}     that was all

Without `stream_end` the answer was cut, and the run fails with the text that came.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import orjson
from httpx_sse import EventSource, SSEError

from madang.agents.protocol import Agent, AgentFailed, AgentRun, AskPerson, Said, Step, Usage
from madang.clock import Clock
from madang.guarded import NotAllowed, guarded_client

LIMIT = 16 * 1024 * 1024
"""Bytes of an answer, its framing included."""
_STATUSES = ("running", "complete", "failed")


def key_of(secret: str) -> bytes:
    """The key that a secret stands for, by the Standard Webhooks specification. One that begins
    with `whsec_` is base64 behind that; any other is taken as it is.

    Raises:
        ValueError: what stands behind `whsec_` is no base64, or nothing.
    """
    if not secret.startswith("whsec_"):
        return secret.encode()
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not key:
        raise ValueError("nothing stands behind whsec_")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a request, by the same specification."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


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
        timestamp = clock.now() // 1_000_000
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream",
            "traceparent": run.traceparent,
            "webhook-id": run.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(key, run.message_id, timestamp, body),
        }
        try:
            async with (
                guarded_client(private=private, limit=LIMIT, idle=idle, events=True) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                _check(answer)
                async for said in _said(answer):
                    yield said
        except NotAllowed as error:
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


def _check(answer: httpx.Response) -> None:
    if answer.status_code in (429, 503):
        raise AgentFailed("The agent is busy", retry_after(answer.headers))
    if answer.status_code != 200:
        raise AgentFailed(f"The agent refused (HTTP {answer.status_code})")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds of a `Retry-After`; None where there is none, or it is a date."""
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


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
        status=status if status in _STATUSES else "running",
        content=None if text is None else _text(text),
        input=content.get("input"),
        output=content.get("output"),
    )
