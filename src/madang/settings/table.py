"""The settings as a table: a row each, a value as it may be shown, the page in `docs/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from madang.settings.theme import PREFIX

MASK = "********"


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


def rows(fields: Mapping[str, FieldInfo]) -> Iterator[Row]:
    """A row for each field, in the order of the fields."""
    for name, field in fields.items():
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [PREFIX + name.upper()]
        yield Row(
            name, tuple(str(each) for each in names), shown(field.default), field.description or ""
        )


def page(table: Sequence[Row]) -> str:
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
    for row in table:
        names = ", ".join(f"`{name}`" for name in row.names)
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {names} | {default} | {row.sentence} |")
    return "\n".join(lines) + "\n"


def shown(value: object) -> str:
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
