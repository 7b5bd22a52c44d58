"""A client that talks without end: it asks for all kinds of things, sends again what was not
acknowledged, comes back by its cursor on whichever node it is sent to, and records all of it.

It knows the contract and nothing of the server. It gives a connection up when that is silent.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.faults.history import Call, Frame, History, Kind, Seen
from tests.snapshot import API, Snapshot, snapshot

WINDOW = 4
"""Calls that a device has under way."""
SILENCE = 2.0
"""Seconds after which a client asks whether the server is there, and after as many more leaves."""
CONNECTING = 3.0
PAUSE = 0.05
"""Seconds between two tries to connect, as a client of people would wait longer."""
REST_SECONDS = 5.0
MAYBE = frozenset({"UNAVAILABLE", "RATE_LIMIT"})
"""Codes after which a client tries again later."""


@dataclass(frozen=True, slots=True)
class Door:
    """A node as a client reaches it."""

    node: str
    url: str

    @property
    def ws(self) -> str:
        return f"ws{self.url.removeprefix('http')}{API}/ws"


@dataclass(slots=True)
class Message:
    id: str
    room: str
    sender: str


class Yard:
    """What the devices of one org share: its rooms, and the latest messages to act on."""

    def __init__(self, org: str, users: list[str], token: Callable[[str], str]) -> None:
        self.org = org
        self.users = users
        self.token = token
        self.rooms: dict[str, str] = {}
        """Whoever created each, and so is its admin at first."""
        self.messages: deque[Message] = deque(maxlen=60)
        self.acks = 0
        self.opening = False
        """Whether rooms are opened while faults happen, too."""
        self.stopping = asyncio.Event()
        self.stirred = asyncio.Event()
        """Set with each confirmation."""


class Device:
    """One client of one user. `run` until `yard.stopping` is set and nothing is under way."""

    def __init__(
        self,
        name: str,
        user: str,
        yard: Yard,
        history: History,
        door: Callable[[], Door],
        chance: random.Random,
        *,
        acts: bool = True,
    ) -> None:
        self.name = name
        self.user = user
        self.yard = yard
        self.history = history
        self.cursor: int | None = None
        self.base: Snapshot | None = None
        self.since_base: list[Frame] = []
        self.seen: Seen | None = None
        self.moved = asyncio.Event()
        """Set with each frame."""
        self._door = door
        self._chance = chance
        self._acts = acts
        self._sent = 0
        self._unacked: dict[str, Call] = {}
        self._pending: dict[int, Call] = {}
        self._socket: ClientConnection | None = None
        self._leaving = False
        self._inside: set[str] = set()

    # Coming and going.

    async def run(self) -> None:
        while not (self.yard.stopping.is_set() and self._idle() and self._leaving):
            door = self._door()
            try:
                address = f"{door.ws}?token={self.yard.token(self.user)}"
                async with connect(
                    address,
                    open_timeout=CONNECTING,
                    close_timeout=0.2,
                    ping_interval=None,
                    max_size=None,
                    max_queue=None,
                    proxy=None,
                    compression=None,
                ) as socket:
                    self._socket = socket
                    await self._talk(socket, door)
            except (OSError, WebSocketException, TimeoutError, httpx.HTTPError):
                await self._pause()
            finally:
                self._socket = None
                # Whatever was under way may have happened or not; only a send can be repeated.
                self._pending = {
                    number: call for number, call in self._pending.items() if call.kind == "send"
                }

    async def _pause(self) -> None:
        """Between two tries: nothing tells a client when the server is back."""
        try:
            async with asyncio.timeout(PAUSE):
                await asyncio.Event().wait()
        except TimeoutError:
            pass

    def hang_up(self) -> None:
        """Drop the connection without a word, and come back elsewhere."""
        if self._socket is not None:
            self._socket.transport.abort()

    def leave(self) -> None:
        """Let `run` end."""
        self._leaving = True
        self.hang_up()

    def _idle(self) -> bool:
        return not self._unacked and not self._pending

    @property
    def idle(self) -> bool:
        """Nothing is under way, and it is connected and has caught up."""
        return self._idle() and self.seen is not None and self.seen.reached is not None

    def unanswered(self) -> list[Call]:
        return list({**self._pending, **{c.number: c for c in self._unacked.values()}}.values())

    async def _talk(self, socket: ClientConnection, door: Door) -> None:
        async with asyncio.timeout(CONNECTING):
            hello: Frame = json.loads(await socket.recv())
        if hello["type"] != "system":
            self.history.troubles.append(f"{self.name} was greeted with {hello}")
        if self.cursor is None:
            self.cursor = hello["cursor"]
        seen = self.history.opened(self.name, self.user, door.node)
        seen.since = self.cursor
        self.seen = seen
        await self._say(socket, "resume", cursor=self.cursor)
        if self.base is None:
            await self._begin(door)
        for call in list(self._unacked.values()):
            await self._send(socket, call)
        acting = asyncio.create_task(self._act(socket, door))
        try:
            await self._listen(socket, seen, door)
        finally:
            acting.cancel()
            await asyncio.gather(acting, return_exceptions=True)

    async def _begin(self, door: Door) -> None:
        """What the client knows before its first event."""
        async with self._rest(door) as rest:
            self.base = await snapshot(rest)
            self.since_base = []
            self._inside = set(self.base)

    async def _listen(self, socket: ClientConnection, seen: Seen, door: Door) -> None:
        asked = False
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    frame: Frame = json.loads(await socket.recv())
            except TimeoutError:
                if asked:
                    socket.transport.abort()
                    return
                asked = True
                await self._say(socket, "ping")
                continue
            asked = False
            seen.told(frame)
            await self._handle(frame, seen, door)
            self.move()

    def move(self) -> None:
        """Wake whoever waits for the device to move on."""
        self.moved.set()
        self.moved.clear()

    def _rest(self, door: Door) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=door.url,
            headers={"Authorization": f"Bearer {self.yard.token(self.user)}"},
            timeout=REST_SECONDS,
            trust_env=False,
        )

    # What it is told.

    async def _handle(self, frame: Frame, seen: Seen, door: Door) -> None:
        kind = frame["type"]
        if kind == "resumed":
            self.cursor = frame["cursor"]
            if not frame["recovered"]:
                await self._begin(door)
        elif kind == "message.sent":
            self._confirmed(self._unacked.pop(frame["client_id"], None), frame)
        elif "seq" in frame and "cursor" in frame:
            self.cursor = max(self.cursor or 0, frame["cursor"])
            self.since_base.append(frame)
            if kind == "conversation.created" or frame.get("user_id") == self.user:
                moved = self._inside.discard if kind == "participant.left" else self._inside.add
                moved(frame["conversation_id"])
        if kind == "error":
            self._failed(frame)
        elif "reply_to" in frame:
            self._confirmed(self._pending.pop(frame["reply_to"], None), frame)

    def _confirmed(self, call: Call | None, frame: Frame) -> None:
        if call is None:
            return
        if call.kind == "send":
            self._pending.pop(call.number, None)
            message = Message(frame["message_id"], call.arguments["room"], self.user)
            self.yard.messages.append(message)
        call.ok({name: value for name, value in frame.items() if name != "data"})
        self._stir()

    def _failed(self, frame: Frame) -> None:
        call = self._pending.pop(frame.get("reply_to", -1), None)
        code = frame["code"]
        if code == "INTERNAL":
            self.history.troubles.append(f"{self.name} was told INTERNAL: {frame}, {call}")
        if call is None:
            return
        if code in MAYBE:
            # A send is sent again, by its client_id, with the next one.
            return
        call.refused(code)
        if call.kind == "send":
            self._unacked.pop(call.arguments["client_id"], None)

    def _stir(self) -> None:
        self.yard.acks += 1
        self.yard.stirred.set()
        self.yard.stirred.clear()

    # What it asks for.

    async def _act(self, socket: ClientConnection, door: Door) -> None:
        async with self._rest(door) as rest:
            try:
                while True:
                    for call in list(self._unacked.values()):
                        if call.number not in self._pending:
                            # It was refused for now.
                            await self._pause()
                            await self._send(socket, call)
                            break
                    if len(self._pending) >= WINDOW or self.yard.stopping.is_set():
                        await self.moved.wait()
                    elif self._acts:
                        await self._something(socket, rest)
                    else:
                        await self.moved.wait()
            except (OSError, WebSocketException):
                pass  # The listener notices too.

    async def _something(self, socket: ClientConnection, rest: httpx.AsyncClient) -> None:
        act = self._chance.choices(*_WEIGHTS)[0]
        await act(self, socket, rest)

    async def _say(self, socket: ClientConnection, kind: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": kind, **fields}))

    def _call(self, kind: Kind, **arguments: Any) -> Call:
        return self.history.call(self.name, self.user, kind, **arguments)

    def _room(self) -> str:
        inside = [room for room in self.yard.rooms if room in self._inside]
        # Now and then one that it is not in, or no longer: that is refused.
        rooms = inside if inside and self._chance.random() < 0.9 else list(self.yard.rooms)
        return self._chance.choice(rooms)

    def _message(self, *, own: bool = False) -> Message | None:
        found = [
            one
            for one in self.yard.messages
            if (not own or one.sender == self.user)
            and (one.room in self._inside or self._chance.random() < 0.1)
        ]
        return self._chance.choice(found) if found else None

    async def _send(self, socket: ClientConnection, call: Call) -> None:
        given = call.arguments
        call.attempts += 1
        self._pending[call.number] = call
        await self._say(
            socket,
            "message.send",
            id=call.number,
            conversation_id=given["room"],
            client_id=given["client_id"],
            content=given["content"],
        )

    async def _ask(self, socket: ClientConnection, call: Call, kind: str, **fields: Any) -> None:
        call.attempts += 1
        self._pending[call.number] = call
        await self._say(socket, kind, id=call.number, **fields)

    async def send(self, socket: ClientConnection, _: httpx.AsyncClient) -> None:
        self._sent += 1
        client_id = f"{self.name}-{self._sent}"
        call = self._call("send", room=self._room(), client_id=client_id, content=client_id)
        self._unacked[client_id] = call
        await self._send(socket, call)

    async def edit(self, socket: ClientConnection, _: httpx.AsyncClient) -> None:
        if message := self._message(own=True):
            content = f"edited by {self.name} as {len(self.history.calls)}"
            call = self._call("edit", message=message.id, content=content)
            fields = {"message_id": message.id, "content": content}
            await self._ask(socket, call, "message.edit", **fields)

    async def delete(self, socket: ClientConnection, _: httpx.AsyncClient) -> None:
        if message := self._message(own=True):
            call = self._call("delete", message=message.id)
            await self._ask(socket, call, "message.delete", message_id=message.id)

    async def read(self, socket: ClientConnection, _: httpx.AsyncClient) -> None:
        if message := self._message():
            call = self._call("read", message=message.id)
            await self._ask(socket, call, "message.read", message_id=message.id)

    async def react(self, socket: ClientConnection, _: httpx.AsyncClient) -> None:
        if message := self._message():
            kind: Kind = self._chance.choice(("react", "react", "unreact"))
            emoji = self._chance.choice("👍🎉")
            call = self._call(kind, message=message.id, emoji=emoji)
            asked = "reaction.add" if kind == "react" else "reaction.remove"
            await self._ask(socket, call, asked, message_id=message.id, emoji=emoji)

    async def join(self, _: ClientConnection, rest: httpx.AsyncClient) -> None:
        room, who = self._room(), self._chance.choice(self.yard.users)
        call = self._call("join", room=room, who=who)
        path = f"/conversations/{room}/participants"
        await self._rest_call(call, rest.post(f"{API}{path}", json={"user_ids": [who]}))

    async def leave_room(self, _: ClientConnection, rest: httpx.AsyncClient) -> None:
        room = self._room()
        admin = self.yard.rooms[room] == self.user
        who = self._chance.choice(self.yard.users) if admin else self.user
        if who == self.yard.rooms[room]:
            return  # Somebody stays who can take people in.
        call = self._call("leave", room=room, who=who)
        path = f"/conversations/{room}/participants/{who}"
        await self._rest_call(call, rest.delete(f"{API}{path}"))

    async def update(self, _: ClientConnection, rest: httpx.AsyncClient) -> None:
        room = self._room()
        title = f"{self.name} {len(self.history.calls)}"
        call = self._call("update", room=room, title=title)
        await self._rest_call(
            call, rest.patch(f"{API}/conversations/{room}", json={"title": title})
        )

    async def create(self, _: ClientConnection, rest: httpx.AsyncClient) -> None:
        if self.yard.opening and len(self.yard.rooms) < MOST_ROOMS:
            people = self._chance.sample(self.yard.users, min(3, len(self.yard.users)))
            await self.open_room(rest, people)

    async def open_room(self, rest: httpx.AsyncClient, people: list[str]) -> None:
        """A group, which becomes known to all when it is confirmed."""
        call = self._call("create", people=people)
        metadata = {"call": call.number}
        body = {"kind": "group", "participant_ids": people, "metadata": metadata}
        answer = await self._rest_call(call, rest.post(f"{API}/conversations", json=body))
        if answer is not None:
            self.yard.rooms[answer["id"]] = self.user

    async def _rest_call(self, call: Call, asked: Awaitable[httpx.Response]) -> Frame | None:
        """Its answer, where it was confirmed; what is unknown stays so."""
        call.attempts += 1
        try:
            answer = await asked
        except httpx.HTTPError:
            return None
        try:
            content: Frame = answer.json()
        except ValueError:
            return None
        if answer.is_success:
            call.ok({name: content.get(name) for name in ("id", "last_seq", "seq", "cursor")})
            self._stir()
            return content
        if answer.status_code == 500:
            self.history.troubles.append(f"{self.name} was answered 500: {content}, {call}")
        elif content.get("code") not in MAYBE:
            call.refused(content["code"])
        return None


MOST_ROOMS = 8

_Act = Callable[[Device, ClientConnection, httpx.AsyncClient], Awaitable[None]]
_WEIGHTS: tuple[list[_Act], list[int]] = (
    [
        Device.send,
        Device.edit,
        Device.delete,
        Device.read,
        Device.react,
        Device.join,
        Device.leave_room,
        Device.update,
        Device.create,
    ],
    [60, 8, 3, 10, 10, 4, 3, 1, 2],
)
