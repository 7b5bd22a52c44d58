"""What answers the calls of tools that a model makes: functions of the program, and services of
others behind HTTP, which are asked as agents behind HTTP are.

A service gets a signed POST of JSON (`name`, `arguments`, `session_id`, `message_id`, `user_id`,
`org`) and answers with the result, as JSON or text. Whatever goes wrong is told to the model as
text, for it to do without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from madang import logs
from madang.agents import refusals
from madang.agents.fit import fit_text
from madang.agents.protocol import AgentRun, Tool, ToolCall, ToolFailed
from madang.agents.signing import key_of, signed_headers
from madang.clock import Clock
from madang.guarded import NotAllowed, guarded_client

log = logs.get_logger(__name__)

MOST_RESULT = 256 * 1024
"""Bytes of a result: more than a model reads."""
MOST_ARGUMENTS = 64 * 1024
"""Characters of a call's arguments."""
SHARE_OF_IDLE = 0.75
"""Of the time that an agent may say nothing, how much a tool may take: so that the model is told of
it, and says something, before the run is given up."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a call: as the model is told it, as people are, and whether it failed."""

    text: str
    output: Any
    failed: bool = False


def http_tool(url: str, secret: str, clock: Clock, *, private: bool, idle: float) -> Tool:
    """Asks the service at `url`; `idle` are the seconds it may be silent.

    Raises:
        ValueError: the secret is none.
    """
    key = key_of(secret)

    async def tool(call: ToolCall) -> Any:
        body = orjson.dumps(
            {
                "name": call.name,
                "arguments": call.arguments,
                "session_id": call.session_id,
                "message_id": call.message_id,
                "user_id": call.user_id,
                "org": call.org,
            }
        )
        headers = {
            **signed_headers(key, call.id, clock.now(), body),
            "accept": "application/json, text/plain",
            "traceparent": call.traceparent,
        }
        try:
            async with guarded_client(private=private, limit=MOST_RESULT, idle=idle) as client:
                answer = await client.post(url, content=body, headers=headers)
        except NotAllowed as error:
            refusals.not_allowed("a tool", error)
            raise ToolFailed("The tool's address is not allowed") from error
        except httpx.ConnectError as error:
            raise ToolFailed("The tool cannot be reached") from error
        except httpx.TimeoutException as error:
            raise ToolFailed("The tool took too long") from error
        except httpx.DecodingError as error:
            raise ToolFailed("The tool's answer is compressed") from error
        except httpx.HTTPError as error:
            raise ToolFailed("The tool's answer was cut, or is too large") from error
        if not answer.is_success:
            raise ToolFailed(f"The tool refused (HTTP {answer.status_code})")
        return _content(answer)

    return tool


def _content(answer: httpx.Response) -> Any:
    try:
        text = answer.content.decode()
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json" or kind.endswith("+json"):
            return orjson.loads(text)
    except UnicodeDecodeError as error:
        raise ToolFailed("The tool's answer is no text") from error
    except orjson.JSONDecodeError as error:
        raise ToolFailed("The tool's answer is no JSON") from error
    return text


async def result_of(
    tool: Tool, run: AgentRun, name: str, arguments: str, number: int, seconds: float
) -> Result:
    """Call it, and say what came of it.

    Args:
        arguments: as the model said them.
        number: of the call in its run.
        seconds: how long it may take.
    """
    try:
        call = ToolCall(
            f"{run.message_id}.{number}",
            name,
            arguments_of(arguments),
            run.session_id,
            run.message_id,
            run.user_id,
            run.org,
            run.traceparent,
        )
        async with asyncio.timeout(seconds):
            found = await tool(call)
        text = found if isinstance(found, str) else orjson.dumps(found).decode()
        if len(text) > MOST_RESULT:
            raise ToolFailed("The tool's answer is too large")
    except ToolFailed as failure:
        text = fit_text(str(failure.text))[:MOST_RESULT]
        return Result(text, text, failed=True)
    except TimeoutError:
        return Result("The tool took too long", "The tool took too long", failed=True)
    except Exception:
        log.exception("a tool failed", tool=name)
        return Result("The tool failed", "The tool failed", failed=True)
    text = fit_text(text)
    return Result(text, text if isinstance(found, str) else found)


def arguments_of(said: str) -> Mapping[str, Any]:
    """Raises ToolFailed where they are no JSON object."""
    if len(said) > MOST_ARGUMENTS:
        raise ToolFailed("The arguments are too long")
    try:
        found = orjson.loads(said) if said.strip() else {}
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        raise ToolFailed("The arguments are no JSON") from error
    if type(found) is not dict:
        raise ToolFailed("The arguments are no JSON object")
    return found
