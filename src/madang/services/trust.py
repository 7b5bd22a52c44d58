"""Whose tokens are believed: from settings to a verifier, and no start without any key.

Apart from `madang.services.auth` so that verifying knows no settings and no files.
"""

from __future__ import annotations

import hashlib
import hmac

from joserfc.jwk import OctKey

from madang.services.auth import TokenVerifier, VerificationKey
from madang.services.keys import DEV_SECRET_FILE, RemoteKeySet, dev_secret, public_key, secret_key
from madang.settings import Settings, SettingsError

NO_KEY = (
    "No key to check tokens with: set MADANG_JWT_SECRET_KEY (32 bytes or more), "
    "MADANG_JWT_PUBLIC_KEY or MADANG_JWKS_URL, or start with --dev to have a secret made."
)
SHORT_SECRET = 32
"""Bytes below which an HS256 secret is weaker than the hash it feeds (RFC 7518, 3.2)."""


def token_verifier(settings: Settings) -> TokenVerifier:
    """The verifier these settings describe. In development without any key, makes a secret.

    Raises:
        SettingsError: no key, one that cannot be used, or an algorithm without a key for it.
    """
    keys: list[VerificationKey] = []
    secret = _secret(settings)
    if secret is not None:
        keys.append(secret)
    if settings.jwt_public_key is not None:
        try:
            keys.append(public_key(settings.jwt_public_key))
        except ValueError as error:
            raise SettingsError(f"MADANG_JWT_PUBLIC_KEY cannot be used: {error}.") from None
    source = None
    if settings.jwks_url is not None:
        try:
            source = RemoteKeySet(settings.jwks_url, dev=settings.dev)
        except ValueError as error:
            raise SettingsError(f"MADANG_JWKS_URL cannot be used: {error}.") from None
    if not keys and source is None:
        raise SettingsError(NO_KEY)
    _check_each_has_a_key(settings.jwt_algorithm, keys, has_source=source is not None)
    return TokenVerifier(
        keys=tuple(keys),
        source=source,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        algorithms=_names(settings.jwt_algorithm) if settings.jwt_algorithm else None,
    )


def fingerprint(verifier: TokenVerifier, settings: Settings) -> str:
    """What two nodes have in common if they believe the same tokens: 64 hexadecimal digits.

    Tells no more of a secret than a token signed with it does: a secret is the key of an HMAC
    here too, over a constant.
    """
    found = hashlib.sha256()
    for part in sorted(_print_of(key) for key in verifier.keys):
        found.update(part)
    rules = (
        settings.jwks_url or "",
        settings.jwt_audience or "",
        settings.jwt_issuer or "",
        *sorted(settings.jwt_algorithm),
    )
    found.update("\n".join(rules).encode())
    return found.hexdigest()


def _print_of(trusted: VerificationKey) -> bytes:
    if isinstance(trusted.key, OctKey):
        return hmac.digest(trusted.key.raw_value, b"madang: same secret on every node", "sha256")
    return trusted.key.thumbprint().encode()


def minting_key(settings: Settings) -> VerificationKey:
    """The key that `madang token` signs with: the secret, or the one a development server made.

    Raises:
        SettingsError: there is no secret; a public key verifies and cannot sign.
    """
    secret = _secret(settings)
    if secret is not None:
        return secret
    if settings.jwt_public_key is not None or settings.jwks_url is not None:
        raise SettingsError(
            "Tokens come from your issuer: with a public key or a key set, Madang checks them and "
            "cannot make any."
        )
    if (settings.data_dir / DEV_SECRET_FILE).exists():
        return secret_key(dev_secret(settings.data_dir))
    raise SettingsError(
        "No secret to sign with: set MADANG_JWT_SECRET_KEY as the server has it, or start "
        "`madang serve --dev` first and name its --data-dir if it is not the usual one."
    )


def secret_name(settings: Settings) -> str:
    """What the secret is called where it was set."""
    found = next(each for each in settings.sources() if each.row.name == "jwt_secret_key")
    return found.source.partition(": ")[2] or found.row.names[0]


def is_short(settings: Settings) -> bool:
    """Whether a secret is set that could be guessed from a token with some patience."""
    secret = settings.jwt_secret_key
    return secret is not None and len(secret.get_secret_value().encode()) < SHORT_SECRET


def _secret(settings: Settings) -> VerificationKey | None:
    if settings.jwt_secret_key is not None:
        try:
            return secret_key(settings.jwt_secret_key.get_secret_value())
        except ValueError as error:
            raise SettingsError(f"{secret_name(settings)} cannot be used: {error}.") from None
    if settings.dev and settings.jwt_public_key is None and settings.jwks_url is None:
        return secret_key(dev_secret(settings.data_dir))
    return None


def _names(algorithms: tuple[str, ...]) -> frozenset[str]:
    """The names a token may use for the configured algorithms; EdDSA has a second one."""
    return frozenset(algorithms) | ({"Ed25519"} if "EdDSA" in algorithms else frozenset())


def _check_each_has_a_key(
    algorithms: tuple[str, ...], keys: list[VerificationKey], *, has_source: bool
) -> None:
    for algorithm in algorithms:
        from_source = has_source and algorithm != "HS256"
        if not from_source and not any(algorithm in key.algorithms for key in keys):
            needed = "a secret" if algorithm == "HS256" else "a public key or a key set"
            raise SettingsError(f"JWT_ALGORITHM names {algorithm}, but {needed} for it is not set.")
