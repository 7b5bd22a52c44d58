"""What an agent says, made fit to be kept: whole characters, bounded, steps as they are so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from madang.agents.protocol import Step

MOST_STEPS = 200
MOST_STEP_TEXT = 65_536
"""Characters of a step's text; what is more is not kept."""
MOST_STEP_JSON = 16_384
"""Bytes of a step's input or output as JSON."""


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
        self._steps: dict[str, Step] = {}
        self.told: dict[str, dict[str, Any]] = {}
        """Each step as it is now, by its id."""

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
        before = self._steps.get(step.id)
        if before is None and len(self._steps) >= MOST_STEPS:
            raise TooLong("")
        text = None if step.content is None else _clean(step.content)
        offset = 0
        if before is not None:
            offset = len(before.content or "")
            whole = None if text is None and before.content is None else (before.content or "")
            step = replace(
                step,
                name=step.name or before.name,
                content=None if whole is None else (whole + (text or ""))[:MOST_STEP_TEXT],
                input=before.input if step.input is None else step.input,
                output=before.output if step.output is None else step.output,
            )
        else:
            step = replace(step, content=None if text is None else text[:MOST_STEP_TEXT])
        self._steps[step.id] = step
        number = list(self._steps).index(step.id)
        at = self._at.setdefault(step.id, self._most - self._left)
        whole_step = {**step_told(number, step), "at": at}
        self.told[step.id] = whole_step
        if step.content is None:
            return whole_step
        return {**whole_step, "content": step.content[offset:], "offset": offset}


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
            told[name] = _bounded(value)
    return told


def _bounded(value: Any) -> Any:
    try:
        text = orjson.dumps(value)
    except (TypeError, ValueError):
        return "…"
    if len(text) <= MOST_STEP_JSON:
        return orjson.loads(text)
    return text[:MOST_STEP_JSON].decode("utf-8", "ignore") + "…"


def _clean(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd")
