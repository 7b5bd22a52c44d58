"""In and out of a server, the same for every surface; what fails on the way takes nobody along."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

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
from tests.gateways.hostile import Bare, frame, upgrade_request
from tests.hub.recording import Recorder
from tests.surfaces.people import House

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


@pytest.mark.parametrize(("size", "fits"), [(2000, 4), (1, 64)])
async def test_what_comes_early_is_bounded_in_number_and_size(
    app: Madang, size: int, fits: int
) -> None:
    for too_many in (False, True):
        got: list[str] = []
        connection = Recorder()
        user = f"u{size}{too_many}"

        def received(_: Connection, text: str, got: list[str] = got) -> None:
            got.append(text)

        app.admission.admit(connection, ask(), user, lambda *_: None, received)
        for _ in range(fits + too_many):
            app.admission.wait(connection, "x" * size)
        await app.members.get("default", user)
        assert connection.closings == ([CloseCode.NOT_ALLOWED] if too_many else [])
        assert len(got) == (0 if too_many else fits)


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
