"""Where verification keys come from: a secret, a PEM, or a key set (JWKS) behind an address.

The address is configured; a token's own `jku`, `x5u` or `jwk` is never looked at.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey, import_key

from madang import logs
from madang.model.times import MICROSECONDS
from madang.services.auth import VerificationKey

FETCH_TIMEOUT = 5.0
"""Seconds for one fetch of a key set, from connecting to the last byte."""
MAX_KEY_SET = 256 * 1024
"""Bytes. A key is about 500, so this is a few hundred of them."""
FETCH_INTERVAL = 30 * MICROSECONDS
"""Between two fetches at least: tokens with invented key ids must not make a flood of them."""
MAX_AGE = 600 * MICROSECONDS
"""After this a key set is looked at again although all its keys work, to see what was withdrawn."""
DEV_SECRET_FILE = "dev-secret"

_LOG = logs.get_logger("madang.auth")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def secret_key(secret: str) -> VerificationKey:
    """The HS256 key of a shared secret.

    Raises:
        ValueError: the secret is empty, or is a public key, which everyone may know.
    """
    if "-----BEGIN " in secret:
        raise ValueError("it holds a PEM key; a public key is set as MADANG_JWT_PUBLIC_KEY")
    with _without_joserfc_warnings():
        return VerificationKey.of(OctKey.import_key(secret))


def public_key(pem: str) -> VerificationKey:
    """The key of a public PEM, with the one algorithm that fits it.

    Raises:
        ValueError: not a PEM, or a kind of key that no allowed algorithm uses.
    """
    for kind in (RSAKey, ECKey, OKPKey):
        try:
            with _without_joserfc_warnings():
                key = kind.import_key(pem)
        except (JoseError, ValueError, TypeError):
            continue
        if key.is_private:
            raise ValueError("it holds a private key; the server needs only the public one")
        return VerificationKey.of(key)
    raise ValueError("it is neither an RSA key, nor P-256, nor Ed25519 in PEM form")


def dev_secret(data_dir: Path) -> str:
    """The secret of a development server: made once, then kept beside its data.

    Any number of processes may ask at once: whoever links the file first decides.
    """
    path = data_dir / DEV_SECRET_FILE
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=data_dir, prefix=".dev-secret-")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass  # another process was first; its secret counts
        finally:
            os.unlink(draft)
    return path.read_text("ascii").strip()


def check_key_set_address(url: str, *, dev: bool) -> None:
    """Refuse an address whose answer anyone on the way could change.

    Raises:
        ValueError: neither https, nor http to this machine in development.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in _LOOPBACK and dev:
        return
    raise ValueError("it must begin with https:// (http:// only with --dev and to this machine)")


class RemoteKeySet:
    """The public keys of an issuer, kept from one fetch to the next.

    When a fetch fails the old keys stay: an issuer that is away for an hour signs nobody out.
    """

    __slots__ = ("_fetched_at", "_keys", "_lock", "_tried_at", "_url")

    def __init__(self, url: str, *, dev: bool = False) -> None:
        check_key_set_address(url, dev=dev)
        self._url = url
        self._keys: tuple[VerificationKey, ...] = ()
        self._lock = asyncio.Lock()
        self._tried_at: int | None = None
        self._fetched_at = 0

    @property
    def keys(self) -> Sequence[VerificationKey]:
        return self._keys

    def is_old(self, now: int) -> bool:
        return now - self._fetched_at > MAX_AGE

    async def refresh(self, now: int) -> bool:
        """Fetch the key set, at most every 30 s; those who ask while a fetch runs share it.

        Returns:
            Whether the keys may have changed since the caller looked at them.
        """
        before = self._keys
        async with self._lock:
            if self._keys is not before:
                return True
            if self._tried_at is not None and 0 <= now - self._tried_at < FETCH_INTERVAL:
                return False
            self._tried_at = now
            try:
                body = await self._fetch()
                self._keys = _usable_keys(body)
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                _LOG.warning("key set not fetched", url=self._url, error=repr(error))
                return False
            self._fetched_at = now
            return True

    async def _fetch(self) -> bytes:
        body = bytearray()
        async with (
            asyncio.timeout(FETCH_TIMEOUT),
            httpx.AsyncClient(timeout=FETCH_TIMEOUT, follow_redirects=False) as client,
            client.stream("GET", self._url, headers={"accept": "application/json"}) as response,
        ):
            if response.status_code != 200:
                raise ValueError(f"HTTP status {response.status_code}")
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_KEY_SET:
                    raise ValueError(f"longer than {MAX_KEY_SET} bytes")
        return bytes(body)


def _usable_keys(body: bytes) -> tuple[VerificationKey, ...]:
    """The signature keys of a key set (RFC 7517, 5). Keys that we cannot use are left out, as the
    RFC asks; a shared secret has no place in a public document and is left out too."""
    document = orjson.loads(body)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a key set")
    usable = []
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        if entry.get("use", "sig") != "sig":
            continue
        public = {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in entry}
        kid, algorithm = entry.get("kid"), entry.get("alg")
        try:
            with _without_joserfc_warnings():
                imported = import_key(public)
            key = VerificationKey.of(imported, kid=kid if isinstance(kid, str) else None)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if algorithm is None or algorithm in key.algorithms:
            usable.append(key)
    return tuple(usable)


@contextmanager
def _without_joserfc_warnings() -> Iterator[None]:
    """joserfc warns of weak keys. Those of other people's making we refuse or leave out by rules
    of our own, and of a short secret the command line speaks in its own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        yield
