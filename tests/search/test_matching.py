"""What a phrase is first looked for by leaves out no text that holds it, and nearly all others."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.model.analyzer import MAX_TERM, fold, phrase, positions
from madang.services.search import query as language
from madang.services.search.matching import SNIPPET, Text, _near, highlights, relevance

PIECES = (
    *("a", "ab", "bc", "abc", "the", "plan", "É", "e\u0301", "naïve", "_", "report_final", "v2"),
    *("회의", "회의록", "회", "의", "의회", "東京", "京都", "東", "タワー", "ｶﾞ", "ไทย", "हिन्दी"),
    *(" ", " ", " ", "-", ", ", ".", "@", "👍", "👍🏽", "🇰🇷", "①", "²", "\u200d", "\u0301", "3.14"),
)
SEED = 11


def holds(text: str, asked: str) -> bool:
    wanted = phrase(asked)
    return bool(positions(fold(text), {term for term, _ in wanted}).of(wanted))


def looks_so(text: str, asked: str) -> bool:
    near = _near(phrase(asked))
    return near is None or bool(near.search(fold(text)))


def test_no_text_that_holds_a_phrase_is_left_out() -> None:
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    held = left_out = 0
    for _ in range(20_000):
        said = dice.choices(PIECES, k=dice.randrange(1, 9))
        at = dice.randrange(len(said))
        if dice.random() < 0.5:
            asked = "".join(said[at : at + dice.randrange(1, 5)])
        else:
            asked = "".join(dice.choices(PIECES, k=dice.randrange(1, 4)))
        if phrase(asked):
            text = "".join(said)
            is_held = holds(text, asked)
            held += is_held
            left_out += not looks_so(text, asked)
            assert not is_held or looks_so(text, asked), (text, asked)
    assert held > 2_000 and left_out > 2_000, "both came often enough to tell"


@given(st.text(max_size=12), st.text(max_size=4), st.text(max_size=12))
def test_whatever_the_letters(before: str, asked: str, behind: str) -> None:
    text = before + asked + behind
    if phrase(asked) and holds(text, asked):
        assert looks_so(text, asked)


def test_words_of_which_only_the_beginning_counts_are_looked_for_as_ever() -> None:
    long = "x" * (MAX_TERM + 5)
    assert _near(phrase(f"{long} plan")) is None
    assert holds(f"the {long}y plan", f"{long} plan")


@pytest.mark.parametrize("before", ["", "and then " * 30])
def test_a_match_that_runs_on_is_shown_as_far_as_there_is_room(before: str) -> None:
    query = language.read("가가")
    (shown,) = highlights(query, Text("ann", "room", 0, before + "가" * 5_000, ()))
    assert len(shown.text) == SNIPPET
    ((start, end),) = shown.ranges
    assert shown.text[start] == "가" and end == SNIPPET


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        ("a plan of the yard", True),
        ("the plan: a yard", False),
        ("a_plan", True),
        ("a great plan", False),
        ("aplan", False),
    ],
)
def test_it_decides_nothing_by_itself(said: str, answers: bool) -> None:
    query = language.read('"a plan"')
    text = Text("ann", "room", 0, said, ())
    assert (relevance(query, text) is not None) is answers


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("가" * 100 + "나", "가나 " + "가" * 100 + "x" * 100),
        ("가" * 100 + "나", "가나 " + ("가" * 100 + "x") * 80),
        ('"' + "👍 " * 100 + 'x"', "x " + "👍" * 8000),
        ('"' + "a " * 100 + 'x"', "x " + "a " * 4000),
        ('"' + "a 👍 " * 50 + 'x"', "x " + "a 👍 " * 2000),
        ('"' + "ab bc " * 40 + 'x"', "x " + "ab bc " * 1300),
        ('"a x"', ("a" + " " * 100) * 80 + "x"),
        ('"' + "ก\u0e34" * 50 + 'x"', "x " + "ก\u0e34" * 4000),
    ],
)
def test_a_text_that_nearly_holds_a_phrase_takes_no_time(asked: str, said: str) -> None:
    """There are many ways to read it, of which all fail: it is not tried by each."""
    query = language.read(asked)
    begun = time.process_time()
    relevance(query, Text("ann", "room", 0, said, ()))
    assert time.process_time() - begun < 0.3
