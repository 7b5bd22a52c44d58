"""Requests whose bodies do not come: nobody holds a connection by saying almost nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from madang.clock import SystemClock
from madang.surfaces.requests import BodyLimit
from tests.surfaces.people import PATIENCE, House

HEAD = "POST /api/chat/sessions HTTP/1.1\r\nHost: localhost\r\n"
ANNOUNCED = HEAD + "Content-Length: 100\r\n\r\n{"
CHUNKED = HEAD + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


@pytest.mark.parametrize("said", [ANNOUNCED, CHUNKED], ids=["announced", "chunked"])
async def test_a_body_that_stalls_is_refused_and_its_connection_closed(
    open_house: Callable[..., House], said: str
) -> None:
    house = open_house(body_timeout="0.6")
    reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
    try:
        writer.write(said.encode())
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
    finally:
        writer.close()
    headers, _, body = answer.partition(b"\r\n\r\n")
    assert headers.startswith(b"HTTP/1.1 408 "), answer
    problem = orjson.loads(body)
    assert (problem["code"], problem["detail"]) == ("UNAVAILABLE", "Request body took too long")
    async with house:
        assert (await house.rest("ann").get("/conversations")).status_code == 200


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def dropped(_: Message) -> None:
    pass


async def test_a_body_that_comes_drop_by_drop_is_refused() -> None:
    async def drip() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"", "more_body": True}

    limited = BodyLimit(read_all, SystemClock(), 0.05)
    with pytest.raises(HTTPException, match="Request body took too long") as refused:
        async with asyncio.timeout(PATIENCE):
            await limited({"type": "http", "path": "/", "headers": []}, drip, dropped)
    assert refused.value.status_code == 408


async def test_whoever_waits_for_a_client_to_go_may_wait_for_ever() -> None:
    """Behind a whole body, and once the answer has begun."""
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/answered":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        else:
            await receive()
        assert (await receive())["type"] == "http.disconnect"

    limited = BodyLimit(app, SystemClock(), 0.01)
    for path, pieces in (("/answered", 0), ("/whole", 1)):
        waiting: list[Message] = [
            {"type": "http.request", "body": b"", "more_body": False}
        ] * pieces

        async def receive(waiting: list[Message] = waiting) -> Message:
            if waiting:
                return waiting.pop()
            asyncio.get_running_loop().call_later(0.1, gone.set)
            async with asyncio.timeout(PATIENCE):
                await gone.wait()
            gone.clear()
            return {"type": "http.disconnect"}

        await limited({"type": "http", "path": path, "headers": []}, receive, dropped)
