"""Nicknames: what may be one, and which look alike."""

from __future__ import annotations

import unicodedata

import pytest

from madang.protocol.errors import Invalid
from madang.services.live import nicknames


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("  민지   김 ", "민지 김"),
        (unicodedata.normalize("NFD", "민지"), "민지"),
        ("Ｍｉｎｊｉ", "Minji"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("👩", "👩"),
        ("a\u00a0b", "a b"),
        ("x" * 40, "x" * 40),
        ("José", "José"),
    ],
)
def test_what_may_be_one(text: str, kept: str) -> None:
    assert nicknames.clean(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "x" * 41,
        "x" * 10_000,
        "a\u200bb",  # zero-width space
        "a\u202eb",  # right-to-left override
        "\u2066a\u2069",
        "a\u200d",
        "a\x00",
        "a\nb",
        "a\x7f",
        "\u3164",  # Hangul filler
        "a\ufeff",
        "\U000e0041",
        "\u0301",
        "e\u0301\u0302\u0303\u0304\u0305",
        "\ue000",
        "\u2028",
    ],
)
def test_what_may_not(text: str) -> None:
    with pytest.raises(Invalid, match="Nickname"):
        nicknames.clean(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("admin", "аdmіn"),  # Cyrillic а and і
        ("paypal", "раураl"),
        ("KIM", "kim"),
        ("O0", "00"),
        ("Ill", "lIl"),
        ("modern", "modem"),
        ("ab", "A B"),
        ("𝐌𝐢𝐧", "min"),
        ("Ｍｉｎ", "min"),
        ("rn", "ｍ"),
    ],
)
def test_look_alikes(one: str, other: str) -> None:
    assert nicknames.skeleton(one) == nicknames.skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("민지", "민자"), ("Ann", "Anna"), ("José", "Jose"), ("수진", "수잔"), ("a1", "a2")],
)
def test_which_do_not_look_alike(one: str, other: str) -> None:
    assert nicknames.skeleton(one) != nicknames.skeleton(other)


@pytest.mark.parametrize(
    ("nickname", "number"),
    [
        ("민지", 1),
        ("민지 2", 2),
        ("민지2", 2),
        ("민지 1", 1),
        ("7", 1),
        ("a 007", 1),
        ("a 9999999", 1),
    ],
)
def test_numbers(nickname: str, number: int) -> None:
    assert nicknames.place(nickname)[1] == number
