"""Sockets that misbehave: the server closes them in the right way, and everyone else talks on."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator

import orjson
import pytest

from madang.testing import assert_event
from tests.gateways.hostile import Bare, frame, upgrade_request
from tests.surfaces.people import House

PATH = "/api/v1/messenger/ws"
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
PING_FRAME = b'{"type":"ping","id":1}'


@pytest.fixture(autouse=True)
async def others_talk_on(house: House) -> AsyncIterator[None]:
    """Two people who were there before, and after each test still reach each other."""
    conversation = await house.group("friend", "other")
    friend, other = await house.device("friend"), await house.device("other")
    yield
    await friend.ask("message.send", conversation_id=conversation, content="still here")
    assert_event([await other.next("message.new")], type="message.new")


async def bare(house: House, user: str = "ann") -> Bare:
    """A socket on which the WebSocket is open and the welcome was read."""
    found = await Bare.open(house.server)
    head = await found.upgrade(f"{PATH}?token={house.token(user)}")
    assert head.startswith(b"HTTP/1.1 101 ")
    opcode, payload = await found.receive()
    assert opcode == TEXT
    assert orjson.loads(payload)["event"] == "connected"
    return found


async def pong(client: Bare) -> None:
    """The next frame is the answer to `PING_FRAME`."""
    opcode, payload = await client.receive()
    assert opcode == TEXT
    assert orjson.loads(payload)["type"] == "pong"


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        pytest.param(frame(BINARY, b"\0\1\2"), {1003}, id="binary"),
        pytest.param(frame(TEXT, b"\xff\xfe"), {1007}, id="bad UTF-8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), {1007}, id="a surrogate in UTF-8"),
        pytest.param(
            frame(TEXT, b'"\xed', fin=False) + frame(CONTINUATION, b'\x95\x9c"' + b"\xff"),
            {1007},
            id="bad UTF-8 in a fragment",
        ),
        pytest.param(frame(TEXT, b"x", masked=False), {1002}, id="not masked"),
        pytest.param(frame(TEXT, b"x", rsv=4), {1002}, id="reserved bit"),
        pytest.param(frame(3, b"x"), {1002}, id="reserved opcode"),
        pytest.param(frame(CONTINUATION, b"x"), {1002}, id="continues nothing"),
        pytest.param(
            frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), {1002}, id="interleaved messages"
        ),
        pytest.param(frame(PING, b"x" * 126), {1002}, id="long ping"),
        pytest.param(frame(PING, b"x", fin=False), {1002}, id="fragmented ping"),
        pytest.param(frame(TEXT, b"x" * 65_537), {1009}, id="one byte too large"),
        pytest.param(
            frame(TEXT, b"x" * 40_000, fin=False) + frame(CONTINUATION, b"x" * 40_000),
            {1009},
            id="too large in two",
        ),
        pytest.param(b"\x81\xff\x7f" + b"\xff" * 7 + b"mask", {1009, 1002}, id="huge length"),
        pytest.param(b"\x81\xff" + b"\xff" * 8 + b"mask", {1002, 1009}, id="bad length"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", {1002}, id="HTTP on a WebSocket"),
    ],
)
async def test_broken_frames_close_with_their_code(
    house: House, data: bytes, codes: set[int]
) -> None:
    async with await bare(house) as client:
        await client.send(data)
        assert await client.close_code() in codes


async def test_fragments_with_a_ping_between_them_are_one_message(house: House) -> None:
    async with await bare(house) as client:
        for byte in range(len(PING_FRAME) - 1):
            opcode = TEXT if byte == 0 else CONTINUATION
            await client.send(frame(opcode, PING_FRAME[byte : byte + 1], fin=False))
        await client.send(frame(PING, b"between"))
        assert await client.receive() == (PONG, b"between")
        await client.send(frame(CONTINUATION, PING_FRAME[-1:]))
        await pong(client)


async def test_bytes_that_come_one_by_one_are_one_message(house: House) -> None:
    async with await bare(house) as client:
        for byte in frame(TEXT, PING_FRAME):
            await client.send(bytes([byte]))
        await pong(client)


async def test_a_close_is_answered_and_ends_the_connection(house: House) -> None:
    async with await bare(house) as client:
        await client.send(frame(CLOSE, b"\x03\xe8bye") + frame(TEXT, PING_FRAME))
        assert await client.close_code() == 1000
        assert await client.rest() == b""


@pytest.mark.parametrize("cut", ["header", "payload", "fragment"])
async def test_one_cut_off_in_the_middle_of_a_frame_leaves_nothing_behind(
    house: House, cut: str
) -> None:
    whole = frame(TEXT, b'{"type":"ping","timestamp":"' + b"x" * 200 + b'"}')
    part = {"header": whole[:1], "payload": whole[:100], "fragment": frame(TEXT, b"x", fin=False)}
    await house.group("watcher", "ann")
    watcher = await house.device("watcher")
    async with await bare(house) as client:
        await watcher.next("user.online", user_id="ann")
        await client.send(part[cut])
    await watcher.next("user.offline", user_id="ann")


async def test_one_that_connects_and_says_nothing_disturbs_nobody(house: House) -> None:
    async with await Bare.open(house.server), await Bare.open(house.server) as half:
        await half.send(b"GET /api/v1/messen")
        ann = await house.device("ann")
        assert (await ann.ask("ping"))["type"] == "pong"


async def test_half_an_upgrade_then_gone(house: House) -> None:
    request = upgrade_request(f"{PATH}?token={house.token('ann')}")
    for cut in (1, 20, len(request) // 2, len(request) - 2):
        async with await Bare.open(house.server) as client:
            await client.send(request[:cut])
    async with await Bare.open(house.server) as client:
        await client.send(request)
    ann = await house.device("ann")
    assert (await ann.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\0\0\0garbage\r\n\r\n",
    ],
)
async def test_garbage_instead_of_http_is_refused(house: House, request_bytes: bytes) -> None:
    async with await Bare.open(house.server) as client:
        await client.send(request_bytes)
        client.writer.write_eof()
        answer = await client.rest()
        assert b" 500 " not in answer.split(b"\r\n")[0]


async def test_garbage_behind_an_upgrade_closes_that_connection_only(house: House) -> None:
    request = upgrade_request(f"{PATH}?token={house.token('ann')}")
    async with await Bare.open(house.server) as client:
        await client.send(request + os.urandom(100))
        client.writer.write_eof()
        assert (await client.rest()).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize(
    "extra",
    [
        ("Sec-WebSocket-Key: short",),
        ("Host: another",),
        ("Origin: https://evil.example",),
        ("Origin: http://[",),
        ("Sec-WebSocket-Version: 12",),
        ("Sec-WebSocket-Protocol: a b",),
        ("Authorization: Bearer \xff\xfe",),
        ("Authorization: Bearer",),
        ("Cookie: \xff",),
    ],
)
async def test_odd_upgrades_are_answered(house: House, extra: tuple[str, ...]) -> None:
    async with await Bare.open(house.server) as client:
        head = await client.upgrade(PATH, *extra)
        status = int(head.split()[1])
        assert status in (101, 400, 403, 421, 426), head
        if status == 101:
            assert await client.close_code() == 1008


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/messenger/ws/%00",
        "/api/v1/messenger/ws/%ff%fe",
        "/api/v1/messenger/ws/%ED%A0%80",
        "/api/v1/messenger/ws/" + "x" * 101,
        "/api/v1/messenger/ws?token=%00",
        "/api/v1/messenger/ws?token=a&token=b",
        "/api/v1/messenger/ws?" + "a=b&" * 500,
        "/api/v1/messenger/ws/a/../b",
    ],
)
async def test_odd_targets_are_refused(house: House, target: str) -> None:
    async with await Bare.open(house.server) as client:
        head = await client.upgrade(target)
        status = int(head.split()[1])
        assert status in (101, 400, 403, 404), head
        if status == 101:
            # A name that is none is refused; bytes that are not UTF-8 become a name that is.
            opcode, payload = await client.receive()
            assert opcode == CLOSE or b"connected" in payload


async def test_random_bytes_close_that_connection_only(house: House) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(30):
        async with await bare(house) as client:
            await client.send(chance.randbytes(chance.randrange(1, 3000)))
            client.writer.write_eof()
            await client.rest()
