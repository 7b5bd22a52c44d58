"""What an agent says, made fit to be kept: whole characters, bounded, steps as they are so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from madang.agents.fit import fit_text, shallow
from madang.agents.protocol import STEP_STATUSES, Step

MOST_STEPS = 200
MOST_STEP_TEXT = 32_768
"""Characters of a step's text; what is more is not kept."""
MOST_STEP_JSON = 8_192
"""Bytes of a step's input or output as JSON."""
MOST_RETOLD = 50_000
"""Changes of a run's steps, those not counted by which only a step's text goes on."""
MOST_OF_STEPS = 200_000
"""Characters of the texts of all steps together, and of what goes in and out of tools: they are
kept beside the answer, and told to everybody who comes to it."""


class TooLong(Exception):
    """The answer is longer than it may be; `fits` is the part that still fits."""

    def __init__(self, fits: str) -> None:
        super().__init__()
        self.fits = fits


class Speech:
    """The text of one run as it comes, and its steps.

    A character may come in two halves (two escapes of JSON in two events): the first waits for the
    second. Half characters that stay alone and NUL, which databases do not keep, become U+FFFD.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._most = most
        self._at: dict[str, int] = {}
        self._half = ""
        self._steps_left = MOST_OF_STEPS
        self._retold = 0
        self._costs: dict[tuple[str, str], int] = {}
        """What each step's input and output take of that, as they are now."""
        self._steps: dict[str, Step] = {}
        self.told: dict[str, dict[str, Any]] = {}
        """Each step as it is now, by its id."""
        self.changes = 0
        """How often something new was said of a step."""

    @classmethod
    def going_on(
        cls,
        most: int,
        length: int,
        steps: Sequence[Mapping[str, Any]],
        retold: int = 0,
        half: str = "",
    ) -> Speech:
        """One that has said `length` characters elsewhere, and these steps as `told` has them."""
        speech = cls(most)
        speech._left = max(0, most - length)
        speech._half = half
        speech._retold = retold
        speech.changes = len(steps)
        for told in steps:
            name = told["step_id"]
            beside = {part: told.get(part) for part in ("name", "content", "input", "output")}
            speech._steps[name] = Step(name, told["kind"], status=told["status"], **beside)
            speech._at[name] = told["at"]
            speech.told[name] = dict(told)
            speech._steps_left -= len(beside["content"] or "")
            for part in ("input", "output"):
                if beside[part] is not None:
                    cost = min(len(orjson.dumps(beside[part])), MOST_STEP_JSON)
                    speech._costs[name, part] = cost
                    speech._steps_left -= cost
        speech._steps_left = max(0, speech._steps_left)
        return speech

    @property
    def half(self) -> str:
        """What waits for its other half."""
        return self._half

    @property
    def retold(self) -> int:
        """Changes of its steps that count."""
        return self._retold

    def take(self, text: str) -> str:
        """What can be told of it.

        Raises:
            TooLong: not all of it.
        """
        if self._half or not text.isascii():
            text = self._whole(text)
        if "\0" in text:
            text = text.replace("\0", "\ufffd")
        self._left -= len(text)
        if self._left < 0:
            fits, self._left = text[: self._left], 0
            raise TooLong(fits)
        return text

    def rest(self) -> str:
        """What waited for its other half."""
        half, self._half = self._half, ""
        return "\ufffd" if half else ""

    def _whole(self, text: str) -> str:
        text = self._half + text
        self._half = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text

    def step(self, step: Step) -> Mapping[str, Any] | None:
        """A step, or more of one: what is new of it, or None where nothing is. Its text is told as
        it goes on, with the offset where the new part begins.

        Raises:
            TooLong: there are as many steps, or as many changes of them, as there may be.
            TypeError: it is in no state that a step can be in.
        """
        if step.status not in STEP_STATUSES:
            raise TypeError(f"a step is {', '.join(STEP_STATUSES)}, not {step.status!r}")
        name = fit_text(step.id)[:100]
        before = self._steps.get(name)
        if len(self._steps) >= MOST_STEPS if before is None else self._retold >= MOST_RETOLD:
            raise TooLong("")
        step = replace(
            step,
            id=name,
            kind=fit_text(step.kind)[:50],
            name=None if step.name is None else fit_text(step.name)[:200],
            input=self._paid((name, "input"), step.input),
            output=self._paid((name, "output"), step.output),
        )
        had = "" if before is None or before.content is None else before.content
        text = None
        if step.content is not None or (before is not None and before.content is not None):
            room = min(MOST_STEP_TEXT - len(had), self._steps_left)
            more = fit_text(step.content or "")[: max(0, room)]
            self._steps_left -= len(more)
            text = had + more
        offset = len(had)
        step = replace(step, content=text)
        if before is not None:
            step = replace(
                step,
                name=step.name or before.name,
                input=before.input if step.input is None else step.input,
                output=before.output if step.output is None else step.output,
            )
        self._steps[step.id] = step
        number = list(self._steps).index(step.id)
        at = self._at.setdefault(step.id, self._most - self._left)
        had_told = self.told.get(step.id)
        told = self.told[step.id] = {**step_told(number, step), "at": at}
        news = _news(had_told, told, offset)
        if news is not None:
            self.changes += 1
            if had_told is not None and "offset" not in news:
                self._retold += 1
        return news

    def _paid(self, what: tuple[str, str], value: Any) -> Any:
        """A value as JSON has it, as far as there is room: in the place of the one before, whose
        room it has."""
        if value is None:
            return None
        self._steps_left += self._costs.pop(what, 0)
        try:
            text = orjson.dumps(value)
        except (TypeError, ValueError):
            return "…"
        most = min(MOST_STEP_JSON, self._steps_left)
        cost = self._costs[what] = min(len(text), most)
        self._steps_left -= cost
        if len(text) <= most:
            return shallow(orjson.loads(text))
        return text[:most].decode("utf-8", "ignore") + "…"


def step_told(number: int, step: Step) -> dict[str, Any]:
    """A step in the words of a `run_step`."""
    told: dict[str, Any] = {
        "step": number,
        "step_id": step.id,
        "kind": step.kind,
        "status": step.status,
    }
    if step.name is not None:
        told["name"] = step.name
    if step.content is not None:
        told["content"] = step.content
    for name, value in (("input", step.input), ("output", step.output)):
        if value is not None:
            told[name] = value
    return told


def _news(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], had: int
) -> dict[str, Any] | None:
    """What is told of a step that was told as `before`, `had` characters of its text: what it is,
    and of what can be large only what changed."""
    news = {name: value for name, value in now.items() if name not in _LARGE}
    is_new = before is None or any(before.get(name) != news[name] for name in news)
    before = before or {}
    for name in ("input", "output"):
        if name in now and _differ(before.get(name), now[name]):
            news[name] = now[name]
            is_new = True
    if "content" in now and ("content" not in before or len(now["content"]) > had):
        news |= {"content": now["content"][had:], "offset": had}
        is_new = True
    return news if is_new else None


_LARGE = frozenset({"content", "input", "output"})


def _differ(one: Any, other: Any) -> bool:
    """As JSON: there, 1 and true differ."""
    return orjson.dumps(one) != orjson.dumps(other)
