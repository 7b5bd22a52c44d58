"""About how much memory a write takes while it waits for its commit (`ports.Write.size`).

A bound against floods and not accounting: what a client can make large is counted, the rest is
in `SMALL`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import getsizeof
from typing import Any

SMALL = 1024
"""Bytes of a write that carries nothing large: its object, its ids, its caller's callback."""

PERSON = 512
"""Bytes a user that a write names: the id, and the row or event that comes of it."""


def json_size(value: Any) -> int:
    """Bytes of a value that came as JSON."""
    if isinstance(value, Mapping):
        return getsizeof(value) + sum(getsizeof(k) + json_size(v) for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return getsizeof(value) + sum(map(json_size, value))
    return getsizeof(value)
