"""A room and the people in it: clients that speak the live contract and nothing of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
from websockets.asyncio.client import connect

from tests.surfaces.people import PATIENCE, Frame, House, Socket

SESSIONS = "/api/v1/sessions"


class Hall:
    """A room of its own in a house. `host_token` and `code` as they were told."""

    def __init__(self, house: House, room: Frame) -> None:
        self.house = house
        self.room = room
        self.code: str = room["session_code"]
        self.host_token: str = room["host_token"]

    async def ask(
        self, method: str, path: str = "", body: Any = None, token: str | None = None, **more: Any
    ) -> httpx.Response:
        """A REST request about the room, with a seat's or the host's token, or without."""
        return await ask(self.house, method, f"/{self.code}{path}", body, token, **more)

    async def as_host(self, method: str, path: str = "", body: Any = None) -> Frame:
        """A host's request that succeeds."""
        answer = await self.ask(method, path, body, self.host_token)
        assert answer.is_success, answer.text
        content: Frame = answer.json()
        return content

    async def join(self, nickname: str, **fields: Any) -> Frame:
        """A new seat."""
        answer = await self.ask("POST", "/participants", {"nickname": nickname, **fields})
        assert answer.status_code == 201, answer.text
        seat: Frame = answer.json()
        return seat

    async def connect(
        self,
        participant: str,
        token: str | None,
        *,
        code: str | None = None,
        query: str = "",
        **options: Any,
    ) -> Socket:
        """A WebSocket to a seat, whatever becomes of it."""
        address = f"ws://127.0.0.1:{self.house.server.port}/api/v1/ws"
        address += f"/{quote(code or self.code)}/{quote(participant)}?"
        if token is not None:
            address += f"token={quote(token)}&"
        connection = await connect(
            address + query, open_timeout=PATIENCE, max_size=None, max_queue=None, **options
        )
        self.house._open.push_async_callback(connection.close)
        return Socket(connection, self.house)

    async def enter(self, seat: Frame, *, live: bool = True, query: str = "") -> Socket:
        """A connected device of a seat. With `live` it has said that it missed nothing."""
        socket = await self.connect(seat["participant_id"], seat["token"], query=query)
        socket.connected = await socket.next("connected")
        if live:
            await socket.ask("resume", cursor=socket.connected["cursor"])
        return socket

    async def host(self, *, live: bool = True) -> Socket:
        """A device of the host's."""
        seat = {"participant_id": self.room["participant_id"], "token": self.host_token}
        return await self.enter(seat, live=live)

    async def guest(self, nickname: str, **fields: Any) -> Socket:
        """Somebody who joins and connects; their seat is `seat_of` the socket."""
        seat = await self.join(nickname, **fields)
        socket = await self.enter(seat)
        socket.connected["token"] = seat["token"]
        return socket

    async def question(self, asker: Socket, content: str, **fields: Any) -> str:
        """The id of a new question."""
        told = await asker.ask("question", content=content, **fields)
        assert told["type"] == "question", told
        return str(told["message_id"])


def seat_of(socket: Socket) -> Frame:
    """The seat of a guest."""
    return {"participant_id": id_of(socket), "token": socket.connected["token"]}


def id_of(socket: Socket) -> str:
    return str(socket.connected["participant_id"])


async def ask(
    house: House, method: str, path: str, body: Any = None, token: str | None = None, **more: Any
) -> httpx.Response:
    """A REST request under `/api/v1/sessions`, as somebody without an account."""
    headers = {**more.pop("headers", {})}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with httpx.AsyncClient(base_url=house.server.url, timeout=30) as client:
        if body is not None:
            more["json"] = body
        return await client.request(method, f"{SESSIONS}{path}", headers=headers, **more)


async def open_hall(house: House, title: str = "Town hall", **fields: Any) -> Hall:
    """A new room, opened by a user of the house's org."""
    body = {"title": title, **fields}
    answer = await ask(house, "POST", "", body, house.token("teacher"))
    assert answer.status_code == 201, answer.text
    return Hall(house, answer.json())


def plain(frame: Frame) -> Frame:
    """What a frame says, without its place in the log and what only its asker was told."""
    beside = ("seq", "cursor", "reply_to", "own", "voted", "mine")
    return {name: frame[name] for name in frame if name not in beside}
