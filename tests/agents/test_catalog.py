"""The agents of the configuration: what cannot be used is said at the start."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

import pytest

from madang.agents.catalog import Catalog, open_catalog, read_configs
from madang.agents.protocol import AgentRun, Said
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


def test_what_is_no_async_generator_function_is_refused_when_it_is_registered() -> None:
    async def answers(run: AgentRun) -> str:
        return "hello"

    def says(run: AgentRun) -> list[str]:
        return ["hello"]

    async def speaks(run: AgentRun, greeting: str = "hello") -> AsyncIterator[Said]:
        yield greeting

    class Speaker:
        async def __call__(self, run: AgentRun) -> AsyncIterator[Said]:
            yield "hello"

    catalog = Catalog()
    wrong: Any
    for wrong in (answers, says, "hello", speaks(cast(AgentRun, None))):
        with pytest.raises(TypeError, match="agent bot must be an async generator function"):
            catalog.add("bot", wrong)
    assert catalog.get("bot") is None
    right: Any
    for right in (speaks, partial(speaks, greeting="hi"), Speaker()):
        catalog.add("bot", right)
        offered = catalog.get("bot")
        assert offered is not None and offered.agent is right


def test_a_field_that_is_misspelt_is_named() -> None:
    given = {"bot": {"kind": "openai", "modle": "m"}}
    with pytest.raises(SettingsError, match=r"configuration: bot\.openai\.modle: unknown field\.$"):
        read_configs(json.dumps(given))
