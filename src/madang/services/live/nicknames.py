"""Nicknames: what may be one, and how one that is taken, or looks like it, is numbered.

Two nicknames of a room differ in what they look like: their skeleton (Unicode Technical Standard
39, 4) after width, case and spaces are taken away. "민지" who comes second is "민지 2".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

from confusable_homoglyphs.utils import load

from madang.model.live import Seat
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Invalid

MAX_NICKNAME = 40
"""Characters, after normalising."""

HOST: Mapping[str, str] = {"ko": "진행자", "en": "Host"}
"""What a host is called who says nothing."""

_RESERVED = (
    *("admin", "administrator", "anonymous", "host", "madang", "moderator", "staff", "support"),
    *("system", "관리자", "마당", "사회자", "시스템", "운영자", "익명", "진행자", "호스트"),
)

_NUMBERED = re.compile(r"(.*\D)([2-9]|[1-9][0-9]{1,5})", re.DOTALL)
_NOT_SEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5"
"""Letters and signs that show nothing: Hangul fillers, the empty Braille cell, and others."""
_MOST_MARKS = 3
"""Combining marks on one another: more climb over the lines around them."""


def clean(text: str) -> str:
    """The nickname as it is kept: NFKC, one space between words.

    Raises:
        Invalid: it is empty or too long, or has signs in it that nobody sees.
    """
    if len(text) > 10 * MAX_NICKNAME:
        raise Invalid(f"Nickname must be 1 to {MAX_NICKNAME} characters")
    if any(sign in _FILLERS or unicodedata.category(sign) in _NOT_SEEN for sign in text):
        raise Invalid("Nickname contains characters that cannot be seen")
    found = " ".join(unicodedata.normalize("NFKC", text).split())
    if not 0 < len(found) <= MAX_NICKNAME:
        raise Invalid(f"Nickname must be 1 to {MAX_NICKNAME} characters")
    marks = 0
    for sign in found:
        marks = marks + 1 if unicodedata.category(sign) in ("Mn", "Me") else 0
        if marks > _MOST_MARKS:
            raise Invalid("Nickname contains characters that cannot be seen")
    if all(unicodedata.category(sign) in ("Mn", "Me", "Zs") for sign in found):
        raise Invalid("Nickname contains characters that cannot be seen")
    return found


def skeleton(text: str) -> str:
    """What a text looks like: two that look alike have the same, in any case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    drawn = unicodedata.normalize("NFD", folded).translate(_prototypes())
    # A prototype may be a capital, as the O that a 0 looks like; and a capital i looks like an l.
    return "".join(drawn.casefold().replace("i", "l").split())


@cache
def _prototypes() -> Mapping[int, str]:
    """Each character that looks like another, or like a few, as those.

    In the library's table each stands beside what it looks like, in both directions. The prototype
    is what has the most beside it, or several letters (m looks like rn).
    """
    beside = {
        _unmarked(sign): [_unmarked(other["c"]) for other in others]
        for sign, others in load("confusables.json").items()
    }

    def weight(sign: str) -> tuple[bool, int, str]:
        return len(sign) > 1, len(beside.get(sign, ())), sign

    found: dict[int, str] = {}
    for sign, others in beside.items():
        best = max(others, key=weight)
        if len(sign) == 1 and weight(best) > weight(sign):
            found[ord(sign)] = best
    return found


def _unmarked(sign: str) -> str:
    """Without the marks of direction that keep the library's source in order."""
    return sign.strip("\u200e")


def place(nickname: str) -> tuple[str, int]:
    """(skeleton, number) of a clean nickname: "민지 2" is 민지's second."""
    numbered = _NUMBERED.fullmatch(nickname)
    if numbered is None:
        return skeleton(nickname), 1
    return skeleton(numbered[1]), int(numbered[2])


def announce(needs: Needs, conversation_id: str, nickname: str) -> None:
    """Announce what `free` will look at. What is no nickname is refused later."""
    try:
        wanted, number = place(clean(nickname))
    except Invalid:
        return
    needs.live.names.add((conversation_id, wanted, number))


def free(
    tx: Transaction, conversation_id: str, wanted: str, own: Seat | None = None
) -> tuple[str, str, int]:
    """The nickname wanted, or numbered where one that looks like it is taken or reserved for those
    who run the room: (nickname, skeleton, number). `own` is whose seat it is to be, who may keep
    their own."""
    looks, number = place(wanted)
    live = tx.live
    is_own = own is not None and (own.skeleton, own.number) == (looks, number)
    if is_own or not (
        (number == 1 and looks in _reserved()) or live.name_taken(conversation_id, looks, number)
    ):
        return wanted, looks, number
    numbered = _NUMBERED.fullmatch(wanted)
    base = wanted if numbered is None else numbered[1].rstrip()
    number = max(live.last_number(conversation_id, looks), 1) + 1
    tail = f" {number}"
    return f"{base[: MAX_NICKNAME - len(tail)].rstrip()}{tail}", looks, number


@cache
def _reserved() -> frozenset[str]:
    return frozenset(map(skeleton, _RESERVED))
