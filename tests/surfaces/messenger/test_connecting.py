"""Coming in and being sent away: tokens, origins, paths, refresh, expiry and close codes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import pytest
from websockets.exceptions import InvalidStatus

from tests.surfaces.people import AsgiServer, House, Socket, error

OpenHouse = Callable[..., House]


async def test_the_first_frame_says_where_one_stands(house: House) -> None:
    ann = await house.connect("ann")
    hello = await ann.receive()
    assert hello["type"] == "system"
    assert hello["event"] == "connected"
    assert hello["message"] == "Connected to messenger"
    assert hello["user_id"] == "ann"
    assert hello["heartbeat"] == 25
    assert isinstance(hello["connection_id"], str)
    assert isinstance(hello["cursor"], int)
    assert hello["timestamp"].endswith("Z")
    assert abs(datetime.fromisoformat(hello["timestamp"]).timestamp() - time.time()) < 30


async def test_every_connection_has_an_id_of_its_own(house: House) -> None:
    first, second = await house.device("ann"), await house.device("ann")
    assert first.connected["connection_id"] != second.connected["connection_id"]


async def test_a_numeric_user_id_is_a_json_integer(house: House) -> None:
    socket = await house.device("42")
    assert socket.connected["user_id"] == 42


async def test_the_token_may_come_in_a_header(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.token('ann')}"}
    socket = await house.connect(additional_headers=headers)
    assert (await socket.receive())["user_id"] == "ann"


async def test_the_token_may_come_as_a_subprotocol(house: House) -> None:
    offered = ["madang.v1", f"bearer.{house.token('ann')}"]
    socket = await house.connect(subprotocols=offered)
    assert socket.connection.subprotocol == "madang.v1"
    assert (await socket.receive())["user_id"] == "ann"


async def test_the_subprotocol_is_agreed_to_beside_a_token_in_the_query(house: House) -> None:
    socket = await house.connect("ann", subprotocols=["madang.v1"])
    assert socket.connection.subprotocol == "madang.v1"


async def test_the_path_may_name_the_user_of_the_token(house: House) -> None:
    socket = await house.connect("ann", path="/ann")
    assert (await socket.receive())["user_id"] == "ann"


async def test_a_user_id_in_the_path_is_percent_decoded(house: House) -> None:
    socket = await house.connect("ann@x 한", path="/ann%40x%20%ED%95%9C")
    assert (await socket.receive())["user_id"] == "ann@x 한"


async def test_a_token_for_another_user_is_refused_with_1008(house: House) -> None:
    socket = await house.connect("ann", path="/bob")
    assert (await socket.closed())[0] == 1008


async def test_no_token_is_refused_with_1008(house: House) -> None:
    socket = await house.connect()
    assert (await socket.closed())[0] == 1008


async def test_in_development_a_path_needs_no_token(house: House) -> None:
    socket = await house.connect(path="/ann")
    assert (await socket.receive())["user_id"] == "ann"


async def test_without_development_a_path_needs_a_token(open_house: OpenHouse) -> None:
    async with open_house(dev=False) as house:
        refused = await house.connect(path="/ann")
        assert (await refused.closed())[0] == 1008
        welcome = await house.connect("ann", path="/ann")
        assert (await welcome.receive())["user_id"] == "ann"


async def test_an_expired_token_is_refused_with_1008(house: House) -> None:
    socket = await house.connect(token=house.token("ann", ttl=-1))
    assert (await socket.closed())[0] == 1008


async def test_a_token_that_ends_closes_with_4001(house: House) -> None:
    socket = await house.connect(token=house.token("ann", ttl=2))
    assert (await socket.receive())["event"] == "connected"
    assert (await socket.closed())[0] == 4001


async def test_a_refreshed_token_keeps_the_connection(house: House) -> None:
    short, long = house.token("ann", ttl=2), house.token("ann", ttl=3600)
    kept = await house.connect(token=short)
    witness = await house.connect(token=short)
    before = time.time()
    answer = await kept.ask("token.refresh", token=long)
    assert answer["type"] == "token.refreshed"
    assert answer["expires_at"].endswith("Z")
    ends = datetime.fromisoformat(answer["expires_at"]).timestamp()
    assert before + 3590 < ends < before + 3610
    assert (await witness.closed())[0] == 4001
    assert (await kept.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("kind", ["another user's", "another org's", "expired", "no token"])
async def test_a_token_that_is_not_good_refreshes_nothing(house: House, kind: str) -> None:
    bad = {
        "another user's": house.token("bob"),
        "another org's": house.token("ann", org="elsewhere"),
        "expired": house.token("ann", ttl=-1),
        "no token": "x",
    }[kind]
    ann = await house.device("ann")
    assert (await ann.ask("token.refresh", token=bad))["type"] == "error"
    assert (await ann.ask("ping"))["type"] == "pong"


async def test_a_token_without_an_end_in_sight_refreshes(house: House) -> None:
    ann = await house.device("ann")
    answer = await ann.ask("token.refresh", token=house.token("ann", ttl=2**50))
    assert answer["type"] == "token.refreshed"


async def test_a_foreign_origin_is_refused(house: House) -> None:
    for origin in ("https://evil.example", "null", "http://[", "http://evil.example:80@"):
        with pytest.raises(InvalidStatus) as refused:
            await house.connect("ann", origin=origin)
        assert refused.value.response.status_code == 403


async def test_a_foreign_origin_is_refused_cookies_or_not(house: House) -> None:
    headers = {"Cookie": f"token={house.token('ann')}; session=1"}
    with pytest.raises(InvalidStatus) as refused:
        await house.connect(origin="https://evil.example", additional_headers=headers)
    assert refused.value.response.status_code == 403


async def test_cookies_alone_let_nobody_in(house: House) -> None:
    headers = {"Cookie": f"token={house.token('ann')}; authorization={house.token('ann')}"}
    socket = await house.connect(additional_headers=headers)
    assert (await socket.closed())[0] == 1008


async def test_the_own_and_the_allowed_origins_may_come(open_house: OpenHouse) -> None:
    async with open_house(dev=False, allowed_origins="https://app.example") as house:
        for origin in (house.server.url, "https://app.example", None):
            socket = await house.connect("ann", origin=origin)
            assert (await socket.receive())["event"] == "connected"
        for origin in ("http://localhost:3000", "https://app.example.evil.example"):
            with pytest.raises(InvalidStatus):
                await house.connect("ann", origin=origin)


async def test_in_development_pages_of_this_machine_may_come(house: House) -> None:
    for origin in ("http://localhost:5173", "http://127.0.0.1:3000"):
        socket = await house.connect("ann", origin=origin)
        assert (await socket.receive())["event"] == "connected"


async def test_one_connection_too_many_is_refused(open_house: OpenHouse) -> None:
    async with open_house(ws_max_connections="2") as house:
        first = await house.device("ann")
        await house.device("bob")
        with pytest.raises(InvalidStatus) as refused:
            await house.connect("cy")
        assert refused.value.response.status_code == 503
        await first.close()
        # The place is free when the server has seen the close: it says so by telling nothing.
        while True:
            try:
                await house.device("cy")
                break
            except InvalidStatus:
                continue


async def test_an_unknown_path_is_not_found(house: House) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await house.connect("ann", path="/ann/more")
    assert refused.value.response.status_code == 404


async def test_a_stopping_server_says_1001(open_house: OpenHouse) -> None:
    async with open_house() as house:
        stock = isinstance(house.server, AsgiServer)
        sockets = [await house.device(user) for user in ("ann", "bob")]
        await asyncio.to_thread(house.server.terminate)
        for socket in sockets:
            # A stock uvicorn closes by itself before it tells the app: 1012 means the same.
            assert (await socket.closed())[0] == (1012 if stock else 1001)


async def test_a_frame_too_large_closes_with_1009(house: House) -> None:
    ann, bob = await house.device("ann"), await house.device("bob")
    await ann.raw('{"type": "ping", "timestamp": "' + "x" * 65_536 + '"}')
    assert (await ann.closed())[0] == 1009
    assert (await bob.ask("ping"))["type"] == "pong"


async def test_a_frame_just_small_enough_is_read(house: House) -> None:
    ann = await house.device("ann")
    frame = '{"type": "ping", "id": "a", "timestamp": ""}'
    await ann.raw(frame.replace('""}', '"' + "x" * (65_536 - len(frame)) + '"}'))
    assert (await ann.next(reply_to="a"))["type"] == "pong"


async def test_frames_sent_before_the_welcome_are_answered_after_it(house: House) -> None:
    conversation = await house.group("ann", "bob")
    ann: Socket = await house.connect("ann")
    await ann.send("message.send", id=1, conversation_id=conversation, content="at once")
    assert (await ann.receive())["event"] == "connected"
    assert (await ann.next("message.sent"))["reply_to"] == 1


async def test_an_unknown_type_is_answered_with_nothing(house: House) -> None:
    ann = await house.device("ann")
    await ann.send("message.teleport", id=1)
    assert await ann.so_far() == []


async def test_ping_is_answered_with_the_same_id(house: House) -> None:
    ann = await house.device("ann")
    for number in (7, "seven"):
        await ann.send("ping", id=number)
        assert (await ann.next("pong"))["reply_to"] == number
    await ann.send("ping")
    assert "reply_to" not in await ann.next("pong")


async def test_a_frame_that_is_not_an_object_is_invalid_json(house: House) -> None:
    ann = await house.device("ann")
    for text in ("{", "", "[]", '"ping"', "1", "null"):
        await ann.raw(text)
        error(await ann.next("error"), "INVALID_JSON", "Invalid JSON format")
