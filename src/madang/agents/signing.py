"""Signed requests to services of others, by the Standard Webhooks specification: `webhook-id`,
`webhook-timestamp`, `webhook-signature: v1,…`, HMAC-SHA256 over `id.timestamp.body`; and what such
a service says of when to ask again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""Some services say parts of one."""


def key_of(secret: str) -> bytes:
    """The key that a secret stands for, by the Standard Webhooks specification. One that begins
    with `whsec_` is base64 behind that; any other is taken as it is.

    Raises:
        ValueError: what stands behind `whsec_` is no base64, or nothing.
    """
    if not secret.startswith("whsec_"):
        return secret.encode()
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    if not key:
        raise ValueError("nothing stands behind whsec_")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a request, by the same specification."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(key: bytes, message_id: str, now: int, body: bytes) -> dict[str, str]:
    """The headers of a signed request of JSON; `now` in microseconds."""
    timestamp = now // 1_000_000
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, message_id, timestamp, body),
    }


def retry_after(headers: Mapping[str, str], now: int) -> float | None:
    """The seconds of a `Retry-After` (RFC 9110, 10.2.3), which says so many or a date; `now` in
    microseconds. None where there is none, or it is neither."""
    said = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(said):
        return float(said)
    try:
        at = parsedate_to_datetime(said)
        # One of the three forms names no zone, and means this one.
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return max(0.0, at.timestamp() - now / 1_000_000)
    except (ValueError, OverflowError):
        return None
