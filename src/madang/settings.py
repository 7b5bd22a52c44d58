"""The one table of everything that can be set: a name, a default and a sentence each.

The table makes `madang settings`, the `--help` texts and `docs/settings.md`. A value comes from,
first found first taken: the command line (or an argument in Python), the environment, `.env` in
the current directory, the default. In the environment every setting is read as `MADANG_NAME`;
those that deployments share between programs are read under their plain name too, and the
prefixed one wins. `HOST` and the like are not: too many other things set them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MADANG_"
ENV_FILE = ".env"
MASK = "********"

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
LogLevel = Literal["debug", "info", "warning", "error"]
TextList = Annotated[tuple[str, ...], NoDecode]
"""Several texts; in the environment separated by commas."""
_JSON_LIST = TypeAdapter(list[str])
_ORIGIN = re.compile(r"(?:[a-z][a-z0-9+.-]*://[\w.:\[\]-]+|null)", re.IGNORECASE)
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the text is one sentence for whoever set it."""


def _shared(name: str) -> AliasChoices:
    """Read under the prefixed and under the plain name, in this order."""
    return AliasChoices(PREFIX + name, name)


class Settings(BaseSettings):
    """Every setting of a server. Immutable; secrets do not show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",  # `.env` may hold what other programs read
        frozen=True,
        populate_by_name=True,
        validate_default=True,
    )

    # --- where it runs ----------------------------------------------------------------------
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Processes that serve on the port together, each a node of its own; more than one "
            "needs PostgreSQL and Redis."
        ),
    )
    data_dir: Path = Field(
        Path("madang-data"),
        description="Directory for the database and everything else the server keeps on disk.",
    )
    dev: bool = Field(
        False,
        description=(
            "Development: connections to /ws/USER_ID need no token, and a secret is made and kept "
            "in the data directory where none is set. Never for a server that others can reach."
        ),
    )
    public_url: str | None = Field(
        None, description="Address under which clients reach the server, for links it writes."
    )
    trusted_proxies: TextList = Field(
        (), description="Addresses of proxies whose X-Forwarded-For and -Proto are believed."
    )
    drain_seconds: Seconds = Field(
        8.0,
        description="Seconds that a stopping server gives its clients to leave; 10 s is the whole.",
    )

    # --- what it stands on ------------------------------------------------------------------
    database_url: str = Field(
        "",
        repr=False,  # it may hold a password
        validation_alias=_shared("DATABASE_URL"),
        description="The database; by default the SQLite file madang.sqlite3 in `data_dir`.",
    )
    database_pool_size: int = Field(
        10,
        ge=2,
        description="Connections to PostgreSQL that one process opens at most.",
    )
    database_app_password: SecretStr | None = Field(
        None,
        description=(
            "Password that `madang db upgrade` gives the role `madang_app` on PostgreSQL, so that "
            "servers can log in as it. Servers themselves do not read it."
        ),
    )
    redis_url: str | None = Field(
        None,
        repr=False,  # it may hold a password
        validation_alias=_shared("REDIS_URL"),
        description="Redis or Valkey that connects several nodes; without one, a node is alone.",
    )

    redis_prefix: str = Field(
        "madang:",
        max_length=64,
        description="What every key and channel in Redis begins with; nodes that share it are one.",
    )

    # --- who may come in --------------------------------------------------------------------
    jwt_secret_key: SecretStr | None = Field(
        None,
        validation_alias=_shared("JWT_SECRET_KEY"),
        description="Shared secret of HS256 tokens, 32 bytes or more; less brings a warning.",
    )
    jwt_algorithm: Annotated[tuple[Algorithm, ...], NoDecode] = Field(
        (),
        validation_alias=_shared("JWT_ALGORITHM"),
        description=(
            "Algorithms a token may use, of HS256, RS256, ES256 and EdDSA; by default those of "
            "the keys that are set."
        ),
    )
    jwt_public_key: str | None = Field(
        None, description="Public key of the token issuer: a PEM, or the path of one."
    )
    jwks_url: str | None = Field(
        None, description="https address of the token issuer's key set (JWKS)."
    )
    jwt_audience: str | None = Field(None, description="If set, a token's `aud` must hold it.")
    jwt_issuer: str | None = Field(None, description="If set, a token's `iss` must be it.")
    cors_origins: TextList = Field(
        (),
        validation_alias=_shared("CORS_ORIGINS"),
        description="Web origins whose pages may call the REST API, or * for all.",
    )
    allowed_origins: TextList = Field(
        (),
        description=(
            "Web origins whose pages may open a WebSocket, besides the server's own and "
            "`cors_origins`; * for all."
        ),
    )

    # --- connections ------------------------------------------------------------------------
    ws_max_connections: int = Field(
        50_000,
        ge=1,
        validation_alias=_shared("WS_MAX_CONNECTIONS"),
        description="Connections and event streams one node holds; one more is to try again later.",
    )
    ws_heartbeat_interval: Seconds = Field(
        25.0,
        gt=0,
        validation_alias=_shared("WS_HEARTBEAT_INTERVAL"),
        description=(
            "Seconds between two heartbeats on a connection, told to clients when they connect. "
            "Below the 30 s after which some proxies cut a silent connection."
        ),
    )
    ws_connection_timeout: Seconds = Field(
        300.0,
        gt=0,
        validation_alias=_shared("WS_CONNECTION_TIMEOUT"),
        description="Seconds after which a connection that sends nothing at all is closed.",
    )
    ws_message_size_limit: int = Field(
        65_536,
        ge=1024,
        validation_alias=_shared("WS_MESSAGE_SIZE_LIMIT"),
        description="Bytes of the largest message a client may send; more closes with 1009.",
    )
    ws_compression: bool = Field(
        False,
        description="Offer permessage-deflate: saves bytes, costs time and memory.",
    )
    body_timeout: Seconds = Field(
        30.0,
        gt=0,
        description=(
            "Seconds after which a request whose body is not there is refused, a third of that if "
            "nothing more of it comes. Files have times of their own."
        ),
    )
    output_limit_bytes: int = Field(
        1024 * 1024,
        ge=64 * 1024,
        description="Unsent bytes at which a slow reader is closed with 4008, to catch up later.",
    )

    # --- catching up ------------------------------------------------------------------------
    max_replay_events: int = Field(
        20_000,
        ge=1,
        description="Events one catch-up replays at most; a longer gap gets `recovered: false`.",
    )

    # --- files ------------------------------------------------------------------------------
    max_file_size: int = Field(
        10_485_760,
        ge=1,
        validation_alias=_shared("MAX_FILE_SIZE"),
        description="Bytes of the largest file that may be uploaded.",
    )
    allowed_file_types: TextList = Field(
        (
            "image/*",
            "audio/*",
            "video/*",
            "application/pdf",
            "application/json",
            "application/rtf",
            "application/zip",
            "text/plain",
            "text/calendar",
            "text/csv",
            "text/markdown",
            "text/tab-separated-values",
            "text/vcard",
            "doc",
            "docx",
            "hwp",
            "hwpx",
            "odp",
            "ods",
            "odt",
            "ppt",
            "pptx",
            "xls",
            "xlsx",
        ),
        validation_alias=_shared("ALLOWED_FILE_TYPES"),
        description=(
            "Types of files that may be uploaded: media types, families such as image/*, or "
            "extensions, which stand for their media type; * for all. What a file is, its bytes "
            "say; families do not hold HTML and SVG."
        ),
    )
    file_storage_type: Literal["local", "s3"] = Field(
        "local",
        validation_alias=_shared("FILE_STORAGE_TYPE"),
        description="Where files are kept: local is a folder, s3 a bucket.",
    )
    file_storage_path: Path | None = Field(
        None,
        validation_alias=_shared("FILE_STORAGE_PATH"),
        description=(
            "Folder for files, the same for all nodes; by default the folder files in `data_dir`."
        ),
    )
    s3_bucket_name: str | None = Field(
        None,
        validation_alias=_shared("S3_BUCKET_NAME"),
        description="Bucket for files, where they are kept in s3.",
    )
    s3_endpoint_url: str | None = Field(
        None,
        description="Address of what speaks S3, if it is not Amazon.",
    )
    s3_region: str | None = Field(None, description="Region of the bucket.")
    s3_access_key_id: str | None = Field(
        None,
        description=(
            "Key to the bucket; without one, AWS_ACCESS_KEY_ID or the machine's role is asked."
        ),
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, description="Secret of the key to the bucket."
    )
    upload_idle_timeout: Seconds = Field(
        30.0, gt=0, description="Seconds without a byte after which an upload is cut off."
    )
    upload_timeout: Seconds = Field(
        3600.0,
        gt=0,
        description=(
            "Seconds that one request of an upload may take; tus goes on with the next one."
        ),
    )
    upload_least_speed: int = Field(
        8192,
        ge=0,
        description=(
            "Bytes a second of an upload that may stay when all places are taken and somebody "
            "else comes."
        ),
    )
    uploads_at_once: int = Field(
        64,
        ge=1,
        description=(
            "Uploads that a node takes in at the same time; each may hold 4 MiB of memory."
        ),
    )
    uploads_at_once_per_user: int = Field(
        16, ge=1, description="Uploads that one user may have under way at the same time on a node."
    )
    upload_expiry: Seconds = Field(
        86_400.0,
        gt=0,
        description="Seconds after which an upload that nobody goes on with or sends is deleted.",
    )
    rate_limit_uploads_per_minute: int = Field(
        60, ge=1, description="Uploads that a user may begin in a minute, over all devices."
    )

    # --- people -----------------------------------------------------------------------------
    away_after: Seconds = Field(
        300.0, description="Seconds after which a user who only pings is shown as away."
    )
    offline_grace: Seconds = Field(
        5.0, description="Seconds between a user's last connection closing and `user.offline`."
    )
    typing_timeout: Seconds = Field(
        6.0, gt=0, description="Seconds after the last `typing.start` at which typing stops."
    )
    rate_limit_enabled: bool = Field(
        True,
        validation_alias=_shared("RATE_LIMIT_ENABLED"),
        description="Whether the number of messages a user sends in a minute is limited.",
    )
    rate_limit_messages_per_minute: int = Field(
        600,
        ge=1,
        validation_alias=_shared("RATE_LIMIT_MESSAGES_PER_MINUTE"),
        description="Messages a user may send in a minute, over all devices.",
    )

    # --- live rooms -------------------------------------------------------------------------
    live_joins_per_minute: int = Field(
        6_000,
        ge=1,
        description=(
            "Seats in live rooms that one address may take in a minute: a hall behind one address "
            "joins together."
        ),
    )
    live_guesses_per_minute: int = Field(
        60,
        ge=1,
        description="Wrong room codes and seat tokens that one address may try in a minute.",
    )

    # --- search -----------------------------------------------------------------------------
    search_enabled: bool = Field(
        True,
        description="Whether what is said is indexed and can be searched.",
    )
    search_timeout: Seconds = Field(
        1.0,
        gt=0,
        description="Seconds that a search looks before its page ends with what was found.",
    )
    rate_limit_searches_per_minute: int = Field(
        60,
        ge=1,
        description="Searches for messages a user may make in a minute, if rates are limited.",
    )

    # --- agents -----------------------------------------------------------------------------
    agents: str = Field(
        "",
        repr=False,  # it may hold a secret
        description=(
            "The agents on offer besides `echo`: the path of a TOML or JSON file, or a JSON object."
        ),
    )
    agents_outside: bool = Field(
        True,
        description=(
            "Whether a session may name as its agent a user id that is none of the agents on "
            "offer, and answers over the WebSocket with an `agent` token."
        ),
    )
    agents_private_addresses: bool = Field(
        False,
        description=(
            "Whether agents may be asked at private addresses (this machine, this network). For "
            "development."
        ),
    )
    agents_when_busy: Literal["queue", "cancel", "parallel"] = Field(
        "queue",
        description=(
            "What a question does while the agent still answers the one before, unless its "
            "session says otherwise: queue, cancel or parallel."
        ),
    )
    agents_history: int = Field(
        50, ge=1, le=200, description="Messages of a session that its agent is given with each."
    )
    run_seconds: Seconds = Field(
        600.0,
        gt=0,
        description="Seconds an agent may take for an answer, waiting for people not counted.",
    )
    run_idle_seconds: Seconds = Field(
        60.0,
        gt=0,
        description=(
            "Seconds an agent may say nothing while it answers, and that a stream waits for one "
            "outside to begin."
        ),
    )
    run_grace_seconds: Seconds = Field(
        5.0,
        description=(
            "Seconds that an agent outside whose connection has ended has to come back and go on "
            "with its answer."
        ),
    )
    run_text_limit: int = Field(
        200_000, ge=1, description="Characters of the longest answer; a longer one fails there."
    )
    runs_per_user: int = Field(
        10, ge=1, description="Answers that a user may have under way at once, over all nodes."
    )
    runs_per_org: int = Field(
        1_000, ge=1, description="Answers that an org may have under way at once, over all nodes."
    )
    stream_chunk_size: int = Field(
        4_096,
        ge=1,
        validation_alias=_shared("STREAM_CHUNK_SIZE"),
        description=(
            "Characters of an answer that one frame carries at most: what is longer goes out as "
            "several at once."
        ),
    )
    stream_delay_ms: int = Field(
        40,
        ge=0,
        le=10_000,
        validation_alias=_shared("STREAM_DELAY_MS"),
        description=(
            "Milliseconds between two times that more of an answer is told, at least: what the "
            "agent says meanwhile goes out together. The first goes out at once. 40 is 25 times a "
            "second."
        ),
    )

    # --- what it tells ----------------------------------------------------------------------
    metrics: bool = Field(
        True,
        description=(
            "Whether /metrics tells Prometheus the node's numbers. It asks for no token: let "
            "your proxy answer 404 there."
        ),
    )
    node_name: str | None = Field(
        None,
        description="Name of this node in its metrics; by default the machine's name and the port.",
    )
    log_level: LogLevel = Field(
        "info", description="Least level that is logged: debug, info, warning or error."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="How a log line looks: console for people, json for machines."
    )

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    if not TYPE_CHECKING:  # the type checker sees the constructor that the table makes

        def __init__(self, **values: Any) -> None:
            unknown = sorted(values.keys() - type(self).model_fields.keys())
            if unknown:
                raise TypeError(f"Madang has no setting {unknown[0]!r}")
            super().__init__(**values)
            self._origins = _origins(values)

    @field_validator(
        "trusted_proxies",
        "cors_origins",
        "allowed_origins",
        "jwt_algorithm",
        "allowed_file_types",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):  # As other settings libraries write lists.
            return tuple(_JSON_LIST.validate_json(value))
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)

    @field_validator("cors_origins", "allowed_origins")
    @classmethod
    def _as_browsers_say_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(each.rstrip("/") for each in value)
        for each in origins:
            if each != "*" and not _ORIGIN.fullmatch(each):
                raise ValueError("an origin is written like https://app.example.com, or * for all")
        return origins

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("redis_url")
    @classmethod
    def _memory_is_no_address(cls, value: str | None) -> str | None:
        return None if value == "memory" else value

    @field_validator("database_url")
    @classmethod
    def _file_in_data_dir(cls, value: str, info: ValidationInfo) -> str:
        if value or "data_dir" not in info.data:
            # Which driver it names is ours to choose.
            return re.sub(r"^sqlite\+\w+:", "sqlite:", value)
        return f"sqlite:///{info.data['data_dir'] / 'madang.sqlite3'}"

    @field_validator("file_storage_path")
    @classmethod
    def _folder_in_data_dir(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None or "data_dir" not in info.data:
            return value
        return Path(info.data["data_dir"]) / "files"

    @field_validator("s3_bucket_name")
    @classmethod
    def _bucket_where_there_is_one(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("file_storage_type") == "s3":
            raise ValueError("it is needed where FILE_STORAGE_TYPE is s3")
        return value

    @field_validator("jwt_public_key")
    @classmethod
    def _read_pem(cls, value: str | None) -> str | None:
        if value is None or "-----BEGIN " in value:
            # In an environment variable the line ends of a PEM are often written as \n.
            return value.replace("\\n", "\n") if value else None
        try:
            return Path(value).expanduser().read_text("utf-8")
        except OSError as error:
            raise ValueError(
                f"it is no PEM and cannot be read as a file ({error.strerror})"
            ) from None

    def sources(self) -> tuple[Source, ...]:
        """Each setting with its value as it may be shown, and where the value came from."""
        return tuple(
            Source(row, _shown(getattr(self, row.name)), self._origins.get(row.name, "default"))
            for row in TABLE
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `names` are its environment variables, the first one winning."""

    name: str
    names: tuple[str, ...]
    default: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Source:
    """A setting's value, as it may be shown to anyone, and where it came from."""

    row: Row
    value: str
    source: str


def load(**values: Any) -> Settings:
    """The settings of a program start: `values` are what the command line gave; None means not.

    Raises:
        SettingsError: a value cannot be used; the text names the variable it came from.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        origins = _origins(given)
        problems = (_sentence(problem, origins) for problem in error.errors())
        raise SettingsError("\n".join(dict.fromkeys(problems))) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE} is not UTF-8 text.") from None


def unknown_names() -> tuple[str, ...]:
    """Variables with our prefix that no setting reads: most likely misspelt."""
    known = {name for row in TABLE for name in row.names}
    present = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE))}
    return tuple(sorted(name for name in present - known if name.startswith(PREFIX)))


def markdown() -> str:
    """The table as the page `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by `madang settings --markdown`; a test fails when it is out of date. -->",
        "",
        "A value is taken from the first of these that has one: the command line (or an argument",
        "of `madang.Settings` in Python), the environment, the file `.env` in the current",
        "directory, the default. Where two names are shown, the first one wins. Lists are",
        "separated by commas; an empty variable counts as none. `madang settings` prints the",
        "values in force and where each came from.",
        "",
        "| setting | environment | default | |",
        "|---|---|---|---|",
    ]
    for row in TABLE:
        names = ", ".join(f"`{name}`" for name in row.names)
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {names} | {default} | {row.sentence} |")
    return "\n".join(lines) + "\n"


def _rows() -> Iterator[Row]:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [PREFIX + name.upper()]
        yield Row(
            name, tuple(str(each) for each in names), _shown(field.default), field.description or ""
        )


def _shown(value: object) -> str:
    """A value in one short line, without what must stay secret."""
    match value:
        case None:
            return ""
        case SecretStr():
            return MASK
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(str(each) for each in value)
        case float():
            return f"{value:g}"
        case _:
            return _without_password(str(value).partition("\n")[0])


def _without_password(text: str) -> str:
    if "://" not in text or "@" not in text:
        return text
    parts = urlsplit(text)
    credentials, _, host = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    return urlunsplit(parts._replace(netloc=f"{user}:{MASK}@{host}")) if colon else text


def _origins(given: dict[str, Any]) -> dict[str, str]:
    """For each setting that is not the default: where its value comes from.

    Looks where pydantic-settings looks, in the same order: names are not case-sensitive, empty
    variables count as none.
    """
    environment = {name.upper() for name, value in os.environ.items() if value}
    file = {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value}
    origins = {}
    for row in TABLE:
        found = (
            *(f"environment: {name}" for name in row.names if name in environment),
            *(f"{ENV_FILE}: {name}" for name in row.names if name in file),
        )
        if row.name in given:
            origins[row.name] = "command line"
        elif found:
            origins[row.name] = found[0]
    return origins


def _sentence(problem: Any, origins: dict[str, str]) -> str:
    """`MADANG_PORT (environment) is 'abc': a whole number from 0 to 65535.`"""
    label = str(problem["loc"][0]) if problem["loc"] else ""
    row = next((row for row in TABLE if label == row.name or label.upper() in row.names), None)
    name, origin = (row.name, origins.get(row.name, "")) if row else (label, "")
    place, _, variable = origin.partition(": ")
    if variable:
        subject = f"{variable} ({place})"
    elif place == "command line":
        subject = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    else:
        subject = f"Setting {name}"
    value = problem["input"]
    shown = "" if row is None or "key" in row.name else f" is {_shown(value)!r}"
    told = str(problem["msg"])
    if not told.startswith("Value error, ") and row is not None:
        told = _wanted(row.name) or told
    text = told.removeprefix("Value error, ")
    return f"{subject}{shown}: {text[:1].lower()}{text[1:].rstrip('.')}."


_OPTIONS = {"database_url": "database", "redis_url": "bus"}
"""Settings whose option on the command line has another name."""


def _wanted(name: str) -> str:
    """What a setting takes, in words; empty where only its own check can tell."""
    field = Settings.model_fields[name]
    kind: Any = field.annotation
    if get_origin(kind) is Literal:
        *most, last = get_args(kind)
        return f"one of {', '.join(most)} or {last}"
    if kind is bool:
        return "true or false"
    if kind not in (int, float):
        return ""
    bounds = {
        word: f"{value:g}" if isinstance(value, float) else str(value)
        for rule in field.metadata
        for word in ("gt", "ge", "le")
        if (value := getattr(rule, word, None)) is not None
    }
    told = "a whole number" if kind is int else "a number"
    if "ge" in bounds and "le" in bounds:
        return f"{told} from {bounds['ge']} to {bounds['le']}"
    if "gt" in bounds:
        return f"{told} above {bounds['gt']}"
    return f"{told}, {bounds['ge']} or more" if "ge" in bounds else told


TABLE: tuple[Row, ...] = tuple(_rows())
"""Every setting, in the order it is declared."""
