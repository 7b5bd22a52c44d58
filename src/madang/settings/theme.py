"""What the themes of the settings share: how a field is read, and the kinds of values."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, BeforeValidator, Field, TypeAdapter
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MADANG_"
ENV_FILE = ".env"
_JSON_LIST = TypeAdapter(list[str])


class Theme(BaseSettings):
    """Settings that belong together. Immutable; secrets do not show in `repr`."""

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


def shared(name: str) -> AliasChoices:
    """Read under the prefixed and under the plain name, in this order."""
    return AliasChoices(PREFIX + name, name)


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):  # As other settings libraries write lists.
        return tuple(_JSON_LIST.validate_json(value))
    return tuple(part for part in (part.strip() for part in value.split(",")) if part)


SEPARATED = BeforeValidator(_split)
"""What is written as one text with commas is several values."""
TextList = Annotated[tuple[str, ...], NoDecode, SEPARATED]
"""Several texts; in the environment separated by commas."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
