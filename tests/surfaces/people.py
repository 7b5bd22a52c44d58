"""People at the door: clients made of other people's parts (`websockets`, httpx) that speak the
messenger's contract and nothing of ours."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect

from madang.testing import matches
from tests.cluster import TwoNodes
from tests.conftest import Server

PATIENCE = 10.0
"""Seconds a test waits for what must come."""

Frame = dict[str, Any]


class AsgiServer(Server):
    """The same app behind a stock uvicorn: its WebSocket frames come through plain ASGI."""

    def command(self) -> list[str]:
        options = ["--port", str(self.port), "--ws", "websockets-sansio", "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", "--factory", "madang:create_app", *options]

    def start(self) -> None:
        self.settings = {**self.settings, "dev": str(self.dev).lower()}
        super().start()


SERVERS: dict[str, type[Server]] = {"uvicorn": Server, "asgi": AsgiServer}


class Socket:
    """One device of one user: frames that nobody has asked for yet wait in `waiting`, in order."""

    def __init__(self, connection: ClientConnection, house: House) -> None:
        self.connection = connection
        self.house = house
        self.waiting: list[Frame] = []
        self.connected: Frame = {}
        self._ids = count(1)

    async def send(self, type: str, **fields: Any) -> None:
        await self.raw(json.dumps({"type": type, **fields}, ensure_ascii=False))

    async def raw(self, data: str | bytes) -> None:
        await self.connection.send(data)

    async def receive(self, patience: float = PATIENCE) -> Frame:
        """The next frame from the wire."""
        async with asyncio.timeout(patience):
            frame: Frame = orjson.loads(await self.connection.recv())
        return frame

    async def next(
        self, type: str | None = None, *, patience: float = PATIENCE, **fields: Any
    ) -> Frame:
        """The first frame like this, whether it waits or is still to come."""
        wanted = fields if type is None else {"type": type, **fields}
        for number, frame in enumerate(self.waiting):
            if matches(frame, wanted):
                return self.waiting.pop(number)
        async with asyncio.timeout(patience):
            while True:
                frame = await self.receive(patience)
                if matches(frame, wanted):
                    return frame
                self.waiting.append(frame)

    async def ask(self, type: str, **fields: Any) -> Frame:
        """Send a request and wait for the frame that replies to it."""
        number = f"q{next(self._ids)}"
        await self.send(type, id=number, **fields)
        return await self.next(reply_to=number)

    async def so_far(self) -> list[Frame]:
        """Everything that this device was to be sent until now, and has not been asked for.

        What the server wrote before the answer to a ping is here when that answer is; and what
        it had decided to write, before the answer to a second one.
        """
        await self.house.nodes_agree()
        await self.ask("ping")
        await self.ask("ping")
        frames, self.waiting = self.waiting, []
        return frames

    async def closed(self) -> tuple[int, str]:
        """Wait until the server has closed the connection: code and reason."""
        async with asyncio.timeout(PATIENCE):
            await self.connection.wait_closed()
        received = self.connection.protocol.close_rcvd
        return (received.code, received.reason) if received is not None else (1006, "")

    async def close(self) -> None:
        await self.connection.close()


class House:
    """An org of its own on a running server: nobody in it is known to any other test."""

    def __init__(self, server: Server, org: str | None = None) -> None:
        self.server = server
        self.org = org or f"org-{uuid.uuid4().hex[:12]}"
        self._open = AsyncExitStack()
        self._witnesses: list[Witness] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    def token(self, user: str, **claims: Any) -> str:
        return self.server.token(user, **{"org": self.org, **claims})

    def rest(self, user: str, **claims: Any) -> Rest:
        """REST as this user; closed with the house."""
        client = self.server.rest(user, **{"org": self.org, **claims})
        self._open.push_async_callback(client.aclose)
        return Rest(client)

    async def connect(
        self,
        user: str = "",
        *,
        query: str = "",
        path: str = "",
        token: str | None = None,
        **options: Any,
    ) -> Socket:
        """A WebSocket, with the token in the query unless the options say otherwise."""
        if token is None and user:
            token = self.token(user)
        asked = "&".join(part for part in (f"token={token}" if token else "", query) if part)
        address = f"{self.server.ws}{path}" + (f"?{asked}" if asked else "")
        connection = await connect(
            address, open_timeout=PATIENCE, max_size=None, max_queue=None, **options
        )
        self._open.push_async_callback(connection.close)
        return Socket(connection, self)

    async def nodes_agree(self) -> None:
        """Wait until every node has heard what the others have told until now.

        What a node tells the others arrives in order: so somebody on each node says something, and
        somebody on each node waits for it.
        """
        if not isinstance(self.server, TwoNodes):
            return
        if not self._witnesses:
            names = [f"witness-{n}" for n in range(len(self.server.nodes))]
            room = await self.group(*names)
            for node, name in zip(self.server.nodes, names, strict=True):
                socket = await House(node, self.org).device(name)
                self._open.push_async_callback(socket.close)
                self._witnesses.append(Witness(socket, room))
        said = {witness: await witness.say() for witness in self._witnesses}
        for witness in self._witnesses:
            for other in self._witnesses:
                if other is not witness:
                    await witness.socket.next("message.new", data={"id": said[other]})

    async def device(self, user: str, *, live: bool = True, **options: Any) -> Socket:
        """A connected device. With `live` it has said that it missed nothing, so that what
        happens from now on comes at once."""
        socket = await self.connect(user, **options)
        socket.connected = await socket.next("system", event="connected")
        if live:
            await socket.ask("resume", cursor=socket.connected["cursor"])
        return socket

    async def group(self, creator: str, *others: str, **fields: Any) -> str:
        """A group's id."""
        body = {"kind": "group", "participant_ids": list(others), **fields}
        answer = await self.rest(creator).post("/conversations", body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def until_present(self, asker: str, user: str, status: str, devices: int) -> None:
        """Wait until `asker` is told so of `user`: another node's devices take a moment to be
        known here."""
        rest, found = self.rest(asker), None
        try:
            async with asyncio.timeout(PATIENCE):
                while found != [(status, devices)]:
                    answer = (await rest.get("/presence", user_ids=user)).json()["users"]
                    found = [(one["status"], one["devices"]) for one in answer]
        except TimeoutError:
            raise AssertionError(f"{user} is {found} and not {(status, devices)}") from None

    async def say(self, user: str, conversation: str, content: str, **fields: Any) -> Frame:
        """A MESSAGE, sent over REST."""
        path = f"/conversations/{conversation}/messages"
        answer = await self.rest(user).post(path, {"content": content, **fields})
        assert answer.status_code == 201, answer.text
        message: Frame = answer.json()
        return message


class Witness:
    """Somebody of whom nobody but the other witnesses hears."""

    def __init__(self, socket: Socket, room: str) -> None:
        self.socket = socket
        self.room = room

    async def say(self) -> str:
        """The id of a new message."""
        sent = await self.socket.ask("message.send", conversation_id=self.room, content="now")
        return str(sent["message_id"])


class Rest:
    """The messenger's REST API as one user."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def call(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return await self.client.request(method, f"/api/v1/messenger{path}", **options)

    async def get(self, path: str, **query: Any) -> httpx.Response:
        return await self.call("GET", path, params=query)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.call("POST", path, body, **options)

    async def patch(self, path: str, body: Any) -> httpx.Response:
        return await self.call("PATCH", path, body)

    async def put(self, path: str, body: Any) -> httpx.Response:
        return await self.call("PUT", path, body)

    async def delete(self, path: str) -> httpx.Response:
        return await self.call("DELETE", path)


def error(frame: Frame, code: str, message: str) -> None:
    """The frame is this error, and nothing internal is in it."""
    assert frame["type"] == "error"
    assert (frame["code"], frame["message"]) == (code, message)
    assert frame.keys() <= {"type", "code", "message", "retry_after", "reply_to"}


def problem(answer: httpx.Response, status: int, code: str, detail: str | None = None) -> Frame:
    """The answer is this RFC 9457 problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content: Frame = answer.json()
    assert content["status"] == status
    assert content["code"] == code
    assert content["type"] and content["title"]
    if detail is not None:
        assert content["detail"] == detail
    return content


OpenHouse = Callable[..., House]


@asynccontextmanager
async def house_on(server: Server) -> AsyncIterator[House]:
    """A house, and afterwards proof that the server took no harm."""
    log = server.log_from_here()
    async with House(server) as house:
        yield house
    unharmed(server, log())


def unharmed(server: Server, log: str | None = None) -> None:
    """Nothing of ours failed, as its log says, or this part of it. A stock uvicorn logs the broken
    frames of clients as failures of its own: on it, only tracebacks that lead through Madang
    count."""
    logged = server.log if log is None else log
    for failure in logged.split("Traceback")[1:]:
        stock = isinstance(server, AsgiServer)
        assert stock and "src/madang/" not in failure, f"Traceback{failure}"
