"""Mints the HS256 tokens that every connection shows (RFC 7515, RFC 7519), each one different."""

import base64
import hashlib
import hmac
import json
import time

SECRET = "bench-secret-of-at-least-thirty-two-bytes"
HOUR_SECONDS = 3600


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def mint(user: str, *, roles: tuple[str, ...] = (), ttl_seconds: int = 6 * HOUR_SECONDS) -> str:
    """Return a signed token for `user` that is valid for `ttl_seconds`."""
    claims: dict[str, object] = {"sub": user, "exp": int(time.time()) + ttl_seconds}
    if roles:
        claims["roles"] = list(roles)
    head = _b64(b'{"alg":"HS256","typ":"JWT"}')
    body = _b64(json.dumps(claims, separators=(",", ":")).encode())
    signed = f"{head}.{body}"
    return f"{signed}.{_b64(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}"
