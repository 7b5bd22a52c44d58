"""Pages of lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list, and whether there is more of it."""

    items: tuple[Any, ...]
    has_more: bool
