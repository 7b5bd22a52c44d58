"""Blocked words: whole ones, whatever their case and width, with Korean particles; and content."""

from __future__ import annotations

import time
import unicodedata

import pytest

from madang.services.live import content, words


@pytest.mark.parametrize(
    "text",
    [
        "바보",
        "이 바보야!",
        "바보는 누구",
        "바보, 바보라고",
        "바보입니다.",
        "ASS",
        "an ａｓｓ.",
        "a\u200bss",
        "big   deal",
        "So BIG\ndeal",
        "c++!",
        "old c++",
        "온 동네 바보들이 big deal은",
        "so: 왕 바보야",
        "\N{CYRILLIC SMALL LETTER A}ss",
        "an \N{LATIN SMALL LETTER ALPHA}ss",
        "a\N{HANGUL FILLER}ss",
        unicodedata.normalize("NFD", "바보"),
    ],
)
def test_blocked(text: str) -> None:
    assert words.blocked(text, ["바보", "ass", "big deal", "C++", "왕 바보"])


@pytest.mark.parametrize(
    "text",
    ["масса", "바보상자", "온달바보", "class", "asses", "a ss", "bigdeal", "c+", "", "바 보"],
)
def test_not_blocked(text: str) -> None:
    assert not words.blocked(text, ["바보", "ass", "big deal", "C++"])
    assert not words.blocked(text, [])


def test_words_are_no_patterns() -> None:
    assert words.blocked("a.b", ["a.b"])
    assert not words.blocked("axb", ["a.b"])
    assert not words.blocked("anything", [" ", "\u200b"])


def test_a_long_text_and_many_words_take_no_time() -> None:
    # Nothing to go wild in: each word is fixed, so the time grows with the text and no faster.
    many = [f"word{n} word{n}" for n in range(500)]
    words.blocked("", many)
    begun = time.process_time()
    assert not words.blocked("word1 " + "  ".join(["word"] * 400) + " " * 300, many)
    assert time.process_time() - begun < 1.0


def test_new_words_take_no_time() -> None:
    long = "바보상자 word- " * 150
    begun = time.process_time()
    for turn in range(20):
        assert not words.blocked(long, [f"바보{turn}word{n}" for n in range(500)])
        assert not words.blocked(long, [f"word {turn}{n}-바보" for n in range(500)])
    assert time.process_time() - begun < 2.0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" a\r\nb\tc ", "a\nb\tc"),
        ("a\u202eb\u2066c\u200bd\ufeff", "abcd"),
        ("\x00a\x1b[31m", "a[31m"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("\u200fשלום", "\u200fשלום"),
        (unicodedata.normalize("NFD", "한글"), "한글"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("a\u2028b", "a\nb"),
        ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
    ],
)
def test_what_is_kept_of_a_message(text: str, kept: str) -> None:
    assert content.chat(text) == kept
    assert content.chat(kept) == kept


def test_a_pile_of_marks_takes_no_time() -> None:
    """It is looked at within a commit: all others wait for it."""
    begun = time.process_time()
    shown = content.visible("a" + "\u0316\u0301" * 16_000 + "!")
    assert time.process_time() - begun < 0.3
    assert shown.endswith("!") and len(shown) <= 10
