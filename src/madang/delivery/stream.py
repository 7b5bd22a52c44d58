"""One answer while it is written, as a node knows it, and the frames that tell of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import orjson

from madang.clock import Timer
from madang.hub.frame import Frame
from madang.model.nouns import Message
from madang.model.runs import Run
from madang.ports.bus import RunTold

SKIPPED = 200
"""Numbers of chunks, and of tellings of steps, that a node which is gone may have used after it was
checked last."""


class Stream:
    """One run, as far as this node knows it.

    `text` is what was told here; `ends` are the offsets at which its chunks end. `own`: this node
    writes it. `begun`: its message was told here, so its chunks may be. `waiting` is what its agent
    said and was not told yet, `waiting_steps` where in it the news of each step stand; `ahead` and
    `ahead_steps`, of another node's run, what came before something that is missing; `found` are
    its steps as they were asked for. `steps_told` counts how often a step was told.
    """

    __slots__ = (
        "_parts",
        "agent_id",
        "ahead",
        "ahead_steps",
        "alternative_of",
        "asking",
        "begun",
        "conversation_id",
        "ends",
        "found",
        "length",
        "message_id",
        "org_id",
        "own",
        "question_id",
        "steps",
        "steps_told",
        "timer",
        "told_at",
        "waiting",
        "waiting_length",
        "waiting_steps",
    )

    def __init__(
        self,
        org_id: str,
        conversation_id: str,
        message_id: str,
        agent_id: str,
        question_id: str | None,
        alternative_of: str | None,
        *,
        own: bool,
    ) -> None:
        self.org_id = org_id
        self.question_id = question_id
        self.alternative_of = alternative_of
        self.conversation_id = conversation_id
        self.message_id = message_id
        self.agent_id = agent_id
        self.own = own
        self.begun = False
        self.length = 0
        self.ends: list[int] = []
        self.steps: dict[int, Mapping[str, Any]] = {}
        self.steps_told = 0
        self.waiting: list[str | Mapping[str, Any]] = []
        self.waiting_length = 0
        self.waiting_steps: dict[int, int] = {}
        self.ahead: dict[int, RunTold] = {}
        self.ahead_steps: dict[int, Mapping[str, Any]] = {}
        self.found: Sequence[Mapping[str, Any]] = ()
        self.asking = False
        self.told_at = -math.inf
        self.timer: Timer | None = None
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """What was told."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def whole(self) -> str:
        """What was told, and what waits to be."""
        return self.text + "".join([said for said in self.waiting if isinstance(said, str)])

    @property
    def lacks(self) -> bool:
        """Whether something is known here that was not told yet, because of what is missing."""
        return bool(self.ahead or self.ahead_steps or self.found)

    @property
    def waiting_ends(self) -> list[int]:
        """Where what waits would end, each part of it told as a chunk."""
        parts = [len(said) for said in self.waiting if isinstance(said, str)]
        return list(accumulate(parts, initial=self.length))[1:]

    @property
    def whole_ends(self) -> tuple[int, ...]:
        """As if what waits were told now as one chunk."""
        if not self.waiting_length:
            return tuple(self.ends)
        return (*self.ends, self.length + self.waiting_length)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def append(self, text: str) -> None:
        """It was told."""
        self._parts.append(text)
        self.length += len(text)

    def hand_on(self) -> None:
        """What waits to be told is told here as what another node has told."""
        end, number, ends = self.length, self.steps_told, len(self.ends)
        waiting, self.waiting, self.waiting_length = self.waiting, [], 0
        self.waiting_steps.clear()
        for said in waiting:
            if isinstance(said, str):
                told = RunTold(self.conversation_id, self.message_id, ends, end, said)
                self.ahead[end] = told
                end, ends = end + len(said), ends + 1
            else:
                self.ahead_steps[number] = said
                number += 1

    def skip(self) -> None:
        """Go on with numbers that nobody has been told: how far it was told elsewhere is not
        known."""
        self.ends.extend([self.length] * SKIPPED)
        self.steps_told += SKIPPED


def stream_of(message: Message, *, own: bool) -> Stream:
    return Stream(
        message.org_id,
        message.conversation_id,
        message.id,
        message.sender_id,
        message.reply_to_id,
        message.metadata.get("alternative_of"),
        own=own,
    )


def stream_of_run(run: Run) -> Stream:
    """One that another node writes."""
    return Stream(
        run.org_id,
        run.conversation_id,
        run.message_id,
        run.agent_id,
        run.question_id,
        run.alternative_of,
        own=False,
    )


def chunk_frame(message_id: str, text: str, index: int, offset: int) -> bytes:
    return orjson.dumps(
        {
            "type": "stream_chunk",
            "message_id": message_id,
            "content": text,
            "index": index,
            "offset": offset,
        }
    )


def step_frame(message_id: str, step: Mapping[str, Any], *, so_far: bool = False) -> bytes:
    """A step, or (`so_far`) all of it."""
    told = {"type": "run_step", "message_id": message_id, **step}
    return orjson.dumps({**told, "so_far": True} if so_far else told)


def steps_of(message_id: str, steps: Iterable[Mapping[str, Any]]) -> Iterator[Frame]:
    """An answer's steps as they are now, for somebody who comes late; each is written when it is
    taken."""
    return (Frame(step_frame(message_id, step, so_far=True)) for step in tuple(steps))


def rest_of(stream: Stream, offset: int, most: int | None = None) -> Frame:
    """The text from `offset` on, as one chunk; it has the number of the last that is whole in
    it."""
    end = stream.length if most is None else min(stream.length, offset + most)
    index = max(0, bisect_right(stream.ends, end) - 1)
    return Frame(chunk_frame(stream.message_id, stream.text[offset:end], index, offset))


def further(before: Mapping[str, Any], step: Mapping[str, Any]) -> Mapping[str, Any]:
    """A step as it is after more was told of it: its text goes on where the new part says,
    everything else is as said last."""
    whole = {**before, **step}
    if "content" in before and "content" in step:
        begins = before.get("offset", 0)
        kept = before["content"][: max(0, step.get("offset", 0) - begins)]
        whole["content"] = kept + step["content"]
        whole["offset"] = begins
    return whole


def not_so(stream: Stream, steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those of the steps, each whole, that are not known so."""
    whole = [{**step, "offset": 0} if "content" in step else step for step in steps]
    return [step for step in whole if stream.steps.get(step["step"]) != step]
