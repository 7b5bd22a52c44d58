"""What an agent says is bounded, and every step has its part."""

from __future__ import annotations

import random
from typing import Any

import pytest

from madang.agents.fit import MOST_DEPTH
from madang.agents.protocol import Step, StepStatus
from madang.agents.speech import (
    MOST_OF_STEPS,
    MOST_RETOLD,
    MOST_STEP_JSON,
    MOST_STEPS,
    Speech,
    TooLong,
)


def test_the_arguments_of_a_call_may_come_in_many_pieces() -> None:
    """Each says all so far, as models' deltas are told, and takes room once."""
    speech = Speech(1000)
    said = ""
    for number in range(1_600):
        said += f"{number:05}"
        speech.step(Step("call", name="look", input=said[:8_000]))
    assert speech.told["call"]["input"] == said[:8_000]
    thought = "x" * 30_000
    speech.step(Step("think", "thinking", content=thought))
    assert speech.told["think"]["content"] == thought
    speech.step(Step("call", status="complete", output={"found": 7}))
    assert speech.told["call"]["output"] == {"found": 7}


def test_all_steps_together_are_bounded() -> None:
    speech = Speech(1000)
    for number in range(MOST_STEPS):
        speech.step(Step(str(number), input="x" * 20_000, output="y" * 20_000, content="z" * 9_000))
    kept = sum(
        len(step["input"]) + len(step["output"]) + len(step["content"])
        for step in speech.told.values()
    )
    assert kept <= MOST_OF_STEPS + 4 * MOST_STEPS
    assert len(speech.told["0"]["input"]) <= MOST_STEP_JSON + 1
    with pytest.raises(TooLong):
        speech.step(Step("one more", input="x"))
    # One that says less gives room back.
    speech.step(Step("0", input="short"))
    speech.step(Step("199", input="x" * 5_000))
    assert speech.told["199"]["input"] == "x" * 5_000


def test_what_is_no_json_takes_no_room() -> None:
    speech = Speech(1000)
    for _ in range(10):
        speech.step(Step("s", input=object()))
    assert speech.told["s"]["input"] == "…"
    speech.step(Step("s", input=[1]))
    assert speech.told["s"]["input"] == [1]


def nested(levels: int, bottom: Any = 7) -> Any:
    """Lists in lists; the innermost holds the bottom."""
    value = bottom
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [MOST_DEPTH - 1, MOST_DEPTH, 251, 500])
def test_what_is_nested_too_deep_is_cut(levels: int) -> None:
    speech = Speech(1000)
    speech.step(Step("s", input=nested(levels), output={"a": nested(levels - 1), "b": 1}))
    told = speech.told["s"]
    if levels == 500:  # No JSON at all.
        assert told["input"] == told["output"] == "…"
    elif levels < MOST_DEPTH:
        assert told["input"] == nested(levels)
    else:
        assert told["input"] == nested(MOST_DEPTH - 1, "…")
        assert told["output"] == {"a": nested(MOST_DEPTH - 2, "…"), "b": 1}
    speech.step(Step("empty", input=nested(MOST_DEPTH - 1, []), output=nested(40, {})))
    told = speech.told["empty"]
    assert told["input"] == nested(MOST_DEPTH - 1, [])
    assert told["output"] == nested(MOST_DEPTH - 1, "…")


def test_of_a_step_is_told_what_is_new() -> None:
    speech = Speech(1000)
    step = {"step": 0, "step_id": "s", "kind": "tool_call", "status": "running", "at": 0}
    assert speech.step(Step("s", input=[1], content="ab")) == {
        **step,
        "input": [1],
        "content": "ab",
        "offset": 0,
    }
    assert speech.step(Step("s")) is None
    assert speech.step(Step("s", input=[1], content="")) is None
    assert speech.step(Step("s", content="c")) == {**step, "content": "c", "offset": 2}
    assert speech.step(Step("s", input=[True])) == {**step, "input": [True]}
    assert speech.step(Step("s", name="look")) == {**step, "name": "look"}
    step |= {"status": "complete", "name": "look"}
    assert speech.step(Step("s", status="complete", output=0)) == {**step, "output": 0}
    assert speech.told["s"] == {**step, "input": [True], "output": 0, "content": "abc"}
    assert speech.changes == 5


def test_how_often_steps_change_is_bounded() -> None:
    speech = Speech(1000)
    speech.step(Step("a"))
    for number in range(MOST_RETOLD):
        speech.step(Step("a", status="running" if number % 2 else "failed"))
        if number % 100 == 0:
            speech.step(Step("a", status="failed", content="text is bounded by itself"))
    with pytest.raises(TooLong):
        speech.step(Step("a", status="complete"))
    assert speech.told["a"]["status"] == "running"
    assert speech.step(Step("b")) is not None


STEP_STATES: tuple[StepStatus, ...] = ("running", "complete", "failed")


def test_it_goes_on_elsewhere_as_if_it_had_not_moved() -> None:
    """Given what was told of it, whatever it says then is taken and told alike."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    stays, moves = Speech(2_000), Speech(2_000)

    def said(speech: Speech, number: int, kind: int) -> Any:
        """Something, by its number: what comes of it."""
        some = random.Random(number)
        try:
            if kind < 4:
                return speech.take(some.choice(["word ", "\ud83c", "\udf0a", "안\0녕"]))
            text = some.choice([None, "thought " * some.randrange(2_000)])
            value = some.choice([None, {"n": number}, "x" * some.randrange(12_000)])
            status = some.choice(STEP_STATES)
            name = f"s{some.randrange(3)}"
            return speech.step(Step(name, status=status, content=text, input=value, output=number))
        except TooLong as error:
            return "too long", error.fits

    length = 0
    for number in range(500):
        kind = rng.randrange(6)
        seen, found = said(stays, number, kind), said(moves, number, kind)
        assert found == seen, number
        assert moves.told == stays.told
        if kind < 4:
            length += len(seen[1] if isinstance(seen, tuple) else seen)
        if rng.random() < 0.1:
            steps = list(moves.told.values())
            moves = Speech.going_on(2_000, length, steps, moves.retold, moves.half)
    assert stays.rest() == moves.rest()
