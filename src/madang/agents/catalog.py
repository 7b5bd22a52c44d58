"""Which agents are on offer: those of the configuration, and those that a program registers.

The configuration is a table by name, as TOML or JSON:

    [helper]
    kind = "openai"          # echo, openai, http or outside
    title = "Helper"
    model = "gpt-5-mini"
    key_env = "OPENAI_API_KEY"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from madang.agents.echo import echo
from madang.agents.http_agent import http_agent
from madang.agents.protocol import Agent
from madang.clock import Clock
from madang.model.runs import own_agent
from madang.settings import SettingsError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
"""What can stand behind an `@`."""


def _address(written: str) -> str:
    """Raises ValueError where nobody could be asked."""
    try:
        url = httpx.URL(written)
    except httpx.InvalidURL as error:
        raise ValueError(f"not an address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise ValueError("an address begins with http:// or https:// and has no user in it")
    return written


Address = Annotated[str, AfterValidator(_address)]


class _Config(BaseModel):
    """What every agent has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str | None = Field(None, max_length=100)
    description: str | None = Field(None, max_length=1000)
    avatar_url: str | None = Field(None, max_length=2000)
    offered: bool = True


class EchoConfig(_Config):
    kind: Literal["echo"]
    delay_ms: int | None = Field(None, ge=0, le=10_000)


class OpenAIConfig(_Config):
    kind: Literal["openai"]
    model: str
    url: Address | None = None
    key: str | None = None
    key_env: str | None = None
    system: str | None = None
    temperature: float | None = None
    tools: tuple[dict[str, Any], ...] = ()


class HttpConfig(_Config):
    kind: Literal["http"]
    url: Address
    secret: str | None = None
    secret_env: str | None = None


class OutsideConfig(_Config):
    kind: Literal["outside"]
    user_id: str = Field(min_length=1, max_length=100)


Config = Annotated[
    EchoConfig | OpenAIConfig | HttpConfig | OutsideConfig, Field(discriminator="kind")
]
_CONFIGS: TypeAdapter[dict[str, Config]] = TypeAdapter(dict[str, Config])


@dataclass(frozen=True, slots=True)
class Offered:
    """An agent. `user_id` is who it is as a participant; `agent` is None for one outside, which
    answers by itself."""

    name: str
    user_id: str
    agent: Agent | None
    title: str
    description: str | None = None
    avatar_url: str | None = None
    listed: bool = True


@dataclass(slots=True)
class Catalog:
    """The agents of a server, by name."""

    agents: dict[str, Offered] = field(default_factory=dict)

    def get(self, name: str) -> Offered | None:
        return self.agents.get(name)

    def add(self, name: str, agent: Agent, title: str | None = None, **fields: Any) -> None:
        """Offer an agent of the program itself, in the place of one of the same name.

        Raises:
            ValueError: the name cannot be mentioned.
        """
        check_name(name)
        self.agents[name] = Offered(name, own_agent(name), agent, title or name, **fields)


def check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"An agent's name is letters, digits, '.', '_' and '-': not {name!r}")


def read_configs(given: str) -> dict[str, Config]:
    """The configuration of agents out of a setting: a JSON object, or the path of a TOML or JSON
    file; nothing for none.

    Raises:
        SettingsError: it is neither, or something in it cannot be used.
    """
    if not given.strip():
        return {}
    try:
        if given.lstrip().startswith("{"):
            content = orjson.loads(given)
        else:
            path = Path(given).expanduser()
            text = path.read_text("utf-8")
            content = orjson.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        configs = _CONFIGS.validate_python(content)
        for name in configs:
            check_name(name)
    except OSError as error:
        raise SettingsError(f"The agents in {given!r} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"The agents' configuration: {where}: {first['msg']}.") from None
    except ValueError as error:
        raise SettingsError(f"The agents' configuration: {error}.") from None
    return configs


def open_catalog(given: str, clock: Clock, *, delay: float, idle: float, private: bool) -> Catalog:
    """The agents on offer: `echo`, unless the configuration says otherwise, and all of its own.

    Args:
        given: as for `read_configs`.
        delay: seconds between two words of an echo.
        idle: seconds that an agent may be silent.
        private: whether addresses inside may be asked.

    Raises:
        SettingsError: something in the configuration cannot be used.
    """
    configs = {"echo": EchoConfig(kind="echo", title="Echo"), **read_configs(given)}
    catalog = Catalog()
    for name, config in configs.items():
        agent: Agent | None
        user_id = own_agent(name)
        match config:
            case EchoConfig():
                agent = echo(clock, delay if config.delay_ms is None else config.delay_ms / 1000)
            case OpenAIConfig():
                agent = _openai(name, config, private=private, idle=idle)
            case HttpConfig():
                secret = _secret(name, "secret", config.secret, config.secret_env)
                try:
                    agent = http_agent(config.url, secret, clock, private=private, idle=idle)
                except ValueError:
                    raise SettingsError(
                        f"The agent {name} has a secret that begins with whsec_ and is no base64 "
                        "behind that."
                    ) from None
            case OutsideConfig():
                agent, user_id = None, config.user_id
        catalog.agents[name] = Offered(
            name,
            user_id,
            agent,
            config.title or name,
            config.description,
            config.avatar_url,
            config.offered,
        )
    return catalog


def _openai(name: str, config: OpenAIConfig, *, private: bool, idle: float) -> Agent:
    try:
        # Its client, for who uses it.
        from madang.agents.openai_agent import openai_agent
    except ImportError:
        raise SettingsError(
            f"The agent {name} needs the official client: pip install 'madang[openai]'."
        ) from None
    return openai_agent(
        model=config.model,
        key=_secret(name, "key", config.key, config.key_env or "OPENAI_API_KEY"),
        url=config.url,
        system=config.system,
        temperature=config.temperature,
        tools=config.tools,
        private=private,
        idle=idle,
    )


def _secret(name: str, what: str, given: str | None, variable: str | None) -> str:
    found = given or (os.environ.get(variable, "") if variable else "")
    if not found:
        raise SettingsError(f"The agent {name} needs a {what}: set {what} or {what}_env.")
    return found


Register = Callable[[Agent], Agent]
"""What `app.agent("name")` returns: it registers a function and gives it back."""
