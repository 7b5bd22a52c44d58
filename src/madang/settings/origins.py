"""Where the values come from: the command line, the environment, `.env`, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from dotenv import dotenv_values

from madang.settings.table import Row
from madang.settings.theme import ENV_FILE, PREFIX


def origins(table: Sequence[Row], given: Mapping[str, Any]) -> dict[str, str]:
    """For each setting that is not the default: where its value comes from.

    Looks where pydantic-settings looks, in the same order: names are not case-sensitive, empty
    variables count as none.
    """
    environment = {name.upper() for name, value in os.environ.items() if value}
    file = {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value}
    found_in = {}
    for row in table:
        found = (
            *(f"environment: {name}" for name in row.names if name in environment),
            *(f"{ENV_FILE}: {name}" for name in row.names if name in file),
        )
        if row.name in given:
            found_in[row.name] = "command line"
        elif found:
            found_in[row.name] = found[0]
    return found_in


def misspelt(table: Sequence[Row]) -> tuple[str, ...]:
    """Variables with our prefix that no setting reads: most likely misspelt."""
    known = {name for row in table for name in row.names}
    present = {name.upper() for name in (*os.environ, *dotenv_values(ENV_FILE))}
    return tuple(sorted(name for name in present - known if name.startswith(PREFIX)))
