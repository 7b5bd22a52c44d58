"""An org of the test's own, its backend and its people, on the shared servers of both gateways."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.phone import Frame, Phone, calling
from tests.surfaces.people import House

EVENTS = "/api/v1/events"


class Desk:
    """A backend that publishes, and the ways in which people hear of it."""

    def __init__(self, server: Server, org: str, stack: AsyncExitStack) -> None:
        self.server = server
        self.org = org
        self._stack = stack
        self.backend = self.rest("backend", roles=["service"])

    def token(self, user: str, **claims: Any) -> str:
        return self.server.token(user, **{"org": self.org, **claims})

    def rest(self, user: str, **claims: Any) -> httpx.AsyncClient:
        client = self.server.rest(user, **{"org": self.org, **claims})
        self._stack.push_async_callback(client.aclose)
        return client

    async def publish(self, number: Any, *, user: str = "ann", **fields: Any) -> Frame:
        """Publish `{"n": number}` into a user's inbox, or wherever the fields say."""
        body = {"type": "counted", "payload": {"n": number}, "user_id": user, **fields}
        answer = await self.backend.post(EVENTS, json=body)
        assert answer.is_success, answer.text
        told: Frame = answer.json()
        return told

    def phone(self, user: str = "ann", **query: Any) -> AbstractAsyncContextManager[Phone]:
        """A WebSocket to the events surface."""
        address = f"ws://127.0.0.1:{self.server.port}{EVENTS}/ws"
        roles = query.pop("roles", ())
        return calling(address, self.token(user, roles=roles), **query)

    @asynccontextmanager
    async def stream(
        self, user: str = "ann", last_event_id: Any = None, **query: Any
    ) -> AsyncIterator[AsyncIterator[tuple[str | None, Frame]]]:
        """A stream of Server-Sent Events, each with its id."""
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        client = self.rest(user, roles=query.pop("roles", ()))
        request = client.stream("GET", f"{EVENTS}/stream", params=query, headers=headers)
        async with request as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield read_stream(answer)


async def read_stream(answer: httpx.Response) -> AsyncIterator[tuple[str | None, Frame]]:
    """(id, data) of each event of a response, comments left out."""
    number: str | None = None
    text = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            number = value
        elif name == "data":
            text += value
        elif not line and text:
            yield number, json.loads(text)
            number, text = None, ""


def numbers(events: list[Frame]) -> list[Any]:
    """The `n` of each event that the desk published."""
    return [event["payload"]["n"] for event in events if event["type"] == "counted"]


@pytest.fixture
async def desk(house: House) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        yield Desk(house.server, house.org, stack)
