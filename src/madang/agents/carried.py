"""What a run of an agent outside takes along from node to node: as the node that lets go of it
says, or, where that is gone, as far as it is on disk and was told here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from madang.agents.running import Running
from madang.agents.speech import Speech
from madang.delivery.how_far import HowFar
from madang.delivery.stream import Stream
from madang.model.nouns import Message
from madang.model.runs import Run
from madang.services.approvals import approvals_of


@dataclass(frozen=True, slots=True)
class Carried:
    """How far a run is, and what else is known of it. Times are seconds that have passed, for no
    two nodes' clocks begin alike; `waits` is None where it waits for nobody."""

    text: str
    ends: Sequence[int]
    steps: Sequence[Mapping[str, Any]]
    steps_told: int | None
    """How often a step of it was told; None where that, and how many chunks, is not known."""
    lasts: float
    silent: float = 0.0
    waited: float = 0.0
    waits: float | None = None
    unanswered: Sequence[str] = ()
    said: int = 0
    chunks: int = 0
    tokens: int | None = None
    first_ms: int | None = None
    retold: int = 0
    half: int | None = None
    """The code of half a character that waits for its other half: no JSON carries it."""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def far(self) -> HowFar:
        return HowFar(0, self.text, self.ends, self.steps, self.steps_told)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def speech(self, most: int) -> Speech:
        """As it goes on, with so many characters at most in all."""
        half = "" if self.half is None else chr(self.half)
        return Speech.going_on(most, len(self.text), self.steps, self.retold, half)

    def put_on(self, running: Running, now: float) -> None:
        """Have the run go on from here."""
        running.begun = now - self.lasts
        running.spoke = now - self.silent
        running.waited = self.waited
        running.unanswered = set(self.unanswered)
        running.waits_since = now - (self.waits or 0.0)
        running.said = self.said
        running.chunks = self.chunks
        running.tokens = self.tokens
        running.first_ms = self.first_ms
        running.told = True
        running.metadata = dict(self.metadata)


def carried(running: Running, far: HowFar, now: float) -> Carried:
    """What a run of this node, which has let go of it, takes along."""
    half = running.speech.half
    return Carried(
        far.text,
        list(far.ends),
        list(far.steps),
        far.steps_told,
        now - running.begun,
        now - running.spoke,
        running.waited,
        now - running.waits_since if running.unanswered else None,
        sorted(running.unanswered),
        running.said,
        running.chunks,
        running.tokens,
        running.first_ms,
        running.speech.retold,
        ord(half) if half else None,
        running.metadata,
    )


def kept(run: Run, message: Message, known: Stream | None, now: int) -> Carried:
    """What is left of a run whose node is gone: what was checked last, or what people were told
    here, where that is more. How many chunks its agent has sent is not known: it goes on by the
    offset."""
    text, ends = message.content, list(run.ends)
    if len(text) > max(ends, default=0):
        ends.append(len(text))  # It was said, and told by no chunk that is known of.
    steps = {step["step"]: step for step in message.metadata.get("steps", ())}
    if known is not None:
        if known.length > len(text):
            text, ends = known.text, list(known.ends)
        for number, step in known.steps.items():
            steps[number] = {name: said for name, said in step.items() if name != "offset"}
    asked = approvals_of(message)
    return Carried(
        text,
        ends,
        [steps[number] for number in sorted(steps)],
        None,
        max(0, now - run.created_at) / 1_000_000,
        unanswered=[request for request, found in asked.items() if "answer" not in found],
        said=run.tokens_used or 0,
        chunks=len(ends),
        first_ms=message.metadata.get("first_token_ms"),
    )
