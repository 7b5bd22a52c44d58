"""What agents say, made fit to be kept and told: whole characters, JSON that every database and
client takes, counts in bounds. So no agent can say what keeps its run from its end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

MOST_COUNT = 2**53 - 1
"""The largest whole number that every client reads as it was written."""
MOST_ERROR = 500
"""Characters of why a run failed, in words for people."""
MOST_NOTE = 2_000
"""Characters of the note of a handover."""
MOST_DEPTH = 32
"""Levels of nesting in what agents say as JSON, as in what clients send: it is told inside of other
JSON, and no encoder's limit is near."""


def fit_text(text: str) -> str:
    """Half characters that stand alone and NUL, which databases do not keep, become U+FFFD."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def fit_count(count: int) -> int:
    """A count from 0 to `MOST_COUNT`.

    Raises:
        TypeError: it is no whole number.
    """
    if type(count) is not int:
        raise TypeError(f"a count is a whole number, not {count!r}")
    return min(max(0, count), MOST_COUNT)


def fit_json(value: Any) -> Any:
    """The value as JSON has it (what is no number there becomes null), of fit texts, with "…" for
    what lies deeper than `MOST_DEPTH` levels.

    Raises:
        TypeError: it is none.
    """
    return shallow(orjson.loads(orjson.dumps(value)))


def shallow(value: Any, levels: int = MOST_DEPTH) -> Any:
    """A value of JSON, of fit texts, with "…" for what lies deeper than so many levels."""
    if isinstance(value, str):
        return fit_text(value)
    if isinstance(value, Mapping):
        if value and levels <= 1:
            return "…"
        return {fit_text(name): shallow(item, levels - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if value and levels <= 1:
            return "…"
        return [shallow(item, levels - 1) for item in value]
    return value
