"""What an agent says, made fit to be kept: whole characters, bounded, steps as they are so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from madang.agents.protocol import Step

MOST_STEPS = 200
MOST_STEP_TEXT = 32_768
"""Characters of a step's text; what is more is not kept."""
MOST_STEP_JSON = 8_192
"""Bytes of a step's input or output as JSON."""
MOST_DEPTH = 32
"""Levels of nesting in what agents say as JSON, as in what clients send: it is told inside of other
JSON, and no encoder's limit is near."""
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
        self._costs: dict[tuple[str, str], int] = {}
        """What each step's input and output take of that, as they are now."""
        self._steps: dict[str, Step] = {}
        self.told: dict[str, dict[str, Any]] = {}
        """Each step as it is now, by its id."""
        self.changes = 0
        """How often something was said of a step."""

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

    def step(self, step: Step) -> Mapping[str, Any]:
        """A step, or more of one: what is told of it now. Its text is told as it goes on, with the
        offset where the new part begins."""
        name = _clean(step.id)[:100]
        before = self._steps.get(name)
        if before is None and len(self._steps) >= MOST_STEPS:
            raise TooLong("")
        step = replace(
            step,
            id=name,
            kind=_clean(step.kind)[:50],
            name=None if step.name is None else _clean(step.name)[:200],
            input=self._paid((name, "input"), step.input),
            output=self._paid((name, "output"), step.output),
        )
        had = "" if before is None or before.content is None else before.content
        text = None
        if step.content is not None or (before is not None and before.content is not None):
            room = min(MOST_STEP_TEXT - len(had), self._steps_left)
            more = _clean(step.content or "")[: max(0, room)]
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
        whole_step = {**step_told(number, step), "at": at}
        self.told[step.id] = whole_step
        self.changes += 1
        if step.content is None:
            return whole_step
        return {**whole_step, "content": step.content[offset:], "offset": offset}

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


def shallow(value: Any, levels: int = MOST_DEPTH) -> Any:
    """The value, with "…" for what lies deeper than so many levels."""
    if isinstance(value, Mapping):
        if value and levels <= 1:
            return "…"
        return {name: shallow(item, levels - 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if value and levels <= 1:
            return "…"
        return [shallow(item, levels - 1) for item in value]
    return value


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


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd")
