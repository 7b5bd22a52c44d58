"""What may be written in a room: cleaned of what nobody can see, and bounded."""

from __future__ import annotations

import unicodedata

from madang.protocol.errors import Invalid, TooLarge
from madang.services.live import signs

MAX_CHAT = 2_000
MAX_QUESTION = 2_000
"""Characters. More is no question; it would stand on a big screen."""
MAX_OPTION = 200

_SEEN_FORMATS = "\u200c\u200d\u200e\u200f"
"""Joiners, which emoji and Persian are written with, and the two marks of direction, which reach no
further than themselves."""
_LAYOUT = "\n\t"
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """The text in its composed form (NFC), without control characters but line breaks and tabs,
    without overrides of direction, invisible signs and halves of pairs, without more than eight
    marks on a letter, and without the space around it."""
    text = text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    if not text.isascii() or not text.isprintable():
        text = "".join(sign for sign in text if _is_seen(sign))
    # Before it is composed, too: that takes the square of how many marks stand on one letter.
    composed = unicodedata.normalize("NFC", signs.without_piles(text))
    return signs.without_piles(composed).strip()


def _is_seen(sign: str) -> bool:
    return unicodedata.category(sign) not in _HIDDEN or sign in _SEEN_FORMATS or sign in _LAYOUT


def chat(text: str) -> str:
    """Raises:
    Invalid: nothing in it can be seen.
    TooLarge: longer than `MAX_CHAT`.
    """
    return _checked(text, "Message", MAX_CHAT)


def question(text: str) -> str:
    """Raises:
    Invalid: nothing in it can be seen.
    TooLarge: longer than `MAX_QUESTION`.
    """
    return _checked(text, "Question", MAX_QUESTION)


def option(text: str) -> str:
    """One choice of a poll, on one line.

    Raises:
        Invalid: nothing in it can be seen.
        TooLarge: longer than `MAX_OPTION`.
    """
    return " ".join(_checked(text, "Option", MAX_OPTION).split())


def _checked(text: str, what: str, most: int) -> str:
    found = visible(text)
    if not signs.shows(found):
        raise Invalid(f"{what} content cannot be empty")
    if len(found) > most:
        raise TooLarge(f"{what} content is limited to {most} characters")
    return found
