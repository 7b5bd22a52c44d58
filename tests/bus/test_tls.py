"""The bus over TLS: certificates are checked."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from madang.bus.redis import RedisBus
from madang.clock import SystemClock
from madang.protocol.errors import Unavailable
from tests.bus.conftest import Heard, commit, event
from tests.valkey import Valkey


def _certificate(directory: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = directory / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


class _Side(asyncio.Protocol):
    """One side of a tunnel: what comes in goes out on the other."""

    def __init__(self, other: _Side | None = None, port: int = 0) -> None:
        self.other = other
        self.port = port
        self.transport: asyncio.Transport | None = None
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.other is None:
            self.other = _Side(self)
            loop = asyncio.get_running_loop()
            other = self.other
            self.connecting = loop.create_task(
                loop.create_connection(lambda: other, "127.0.0.1", self.port)
            )
        else:
            transport.write(self.other.early)

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        if self.other.transport is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


@pytest.fixture
async def tunnel(valkey: Valkey, tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """A port that speaks TLS for the server, and the certificate."""
    path = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Side(port=valkey.port), "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1], path


async def test_a_server_with_a_certificate(tunnel: tuple[int, Path]) -> None:
    port, path = tunnel
    checked = f"rediss://127.0.0.1:{port}?ssl_ca_certs={path}"
    unchecked = f"valkeys://127.0.0.1:{port}?ssl_cert_reqs=none"
    one, other = RedisBus(checked, SystemClock()), RedisBus(unchecked, SystemClock())
    heard = Heard()
    await one.start(Heard())
    await other.start(heard)
    await other.follow_org("org")
    one.tell_commit(commit(0, event(1)), [])
    await heard.note(1)
    await one.close()
    await other.close()


async def test_a_certificate_nobody_vouches_for(tunnel: tuple[int, Path]) -> None:
    port, _ = tunnel
    with pytest.raises(Unavailable, match="certificate"):
        await RedisBus(f"rediss://127.0.0.1:{port}", SystemClock()).start(Heard())
