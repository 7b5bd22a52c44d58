"""In and out of a server, the same for every surface; what fails on the way takes nobody along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from madang.compose import Madang
from madang.delivery.members import KEEP_SECONDS
from madang.gateways.entrance import Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Form, Frame
from madang.hub.hub import Member
from madang.model.identity import Identity
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Unavailable
from madang.settings import Settings
from madang.surfaces.unheard import MOST, MOST_CHARACTERS, Unheard
from tests.gateways.hostile import Bare, frame, upgrade_request
from tests.hub.recording import Recorder
from tests.surfaces.agents.sessions import Chat
from tests.surfaces.live.hall import open_hall
from tests.surfaces.people import House, Socket

EVENTS = "/api/v1/events/ws"
DEEP = "[" * 300 + "]" * 300


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Madang]:
    """A server without a network."""
    made = Madang(Settings(dev=True, data_dir=tmp_path / "data", ws_message_size_limit=2048))
    await made.start()
    yield made
    await made.stop()


async def enter(app: Madang, user: str, *, whole_org: bool = False) -> tuple[Recorder, Member]:
    connection = Recorder(Form.EVENTS)
    connection.identity = Identity(user, "default", None, None, frozenset(), 2**62)
    member = await app.members.get("default", user)
    app.admission.enter(connection, member, whole_org=whole_org)
    return connection, member


class Broken(Recorder):
    """A connection with a fault of ours in it."""

    def write(self, frame: Frame) -> None:
        raise ZeroDivisionError("a fault")


# Frames that must not pass.


async def test_nobody_is_locked_out_by_anothers_frame(house: House) -> None:
    """The frame is there before its sender is admitted, together with many others."""
    evil = frame(1, f'{{"type":"ping","id":{DEEP}}}'.encode())
    knocking = [await Bare.open(house.server) for _ in range(30)]
    for number, client in enumerate(knocking):
        token = house.token(f"u{number}")
        if number % 3 == 0:
            await client.send(upgrade_request(f"{EVENTS}?token={token}") + evil)
        else:
            await client.send(upgrade_request(f"/api/v1/messenger/ws?token={token}"))
    for number, client in enumerate(knocking):
        async with client:
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            if number % 3:
                _, payload = await client.receive()
                assert json.loads(payload)["event"] == "connected"


@pytest.mark.parametrize("surface", ["messenger", "events"])
async def test_an_unexpected_error_is_logged_and_ends_the_connection(
    app: Madang, surface: str
) -> None:
    connection = Broken(Form.EVENTS)
    connection.identity = Identity("ann", "default", None, None, frozenset(), 2**62)
    app.admission.enter(connection, await app.members.get("default", "ann"))
    received = app.messenger.received if surface == "messenger" else app.events.received
    with capture_logs() as logged:
        received(connection, '{"type": "ping", "id": 1}')
    assert connection.closings == [CloseCode.INTERNAL]
    assert [entry["log_level"] for entry in logged] == ["error"]


async def test_a_welcome_that_fails_ends_only_its_connection(app: Madang) -> None:
    ends: list[Connection] = []

    def fail(connection: Connection, member: Member) -> None:
        raise ZeroDivisionError("a fault")

    def welcome(connection: Connection, member: Member) -> None:
        ends.append(connection)

    broken, whole = Recorder(), Recorder()
    app.admission.admit(broken, ask(), "ann", fail, app.events.received)
    app.admission.admit(whole, ask(), "ann", welcome, app.events.received)
    await app.members.get("default", "ann")
    assert broken.closings == [CloseCode.INTERNAL]
    assert ends == [whole] and whole.open


async def test_work_that_fails_ends_the_connection_that_waits_for_it(app: Madang) -> None:
    connection, _ = await enter(app, "ann")
    closed = asyncio.Event()

    async def fail() -> None:
        try:
            raise ZeroDivisionError("a fault")
        finally:
            asyncio.get_running_loop().call_soon(closed.set)

    app.admission.start(connection, fail())
    await asyncio.wait_for(closed.wait(), 5)
    assert connection.closings == [CloseCode.INTERNAL]


# Before it is let in.


def ask() -> Upgrade:
    return Upgrade.of_target("/", {}, ())


class Listening(Recorder):
    """A connection that notes whether it is read."""

    listens = True

    def listen(self, wanted: bool) -> None:
        self.listens = wanted


@pytest.mark.parametrize(("size", "fits"), [(MOST_CHARACTERS // 4, 4), (1, MOST)])
async def test_who_says_much_early_is_read_again_when_it_is_let_in(
    app: Madang, size: int, fits: int
) -> None:
    got: list[str] = []
    connection = Listening()

    def received(_: Connection, text: str) -> None:
        assert connection.listens
        got.append(text)

    app.admission.admit(connection, ask(), f"u{size}", lambda *_: None, received)
    said = [f"{number:0{size}}" for number in range(fits)]
    for text in said[:-1]:
        app.admission.wait(connection, text)
    assert connection.listens
    app.admission.wait(connection, said[-1])
    assert not connection.listens
    app.admission.wait(connection, "what was read with it")
    await app.members.get("default", f"u{size}")
    assert (connection.closings, got) == ([], [*said, "what was read with it"])


def test_what_is_not_heard_yet_either_stops_it_again() -> None:
    """The place where it waits next has as much to bear."""
    connection = Listening()
    first, second = Unheard[int](), Unheard[int]()
    for number in range(MOST + 10):
        first.keep(connection, number, 1)
    for number in first.hear(connection):
        second.keep(connection, number, 1)
    assert not connection.listens
    assert list(second.hear(connection)) == list(range(MOST + 10))
    assert connection.listens and not first and not second


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What is open until the test ends."""
    async with AsyncExitStack() as opened:
        yield opened


@pytest.mark.parametrize("surface", ["messenger", "events", "live", "session"])
async def test_who_talks_before_it_is_told_that_it_may_loses_nothing(
    house: House, surface: str, stack: AsyncExitStack
) -> None:
    """Far more than may wait here, on every surface and every gateway."""
    match surface:
        case "messenger":
            socket = await house.connect("ann")
        case "events":
            address = f"ws://127.0.0.1:{house.server.port}{EVENTS}?token={house.token('ann')}"
            socket = Socket(await stack.enter_async_context(connect(address)), house)
        case "live":
            hall = await open_hall(house)
            seat = await hall.join("Ann")
            socket = await hall.connect(seat["participant_id"], seat["token"])
        case _:
            chat = Chat(house)
            socket = await chat.open("ann", await chat.session("ann"))
    count = 20 * MOST
    for number in range(count):
        await socket.send("ping", id=number)
    for number in range(count):
        assert (await socket.next("pong"))["reply_to"] == number


# On the way out.


async def test_the_end_of_a_follower_leaves_its_user_known(app: Madang) -> None:
    device, member = await enter(app, "boss")
    follower, _ = await enter(app, "boss", whole_org=True)
    assert app.presence.status("default", "boss") == ("online", 1)
    app.admission.leave(follower)
    app.members.sweep(app.entrance.now)
    app.members.sweep(app.entrance.now + KEEP_SECONDS + 1)
    assert app.hub.members["default", "boss"] is member
    assert member.connections == (device,)
    app.admission.leave(device)
    app.members.sweep(app.entrance.now + KEEP_SECONDS + 1)
    assert ("default", "boss") not in app.hub.members


# The end of a server.


async def test_a_stopped_server_leaves_nothing_running_and_stays_stopped(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    app = Madang(Settings(dev=True, data_dir=tmp_path / "data"))
    await app.start()
    await app.publish("counted", {"n": 1}, user_id="ann")
    _, member = await enter(app, "ann")
    connection = member.connections[0]
    app.catchup.resume(connection, 0, lambda caught: None)

    async def wait() -> None:
        await asyncio.Event().wait()

    app.admission.start(connection, wait())
    await app.stop()
    assert asyncio.all_tasks() == before
    with pytest.raises(Unavailable):
        await app.publish("counted", {"n": 2}, user_id="ann")
    with pytest.raises(Unavailable):
        await app.start()
    await app.stop()
    assert asyncio.all_tasks() == before
