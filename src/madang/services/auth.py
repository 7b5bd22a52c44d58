"""Tokens: verifying those that come in and minting those for development.

A token is a JWT (RFC 7519) in compact form. Which algorithms are allowed is decided by the keys
that were configured and never by the token alone: every key knows the algorithms it may be used
with, so a public key cannot be used as an HMAC secret, and `none` is no key's algorithm.

May import `madang.model`, `madang.protocol` and joserfc. Reads no clock and no file, and does no
I/O except through the key source it was given. A token costs 15 µs to verify with HS256 and about
100 µs with ES256, so nothing is cached and a key that was withdrawn counts at once.

AuthError
├── TokenExpired    it was valid once: get a new one
└── InvalidToken    everything else; why is in `reason`, for the log and never for the client
    └── UnknownKey  signed with a key that is not known (yet)
"""

from __future__ import annotations

import asyncio
import binascii
import re
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from madang.model.identity import DEFAULT_ORG, GLOBAL_ROLES, Identity
from madang.model.ids import is_user_id
from madang.model.runs import AGENT_PREFIX, is_own_agent
from madang.model.times import MICROSECONDS
from madang.protocol.errors import Unauthorized

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
"""Every algorithm a configuration may name. `Ed25519`, the newer name of EdDSA with that curve
(RFC 9864), is taken wherever EdDSA is."""

MAX_TOKEN = 8192
"""Characters. Longer than any header line that servers accept, so no honest token is refused."""

LEEWAY = 30
"""Seconds that another machine's clock may be ahead of ours (`nbf`, `iat`); `exp` gets none."""

MAX_NAME = 100
"""Characters of an org, a zone or a display name."""

_ROLE_SETS: dict[frozenset[str], frozenset[str]] = {}
_NO_ROLES: frozenset[str] = frozenset()


class AuthError(Unauthorized):
    """A token was refused. `text` is public, `reason` is for the log."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class TokenExpired(AuthError):
    """The token was valid and is not any more."""

    def __init__(self) -> None:
        super().__init__("Token expired", "expired")


class InvalidToken(AuthError):
    """The token is not one of ours, or not for us."""

    def __init__(self, reason: str) -> None:
        super().__init__("Invalid token", reason)


class UnknownKey(InvalidToken):
    """No key fits the token's algorithm and key id; fetching the key set again may help."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, the algorithms it may be used with, and the key id it is known by (None: any)."""

    key: Key
    algorithms: frozenset[str]
    kid: str | None = None

    @classmethod
    def of(cls, key: Key, *, kid: str | None = None) -> VerificationKey:
        """A key with the algorithms that its type allows.

        Raises:
            ValueError: no allowed algorithm works with this key.
        """
        match key:
            case OctKey():
                algorithms = {"HS256"}
            case RSAKey() if key.raw_value.key_size >= 2048:  # RFC 7518, 3.3
                algorithms = {"RS256"}
            case ECKey() if key.curve_name == "P-256":
                algorithms = {"ES256"}
            case OKPKey() if key.curve_name == "Ed25519":
                algorithms = {"EdDSA", "Ed25519"}
            case _:
                raise ValueError("neither an RSA key of 2048 bits or more, nor P-256, nor Ed25519")
        return cls(key, frozenset(algorithms), kid)


class KeySource(Protocol):
    """Keys that may change while the server runs: a key set behind an address."""

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys as they were fetched last; empty before the first fetch."""
        ...

    def is_old(self, now: int) -> bool:
        """Whether it is time to look whether keys were added or withdrawn."""
        ...

    async def refresh(self, now: int) -> bool:
        """Fetch the keys again, unless that was just done. Whether they may have changed."""
        ...


@dataclass(slots=True)
class TokenVerifier:
    """Turns tokens into identities. All times are passed in: microseconds since the epoch.

    `audience` and `issuer`, where set, must be in the token; `algorithms`, where set, narrows what
    the keys allow.
    """

    keys: Sequence[VerificationKey]
    source: KeySource | None = None
    audience: str | None = None
    issuer: str | None = None
    algorithms: frozenset[str] | None = None
    _refreshing: asyncio.Task[bool] | None = field(default=None, init=False)

    def verify(self, token: str, now: int) -> Identity:
        """The identity that `token` proves, with the keys known at this moment.

        Raises:
            TokenExpired: the token's signature is good and its time is over.
            UnknownKey: a key source is configured and does not hold the token's key (yet).
            InvalidToken: any other reason.
        """
        return self._identity(self._verified_claims(token), now)

    async def authenticate(self, token: str, now: int) -> Identity:
        """Like `verify`, but an unknown key makes the key source look for new ones first.

        Waits for the network only then; a key set that is merely old is fetched beside.
        """
        source = self.source
        if source is None:
            return self.verify(token, now)
        if source.keys and source.is_old(now):
            self._refresh_beside(source, now)
        try:
            return self.verify(token, now)
        except UnknownKey:
            if not await source.refresh(now):
                raise
        return self.verify(token, now)

    def _refresh_beside(self, source: KeySource, now: int) -> None:
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(source.refresh(now))

    def _verified_claims(self, token: str) -> Mapping[str, Any]:
        if len(token) > MAX_TOKEN:
            raise InvalidToken("too long")
        if not _COMPACT.fullmatch(token):
            raise InvalidToken("not three parts of base64url")
        signed, _, signature = token.rpartition(".")
        header_part, _, payload_part = signed.partition(".")
        try:
            header = orjson.loads(_decoded(header_part))
            signature_bytes = _decoded(signature)
        except ValueError:
            raise InvalidToken("not base64url or not JSON") from None
        if not isinstance(header, dict):
            raise InvalidToken("the header is not an object")
        if "crit" in header:
            # RFC 7515, 4.1.11: what is critical and not understood must be refused. We know none.
            raise InvalidToken("critical header parameters")
        self._check_signature(header, signed.encode("ascii"), signature_bytes)
        try:
            claims = orjson.loads(_decoded(payload_part))
        except ValueError:
            raise InvalidToken("the payload is not JSON") from None
        if not isinstance(claims, dict):
            raise InvalidToken("the payload is not an object")
        return claims

    def _check_signature(self, header: Mapping[str, Any], signed: bytes, signature: bytes) -> None:
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str):
            raise InvalidToken("no algorithm")
        if self.algorithms is not None and algorithm not in self.algorithms:
            raise InvalidToken("algorithm not allowed")
        fitting = False
        for candidates in (self.keys, self.source.keys if self.source is not None else ()):
            for candidate in candidates:
                if algorithm not in candidate.algorithms:
                    continue
                if kid is not None and candidate.kid is not None and kid != candidate.kid:
                    continue
                fitting = True
                try:
                    # `alg` is one of this key's own by now; the model only does the arithmetic.
                    if JWSRegistry.algorithms[algorithm].verify(signed, signature, candidate.key):
                        return
                except (JoseError, ValueError):
                    continue
        if not fitting and self.source is not None and algorithm in _ASYMMETRIC:
            raise UnknownKey("no key for this algorithm and key id")
        raise InvalidToken("bad signature" if fitting else "algorithm or key not allowed")

    def _identity(self, claims: Mapping[str, Any], now: int) -> Identity:
        seconds = now / MICROSECONDS
        expires_at = _time_claim(claims, "exp")
        if expires_at is None:
            raise InvalidToken("no exp")
        for name in ("nbf", "iat"):
            moment = _time_claim(claims, name)
            if moment is not None and moment > seconds + LEEWAY:
                raise InvalidToken(f"{name} is in the future")
        if self.issuer is not None and claims.get("iss") != self.issuer:
            raise InvalidToken("another issuer")
        if self.audience is not None:
            audiences = claims.get("aud")
            if self.audience not in (audiences if isinstance(audiences, list) else [audiences]):
                raise InvalidToken("another audience")
        if seconds >= expires_at:
            raise TokenExpired
        return Identity(
            user_id=_subject(claims.get("sub")),
            # Interned: ten thousand connections of one org share one string.
            org=sys.intern(_org(claims)),
            zone=_short_text(claims, "zone"),
            name=_display_name(claims.get("name")),
            roles=_roles(claims.get("roles")),
            expires_at=int(expires_at),
        )


EVERY_ORG = "*"
"""What the store calls all orgs together: no org's name."""


def _org(claims: Mapping[str, Any]) -> str:
    org = _short_text(claims, "org") or DEFAULT_ORG
    if org == EVERY_ORG:
        raise InvalidToken("* is no org")
    return org


_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""RFC 7515, 7.1. The decoder below would skip any other character instead of refusing it."""
_LATEST = 2**53
"""Seconds; the largest number that every JSON library writes and reads without loss."""
_ASYMMETRIC = frozenset({"RS256", "ES256", "EdDSA", "Ed25519"})


def mint(
    key: VerificationKey,
    user_id: str,
    *,
    now: int,
    ttl: int,
    org: str = DEFAULT_ORG,
    zone: str | None = None,
    name: str | None = None,
    roles: Iterable[str] = (),
    audience: str | None = None,
    issuer: str | None = None,
) -> str:
    """A token for `user_id`, valid from `now` (microseconds) for `ttl` seconds.

    Raises:
        ValueError: the user id, org, zone or a role is not one that `verify` would take.
    """
    if not is_user_id(user_id):
        raise ValueError("a user id is 1 to 100 printable characters")
    if is_own_agent(user_id):
        raise ValueError(f"user ids that begin with {AGENT_PREFIX} are the server's own agents")
    unknown = sorted(set(roles) - GLOBAL_ROLES)
    if unknown:
        raise ValueError(
            f"unknown role {unknown[0]}: it is one of {', '.join(sorted(GLOBAL_ROLES))}"
        )
    if org == EVERY_ORG:
        raise ValueError("* is no org")
    for label, text in (("org", org), ("zone", zone), ("name", name)):
        if text is not None and not _is_short_text(text):
            raise ValueError(f"the {label} is 1 to {MAX_NAME} printable characters")
    issued = now // MICROSECONDS
    claims: dict[str, Any] = {"sub": user_id, "org": org, "iat": issued, "exp": issued + ttl}
    optional = {
        "zone": zone,
        "name": name,
        "roles": sorted(set(roles)) or None,
        "aud": audience,
        "iss": issuer,
    }
    claims |= {claim: value for claim, value in optional.items() if value is not None}
    (algorithm,) = key.algorithms - {"EdDSA"}  # joserfc calls EdDSA deprecated, Ed25519 is the same
    return jwt.encode({"alg": algorithm}, claims, key.key, [algorithm])


def _decoded(segment: str) -> bytes:
    try:
        return urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _time_claim(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidToken(f"{name} is not a time")
    if not 0 <= value <= _LATEST:
        raise InvalidToken(f"{name} is not a time")
    return value


def _subject(value: object) -> str:
    # Not a few libraries write a numeric `sub`, against RFC 7519; the number is the user id then.
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not is_user_id(value):
        raise InvalidToken("sub is not a user id")
    if is_own_agent(value):
        # It would be let into every session that the agent is in.
        raise InvalidToken("sub is a name that the server's own agents have")
    return value


def _is_short_text(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def _short_text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _is_short_text(value):
        raise InvalidToken(f"{name} is not a short text")
    return value


def _display_name(value: object) -> str | None:
    """A name decides nothing, so an odd one is left out instead of refusing the token."""
    return value if isinstance(value, str) and _is_short_text(value) else None


def _roles(value: object) -> frozenset[str]:
    """The roles we know; the same set object for all that have the same ones."""
    if not isinstance(value, list):
        return _NO_ROLES
    roles = frozenset(role for role in value if isinstance(role, str) and role in GLOBAL_ROLES)
    return _ROLE_SETS.setdefault(roles, roles)
