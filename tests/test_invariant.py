"""The invariant: an old snapshot and the events since are a fresh snapshot. For every action, for
everybody concerned, live and by catch-up; then for random programs of many actions."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.phone import Frame, Phone, calling
from tests.snapshot import API, Snapshot, merge, snapshot

PEOPLE = ("ann", "ben", "cho", "42", "dan")
"""`42` is an integer on the wire; `dan` is a stranger until he is taken in."""


def wire(user: str) -> str | int:
    return int(user) if user.isdigit() else user


class World:
    """Some people, a REST client and an open socket each, and what they have made so far."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.rest: dict[str, httpx.AsyncClient] = {}
        self.phones: dict[str, Phone] = {}
        self.begun: dict[str, Snapshot] = {}
        self.backend: httpx.AsyncClient

    async def open(self, stack: AsyncExitStack) -> None:
        for user in PEOPLE:
            self.rest[user] = await stack.enter_async_context(self.server.rest(user))
            token = self.server.token(user)
            self.phones[user] = await stack.enter_async_context(calling(self.server.ws, token))
            hello = await self.phones[user].until("system")
            await self.phones[user].send("resume", cursor=hello["cursor"])
            await self.phones[user].until("resumed")
            self.begun[user] = await snapshot(self.rest[user])
        backend = self.server.rest("backend", roles=["service"])
        self.backend = await stack.enter_async_context(backend)

    async def do(self, user: str, method: str, path: str, body: Any = None) -> httpx.Response:
        """One call that may be refused, but never fails."""
        answer = await self.rest[user].request(method, f"{API}{path}", json=body)
        assert answer.status_code < 500, answer.text
        return answer

    async def react(self, user: str, message_id: str, emoji: str, *, add: bool) -> None:
        kind = "reaction.add" if add else "reaction.remove"
        await self.phones[user].send(kind, message_id=message_id, emoji=emoji, id="react")
        await self.phones[user].until(lambda frame: frame.get("reply_to") == "react")

    # What the actions stand on.

    async def group(self, *others: str) -> str:
        """A group of ann's, with the others in it."""
        body = {"kind": "group", "title": "Yard", "participant_ids": list(others)}
        made = await self.do("ann", "POST", "/conversations", body)
        return str(made.json()["id"])

    async def message(self, user: str, conversation_id: str, content: str = "안녕") -> str:
        sent = await self.do(
            user, "POST", f"/conversations/{conversation_id}/messages", {"content": content}
        )
        return str(sent.json()["id"])

    # The invariant.

    async def cursor(self, user: str) -> int:
        """Where the log stands for this user."""
        async with calling(self.server.ws, self.server.token(user)) as phone:
            return int((await phone.until("system"))["cursor"])

    async def since(self, user: str, cursor: int) -> list[Frame]:
        """What a client gets that comes back with this cursor."""
        async with calling(self.server.ws, self.server.token(user)) as phone:
            await phone.until("system")
            await phone.send("resume", cursor=cursor)
            assert (await phone.until("resumed"))["recovered"]
            return phone.events()

    async def holds_for(self, user: str, before: Snapshot, events: list[Frame]) -> None:
        """An old snapshot and the events since are a fresh snapshot."""
        fresh = await snapshot(self.rest[user])
        merged, to_load = merge(before, events, wire(user))
        for conversation_id in to_load:
            # Nothing of its past was told: the client reads it, as it does for any new one.
            merged[conversation_id] = fresh[conversation_id]
        assert merged == fresh, f"{user} sees otherwise"

    async def live_holds(self) -> None:
        """The same of the events that came live since the world was opened."""
        for user, phone in self.phones.items():
            await phone.rest()
            await self.holds_for(user, self.begun[user], phone.events())


@pytest.fixture
async def world(server: Server) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        made = World(server)
        await made.open(stack)
        yield made


Scene = Callable[[World], Awaitable[Callable[[], Awaitable[Any]]]]
"""Prepares what an action needs and gives the action."""


async def _send(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben", "42")
    return lambda: world.message("42", room)


async def _reply(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    first = await world.message("ann", room)
    body = {"content": "yes", "reply_to_id": first, "metadata": {"a": [1]}, "client_id": "c"}
    return lambda: world.do("ben", "POST", f"/conversations/{room}/messages", body)


async def _edit(world: World) -> Callable[[], Awaitable[Any]]:
    message = await world.message("ben", await world.group("ben"))
    return lambda: world.do("ben", "PATCH", f"/messages/{message}", {"content": "better"})


async def _delete(world: World) -> Callable[[], Awaitable[Any]]:
    message = await world.message("ben", await world.group("ben"))
    await world.react("ann", message, "👍", add=True)
    return lambda: world.do("ann", "DELETE", f"/messages/{message}")


async def _read(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    message = await world.message("ann", room)
    return lambda: world.do("ben", "POST", f"/conversations/{room}/read", {"message_id": message})


async def _react(world: World) -> Callable[[], Awaitable[Any]]:
    message = await world.message("ann", await world.group("ben"))
    return lambda: world.react("ben", message, "👍", add=True)


async def _unreact(world: World) -> Callable[[], Awaitable[Any]]:
    message = await world.message("ann", await world.group("ben"))
    await world.react("ben", message, "👍", add=True)
    return lambda: world.react("ben", message, "👍", add=False)


async def _create(world: World) -> Callable[[], Awaitable[Any]]:
    return lambda: world.group("ben", "cho", "42")


async def _create_direct(world: World) -> Callable[[], Awaitable[Any]]:
    body = {"kind": "direct", "participant_ids": ["42"]}
    return lambda: world.do("ben", "POST", "/conversations", body)


async def _update(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    body = {"title": "Garden", "metadata": {"colour": "green"}}
    return lambda: world.do("ann", "PATCH", f"/conversations/{room}", body)


async def _archive(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    return lambda: world.do("ann", "DELETE", f"/conversations/{room}")


async def _add(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    await world.message("ann", room, "before")
    body = {"user_ids": ["dan", "cho"]}
    return lambda: world.do("ann", "POST", f"/conversations/{room}/participants", body)


async def _remove(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben", "cho")
    return lambda: world.do("ann", "DELETE", f"/conversations/{room}/participants/ben")


async def _leave(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben", "cho")
    return lambda: world.do("ben", "DELETE", f"/conversations/{room}/participants/ben")


async def _last_admin_leaves(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben", "cho")
    return lambda: world.do("ann", "DELETE", f"/conversations/{room}/participants/ann")


async def _change_role(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben", "cho")
    body = {"user_ids": ["ben"], "role": "admin"}
    return lambda: world.do("ann", "POST", f"/conversations/{room}/participants", body)


async def _publish(world: World) -> Callable[[], Awaitable[Any]]:
    room = await world.group("ben")
    body = {"type": "order_shipped", "payload": {"n": 1}, "conversation_id": room}
    return lambda: world.backend.post("/api/v1/events", json=body)


SCENES = {
    scene.__name__.removeprefix("_"): scene
    for scene in (
        _send,
        _reply,
        _edit,
        _delete,
        _read,
        _react,
        _unreact,
        _create,
        _create_direct,
        _update,
        _archive,
        _add,
        _remove,
        _leave,
        _last_admin_leaves,
        _change_role,
        _publish,
    )
}


@pytest.mark.parametrize("name", SCENES)
async def test_an_old_snapshot_and_the_events_since_are_a_fresh_one(
    world: World, name: str
) -> None:
    act = await SCENES[name](world)
    before = {user: await snapshot(world.rest[user]) for user in PEOPLE}
    cursor = await world.cursor("ann")
    answer = await act()
    assert not isinstance(answer, httpx.Response) or answer.is_success, answer.text
    told = 0
    for user in PEOPLE:
        events = await world.since(user, cursor)
        told += len(events)
        await world.holds_for(user, before[user], events)
        # What the snapshot holds already may be told again.
        await world.holds_for(user, await snapshot(world.rest[user]), events)
    assert told, "the action was told to nobody"
    await world.live_holds()


Act = Callable[[str], Awaitable[None]]


class Program:
    """Random actions by random people, allowed or not."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.rooms: list[str] = []
        self.messages: list[str] = []
        self.room_of: dict[str, str] = {}

    async def step(self) -> None:
        user = self.chance.choice(PEOPLE)
        if not self.rooms:
            await self.create(user)
            return
        weights: dict[Act, int] = {
            self.send: 8,
            self.edit: 3,
            self.delete: 2,
            self.read: 5,
            self.react: 8,
        }
        rare: tuple[Act, ...] = (self.create, self.update, self.people, self.leave, self.publish)
        weights.update(dict.fromkeys(rare, 2))
        if self.chance.random() < 0.02:
            await self.world.do(user, "DELETE", f"/conversations/{self.room()}")
        acts = list(weights)
        await self.chance.choices(acts, [weights[act] for act in acts])[0](user)

    def room(self) -> str:
        return self.chance.choice(self.rooms)

    def a_message(self) -> str | None:
        return self.chance.choice(self.messages[-8:]) if self.messages else None

    async def create(self, user: str) -> None:
        others = self.chance.sample(PEOPLE, self.chance.randint(1, 3))
        kind = self.chance.choice(("group", "group", "direct"))
        body = {"kind": kind, "title": "Room", "participant_ids": others}
        made = await self.world.do(user, "POST", "/conversations", body)
        if made.is_success:
            self.rooms.append(made.json()["id"])

    async def send(self, user: str) -> None:
        body = {"content": f"{self.chance.random()}"}
        room = self.room()
        sent = await self.world.do(user, "POST", f"/conversations/{room}/messages", body)
        if sent.is_success:
            self.messages.append(sent.json()["id"])
            self.room_of[sent.json()["id"]] = room

    async def edit(self, user: str) -> None:
        if message := self.a_message():
            body = {"content": f"edited {self.chance.random()}"}
            await self.world.do(user, "PATCH", f"/messages/{message}", body)

    async def delete(self, user: str) -> None:
        if message := self.a_message():
            await self.world.do(user, "DELETE", f"/messages/{message}")

    async def read(self, user: str) -> None:
        if message := self.a_message():
            url = f"/conversations/{self.room_of[message]}/read"
            await self.world.do(user, "POST", url, {"message_id": message})

    async def react(self, user: str) -> None:
        if message := self.a_message():
            emoji = self.chance.choice("👍🎉")
            await self.world.react(user, message, emoji, add=self.chance.random() < 0.6)

    async def update(self, user: str) -> None:
        body = {"title": f"Room {self.chance.random()}"}
        await self.world.do(user, "PATCH", f"/conversations/{self.room()}", body)

    async def people(self, user: str) -> None:
        role = self.chance.choice((None, "admin", "member"))
        body = {"user_ids": self.chance.sample(PEOPLE, 2), "role": role}
        await self.world.do(user, "POST", f"/conversations/{self.room()}/participants", body)

    async def leave(self, user: str) -> None:
        who = self.chance.choice((user, self.chance.choice(PEOPLE)))
        await self.world.do(user, "DELETE", f"/conversations/{self.room()}/participants/{who}")

    async def publish(self, _: str) -> None:
        body: dict[str, Any] = {"type": "ticked", "payload": 1}
        if self.chance.random() < 0.5:
            body["user_id"] = self.chance.choice(PEOPLE)
        else:
            body["conversation_id"] = self.room()
        answer = await self.world.backend.post("/api/v1/events", json=body)
        assert answer.status_code < 500


@pytest.mark.parametrize("_run", range(3))
async def test_random_programs_keep_the_invariant(world: World, _run: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    program = Program(world, random.Random(seed))
    kept: list[tuple[str, int, Snapshot]] = []
    for number in range(240):
        if number % 20 == 0:
            for user in PEOPLE:
                cursor = await world.cursor(user)
                kept.append((user, cursor, await snapshot(world.rest[user])))
        await program.step()
    for user, cursor, before in kept:
        await world.holds_for(user, before, await world.since(user, cursor))
    await world.live_holds()
