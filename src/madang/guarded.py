"""The one HTTP client for addresses that somebody else chose: it reaches the public internet and
nothing inside.

A name is resolved once and every address it has is checked; the connection goes to the first of
them that takes it, so a name that changes in between (DNS rebinding) changes nothing. Redirects
come through here again. What is answered is bounded as it comes over the wire, and never unpacked:
a compressed answer is refused. May import httpx and nothing of Madang.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence

import httpx

CONNECT_SECONDS = 10.0
MOST_REDIRECTS = 3
MOST_ADDRESSES = 4
"""Of one name, tried one after the other."""
MOST_OF_EVENT = 2 * 1024 * 1024
"""Bytes of one Server-Sent Event: the longest answer in one piece, escaped, has room in it."""
MOST_LINES = 1000
"""Of one Server-Sent Event: some decoders copy all of it with each."""
TURN = 8192
"""Bytes of events passed on in one turn of the loop."""


class NotAllowed(httpx.TransportError):
    """The address leads inside, or is none that may be asked."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet. An IPv4 address that is wrapped in an
    IPv6 one (mapped, 6to4) must be public itself; other wrappings (Teredo, NAT64) are refused."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_global(ip.ipv4_mapped)
        if ip not in _UNICAST or (ip.sixtofour is not None and not _is_global(ip.sixtofour)):
            return False
    return _is_global(ip)


def is_literally_inside(host: str) -> bool:
    """Whether a host of an address says by itself, without a look at any name, that it is not one
    of the public internet: an IP address, or `localhost`."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not is_public(host)


_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is given out to anybody: not NAT64 (`64:ff9b::/96`), `5f00::/16`, `fec0::/10`."""
_NEVER = (
    # Not in the lists of every Python we run on.
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("2001::/23"),
    ipaddress.ip_network("3fff::/20"),
)


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return (
        ip.is_global
        and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)
        and not any(ip in network for network in _NEVER)
    )


class _Bounded(httpx.AsyncByteStream):
    """A body of so many bytes at most."""

    def __init__(self, stream: httpx.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._left = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise httpx.ReadError("The answer is too large")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Events(httpx.AsyncByteStream):
    """Server-Sent Events in whole lines, of a bounded size each, and in turns: so that what reads
    them need not be clever about lines that come in pieces, or by the thousand."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream
        self._size = self._lines = 0
        """Of the event that is going on."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        held: list[bytes] = []
        size = 0
        async for part in self._stream:
            for start in range(0, len(part), TURN):
                if start:
                    await asyncio.sleep(0)
                piece = part[start : start + TURN]
                # A `\r` at the end may be half of a line's end.
                end = max(piece.rfind(b"\n"), piece.rfind(b"\r", 0, -1)) + 1
                if end:
                    whole = b"".join((*held, piece[:end]))
                    held, size = [], 0
                    self._count(whole)
                    yield whole
                held.append(piece[end:])
                size += len(piece) - end
                if self._size + size > MOST_OF_EVENT:
                    raise httpx.ReadError("An event is too large")
        yield b"".join(held)

    def _count(self, whole: bytes) -> None:
        for line in whole.splitlines():
            if not line:
                self._size = self._lines = 0
                continue
            self._size += len(line)
            self._lines += 1
            if self._size > MOST_OF_EVENT or self._lines > MOST_LINES:
                raise httpx.ReadError("An event is too large")

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Compressed(httpx.AsyncByteStream):
    """The body of an answer that would have to be unpacked: a little of it becomes a lot."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpx.DecodingError("The answer is compressed")

    async def aclose(self) -> None:
        await self._stream.aclose()


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends a request to an address that was checked.

    Args:
        private: whether addresses inside are allowed: for development only.
        limit: bytes of an answer's body.
        events: whether Server-Sent Events are what is answered.
    """

    def __init__(
        self, *, private: bool = False, limit: int = 64 * 1024 * 1024, events: bool = False
    ) -> None:
        self._private = private
        self._limit = limit
        self._events = events
        self._transport = httpx.AsyncHTTPTransport(retries=0, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise NotAllowed("Not an address that may be asked", request=request)
        host, port = url.host, url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(host, port, request)
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": host}
        request.headers["accept-encoding"] = "identity"
        response = await self._connect(request, addresses[:MOST_ADDRESSES])
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream: httpx.AsyncByteStream = _Bounded(response.stream, self._limit)
        if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            stream = _Compressed(stream)
        elif self._events and response.is_success:
            stream = _Events(stream)
        response.stream = stream
        return response

    async def _connect(self, request: httpx.Request, addresses: Sequence[str]) -> httpx.Response:
        """The answer from the first of the addresses that can be reached."""
        url = request.url
        try:
            for address in addresses[:-1]:
                request.url = url.copy_with(host=address)  # The header `Host` keeps the name.
                try:
                    return await self._transport.handle_async_request(request)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    pass  # Nothing was sent.
            request.url = url.copy_with(host=addresses[-1])
            return await self._transport.handle_async_request(request)
        finally:
            request.url = url

    async def _resolve(self, host: str, port: int, request: httpx.Request) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise httpx.ConnectError("The name leads nowhere", request=request) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses:
            raise httpx.ConnectError("The name leads nowhere", request=request)
        if not self._private and not all(map(is_public, addresses)):
            raise NotAllowed("The address is not a public one", request=request)
        return list(dict.fromkeys(addresses))

    async def aclose(self) -> None:
        await self._transport.aclose()


def guarded_client(
    *,
    private: bool = False,
    limit: int = 64 * 1024 * 1024,
    idle: float = 60.0,
    events: bool = False,
) -> httpx.AsyncClient:
    """A client that reaches public addresses only; `idle` are the seconds between two pieces of an
    answer, at most. Environment variables for proxies are not heeded."""
    return httpx.AsyncClient(
        transport=GuardedTransport(private=private, limit=limit, events=events),
        timeout=httpx.Timeout(idle, connect=CONNECT_SECONDS),
        follow_redirects=True,
        max_redirects=MOST_REDIRECTS,
        trust_env=False,
    )
