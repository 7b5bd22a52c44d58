"""Which agents are on offer: those of the configuration, and those that a program registers.

The configuration is a table by name, as TOML or JSON:

    [helper]
    kind = "openai"          # echo, openai, http or outside
    title = "Helper"
    model = "gpt-5-mini"
    key_env = "OPENAI_API_KEY"
"""

from __future__ import annotations

import inspect
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from madang.agents.echo import echo
from madang.agents.http_agent import http_agent
from madang.agents.protocol import Agent, Tool
from madang.agents.refusals import warn_of_inside
from madang.agents.signing import key_of
from madang.agents.tools import http_tool
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


class ToolConfig(BaseModel):
    """A tool as the model is told of it, and what is the server's own: where its calls are
    answered, if that is not the program itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    url: Address | None = None
    secret: str | None = None
    secret_env: str | None = None

    @model_validator(mode="after")
    def _has_a_name(self) -> ToolConfig:
        if self.url is not None and not self.name:
            raise ValueError("a tool with a url is a function with a name")
        if self.url is None and (self.secret or self.secret_env):
            raise ValueError("a tool without a url has no secret")
        return self

    @property
    def told(self) -> dict[str, Any]:
        """What the model is told."""
        return dict(self.model_extra or {})

    @property
    def name(self) -> str:
        function = self.told.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        return name if isinstance(name, str) else ""


class OpenAIConfig(_Config):
    kind: Literal["openai"]
    model: str
    url: Address | None = None
    key: str | None = None
    key_env: str | None = None
    system: str | None = None
    temperature: float | None = None
    tools: tuple[ToolConfig, ...] = ()


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
    tools: dict[str, Tool] = field(default_factory=dict)
    """Functions of the program that answer calls of the tools of these names."""

    def get(self, name: str) -> Offered | None:
        return self.agents.get(name)

    def add(self, name: str, agent: Agent, title: str | None = None, **fields: Any) -> None:
        """Offer an agent of the program itself, in the place of one of the same name.

        Raises:
            ValueError: the name cannot be mentioned.
            TypeError: it is no async generator function.
        """
        check_name(name)
        if not (inspect.isasyncgenfunction(agent) or inspect.isasyncgenfunction(_call_of(agent))):
            raise TypeError(
                f"The agent {name} must be an async generator function: `async def` with a `yield`"
            )
        self.agents[name] = Offered(name, own_agent(name), agent, title or name, **fields)


def _call_of(agent: object) -> object:
    return getattr(agent, "__call__", None)  # noqa: B004


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
        details = error.errors(include_url=False, include_input=False)
        # A field of another name, rather than the one that it was meant to be.
        unknown = [each for each in details if each["type"] == "extra_forbidden"]
        first = (unknown or details)[0]
        where = ".".join(str(part) for part in first["loc"])
        what = "unknown field" if unknown else first["msg"]
        raise SettingsError(f"The agents' configuration: {where}: {what}.") from None
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
        asked: str | None = None
        match config:
            case EchoConfig():
                agent = echo(clock, delay if config.delay_ms is None else config.delay_ms / 1000)
            case OpenAIConfig():
                agent = _openai(name, config, catalog.tools, clock, private=private, idle=idle)
                asked = config.url
            case HttpConfig():
                secret = _secret(f"agent {name}", "secret", config.secret, config.secret_env)
                agent = http_agent(config.url, secret, clock, private=private, idle=idle)
                asked = config.url
            case OutsideConfig():
                agent, user_id = None, config.user_id
        if not private:
            warn_of_inside(f"the agent {name}", asked)
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


def _openai(
    name: str,
    config: OpenAIConfig,
    registered: Mapping[str, Tool],
    clock: Clock,
    *,
    private: bool,
    idle: float,
) -> Agent:
    try:
        # Its client, for who uses it.
        from madang.agents.openai_agent import openai_agent
    except ImportError:
        raise SettingsError(
            f"The agent {name} needs the official client: pip install 'madang[openai]'."
        ) from None
    answered: dict[str, Tool | None] = {}
    for tool in config.tools:
        answered[tool.name] = None
        if tool.url is not None:
            whose = f"tool {tool.name} of the agent {name}"
            secret = _secret(whose, "secret", tool.secret, tool.secret_env)
            answered[tool.name] = http_tool(tool.url, secret, clock, private=private, idle=idle)
            if not private:
                warn_of_inside(f"the {whose}", tool.url)

    def find(called: str) -> Tool | None:
        """Only what is configured for this agent: a model may say any name."""
        return registered.get(called, answered[called]) if called in answered else None

    return openai_agent(
        model=config.model,
        key=_secret(f"agent {name}", "key", config.key, config.key_env or "OPENAI_API_KEY"),
        url=config.url,
        system=config.system,
        temperature=config.temperature,
        tools=[tool.told for tool in config.tools],
        tool=find,
        clock=clock,
        private=private,
        idle=idle,
    )


def _secret(whose: str, what: str, given: str | None, variable: str | None) -> str:
    found = given or (os.environ.get(variable, "") if variable else "")
    if not found:
        if variable:
            raise SettingsError(f"The {whose} needs a {what}: the variable {variable} is not set.")
        raise SettingsError(f"The {whose} needs a {what}: set {what} or {what}_env.")
    if what == "secret":
        try:
            key_of(found)
        except ValueError:
            raise SettingsError(
                f"The {whose} has a secret that begins with whsec_ and is no base64 behind that."
            ) from None
    return found


Register = Callable[[Agent], Agent]
"""What `app.agent("name")` returns: it registers a function and gives it back."""
RegisterTool = Callable[[Tool], Tool]
"""What `app.tool("name")` returns."""
