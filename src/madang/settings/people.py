"""People: how they are seen, how much they may say, the rooms they sit in, what they look for."""

from __future__ import annotations

from pydantic import Field

from madang.settings.theme import Seconds, Theme, shared


class People(Theme):
    """Presence and rates."""

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
        validation_alias=shared("RATE_LIMIT_ENABLED"),
        description="Whether the number of messages a user sends in a minute is limited.",
    )
    rate_limit_messages_per_minute: int = Field(
        600,
        ge=1,
        validation_alias=shared("RATE_LIMIT_MESSAGES_PER_MINUTE"),
        description="Messages a user may send in a minute, over all devices.",
    )


class Rooms(Theme):
    """Live rooms."""

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


class Searching(Theme):
    """Search over what was said."""

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
