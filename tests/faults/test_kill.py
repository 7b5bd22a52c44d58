"""The plug is pulled in the middle of it, again and again: what was acknowledged is there, once and
in order, and everybody who comes back by their cursor ends with the same list."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import WebSocketException

from tests.conftest import Server
from tests.faults.checker import History, Listed, problems
from tests.phone import Frame, Phone, calling

ROUNDS = 20
ROOMS = 2
PEOPLE = 4
"""In each room; all of them send."""
WINDOW = 40
"""Messages a sender has under way."""
ACKS_A_ROUND = (200, 1000)


class Sender:
    """A client that sends numbered messages with a `client_id`, sends what was not acknowledged
    again, and resumes by the cursor of the last event it handled."""

    def __init__(self, server: Server, name: str, room: str, acked: Callable[[], None]) -> None:
        self.name = name
        self.server = server
        self.room = room
        self.cursor: int | None = None
        self.attempted: list[str] = []
        self.unacked: dict[str, None] = {}
        self.acks: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self.view: list[Listed] = []
        self.resumes = 0
        self.gaps: list[Frame] = []
        self._acked = acked

    async def run(self, up: asyncio.Event, stop: asyncio.Event) -> None:
        """Connect whenever the server is up; send until `stop`, then only what is unacked."""
        token = self.server.token(self.name)
        while not (stop.is_set() and not self.unacked):
            await up.wait()
            try:
                async with calling(self.server.ws, token) as phone:
                    await self._talk(phone, stop)
            except (OSError, WebSocketException):
                # The server is gone; the next round begins when it is back.
                await asyncio.sleep(0)

    async def _talk(self, phone: Phone, stop: asyncio.Event) -> None:
        hello = await phone.until("system")
        if self.cursor is None:
            self.cursor = hello["cursor"]
        await phone.send("resume", cursor=self.cursor)
        for client_id in list(self.unacked):
            await self._send(phone, client_id)
        while True:
            while len(self.unacked) < WINDOW and not stop.is_set():
                client_id = f"{self.name}-{len(self.attempted)}"
                self.attempted.append(client_id)
                self.unacked[client_id] = None
                await self._send(phone, client_id)
            self.handle(await phone.take())
            phone.frames.clear()
            if stop.is_set() and not self.unacked:
                return

    async def _send(self, phone: Phone, client_id: str) -> None:
        await phone.send(
            "message.send", conversation_id=self.room, client_id=client_id, content=client_id
        )

    def handle(self, frame: Frame) -> None:
        """What the server said."""
        if frame["type"] == "message.sent":
            self.acks[frame["client_id"]].append((frame["message_id"], frame["data"]["seq"]))
            self.unacked.pop(frame["client_id"], None)
            self._acked()
        elif frame["type"] == "resumed":
            self.resumes += 1
            if not frame["recovered"]:
                self.gaps.append(frame)
        elif frame["type"] == "message.new":
            self.view.append(listed(frame["data"]))
            self.cursor = frame["cursor"]
        elif frame["type"] == "error":
            raise AssertionError(frame)


def listed(message: dict[str, Any]) -> Listed:
    """A MESSAGE as the checker takes it."""
    return Listed(
        message["conversation_id"],
        message["seq"],
        message["id"],
        message["sender_id"],
        message["client_id"],
    )


async def history_of(server: Server, name: str, room: str) -> list[Listed]:
    """All messages of a room, page by page."""
    found: list[Listed] = []
    async with server.rest(name) as rest:
        url = f"/api/v1/messenger/conversations/{room}/messages"
        after = 0
        while True:
            answer = await rest.get(url, params={"after": after, "limit": 200})
            assert answer.is_success, answer.text
            page = answer.json()
            found += [listed(message) for message in page["messages"]]
            if not page["has_more"]:
                return found
            after = found[-1].seq


async def catch_up(server: Server, sender: Sender) -> None:
    """Come back once more by cursor and take what is still missing."""
    async with calling(server.ws, server.token(sender.name)) as phone:
        await phone.until("system")
        await phone.send("resume", cursor=sender.cursor)
        resumed = await phone.until("resumed")
        assert resumed["recovered"], resumed
        for frame in phone.frames:
            sender.handle(frame)


@pytest.mark.timeout(240)
async def test_twenty_kills_in_the_middle_of_sending(server: Server) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)

    rooms: dict[str, list[str]] = {}
    for number in range(ROOMS):
        people = [f"room{number}-person{n}" for n in range(PEOPLE)]
        async with server.rest(people[0]) as rest:
            body = {"kind": "group", "title": "Room", "participant_ids": people[1:]}
            made = await rest.post("/api/v1/messenger/conversations", json=body)
            rooms[made.json()["id"]] = people

    count, wanted = 0, 0
    enough = asyncio.Event()

    def acked() -> None:
        nonlocal count
        count += 1
        if count >= wanted:
            enough.set()

    up, stop = asyncio.Event(), asyncio.Event()
    up.set()
    senders = [Sender(server, one, room, acked) for room, people in rooms.items() for one in people]
    for sender in senders:
        # From here on they must hear everything, however late they get in.
        async with calling(server.ws, server.token(sender.name)) as phone:
            sender.cursor = (await phone.until("system"))["cursor"]
    seconds = 0.0
    async with asyncio.timeout(220), asyncio.TaskGroup() as group:
        for sender in senders:
            group.create_task(sender.run(up, stop))
        for _ in range(ROUNDS):
            wanted = count + chance.randint(*ACKS_A_ROUND)
            enough.clear()
            began = time.monotonic()
            await enough.wait()
            seconds += time.monotonic() - began
            up.clear()
            server.kill()
            await asyncio.to_thread(server.restart)
            up.set()
        stop.set()
    print(f"{count} acks, {count / seconds:.0f} a second, {ROUNDS} kills")

    for sender in senders:
        await catch_up(server, sender)
        assert sender.gaps == []
    everything = []
    for room, people in rooms.items():
        everything += await history_of(server, people[0], room)
    for room, people in rooms.items():
        history = History(
            {s.name: s.attempted for s in senders if s.room == room},
            {(s.name, k): acks for s in senders if s.room == room for k, acks in s.acks.items()},
            [one for one in everything if one.conversation_id == room],
            {s.name: s.view for s in senders if s.name in people},
        )
        assert problems(history) == []
    assert len(everything) == sum(len(sender.attempted) for sender in senders)
    assert count / seconds >= 1000, "the kills did not come in the middle of 1,000 sends a second"
