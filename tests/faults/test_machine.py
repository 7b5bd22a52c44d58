"""Two nodes against a simple model of the whole messenger, driven by Hypothesis: whatever people
do on whichever node, the answers are the model's, and what every client knows is what the model
says and what it would read anew.

`MADANG_MACHINE=long` gives it more time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.compose import Madang
from madang.ports.store import Write
from madang.protocol.errors import MadangError
from madang.services.auth import mint
from madang.services.conversations import (
    AddParticipants,
    ArchiveConversation,
    CreateConversation,
    RemoveParticipant,
    SetNotifications,
    UpdateConversation,
)
from madang.services.keys import secret_key
from madang.services.messages import (
    AddReaction,
    DeleteMessage,
    EditMessage,
    ReadMessage,
    RemoveReaction,
    SendMessage,
)
from madang.settings import Settings
from tests.delivery.conftest import Node
from tests.faults.model import Model, No, Role, Room, Said, seen
from tests.hub.recording import Recorder
from tests.postgres import Postgres
from tests.snapshot import Snapshot, merge, snapshot
from tests.valkey import Valkey

T = TypeVar("T")

ORG = "default"
USERS = ("ann", "ben", "cho", "dan")
SECRET = "a secret for machines, long enough to be one"
LONG = os.environ.get("MADANG_MACHINE") == "long"

users = st.sampled_from(USERS)
actors = st.tuples(users, st.integers(0, 9))
"""Who acts: mostly somebody who is there, now and then whoever it is."""
nodes = st.integers(0, 1)
numbers = st.integers(0, 10**6)
"""Choose a room or a message among those that there are."""
words = st.sampled_from(("hello", "안녕", "a longer word about nothing"))


class Client:
    """One device of a user: what it read at first, and what it was told since."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.node = 0
        self.cursor = 0
        self.base: Snapshot = {}
        self.events: list[dict[str, Any]] = []
        self.connection: Recorder | None = None
        self.taken = 0
        self.left: set[str] = set()

    def take(self, *, live: bool = True) -> None:
        """Take what came: each once, in the order of cursors, and live nothing of what was left.
        (Who comes back and is in it again is told what happened meanwhile.)"""
        assert self.connection is not None
        told = self.connection.events()
        for event in told[self.taken :]:
            assert event["cursor"] > self.cursor, f"{self.user} was told {event} again or late"
            self.cursor = event["cursor"]
            self.events.append(event)
            room_id = event["conversation_id"]
            if event.get("user_id") == self.user and event["type"] == "participant.joined":
                self.left.discard(room_id)
            assert not live or room_id not in self.left, f"{self.user} is not in it: {event}"
            if event.get("user_id") == self.user and event["type"] == "participant.left":
                self.left.add(room_id)
        self.taken = len(told)


class TwoNodes(RuleBasedStateMachine):
    """Every rule acts on a node and on the model, and compares what they answer."""

    template: Path

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="madang-machine-"))
        self.make_place()
        self.model = Model()
        self.ids: list[str] = []
        self.message_ids: list[str] = []
        self.nodes = [self.do(self._node()) for _ in range(2)]
        self.clients = [Client(user) for user in USERS]
        for number, client in enumerate(self.clients):
            self.do(self._come(client, number % 2))
        # Something to begin with, so that every rule finds somebody and something to act on.
        self._create_group("ann", list(USERS), 0, "Yard")
        for user in USERS:
            self._talk(user, 0, 2, "hello")

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        try:
            for client in self.clients:
                if client.connection is None:
                    self.do(self._come(client, 0))
            self.do(self._agree(self.clients))
        finally:
            for node in self.nodes:
                self.do(node.app.stop())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.clear_place()
            shutil.rmtree(self.directory)

    # Where the nodes keep what they know.

    def make_place(self) -> None:
        shutil.copytree(self.template, self.directory / "data")
        self.bus = MemoryBus(SystemClock())

    def clear_place(self) -> None:
        """Let go of what is not in the directory."""

    def make_app(self) -> Madang:
        return Madang(self.settings(), bus=self.bus.end())

    def settings(self, **where: Any) -> Settings:
        data = self.directory / "data"
        return Settings(data_dir=data, jwt_secret_key=SECRET, rate_limit_enabled=False, **where)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    async def _node(self) -> Node:
        app = self.make_app()
        await app.start()
        return Node(app)

    # What people know.

    def _rest(self, client: Client) -> httpx.AsyncClient:
        app = self.nodes[client.node].app
        token = mint(secret_key(SECRET), client.user, now=app.clock.now(), ttl=3600, org=ORG)
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app),
            base_url="http://localhost",
            headers={"Authorization": f"Bearer {token}"},
        )

    async def _come(self, client: Client, number: int) -> None:
        """Connect to a node; read everything the first time, else catch up by cursor."""
        node = self.nodes[number]
        client.node, client.taken = number, 0
        client.connection = await node.connect(client.user, hold=True)
        if not client.cursor:
            client.cursor = client.connection.floor
            async with self._rest(client) as rest:
                client.base = await snapshot(rest)
        ended = await node.resume(client.connection, client.cursor)
        assert ended.recovered, ended
        client.take(live=False)

    async def _settle(self) -> None:
        """Until both nodes have told all that is in the log."""
        for node in self.nodes:
            await node.app.delivery.reach(ORG)
            node.app.hub.flush()

    async def _agree(self, clients: list[Client]) -> None:
        """What each client knows, what it would read anew and what the model says is the same."""
        await self._settle()
        rooms = {room_id: number for number, room_id in enumerate(self.ids)}
        for client in clients:
            if client.connection is None:
                continue
            client.take()
            async with self._rest(client) as rest:
                fresh = await snapshot(rest)
            assert seen(fresh, rooms) == self.model.seen_by(client.user)
            known, to_load = merge(client.base, client.events, client.user)
            for room_id in to_load:
                known[room_id] = fresh[room_id]
            for room_id, room in known.items():
                # How much one wants to be told of is one's own affair: no event tells of it.
                room["muted"] = fresh[room_id]["muted"]
            assert known == fresh, f"{client.user} knows otherwise"

    @invariant()
    def somebody_agrees(self) -> None:
        if hasattr(self, "loop"):
            whose = len(self.message_ids) % len(self.clients)
            self.do(self._agree([self.clients[whose]]))

    # What people do.

    def both(self, node: int, write: Write, model: Callable[[], bool]) -> Any:
        """Do it on a node and on the model: both do it, or both refuse it alike."""
        code = None
        try:
            model()
        except No as no:
            code = no.code
        result, refused = None, None
        try:
            result = self.do(self.nodes[node].app.writer.write(write))
        except MadangError as error:
            refused = error.code
        assert refused == code, f"{write} is answered {refused}, by the model {code}"
        return result

    def room(self, number: int) -> tuple[Room, str]:
        at = number % len(self.ids)
        return self.model.rooms[at], self.ids[at]

    def message(self, number: int) -> tuple[Room, Said, str]:
        # The latest ones mostly: those are what people look at.
        at = max(0, len(self.message_ids) - 1 - number % 12)
        return *self.model.messages[at], self.message_ids[at]

    def actor(self, user: tuple[str, int], room: Room) -> str:
        name, number = user
        people = sorted(room.admins() if number in (1, 2, 3) else room.people)
        return people[number % len(people)] if people and number else name

    @precondition(lambda self: len(self.ids) < 5)
    @rule(user=users, others=st.lists(users, min_size=1, max_size=3), node=nodes, title=words)
    def create_group(self, user: str, others: list[str], node: int, title: str) -> None:
        self._create_group(user, others, node, title)

    def _create_group(self, user: str, others: list[str], node: int, title: str) -> None:
        write = CreateConversation(ORG, user, "group", tuple(others), title)
        opened = self.both(node, write, lambda: self.model.create_group(user, tuple(others), title))
        self.ids.append(opened.view.conversation.id)

    @precondition(lambda self: len(self.ids) < 7)
    @rule(user=users, other=users, node=nodes)
    def create_direct(self, user: str, other: str, node: int) -> None:
        write = CreateConversation(ORG, user, "direct", (other,))
        opened = self.both(node, write, lambda: self.model.create_direct(user, other))
        if opened is not None and opened.event is not None:
            self.ids.append(opened.view.conversation.id)

    @precondition(lambda self: self.ids)
    @rule(
        user=actors, at=numbers, node=nodes, content=words, key=st.sampled_from((None, "k1", "k2"))
    )
    def send(
        self, user: tuple[str, int], at: int, node: int, content: str, key: str | None
    ) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        write = SendMessage(ORG, room_id, one, content, client_id=key)
        before = len(self.model.messages)
        done = self.both(node, write, lambda: self.model.send(one, room, content, key))
        if done is not None:
            assert (done.event is not None) == (len(self.model.messages) > before)
            if done.event is not None:
                self.message_ids.append(done.message.id)
            else:
                assert done.message.id in self.message_ids

    @precondition(lambda self: self.ids)
    @rule(user=actors, at=numbers, count=st.integers(2, 12), content=words)
    def talk(self, user: tuple[str, int], at: int, count: int, content: str) -> None:
        """Several at once, on both nodes: alike, so that any order of them is the model's."""
        room, _ = self.room(at)
        one = self.actor(user, room)
        if one in room.people and not room.archived:
            self._talk(one, at, count, content)

    def _talk(self, one: str, at: int, count: int, content: str) -> None:
        room, room_id = self.room(at)

        async def all_at_once() -> list[Any]:
            writers = [self.nodes[n % 2].app.writer for n in range(count)]
            write = SendMessage(ORG, room_id, one, content)
            return await asyncio.gather(*(writer.write(write) for writer in writers))

        for done in sorted(self.do(all_at_once()), key=lambda done: done.message.seq):
            self.model.send(one, room, content, None)
            self.message_ids.append(done.message.id)

    @precondition(lambda self: self.message_ids)
    @rule(user=actors, at=numbers, node=nodes, content=words)
    def edit(self, user: tuple[str, int], at: int, node: int, content: str) -> None:
        room, said, message_id = self.message(at)
        one = self.actor(user, room)
        write = EditMessage(ORG, message_id, one, content)
        self.both(node, write, lambda: self.model.edit(one, room, said, content))

    @precondition(lambda self: self.message_ids)
    @rule(user=actors, at=numbers, node=nodes)
    def delete(self, user: tuple[str, int], at: int, node: int) -> None:
        room, said, message_id = self.message(at)
        one = self.actor(user, room)
        write = DeleteMessage(ORG, message_id, one)
        self.both(node, write, lambda: self.model.delete(one, room, said))

    @precondition(lambda self: self.message_ids)
    @rule(user=actors, at=numbers, node=nodes, emoji=st.sampled_from("👍🎉"), add=st.booleans())
    def react(self, user: tuple[str, int], at: int, node: int, emoji: str, add: bool) -> None:
        room, said, message_id = self.message(at)
        one = self.actor(user, room)
        kind = AddReaction if add else RemoveReaction
        write = kind(ORG, message_id, one, emoji)
        self.both(node, write, lambda: self.model.react(one, room, said, emoji, add=add))

    @precondition(lambda self: self.message_ids)
    @rule(user=actors, at=numbers, node=nodes)
    def read(self, user: tuple[str, int], at: int, node: int) -> None:
        room, said, message_id = self.message(at)
        one = self.actor(user, room)
        write = ReadMessage(ORG, message_id, one)
        self.both(node, write, lambda: self.model.read(one, room, said))

    @precondition(lambda self: self.ids)
    @rule(
        user=actors,
        at=numbers,
        who=users,
        node=nodes,
        role=st.sampled_from((None, "admin", "member")),
    )
    def add(self, user: tuple[str, int], at: int, who: str, node: int, role: Role | None) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        write = AddParticipants(ORG, room_id, one, (who,), role)
        self.both(node, write, lambda: self.model.add(one, room, who, role))

    @precondition(lambda self: self.ids)
    @rule(user=actors, at=numbers, who=users, node=nodes, leave=st.booleans())
    def remove(self, user: tuple[str, int], at: int, who: str, node: int, leave: bool) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        gone = one if leave else who
        write = RemoveParticipant(ORG, room_id, one, gone)
        self.both(node, write, lambda: self.model.remove(one, room, gone))

    @precondition(lambda self: self.ids)
    @rule(user=actors, at=numbers, node=nodes, title=words)
    def rename(self, user: tuple[str, int], at: int, node: int, title: str) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        write = UpdateConversation(ORG, room_id, one, title, set_title=True)
        self.both(node, write, lambda: self.model.rename(one, room, title))

    @precondition(lambda self: len(self.ids) > 2)
    @rule(user=actors, at=numbers, node=nodes)
    def archive(self, user: tuple[str, int], at: int, node: int) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        write = ArchiveConversation(ORG, room_id, one)
        self.both(node, write, lambda: self.model.archive(one, room))

    @precondition(lambda self: self.ids)
    @rule(user=actors, at=numbers, node=nodes, level=st.sampled_from(("all", "none")))
    def mute(self, user: tuple[str, int], at: int, node: int, level: Any) -> None:
        room, room_id = self.room(at)
        one = self.actor(user, room)
        write = SetNotifications(ORG, room_id, one, level, None)
        self.both(node, write, lambda: self.model.mute(one, room, level))

    @rule(whose=st.integers(0, len(USERS) - 1))
    def disconnect(self, whose: int) -> None:
        """What is on its way is lost, and the cursor says so."""
        client = self.clients[whose]
        if client.connection is not None:
            client.take()
            self.nodes[client.node].disconnect(client.connection)
            client.connection = None

    @rule(whose=st.integers(0, len(USERS) - 1), node=nodes)
    def come_back(self, whose: int, node: int) -> None:
        client = self.clients[whose]
        if client.connection is None:
            self.do(self._come(client, node))

    @rule(number=nodes)
    def restart(self, number: int) -> None:
        """A node ends, and another takes its place; whoever was on it comes back."""
        for client in self.clients:
            if client.node == number and client.connection is not None:
                client.take()
                client.connection = None
        self.do(self.nodes[number].app.stop())
        self.nodes[number] = self.do(self._node())


class TwoNodesOnServers(TwoNodes):
    """The same on PostgreSQL and Valkey."""

    postgres: Postgres
    valkey: Valkey

    def make_place(self) -> None:
        self.owner_url, self.app_url = self.postgres.fresh_database()

    def clear_place(self) -> None:
        self.postgres.drop(self.owner_url)

    def make_app(self) -> Madang:
        return Madang(
            self.settings(
                database_url=self.app_url,
                redis_url=self.valkey.url,
                redis_prefix=f"{self.directory.name}:",
            )
        )


@pytest.mark.timeout(600 if LONG else 150)
def test_two_nodes_are_one_messenger(tmp_path: Path) -> None:
    TwoNodes.template = tmp_path / "template"
    asyncio.run(_prepare(TwoNodes.template))
    _drive(TwoNodes, examples=40)


@pytest.mark.timeout(1200 if LONG else 300)
def test_two_nodes_on_servers_are_one_messenger(postgres: Postgres, valkey_session: Valkey) -> None:
    TwoNodesOnServers.postgres = postgres
    TwoNodesOnServers.valkey = valkey_session
    _drive(TwoNodesOnServers, examples=10)


def _drive(machine: type[TwoNodes], *, examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=300 if LONG else examples,
            stateful_step_count=150 if LONG else 60,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


async def _prepare(directory: Path) -> None:
    app = Madang(Settings(data_dir=directory, jwt_secret_key=SECRET))
    await app.start()
    await app.stop()
