"""Sessions as a client written to the contract page sees them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import connect

from tests.files.clients import Uploader
from tests.surfaces.people import PATIENCE, Frame, House, Socket

LONG = 30.0
"""Seconds that an answer may take on a slow machine."""


class Chat:
    """The agents' surface of a house."""

    def __init__(self, house: House) -> None:
        self.house = house

    def rest(self, user: str, **claims: Any) -> Api:
        client = self.house.server.rest(user, **{"org": self.house.org, **claims})
        self.house._open.push_async_callback(client.aclose)
        return Api(client)

    async def session(self, user: str = "ann", agent: str = "echo", **fields: Any) -> str:
        """A new session's id."""
        answer = await self.rest(user).post("/sessions", {"agent_id": agent, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["session_id"])

    async def open(
        self, user: str, session_id: str, *, after: int | None = None, **claims: Any
    ) -> Socket:
        """A WebSocket, whatever becomes of it."""
        token = self.house.token(user, **claims)
        port = self.house.server.port
        address = f"ws://127.0.0.1:{port}/api/chat/ws/{session_id}?token={token}"
        if after is not None:
            address += f"&after={after}"
        connection = await connect(
            address, open_timeout=PATIENCE, max_size=None, max_queue=None, ping_interval=None
        )
        self.house._open.push_async_callback(connection.close)
        return Socket(connection, self.house)

    async def join(
        self, user: str, session_id: str, *, after: int | None = None, **claims: Any
    ) -> Socket:
        """One that is in the session. What it was sent on the way waits in it."""
        socket = await self.open(user, session_id, after=after, **claims)
        socket.connected = await socket.next("system", event="connected", patience=LONG)
        await socket.ask("ping")
        return socket


class Api:
    """The agents' REST API as one user."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def call(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return await self.client.request(method, f"/api/chat{path}", **options)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, body, **options)

    async def patch(self, path: str, body: Any) -> httpx.Response:
        return await self.call("PATCH", path, body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.call("DELETE", path)

    async def messages(self, session_id: str, **query: Any) -> list[Frame]:
        answer = await self.get(f"/sessions/{session_id}/messages", **query)
        assert answer.status_code == 200, answer.text
        found: list[Frame] = answer.json()["messages"]
        return found

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> AsyncIterator[Events]:
        """An answer of Server-Sent Events."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.client.stream(
            method, f"/api/chat{path}", json=body, headers=named, timeout=LONG
        ) as answer:
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield Events(answer)


class Events:
    """Server-Sent Events, read by hand: (id, data)."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[str | None, Frame]:
        identity, data = None, None
        async with asyncio.timeout(LONG):
            async for line in self._lines:
                if line.startswith("id:"):
                    identity = line[3:].strip()
                elif line.startswith("data:"):
                    data = json.loads(line[5:])
                elif not line and data is not None:
                    return identity, data
        raise EOFError

    async def all(self) -> list[tuple[str | None, Frame]]:
        """Until the stream ends."""
        found = []
        while True:
            try:
                found.append(await self.next())
            except EOFError:
                return found


async def two(chat: Chat) -> tuple[str, Socket, Socket]:
    """A session of Ann's with an agent outside: its id, she and it."""
    session = await chat.session("ann", "bot-7")
    ann = await chat.join("ann", session)
    bot = await chat.join("bot-7", session, roles=["agent"])
    return session, ann, bot


async def answer_of(socket: Socket, message_id: str | None = None) -> tuple[str, str, Frame]:
    """The next whole answer on a socket, by the chunks: (message id, text, its end). Every chunk
    begins where the one before it ended, and their numbers rise."""
    start = await socket.next(
        "stream_start", patience=LONG, **({"message_id": message_id} if message_id else {})
    )
    message_id = str(start["message_id"])
    text, last = "", -1
    while True:
        frame = await socket.next(patience=LONG, message_id=message_id)
        if frame["type"] == "stream_chunk":
            assert frame["offset"] == len(text)
            assert frame["index"] > last or (frame["index"] == last == 0 and not text)
            last = frame["index"]
            text += frame["content"]
        elif frame["type"] == "stream_end":
            return message_id, text, frame


async def uploaded(
    chat: Chat, user: str, session_id: str, name: str = "plan.pdf", content: bytes = b"%PDF-1.7"
) -> str:
    """The id of a file that is there and not sent."""
    uploader = Uploader(chat.house, user)
    url = await uploader.begun(session_id, len(content), filename=name)
    answer = await uploader.append(url, 0, content)
    assert answer.status_code == 204, answer.text
    return url.rpartition("/")[2]


def words(count: int) -> str:
    """Many words, all different, with characters of one to four bytes."""
    return " ".join(f"w{number}-안녕-🌊" for number in range(count))
