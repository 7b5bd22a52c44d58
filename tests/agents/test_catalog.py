"""The agents of the configuration: what cannot be used is said at the start."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from madang.agents.catalog import open_catalog
from madang.agents.signing import key_of, sign
from madang.settings import SettingsError
from madang.testing import JumpingClock


def opened(secret: str) -> None:
    given = json.dumps({"help": {"kind": "http", "url": "https://a.example", "secret": secret}})
    open_catalog(given, JumpingClock(), delay=0, idle=1, private=False)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64!", "whsec_abc", "whsec_안녕"])
def test_a_secret_that_is_none_is_refused_at_the_start(secret: str) -> None:
    with pytest.raises(SettingsError, match="The agent help has a secret") as refused:
        opened(secret)
    assert secret not in str(refused.value) or secret == "whsec_"


def test_what_a_secret_stands_for() -> None:
    assert key_of("as it is") == b"as it is"
    assert key_of("whsec_c2VjcmV0") == b"secret"
    for secret in ("as it is", "whsec_c2VjcmV0"):
        opened(secret)
    digest = hmac.new(b"secret", b"m1.7.{}", hashlib.sha256).digest()
    assert sign(b"secret", "m1", 7, b"{}") == "v1," + base64.b64encode(digest).decode()
