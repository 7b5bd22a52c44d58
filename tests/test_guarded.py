"""The guarded client reaches public addresses and nothing inside, however it is told to."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from madang.guarded import (
    MOST_LINES,
    MOST_OF_EVENT,
    GuardedTransport,
    NotAllowed,
    guarded_client,
    is_public,
)
from tests.ports import free_port

INSIDE = (
    "127.0.0.1",
    "10.0.0.1",
    "172.16.5.4",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a00:1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "2001:0:808:808:8000:63bf:f7f7:f7f7",
    "::8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::808:808",
    "64:ff9b:1::7f00:1",
    "fec0::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "2001:10::1",
    "2001:db8::1",
    "192.0.0.9",
    "192.88.99.1",
    "198.18.0.1",
    "no address",
)
OUTSIDE = (
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "2002:808:808::1",
)


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address: str) -> None:
    assert is_public(address)


class Site:
    """A site on this machine: keeps the heads it was sent, and answers with what it is told."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    found = Site()
    server = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "017700000001",
    ],
)
async def test_no_name_of_this_machine_leads_to_it(site: Site, host: str) -> None:
    async with guarded_client() as client:
        with pytest.raises((NotAllowed, httpx.ConnectError, httpx.InvalidURL)):
            await client.get(f"http://{host}:{site.port}/")
    assert site.heads == []


async def test_a_redirect_inside_is_not_followed(site: Site) -> None:
    """The first address is allowed (as if it were a public one), the second is looked at again."""
    location = b"location: http://169.254.169.254/latest\r\n"
    site.answer = b"HTTP/1.1 302 Found\r\n" + location + b"content-length: 0\r\n\r\n"

    class FirstIsPublic(GuardedTransport):
        async def _resolve(self, host: str, port: int, request: httpx.Request) -> Sequence[str]:
            if host == "public.example":
                return ["127.0.0.1"]
            return await super()._resolve(host, port, request)

    client = httpx.AsyncClient(transport=FirstIsPublic(), follow_redirects=True)
    async with client:
        with pytest.raises(NotAllowed):
            await client.get(f"http://public.example:{site.port}/")
    assert len(site.heads) == 1


async def test_a_name_is_resolved_once_and_that_address_is_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS that says something else the second time changes nothing: there is no second time."""
    asked: list[str] = []
    answers = ["127.0.0.1", "10.9.9.9"]
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[len(asked) - 1], port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with guarded_client(private=True) as client:
        answer = await client.get(f"http://changing.example:{site.port}/path?q=1")
    assert answer.text == "ok"
    assert asked == ["changing.example"]
    assert f"host: changing.example:{site.port}" in site.heads[0].lower()
    assert str(answer.url) == f"http://changing.example:{site.port}/path?q=1"


async def test_an_address_that_takes_no_connection_is_passed_over(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a name has an IPv6 address and this machine no IPv6."""
    loop = asyncio.get_running_loop()
    nobody = free_port()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        found = ["127.0.0.2", "127.0.0.1"] if host == "two.example" else ["127.0.0.2"] * 3
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with guarded_client(private=True) as client:
        answer = await client.post(f"http://two.example:{site.port}/", content=b"body")
        assert (answer.text, len(site.heads)) == ("ok", 1)
        assert f"host: two.example:{site.port}" in site.heads[0].lower()
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://none.example:{nobody}/")


async def test_one_address_inside_among_several_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port)),
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:10.0.0.1", port, 0, 0)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with guarded_client() as client:
        with pytest.raises(NotAllowed):
            await client.get("https://both.example/")


async def test_of_several_addresses_the_first_that_answers_is_taken(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with guarded_client(private=True) as client:
        answer = await client.post(f"http://several.example:{site.port}/", content=b"once")
    assert (answer.text, len(site.heads)) == ("ok", 1)
    assert f"host: several.example:{site.port}" in site.heads[0].lower()
    assert answer.url.host == "several.example"


async def test_where_no_address_can_be_reached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", port)) for n in (2, 3)]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    async with guarded_client(private=True) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://several.example:{site.port}/")


async def test_only_http_and_no_credentials_in_the_address() -> None:
    async with guarded_client(private=True) as client:
        for url in ("ftp://example.com/", "file:///etc/passwd", "http://a:b@127.0.0.1/"):
            with pytest.raises((NotAllowed, httpx.UnsupportedProtocol)):
                await client.get(url)


async def test_large_answers_are_cut(site: Site) -> None:
    site.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000
    async with guarded_client(private=True, limit=2999) as client:
        with pytest.raises(httpx.ReadError):
            await client.get(f"http://127.0.0.1:{site.port}/")
    async with guarded_client(private=True, limit=3000) as client:
        assert len((await client.get(f"http://127.0.0.1:{site.port}/")).content) == 3000


async def test_a_compressed_answer_is_refused_and_never_asked_for(site: Site) -> None:
    """A megabyte of the same letter, a thousand times smaller, and packed again."""
    body = gzip.compress(gzip.compress(b"a" * 2**20))
    head = b"content-encoding: gzip, gzip\r\ncontent-length: %d" % len(body)
    site.answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body
    async with guarded_client(private=True, limit=10_000) as client:
        with pytest.raises(httpx.DecodingError):
            await client.get(f"http://127.0.0.1:{site.port}/")
    assert "accept-encoding: identity\r\n" in site.heads[0].lower()


async def events_of(site: Site, body: bytes) -> tuple[list[bytes], Exception | None]:
    """What is passed on of an endless answer with this body, and how that ended."""
    site.answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + body
    parts: list[bytes] = []
    async with (
        guarded_client(private=True, events=True) as client,
        client.stream("POST", f"http://127.0.0.1:{site.port}/") as answer,
    ):
        try:
            async for part in answer.aiter_bytes():
                parts.append(part)
        except httpx.HTTPError as error:
            return parts, error
    return parts, None


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_events_come_in_whole_lines(site: Site, end: bytes) -> None:
    lines = [b"data: %d" % n + b"x" * (n * 37 % 9000) for n in range(200)]
    body = b"".join(line + end + end for line in lines) + b"data: rest"
    parts, error = await events_of(site, body)
    assert error is None
    assert b"".join(parts) == body
    assert all(part.endswith((b"\n", b"\r")) for part in parts[:-1])


@pytest.mark.parametrize(
    "body",
    [
        b"data: " + b"x" * MOST_OF_EVENT,
        (b"data: " + b"x" * 10_000 + b"\n") * (MOST_OF_EVENT // 10_000 + 1),
        b"a\n" * (MOST_LINES + 1),
    ],
    ids=["one line", "long lines", "many lines"],
)
async def test_one_event_is_bounded(site: Site, body: bytes) -> None:
    _, error = await events_of(site, b"data: before\n\n" + body + b"\n\n")
    assert isinstance(error, httpx.ReadError)


async def test_an_event_of_the_longest_and_many_of_them_pass(site: Site) -> None:
    body = b"data: " + b"x" * (MOST_OF_EVENT - 100) + b"\n\n" + b"a\n" * MOST_LINES + b"\n"
    parts, error = await events_of(site, body * 2)
    assert error is None
    assert b"".join(parts) == body * 2
