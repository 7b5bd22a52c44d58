"""Times: microseconds since the epoch inside, ISO 8601 in UTC on the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

MICROSECONDS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = -62_135_596_800 * MICROSECONDS
LATEST = 253_402_300_800 * MICROSECONDS - 1
"""From the first to the last moment that ISO 8601 writes with four digits of the year."""
_EARLIEST_MILLISECONDS = 10**11
_EARLIEST_MICROSECONDS = 10**14


@lru_cache(maxsize=256)  # Everything in one commit has the same time.
def iso(microseconds: int) -> str:
    """`2026-01-31T09:30:00.123456Z`."""
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_iso(text: str) -> int | None:
    """Microseconds of an ISO 8601 time; one without a zone is UTC. None where it is not one, or
    one that `iso` could not write."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    found = (moment - _EPOCH) // timedelta(microseconds=1)
    return found if EARLIEST <= found <= LATEST else None


def cursor_of(number: float) -> int:
    """A cursor from what a client kept: seconds with a fraction, milliseconds or microseconds.

    They are told apart by size: no time after 1973 in one unit looks like a time in another.
    """
    if number < _EARLIEST_MILLISECONDS:
        return round(number * MICROSECONDS)
    if number < _EARLIEST_MICROSECONDS:
        return round(number * 1000)
    return int(number)
