"""All themes as one thing: `Settings`, its table, and how a program loads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr, ValidationError

from madang.settings.agents import Agents
from madang.settings.connections import Connections, Entry
from madang.settings.files import Files
from madang.settings.origins import misspelt, origins
from madang.settings.people import People, Rooms, Searching
from madang.settings.refusals import SettingsError, sentence
from madang.settings.server import Ground, Place, Telling
from madang.settings.table import Row, Source, page, rows, shown
from madang.settings.theme import ENV_FILE


class Settings(
    # Read from the last up: that is the order in which Pydantic takes the fields of several.
    Telling,
    Agents,
    Searching,
    Rooms,
    People,
    Files,
    Connections,
    Entry,
    Ground,
    Place,
):
    """Every setting of a server. Immutable; secrets do not show in `repr`."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    if not TYPE_CHECKING:  # the type checker sees the constructor that the table makes

        def __init__(self, **values: Any) -> None:
            unknown = sorted(values.keys() - type(self).model_fields.keys())
            if unknown:
                raise TypeError(f"Madang has no setting {unknown[0]!r}")
            super().__init__(**values)
            self._origins = origins(TABLE, values)

    def sources(self) -> tuple[Source, ...]:
        """Each setting with its value as it may be shown, and where the value came from."""
        return tuple(
            Source(row, shown(getattr(self, row.name)), self._origins.get(row.name, "default"))
            for row in TABLE
        )


TABLE: tuple[Row, ...] = tuple(rows(Settings.model_fields))
"""Every setting, in the order it is declared."""


def load(**values: Any) -> Settings:
    """The settings of a program start: `values` are what the command line gave; None means not.

    Raises:
        SettingsError: a value cannot be used; the text names the variable it came from.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        found = origins(TABLE, given)
        fields = Settings.model_fields
        problems = (sentence(problem, TABLE, fields, found) for problem in error.errors())
        raise SettingsError("\n".join(dict.fromkeys(problems))) from None
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE} is not UTF-8 text.") from None


def unknown_names() -> tuple[str, ...]:
    """Variables with our prefix that no setting reads: most likely misspelt."""
    return misspelt(TABLE)


def markdown() -> str:
    """The table as the page `docs/settings.md`."""
    return page(TABLE)
