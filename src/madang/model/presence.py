"""Presence: how the states of a user's devices make the state others see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Status = Literal["online", "away", "dnd", "offline"]

_RANK: dict[Status, int] = {"offline": 0, "away": 1, "online": 2, "dnd": 3}
"""The best device wins: someone at their desk is there although their phone lies idle. Who asks
not to be disturbed on one device means it on all."""


def best(statuses: Iterable[Status]) -> Status:
    """The status of a user with these devices; none is offline."""
    return max(statuses, key=_RANK.__getitem__, default="offline")
