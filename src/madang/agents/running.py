"""A run that this node goes on with, as the parts of running it share it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from madang.agents.patience import Patience
from madang.agents.protocol import Answer
from madang.agents.speech import Speech
from madang.agents.tracing import Told
from madang.clock import Timer
from madang.delivery.stream import Stream
from madang.model.runs import RunEnd, agent_name
from madang.services.runs import Ended

SILENT = "The agent said nothing for too long"
"""Why a run failed that took too long."""


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
    checked: tuple[int, int, int] = (-1, -1, -1)
    signed: float = 0.0
    patience: Patience | None = None
    asked: dict[str, asyncio.Future[Answer]] = field(default_factory=dict)
    traced: Told | None = None
    """Of an agent outside: ends the run's span."""
    voice: object = None
    """Of an agent outside: which of its connections goes on with it, the newest; None while it is
    waited for."""
    absence: Timer | None = None
    """Of an agent outside that is gone: how long it is waited for."""
    latency_ms: int | None = None
    """Of an agent outside: how long it took, as it says itself."""
    chunks: int = 0
    """Of an agent outside: those it has sent."""
    spoke: float = 0.0
    """Of an agent outside: when it said something last."""
    unanswered: set[str] = field(default_factory=set)
    """Of an agent outside: what it has asked people, and waits for."""
    waits_since: float = 0.0
    waited: float = 0.0
    """Seconds that it has waited for people in all."""

    def waits_for(self, request_id: str, now: float) -> None:
        """An agent outside asks people."""
        if not self.unanswered:
            self.waits_since = now
        self.unanswered.add(request_id)

    def is_answered(self, request_id: str, now: float) -> None:
        """It has its answer, or will have none."""
        if request_id in self.unanswered:
            self.unanswered.remove(request_id)
            if not self.unanswered:
                self.waited += now - self.waits_since
                self.spoke = now

    def is_late(self, now: float, run_seconds: float, idle_seconds: float) -> bool:
        """Whether an agent outside has taken too long, or said nothing for too long."""
        if self.unanswered:
            return False
        return now - self.begun - self.waited > run_seconds or now - self.spoke > idle_seconds

    @property
    def attributes(self) -> dict[str, str]:
        """What its span says of it."""
        return {
            "madang.org": self.org_id,
            "madang.session_id": self.session_id,
            "madang.message_id": self.message_id,
            "gen_ai.agent.name": agent_name(self.agent_id),
        }

    @property
    def length(self) -> int:
        """Characters said so far, told or not."""
        return self.stream.length + self.stream.waiting_length

    @property
    def state(self) -> tuple[int, int, int]:
        return self.length, self.speech.changes, self.tokens_used

    @property
    def tokens_used(self) -> int:
        """As the agent counts them; where it does not, the pieces in which it spoke."""
        return self.said if self.tokens is None else self.tokens

    @property
    def beside(self) -> dict[str, Any]:
        """What its message's metadata say of it while it runs."""
        beside: dict[str, Any] = {}
        if self.speech.told:
            beside["steps"] = list(self.speech.told.values())
        if self.first_ms is not None:
            beside["first_token_ms"] = self.first_ms
        return beside
