"""The bodies of a room's REST requests. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from madang.surfaces.fields import JsonObject, Strict, Text
from madang.surfaces.live.commands import Nickname

Title = Annotated[Text, Field(max_length=2_000)]
"""As it was typed; how long a title may be is told after it is cleaned."""
Token = Annotated[str, Field(max_length=200)]


class NewSession(Strict):
    title: Title
    settings: JsonObject | None = None
    language: Literal["ko", "en"] | None = None
    nickname: Nickname | None = None
    """The host's own."""


class NewParticipant(Strict):
    nickname: Nickname | None = None
    token: Token | None = None
    """Of the seat one has already, where it does not stand in the header."""
    device: Annotated[Text, Field(min_length=1, max_length=200)] | None = None
    """What tells this browser from others behind the same address; only its hash is kept."""


class SessionChange(Strict):
    status: Literal["active", "paused", "ended"] | None = None
    settings: JsonObject | None = None
    title: Title | None = None
    language: Literal["ko", "en"] | None = None
