"""What is wrong with a value, as one sentence for whoever set it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from madang.settings.table import Row, shown


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the text is one sentence for whoever set it."""


_OPTIONS = {"database_url": "database", "redis_url": "bus"}
"""Settings whose option on the command line has another name."""


def sentence(
    problem: Any,
    table: Sequence[Row],
    fields: Mapping[str, FieldInfo],
    origins: Mapping[str, str],
) -> str:
    """`MADANG_PORT (environment) is 'abc': a whole number from 0 to 65535.`"""
    label = str(problem["loc"][0]) if problem["loc"] else ""
    row = next((row for row in table if label == row.name or label.upper() in row.names), None)
    name, origin = (row.name, origins.get(row.name, "")) if row else (label, "")
    place, _, variable = origin.partition(": ")
    if variable:
        subject = f"{variable} ({place})"
    elif place == "command line":
        subject = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    else:
        subject = f"Setting {name}"
    value = problem["input"]
    given = "" if row is None or "key" in row.name else f" is {shown(value)!r}"
    told = str(problem["msg"])
    if not told.startswith("Value error, ") and row is not None:
        told = _wanted(fields[row.name]) or told
    text = told.removeprefix("Value error, ")
    return f"{subject}{given}: {text[:1].lower()}{text[1:].rstrip('.')}."


def _wanted(field: FieldInfo) -> str:
    """What a setting takes, in words; empty where only its own check can tell."""
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
