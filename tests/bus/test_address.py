"""The bus URL: what is understood, and that a password is never shown."""

from __future__ import annotations

import pytest

from madang.bus.address import Address, address_of
from madang.protocol.errors import Unavailable


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address()),
        ("redis://host", Address("host", 6379)),
        ("valkey://host:7000/2", Address("host", 7000, database=2)),
        ("redis+cluster://host:7000", Address("host", 7000)),
        ("redis://[::1]:7000?db=4", Address("::1", 7000, database=4)),
        ("redis://:p%40ss@host", Address("host", password="p@ss")),
        ("redis://ann:secret@host", Address("host", username="ann", password="secret")),
        ("unix:///run/valkey.sock", Address(path="/run/valkey.sock")),
        ("unix://:s@/run/v.sock?db=1", Address(path="/run/v.sock", password="s", database=1)),
    ],
)
def test_what_is_understood(url: str, address: Address) -> None:
    assert address_of(url) == address


def test_tls() -> None:
    context = address_of("rediss://host").tls
    assert context is not None and context.check_hostname
    unchecked = address_of("valkeys://host?ssl_cert_reqs=none").tls
    assert unchecked is not None and not unchecked.check_hostname


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:6379",
        "http://:s3cret@host",
        "redis://:s3cret@host:port",
        "redis://:s3cret@host/nine",
        "unix://",
        "redis://:s3cret@[host",
        "rediss://:s3cret@host?ssl_ca_certs=/nowhere",
    ],
)
def test_what_is_not_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Unavailable, match="redis://HOST:PORT") as refused:
        address_of(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_address_is_shown_without_its_password() -> None:
    address = address_of("redis://ann:s3cret@host:1")
    assert str(address) == "host:1"
    assert "s3cret" not in repr(address)
