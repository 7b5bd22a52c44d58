"""Where a client is: what a trusted proxy says, and what nobody else does."""

from __future__ import annotations

import pytest

from madang.gateways.proxies import Proxies


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), "192.0.2.1", "203.0.113.1", "192.0.2.1"),
        ((), "127.0.0.1", "203.0.113.1", "127.0.0.1"),
        (("192.0.2.1",), "192.0.2.1", "203.0.113.1", "203.0.113.1"),
        (("192.0.2.1",), "192.0.2.2", "203.0.113.1", "192.0.2.2"),
        (("192.0.2.0/24",), "192.0.2.9", "203.0.113.1", "203.0.113.1"),
        # What the client wrote itself stands further left.
        (("192.0.2.1",), "192.0.2.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),
        (("192.0.2.1", "10.0.0.0/8"), "192.0.2.1", "6.6.6.6, 203.0.113.1, 10.1.2.3", "203.0.113.1"),
        (("192.0.2.1", "10.0.0.0/8"), "192.0.2.1", "10.9.9.9", "10.9.9.9"),
        (("192.0.2.1",), "192.0.2.1", "", "192.0.2.1"),
        (("192.0.2.1",), "192.0.2.1", " , ,", "192.0.2.1"),
        (("192.0.2.1",), "192.0.2.1", "203.0.113.1:4711", "203.0.113.1"),
        (("192.0.2.1",), "192.0.2.1", "[2001:db8::1]:4711", "2001:db8::1"),
        (("192.0.2.1",), "192.0.2.1", "2001:db8::1", "2001:db8::1"),
        (("192.0.2.1",), "192.0.2.1", "nonsense", "nonsense"),
        (("*",), "192.0.2.1", "6.6.6.6, 203.0.113.1", "6.6.6.6"),
        (("not an address",), "192.0.2.1", "203.0.113.1", "192.0.2.1"),
        (("192.0.2.1",), None, "203.0.113.1", None),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(
    trusted: tuple[str, ...], peer: str | None, forwarded: str, client: str | None
) -> None:
    headers = {"x-forwarded-for": forwarded} if forwarded else {}
    assert Proxies(trusted).client_of(peer, headers) == client
