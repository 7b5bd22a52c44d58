"""Which bytes a request asks for (RFC 9110, 14), and whether it has them already (13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_RANGES = 8
"""Of one request; who asks for more, or for more than there is, gets everything."""

_SPEC = re.compile(r"(\d{0,19})-(\d{0,19})", re.ASCII)
_TAG = re.compile(r'(?:W/)?"[^"]*"')

Range = tuple[int, int]
"""From the first byte up to, without, the last."""


class Unsatisfiable(Exception):
    """None of the ranges is in what there is."""


def parse(header: str | None, size: int) -> list[Range]:
    """The ranges that are asked for; none where everything is to be sent, as for a header that is
    not understood.

    Raises:
        Unsatisfiable
    """
    unit, _, specs = (header or "").partition("=")
    if unit.strip().lower() != "bytes":
        return []
    found: list[Range] = []
    named = specs.split(",")
    for spec in named:
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            return []
        first, last = match.groups()
        if first:
            start, end = int(first), int(last) + 1 if last else size
            if last and end <= start:
                return []
        elif last:
            start, end = max(0, size - int(last)), size
        else:
            return []
        if start < min(end, size):
            found.append((start, min(end, size)))
    if not found:
        raise Unsatisfiable
    if len(named) > MOST_RANGES or (
        len(found) > 1 and sum(end - start for start, end in found) > size
    ):
        return []
    return found


def is_current(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Whether the client has what `tag` names, last changed in the second `modified` (13.1.2,
    13.1.3)."""
    known = headers.get("if-none-match")
    if known is not None:
        return known.strip() == "*" or tag in _tags(known)
    since = _seconds(headers.get("if-modified-since"))
    return since is not None and modified <= since


def is_wanted(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Whether what the client means is still what there is (13.1.1, 13.1.4)."""
    wanted = headers.get("if-match")
    if wanted is not None:
        # Compared strongly: a weak tag names nothing in particular.
        return wanted.strip() == "*" or tag in _TAG.findall(wanted)
    since = _seconds(headers.get("if-unmodified-since"))
    return since is None or modified <= since


def goes_on(headers: Mapping[str, str], tag: str, modified: int) -> bool:
    """Whether a range is of what the client has the rest of (13.1.5)."""
    condition = headers.get("if-range")
    if condition is None or condition.strip() == tag:
        return True
    return not condition.strip().endswith('"') and _seconds(condition) == modified


def _tags(header: str) -> set[str]:
    """Without what makes them weak."""
    return {tag.removeprefix("W/") for tag in _TAG.findall(header)}


def _seconds(date: str | None) -> int | None:
    if date is None:
        return None
    try:
        found = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        # OverflowError: a zone that is further away than any.
        return None
    return int(_in_utc(found).timestamp())


def _in_utc(date: datetime) -> datetime:
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
