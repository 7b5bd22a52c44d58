"""The server itself: where it runs, what it stands on, what it tells of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from madang.settings.theme import Seconds, TextList, Theme, shared

LogLevel = Literal["debug", "info", "warning", "error"]


class Place(Theme):
    """Where it runs."""

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


class Ground(Theme):
    """What it stands on: the database, and what connects several nodes."""

    database_url: str = Field(
        "",
        repr=False,  # it may hold a password
        validation_alias=shared("DATABASE_URL"),
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
        validation_alias=shared("REDIS_URL"),
        description="Redis or Valkey that connects several nodes; without one, a node is alone.",
    )
    redis_prefix: str = Field(
        "madang:",
        max_length=64,
        description="What every key and channel in Redis begins with; nodes that share it are one.",
    )

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


class Telling(Theme):
    """What it tells of itself."""

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

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value
