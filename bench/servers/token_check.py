"""The check every Python peer makes on upgrade: an HS256 signature and an expiry."""

import base64
import hashlib
import hmac
import json
import os
import time
from urllib.parse import parse_qs, urlsplit

_SECRET = os.environ["BENCH_SECRET"].encode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def valid(url: str) -> bool:
    """Tell whether `url` carries a token that is ours and has not run out."""
    token = parse_qs(urlsplit(url).query).get("token", [""])[0]
    signed, _, signature = token.rpartition(".")
    if not signed:
        return False
    wanted = hmac.digest(_SECRET, signed.encode(), hashlib.sha256)
    if not hmac.compare_digest(wanted, _unb64(signature)):
        return False
    return bool(json.loads(_unb64(signed.partition(".")[2]))["exp"] > time.time())
