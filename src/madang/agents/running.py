"""A run that this node goes on with, as the parts of running it share it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from madang.agents.protocol import Answer
from madang.agents.speech import Speech
from madang.delivery.stream import Stream
from madang.model.runs import RunEnd
from madang.services.runs import Ended


@dataclass(eq=False, slots=True)
class Running:
    """A run that this node goes on with. `task` is None for one of an agent outside, which says
    what it says over its own connection."""

    org_id: str
    session_id: str
    message_id: str
    agent_id: str
    trace_id: str
    stream: Stream
    speech: Speech
    begun: float
    done: asyncio.Future[Ended | None]
    task: asyncio.Task[None] | None = None
    entered: bool = False
    """Whether its task has begun."""
    end: RunEnd | None = None
    """How it is to end, once it is cancelled or has come to its end."""
    tokens: int | None = None
    told: bool = False
    """Whether people were told anything of it: it is not begun again then."""
    said: int = 0
    first_ms: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    checked: tuple[int, int] = (-1, -1)
    signed: float = 0.0
    limit: asyncio.Timeout | None = None
    asked: dict[str, asyncio.Future[Answer]] = field(default_factory=dict)

    @property
    def state(self) -> tuple[int, int]:
        return self.stream.length + self.stream.waiting_length, self.speech.changes

    @property
    def beside(self) -> dict[str, Any]:
        """What its message's metadata say of it while it runs."""
        beside: dict[str, Any] = {}
        if self.speech.told:
            beside["steps"] = list(self.speech.told.values())
        if self.first_ms is not None:
            beside["first_token_ms"] = self.first_ms
        return beside
