"""The proxy does to a connection what it says; and clients that are cut at every byte of a frame,
in either direction, lose nothing and double nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.exceptions import ConnectionClosed

from madang.store.pooling import connector, is_lost
from tests.conftest import Server
from tests.faults.proxy import Proxy
from tests.phone import Phone, calling


@pytest.fixture
async def echo() -> AsyncIterator[Proxy]:
    """A proxy before a server that says everything again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # It was cut, which is what this is about.
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy("echo", ("127.0.0.1", port), random.Random(1)) as proxy:
        yield proxy
    server.close()
    await server.wait_closed()


class Line:
    """A connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, text: bytes) -> bytes:
        """What comes back to it; empty at the end of the connection."""
        self.writer.write(text)
        async with asyncio.timeout(5):
            return await self.reader.read(1000)


Opening = Callable[[], Awaitable[Line]]


@pytest.fixture
async def line(echo: Proxy) -> AsyncIterator[Opening]:
    """Opens connections, which end with the test."""
    opened: list[Line] = []

    async def open_one() -> Line:
        opened.append(Line(*await asyncio.open_connection("127.0.0.1", echo.port)))
        return opened[-1]

    yield open_one
    for one in opened:
        one.writer.close()
        await asyncio.gather(one.writer.wait_closed(), return_exceptions=True)


async def test_it_passes_everything(line: Opening) -> None:
    one = await line()
    assert await one.say(b"hello") == b"hello"
    one.writer.write_eof()
    assert await one.reader.read() == b""


@pytest.mark.parametrize("way", ["forth", "back"])
async def test_what_is_held_one_way_comes_when_it_is_free(
    echo: Proxy, line: Opening, way: str
) -> None:
    one = await line()
    assert await one.say(b"hello") == b"hello"
    held = echo.forth if way == "forth" else echo.back
    held.hold()
    answer = asyncio.create_task(one.say(b"more"))
    other = echo.back if way == "forth" else echo.forth
    before = other.bytes
    done, _ = await asyncio.wait([answer], timeout=0.1)
    assert not done
    assert other.bytes - before == (0 if way == "forth" else 4)
    held.free()
    assert await answer == b"more"


async def test_it_cuts_after_so_many_bytes(echo: Proxy, line: Opening) -> None:
    one = await line()
    echo.back.cut_after = 3
    assert await one.say(b"hello") == b"hel"
    assert await one.reader.read() == b""


async def test_it_cuts_with_rst_and_with_fin(echo: Proxy, line: Opening) -> None:
    first, second = await line(), await line()
    for one in (first, second):
        assert await one.say(b"hello") == b"hello"
    echo.cut(reset=True)
    for one in (first, second):
        with pytest.raises(ConnectionResetError):
            await one.reader.read()
    third = await line()
    assert await third.say(b"hello") == b"hello"
    echo.cut(reset=False)
    assert await third.reader.read() == b""


async def test_it_refuses_and_swallows_until_it_is_mended(echo: Proxy, line: Opening) -> None:
    echo.refuse()
    with pytest.raises(ConnectionRefusedError):
        await line()
    await echo.mend()
    echo.swallow()
    one = await line()
    answer = asyncio.create_task(one.say(b"hello"))
    done, _ = await asyncio.wait([answer], timeout=0.1)
    assert not done
    await echo.mend()
    with pytest.raises(ConnectionResetError):
        await answer
    assert await (await line()).say(b"hello") == b"hello"


async def test_an_answer_is_lost_and_the_question_arrives(echo: Proxy, line: Opening) -> None:
    one = await line()
    echo.lose_answer_to = lambda data: b"COMMIT" in data
    assert await one.say(b"BEGIN") == b"BEGIN"
    with pytest.raises(ConnectionResetError):
        await one.say(b"COMMIT")
    assert echo.answers_lost == 1
    assert echo.forth.bytes == len(b"BEGINCOMMIT")


async def test_a_database_that_takes_connections_and_says_nothing_is_away(echo: Proxy) -> None:
    echo.swallow()
    with pytest.raises(TimeoutError) as raised:
        await connector(f"postgresql://ann@127.0.0.1:{echo.port}/madang")()
    assert is_lost(raised.value)


# Every byte of a frame.


async def hello(phone: Phone, cursor: int | None) -> int:
    """Connected and caught up; where it stands."""
    greeted = await phone.until("system")
    await phone.send("resume", cursor=greeted["cursor"] if cursor is None else cursor)
    return int((await phone.until("resumed"))["cursor"])


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", ["forth", "back"])
async def test_a_client_is_cut_at_every_byte(server: Server, way: str) -> None:
    """Of the frame it sends; of the acknowledgement and the event it gets."""
    async with server.rest("ann") as rest:
        body = {"kind": "group", "participant_ids": ["ben"]}
        room = (await rest.post("/api/v1/messenger/conversations", json=body)).json()["id"]
        target = ("127.0.0.1", server.port)
        async with Proxy("door", target, random.Random(1)) as door:
            url = server.ws.replace(str(server.port), str(door.port))
            cursor: int | None = None
            seen: list[str] = []
            number, whole = 0, False
            while not whole:
                number += 1
                asked = {"conversation_id": room, "client_id": f"c{number}", "content": "안녕 x"}
                for cut in (True, False):
                    async with calling(url, server.token("ann")) as phone:
                        cursor = await hello(phone, cursor)
                        cut_line = door.forth if way == "forth" else door.back
                        cut_line.cut_after = number if cut else None
                        try:
                            await phone.send("message.send", **asked)
                            await phone.until("message.sent")
                            await phone.rest()
                            whole = cut
                        except ConnectionClosed:
                            assert cut
                        cut_line.cut_after = None
                        new = [frame for frame in phone.events() if frame["type"] == "message.new"]
                        seen += [frame["data"]["client_id"] for frame in new]
                        cursor = max([cursor, *(frame["cursor"] for frame in phone.events())])
                    if whole:
                        break
        page: list[str] = []
        while True:
            url = f"/api/v1/messenger/conversations/{room}/messages"
            params = {"after": len(page) + 1, "limit": 200}
            answer = json.loads((await rest.get(url, params=params)).text)
            page += [message["client_id"] for message in answer["messages"]]
            if not answer["has_more"]:
                break
    print(f"{number} places to cut")
    assert number > 100
    assert page == [f"c{n}" for n in range(1, number + 1)]
    assert seen == page
