"""Words: which of a text are blocked, and when two are the same.

Whole words only, whatever their case and width: "ass" is not in "class". In Korean a word stands
with its particles: 바보 is in 바보야 and 바보는, and not in 바보상자. Letters of other scripts that
look like Latin ones hide nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from madang.services.live import signs
from madang.services.live.nicknames import skeleton

_PARTICLE = (
    "가|같은|같이|고|과|과는|께|께서|나|냐|네|는|니|다|다고|답다|대로|도|들|들아|들은|들의|들이|라|라고|랑|로|를|"
    "마다|만|밖에|보다|부터|뿐|아|야|야말로|에|에게|에서|여|와|요|으로|은|을|의|이|이고|이나|이냐|이네|이다|이라|"
    "이라고|이랑|이야|이여|인|인데|임|입니다|이에요|예요|처럼|하고|한테"
)
_PARTICLES = frozenset(_PARTICLE.split("|"))
_LONGEST_PARTICLE = max(map(len, _PARTICLES))
_RUN = re.compile(r"\w+")
_ALIKE = re.compile(r"[^\W\x00-\x7f가-힣ㄱ-ㅎㅏ-ㅣ\u3040-\u30ff\u3400-\u9fff]")
"""Neither plain Latin nor of a script that looks like no other."""
_HANGUL_END = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]\Z")


def folded(text: str) -> str:
    """The text without differences of width, case and composition, and without signs that nobody
    sees, which would part a word."""
    found = unicodedata.normalize("NFKC", signs.without_unseen(text)).casefold()
    found = unicodedata.normalize("NFKC", found)
    return "".join(sign for sign in found if unicodedata.category(sign) != "Cf")


def counted(text: str) -> str:
    """A word of a cloud as it is counted."""
    return " ".join(folded(text).split())


def blocked(text: str, words: Sequence[str]) -> bool:
    """Whether one of the words is in the text."""
    if not words:
        return False
    known = _known(tuple(words))
    found = " ".join(folded(text).split())
    for run in set(_RUN.findall(found)):
        if run in known.whole or (_ALIKE.search(run) and skeleton(run) in known.drawn):
            return True
        for length in range(1, min(_LONGEST_PARTICLE, len(run) - 1) + 1):
            if run[-length:] in _PARTICLES and run[:-length] in known.inflected:
                return True
    return any(_stands_in(found, phrase) for phrase in known.phrases)


@dataclass(frozen=True, slots=True)
class _Known:
    """Blocked words, parted so that a text is looked through once for all that are one run of
    letters."""

    whole: frozenset[str]
    drawn: frozenset[str]
    """What those of them look like that are of Latin letters."""
    inflected: frozenset[str]
    """Those of them that end in Hangul: a particle may follow."""
    phrases: tuple[str, ...]
    """Those that are several words, or have other signs in them."""


@lru_cache(maxsize=256)
def _known(words: tuple[str, ...]) -> _Known:
    # A phrase is blocked however far its words stand apart.
    cleaned = {" ".join(folded(word).split()) for word in words} - {""}
    whole = {word for word in cleaned if _RUN.fullmatch(word) and _is_closed(word)}
    inflected = frozenset(word for word in whole if _HANGUL_END.search(word))
    drawn = frozenset(skeleton(word) for word in whole if word.isascii())
    return _Known(frozenset(whole), drawn, inflected, tuple(cleaned - whole))


def _is_closed(word: str) -> bool:
    return word[0].isalnum() and word[-1].isalnum()


def _stands_in(text: str, phrase: str) -> bool:
    """Where it begins or ends in a sign, what stands before or after is no part of it."""
    at = text.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        after = _RUN.match(text, end) if phrase[-1].isalnum() else None
        free = not (phrase[0].isalnum() and at > 0 and _RUN.match(text, at - 1))
        if free and (after is None or (_HANGUL_END.search(phrase) and after.group() in _PARTICLES)):
            return True
        at = text.find(phrase, at + 1)
    return False
