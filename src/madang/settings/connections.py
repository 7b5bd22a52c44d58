"""Who may come in, what a connection may do, and how far back it can catch up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from madang.settings.theme import SEPARATED, Seconds, TextList, Theme, shared

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]
_ORIGIN = re.compile(r"(?:[a-z][a-z0-9+.-]*://[\w.:\[\]-]+|null)", re.IGNORECASE)


class Entry(Theme):
    """Who may come in."""

    jwt_secret_key: SecretStr | None = Field(
        None,
        validation_alias=shared("JWT_SECRET_KEY"),
        description="Shared secret of HS256 tokens, 32 bytes or more; less brings a warning.",
    )
    jwt_algorithm: Annotated[tuple[Algorithm, ...], NoDecode, SEPARATED] = Field(
        (),
        validation_alias=shared("JWT_ALGORITHM"),
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
        validation_alias=shared("CORS_ORIGINS"),
        description="Web origins whose pages may call the REST API, or * for all.",
    )
    allowed_origins: TextList = Field(
        (),
        description=(
            "Web origins whose pages may open a WebSocket, besides the server's own and "
            "`cors_origins`; * for all."
        ),
    )

    @field_validator("cors_origins", "allowed_origins")
    @classmethod
    def _as_browsers_say_them(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        origins = tuple(each.rstrip("/") for each in value)
        for each in origins:
            if each != "*" and not _ORIGIN.fullmatch(each):
                raise ValueError("an origin is written like https://app.example.com, or * for all")
        return origins

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


class Connections(Theme):
    """What a connection may do, and when it is closed."""

    ws_max_connections: int = Field(
        50_000,
        ge=1,
        validation_alias=shared("WS_MAX_CONNECTIONS"),
        description="Connections and event streams one node holds; one more is to try again later.",
    )
    ws_heartbeat_interval: Seconds = Field(
        25.0,
        gt=0,
        validation_alias=shared("WS_HEARTBEAT_INTERVAL"),
        description=(
            "Seconds between two heartbeats on a connection, told to clients when they connect. "
            "Below the 30 s after which some proxies cut a silent connection."
        ),
    )
    ws_connection_timeout: Seconds = Field(
        300.0,
        gt=0,
        validation_alias=shared("WS_CONNECTION_TIMEOUT"),
        description="Seconds after which a connection that sends nothing at all is closed.",
    )
    ws_message_size_limit: int = Field(
        65_536,
        ge=1024,
        validation_alias=shared("WS_MESSAGE_SIZE_LIMIT"),
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
    max_replay_events: int = Field(
        20_000,
        ge=1,
        description="Events one catch-up replays at most; a longer gap gets `recovered: false`.",
    )
