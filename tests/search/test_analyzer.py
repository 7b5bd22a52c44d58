"""How text is cut: what finds what, and where it stands."""

from __future__ import annotations

import random
import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.model.analyzer import STEP, fold, fold_with_places, phrase, positions, scan, terms


def finds(asked: str, said: str) -> bool:
    wanted = phrase(asked)
    assert wanted, asked
    found = bool(positions(fold(said), {term for term, _ in wanted}).of(wanted))
    # The index knows every term that a match stands on.
    assert not found or {term for term, _ in wanted} <= terms(said)
    return found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("회의", "회의록을 보냈습니다"),
        ("회의", "내일 전체회의입니다"),
        ("회의록", "지난 회의록을"),
        ("회", "전체회의"),
        ("의", "회의"),
        ("회의 자료", "회의 자료를 봐 주세요"),
        ("회의 자료", "회의자료"),
        ("東京", "東京タワーへ行く"),
        ("タワー", "東京タワー"),
        ("ﾀﾜｰ", "東京タワー"),
        ("ガイド", "ｶﾞｲﾄﾞブック"),
        ("会议", "明天的会议记录"),
        ("議", "会議"),
        ("meeting", "The MEETING's notes"),
        ("cafe", "Café"),
        ("CAFÉ", "cafe"),
        ("cafe\u0301", "café"),
        ("naive", "naïve"),
        ("strasse", "Straße"),
        ("İstanbul", "istanbul"),
        ("ｆｕｌｌ", "Full"),
        ("file", "ﬁle"),
        ("report", "report_final-v2.pdf"),
        ("report_final", "report_final-v2.pdf"),
        ("final-v2.pdf", "report_final-v2.pdf"),
        ("example.com", "see https://example.com/a?b=1"),
        ("don't", "I don’t know"),
        ("3.14", "pi is 3.14"),
        ("api문서", "API 문서입니다"),
        ("👍", "좋아요 👍🏽"),
        ("👍🏿", "좋아요 👍"),
        ("🇰🇷", "from 🇰🇷!"),
        ("❤️", "❤"),
        ("привет", "Привет, мир"),
        ("हिन्दी", "यह हिन्दी है"),
        ("ไทย", "ภาษาไทยครับ"),
        ("ㅋㅋ", "ㅋㅋㅋㅋ"),
    ],
)
def test_what_finds_what(asked: str, said: str) -> None:
    assert finds(asked, said)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("회의", "회 의"),
        ("의회", "회의"),
        ("회의록", "회의 기록"),
        ("회의자료", "회의 자료"),
        ("meet", "meeting"),
        ("the plan", "plan the"),
        ("the plan", "the old plan"),
        ("й", "и"),
        ("が", "か"),
        ("🇰🇷", "🇷🇰"),
        ("ㅋㅋㅋ", "ㅋㅋ"),
        ("14.3", "3.14"),
    ],
)
def test_what_does_not(asked: str, said: str) -> None:
    assert not finds(asked, said)


@pytest.mark.parametrize("nothing", ["", " ", "!?", "… — ()", "\u200d\ufe0f", "_", "́"])
def test_what_is_no_word(nothing: str) -> None:
    assert phrase(nothing) == ()
    assert terms(nothing) == set()


@pytest.mark.parametrize(
    ("said", "asked", "marked"),
    [
        ("내일 전체회의록을", "회의", ["회의"]),
        ("회의, 회의!", "회의", ["회의", "회의"]),
        ("Ein Café am Straße-Eck", "cafe", ["Café"]),
        ("cafe\u0301 noir", "café", ["cafe\u0301"]),
        ("auf der Straße da", "strasse", ["Straße"]),
        ("ﬁle ﬁn", "file", ["ﬁle"]),
        ("ｶﾞｲﾄﾞ!", "ガイド", ["ｶﾞｲﾄﾞ"]),
        ("go 👍🏽 go", "👍", ["👍"]),
        ("ㅋㅋㅋㅋ", "ㅋㅋㅋ", ["ㅋㅋㅋ", "ㅋㅋㅋ"]),
        ("the  plan, THE-PLAN", "the plan", ["the  plan", "THE-PLAN"]),
        (unicodedata.normalize("NFD", "회의록"), "의록", [unicodedata.normalize("NFD", "의록")]),
    ],
)
def test_where_it_stands(said: str, asked: str, marked: list[str]) -> None:
    wanted = phrase(asked)
    folded, begins, ends = fold_with_places(said)
    spans = positions(folded, {term for term, _ in wanted}).spans([wanted])
    assert [said[begins[start] : ends[end - 1]] for start, end in spans] == marked


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("회" * 250, "회" * 21_000),
        ("회" * 250, ("회" * 249 + "의") * 80),
        ("a " * 250, "a " * 32_000),
    ],
)
def test_a_long_phrase_in_a_long_text_takes_no_time(asked: str, said: str) -> None:
    """Each candidate of a search is judged on the loop."""
    wanted = phrase(asked)
    begun = time.process_time()
    found = positions(fold(said), {term for term, _ in wanted})
    assert found.count(wanted) == len(found.of(wanted)) == len(found.spans([wanted]))
    assert time.process_time() - begun < 0.3


PILES = [
    "a" + "\u0316\u0301" * 16_000,
    "a" + "\u0301" * 16_000 + "\u0316" * 16_000,
    "ｶ" + "\uff9e\u0301" * 13_000,
    "ß가" + "\u0301\u0316" * 15_000,
    "\u0344" * 32_000,
]


@pytest.mark.parametrize("pile", PILES, ids=lambda pile: ascii(pile[:3]))
def test_a_pile_of_marks_takes_no_time(pile: str) -> None:
    """Every message that holds one is cut on the loop, and again for every search near it."""
    begun = time.process_time()
    assert len(fold(pile)) < 100
    terms(pile)
    assert time.process_time() - begun < 0.2
    said = f"{pile} needle"
    folded, begins, ends = fold_with_places(said)
    (span,) = positions(folded, {"needle"}).spans([phrase("needle")])
    assert said[begins[span[0]] : ends[span[1] - 1]] == "needle"


@given(st.text(max_size=40))
def test_places_lie_in_the_text_and_in_order(text: str) -> None:
    folded, begins, ends = fold_with_places(text)
    assert len(folded) == len(begins) == len(ends)
    assert list(begins) == sorted(begins)
    assert all(0 <= a < b <= len(text) for a, b in zip(begins, ends, strict=True))


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing_to_be_found(text: str) -> None:
    assert terms(fold(text)) == terms(text)


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_text_is_found_by_what_stands_in_it(before: str, inside: str, after: str) -> None:
    wanted = phrase(inside)
    said = f"{before} {inside} {after}"
    if wanted:
        assert positions(fold(said), {term for term, _ in wanted}).of(wanted)
        assert {term for term, _ in wanted} <= terms(said)


@given(
    st.lists(st.text("가나다 ab.", max_size=12), max_size=8),
    st.text("가나다 ab.", min_size=1, max_size=6),
)
def test_a_phrase_stands_where_its_terms_do(pieces: list[str], asked: str) -> None:
    """Compared with looking for each term at each word."""
    wanted = phrase(asked)
    if not wanted:
        return
    folded = " ".join(pieces)
    words = [
        piece[n : n + 2] if "가" <= piece[n] <= "다" else piece
        for piece in re.findall("[가나다]+|[ab]+", folded)
        for n in range(len(piece) if piece[0] >= "가" else 1)
    ]

    def stands(at: int) -> bool:
        return all(
            at + distance < len(words)
            and (words[at + distance] == term or words[at + distance][0] == term >= "가")
            for term, distance in wanted
        )

    found = positions(folded, {term for term, _ in wanted})
    assert found.length == len(words)
    assert found.of(wanted) == [at for at in range(len(words)) if stands(at)]
    assert found.count(wanted) == len(found.of(wanted))


def test_a_long_phrase_in_a_long_text() -> None:
    """As many terms at as many places as there can be: some ten seconds if each is tried."""
    said, wanted = "가" * 200_000, phrase("가" * 499)
    begun = time.process_time()
    found = positions(said, {"가가"})
    assert found.count(wanted) == 200_000 - 498
    assert time.process_time() - begun < 2
    assert sum(1 for _ in scan(said, {"가가"})) >= len(said) // STEP


def test_nothing_is_lost_where_a_step_ends() -> None:
    dice = random.Random(7)
    for before in ("", "a b ", "가 "):
        said = before + "".join(dice.choice("가나다") for _ in range(3 * STEP))
        for wanted in (phrase("가나"), phrase("다가나다"), phrase("가")):
            found = positions(said, {term for term, _ in wanted}).spans([wanted])
            asked = "".join([term[0] for term, _ in wanted[:-1]] + [wanted[-1][0]])
            start = len(before)
            assert [a for a, _ in found if a >= start] == [
                at for at in range(start, len(said)) if said.startswith(asked, at)
            ]


def test_spans_of_phrases_that_begin_at_the_same_word() -> None:
    """The longest of them; not one more for each, of 8,000 words."""
    phrases = [phrase("가" * n) for n in range(2, 40)]
    spans = positions("가" * 8000, {"가가"}).spans(phrases)
    assert len(spans) == 7999
    assert (0, 39) in spans
