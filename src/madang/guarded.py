"""The one HTTP client for addresses that somebody else chose: it reaches the public internet and
nothing inside.

A name is resolved once and every address it has is checked; the connection goes to the first of
them that takes it, so a name that changes in between (DNS rebinding) changes nothing. Redirects
come through here again. May import httpx and nothing of Madang.
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
"""Of one name that are tried, one after the other."""


class NotAllowed(httpx.TransportError):
    """The address leads inside, or is none that may be asked."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, whatever it is wrapped in: an IPv4
    address inside an IPv6 one (mapped, 6to4, Teredo, NAT64, compatible) must be public itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64 or ip in _COMPATIBLE:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF))
        if any(one is not None and not _is_global(one) for one in inner):
            return False
        if ip.ipv4_mapped is not None:
            return True
    return _is_global(ip)


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def _is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


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


class GuardedTransport(httpx.AsyncBaseTransport):
    """Sends a request to an address that was checked.

    Args:
        private: whether addresses inside are allowed: for development only.
        limit: bytes of an answer's body.
    """

    def __init__(self, *, private: bool = False, limit: int = 64 * 1024 * 1024) -> None:
        self._private = private
        self._limit = limit
        self._transport = httpx.AsyncHTTPTransport(retries=0, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise NotAllowed("Not an address that may be asked", request=request)
        host, port = url.host, url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(host, port, request)
        if url.scheme == "https":
            request.extensions = {**request.extensions, "sni_hostname": host}
        response = await self._send(request, addresses)
        request.url = url
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Bounded(response.stream, self._limit)
        return response

    async def _send(self, request: httpx.Request, addresses: Sequence[str]) -> httpx.Response:
        """To the first of the addresses that takes a connection."""
        *others, last = addresses[:MOST_ADDRESSES]
        for address in others:
            request.url = request.url.copy_with(host=address)  # The header `Host` keeps the name.
            try:
                return await self._transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                pass  # Nothing was sent.
        request.url = request.url.copy_with(host=last)
        return await self._transport.handle_async_request(request)

    async def _resolve(self, host: str, port: int, request: httpx.Request) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError) as error:
            raise httpx.ConnectError("The name leads nowhere", request=request) from error
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise httpx.ConnectError("The name leads nowhere", request=request)
        if not self._private and not all(map(is_public, addresses)):
            raise NotAllowed("The address is not a public one", request=request)
        return list(dict.fromkeys(addresses))

    async def aclose(self) -> None:
        await self._transport.aclose()


def guarded_client(
    *, private: bool = False, limit: int = 64 * 1024 * 1024, idle: float = 60.0
) -> httpx.AsyncClient:
    """A client that reaches public addresses only; `idle` are the seconds between two pieces of an
    answer, at most. Environment variables for proxies are not heeded."""
    return httpx.AsyncClient(
        transport=GuardedTransport(private=private, limit=limit),
        timeout=httpx.Timeout(idle, connect=CONNECT_SECONDS),
        follow_redirects=True,
        max_redirects=MOST_REDIRECTS,
        trust_env=False,
    )
