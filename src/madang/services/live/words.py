"""Words: which of a text are blocked, and when two are the same.

Whole words only, whatever their case and width: "ass" is not in "class". In Korean a word stands
with its particles: 바보 is in 바보야 and 바보는, and not in 바보상자.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

_PARTICLE = (
    "가|같은|같이|고|과|과는|께|께서|나|냐|네|는|니|다|다고|답다|대로|도|들|들아|들은|들의|들이|라|라고|랑|로|를|"
    "마다|만|밖에|보다|부터|뿐|아|야|야말로|에|에게|에서|여|와|요|으로|은|을|의|이|이고|이나|이냐|이네|이다|이라|"
    "이라고|이랑|이야|이여|인|인데|임|입니다|이에요|예요|처럼|하고|한테"
)
_HANGUL_END = re.compile(r"[가-힣ㄱ-ㅎㅏ-ㅣ]\Z")


def folded(text: str) -> str:
    """The text without differences of width, case and composition, and without signs that nobody
    sees, which would part a word."""
    found = unicodedata.normalize("NFKC", text).casefold()
    found = unicodedata.normalize("NFKC", found)
    return "".join(sign for sign in found if unicodedata.category(sign) != "Cf")


def counted(text: str) -> str:
    """A word of a cloud as it is counted."""
    return " ".join(folded(text).split())


def blocked(text: str, words: Sequence[str]) -> bool:
    """Whether one of the words is in the text."""
    if not words:
        return False
    return _pattern(tuple(words)).search(folded(text)) is not None


@lru_cache(maxsize=256)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    parts = []
    for word in words:
        cleaned = folded(word).split()
        if cleaned:
            # A phrase is blocked however far its words stand apart.
            part = r"\s+".join(map(re.escape, cleaned))
            # Where a word ends in a sign, what follows is no part of it.
            before = r"(?<!\w)" if cleaned[0][0].isalnum() else ""
            after = r"(?!\w)" if cleaned[-1][-1].isalnum() else ""
            if _HANGUL_END.search(cleaned[-1]):
                part += f"(?:{_PARTICLE})?"
            parts.append(f"{before}{part}{after}")
    return re.compile("|".join(parts) if parts else r"(?!)")
