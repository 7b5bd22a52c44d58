"""Keys from outside: a key set behind a real address, and the secret of a development server."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from madang.services.auth import InvalidToken, TokenVerifier, UnknownKey
from madang.services.keys import (
    FETCH_INTERVAL,
    MAX_AGE,
    MAX_KEY_SET,
    RemoteKeySet,
    check_key_set_address,
    dev_secret,
)

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
LIMIT = 10.0
"""Seconds to wait for something that must happen."""

SPRING = RSAKey.generate_key(2048)
AUTUMN = ECKey.generate_key("P-256")


def entry(key: RSAKey | ECKey | OKPKey, kid: str | None, **more: Any) -> dict[str, Any]:
    named = {} if kid is None else {"kid": kid}
    return key.as_dict(private=False) | named | more


def signed(key: RSAKey | ECKey, kid: str | None, algorithm: str) -> str:
    header = {"alg": algorithm} | ({} if kid is None else {"kid": kid})
    return jwt.encode(header, {"sub": "alice", "exp": NOW // SECOND + 86_400}, key)


class Issuer:
    """A real HTTP server with one answer that the test may change; it counts the requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.raw = b""

    def publish(self, *keys: dict[str, Any]) -> None:
        self.answer(json.dumps({"keys": keys}).encode())

    def answer(self, body: bytes, status: str = "200 OK", headers: str = "") -> None:
        self.raw = (
            f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n"
            f"{headers}connection: close\r\n\r\n"
        ).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        self.asked.set()
        await self.may_answer.wait()
        writer.write(self.raw)
        writer.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks.json"
    try:
        yield made
    finally:
        made.may_answer.set()
        server.close()


def verifier_of(issuer: Issuer) -> TokenVerifier:
    return TokenVerifier(keys=(), source=RemoteKeySet(issuer.url, dev=True))


async def test_the_first_token_fetches_the_keys(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    token = signed(SPRING, "spring", "RS256")
    with pytest.raises(UnknownKey):
        verifier.verify(token, NOW)
    assert (await verifier.authenticate(token, NOW)).user_id == "alice"
    assert verifier.verify(token, NOW).user_id == "alice"
    assert issuer.requests == 1


async def test_rotation(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    await verifier.authenticate(signed(SPRING, "spring", "RS256"), NOW)

    issuer.publish(entry(AUTUMN, "autumn"))
    later = NOW + FETCH_INTERVAL
    assert await verifier.authenticate(signed(AUTUMN, "autumn", "ES256"), later)
    with pytest.raises(InvalidToken):  # withdrawn, so not taken any more
        await verifier.authenticate(signed(SPRING, "spring", "RS256"), later)
    assert issuer.requests == 2


async def test_invented_key_ids_do_not_make_a_flood(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    await verifier.authenticate(signed(SPRING, "spring", "RS256"), NOW)
    for number in range(50):
        with pytest.raises(UnknownKey):
            await verifier.authenticate(
                signed(AUTUMN, f"invented-{number}", "ES256"), NOW + FETCH_INTERVAL - 1
            )
    assert issuer.requests == 1


async def test_a_storm_of_first_tokens_is_one_fetch(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    issuer.may_answer.clear()
    verifier = verifier_of(issuer)
    token = signed(SPRING, "spring", "RS256")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        tasks = [group.create_task(verifier.authenticate(token, NOW)) for _ in range(100)]
        await issuer.asked.wait()
        issuer.may_answer.set()
    assert {task.result().user_id for task in tasks} == {"alice"}
    assert issuer.requests == 1


async def test_old_keys_are_looked_at_again_without_making_anyone_wait(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    token = signed(SPRING, "spring", "RS256")
    await verifier.authenticate(token, NOW)
    issuer.publish(entry(AUTUMN, "autumn"))
    issuer.asked.clear()
    issuer.may_answer.clear()
    async with asyncio.timeout(LIMIT):
        later = NOW + MAX_AGE + 1
        assert await verifier.authenticate(token, later)
        await issuer.asked.wait()
        assert await verifier.authenticate(token, later), "the issuer has not answered yet"
        issuer.may_answer.set()
        assert await verifier.authenticate(signed(AUTUMN, "autumn", "ES256"), later)
    assert issuer.requests == 2


@pytest.mark.parametrize(
    ("body", "status", "headers"),
    [
        (b"", "500 Internal Server Error", ""),
        (b"", "302 Found", "location: http://127.0.0.1:1/\r\n"),
        (b"<html>", "200 OK", ""),
        (b"[]", "200 OK", ""),
        (b'{"keys": {}}', "200 OK", ""),
        (b'{"keys": [' + b" " * MAX_KEY_SET + b"]}", "200 OK", ""),
    ],
    ids=["500", "redirect", "html", "list", "no-keys", "huge"],
)
async def test_when_a_fetch_fails_the_old_keys_stay(
    issuer: Issuer, body: bytes, status: str, headers: str
) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    good = signed(SPRING, "spring", "RS256")
    await verifier.authenticate(good, NOW)
    issuer.answer(body, status, headers)
    with pytest.raises(UnknownKey):
        await verifier.authenticate(signed(AUTUMN, "autumn", "ES256"), NOW + FETCH_INTERVAL)
    assert issuer.requests == 2
    assert verifier.verify(good, NOW + FETCH_INTERVAL)


async def test_an_issuer_that_is_away_signs_nobody_in_and_nobody_out() -> None:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    source = RemoteKeySet(f"http://127.0.0.1:{port}/", dev=True)
    verifier = TokenVerifier(keys=(), source=source)
    with pytest.raises(UnknownKey):
        await verifier.authenticate(signed(SPRING, "spring", "RS256"), NOW)


async def test_only_keys_we_can_use_are_taken(issuer: Issuer) -> None:
    secret = OctKey.generate_key(256)
    issuer.publish(
        {"kty": "oct", "k": secret.as_dict(private=True)["k"], "kid": "secret"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "tiny"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "broken"},
        {"kty": "new", "kid": "future"},
        entry(SPRING, "encryption", use="enc"),
        entry(SPRING, "other-algorithm", alg="PS256"),
        entry(SPRING, "spring", use="sig", alg="RS256"),
    )
    source = RemoteKeySet(issuer.url, dev=True)
    assert await source.refresh(NOW)
    assert [key.kid for key in source.keys] == ["spring"]
    verifier = TokenVerifier(keys=(), source=source)
    forged = jwt.encode(
        {"alg": "HS256", "kid": "secret"}, {"sub": "a", "exp": NOW // SECOND + 60}, secret
    )
    with pytest.raises(InvalidToken):
        verifier.verify(forged, NOW)


async def test_a_token_without_a_key_id_may_use_any_key(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"), entry(AUTUMN, "autumn"))
    verifier = verifier_of(issuer)
    assert await verifier.authenticate(signed(AUTUMN, None, "ES256"), NOW)


async def test_rubbish_does_not_ask_the_issuer(issuer: Issuer) -> None:
    issuer.publish(entry(SPRING, "spring"))
    verifier = verifier_of(issuer)
    for text in ("", "a.b.c", "x" * 9000, "eyJhbGciOiJIUzI1NiJ9.e30.AAAA"):
        with pytest.raises(InvalidToken):
            await verifier.authenticate(text, NOW)
    assert issuer.requests == 0


@pytest.mark.parametrize(
    ("url", "dev", "fits"),
    [
        ("https://id.example/jwks", False, True),
        ("http://id.example/jwks", False, False),
        ("http://id.example/jwks", True, False),
        ("http://localhost:9000/jwks", True, True),
        ("http://localhost:9000/jwks", False, False),
        ("http://localhost.example/jwks", True, False),
        ("http://localhost@id.example/jwks", True, False),
        ("file:///etc/passwd", True, False),
        ("https://", False, False),
        ("", True, False),
    ],
)
def test_which_addresses_are_believed(url: str, dev: bool, fits: bool) -> None:
    if fits:
        check_key_set_address(url, dev=dev)
    else:
        with pytest.raises(ValueError, match="https"):
            check_key_set_address(url, dev=dev)


def test_the_dev_secret_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "madang-data"
    secret = dev_secret(directory)
    assert len(secret) >= 32
    assert dev_secret(directory) == secret
    assert dev_secret(tmp_path) != secret
    assert stat.S_IMODE((directory / "dev-secret").stat().st_mode) == 0o600
    assert [each.name for each in directory.iterdir()] == ["dev-secret"]


def test_all_who_ask_at_once_get_the_same_dev_secret(tmp_path: Path) -> None:
    gate = threading.Barrier(16)

    def ask() -> str:
        gate.wait(LIMIT)
        return dev_secret(tmp_path)

    with ThreadPoolExecutor(16) as pool:
        secrets = {task.result() for task in [pool.submit(ask) for _ in range(16)]}
    assert len(secrets) == 1
