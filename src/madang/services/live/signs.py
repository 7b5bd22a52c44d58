"""Signs that nobody sees, and marks that climb over the lines around them."""

from __future__ import annotations

import regex

_BLANKS = "\u2800\U00013441\U00013442\U00016fe4\U0001d159"
"""They stand for something, and show nothing: the empty Braille cell, and others."""
_UNSEEN = regex.compile(rf"[\p{{Default_Ignorable_Code_Point}}{_BLANKS}]+")
_STRAY_SELECTOR = regex.compile(
    r"(?<!\p{Extended_Pictographic})\ufe0f|[\p{Variation_Selector}--\ufe0f]", regex.V1
)
_SHOWN = regex.compile(
    rf"[^\s\p{{Cc}}\p{{Cf}}\p{{Cs}}\p{{Mn}}\p{{Me}}\p{{Default_Ignorable_Code_Point}}{_BLANKS}]"
)
_PILED = regex.compile(
    r"([\p{Mn}\p{Me}\p{Default_Ignorable_Code_Point}]{8})"
    r"[\p{Mn}\p{Me}\p{Default_Ignorable_Code_Point}]+"
)
"""More marks on one letter than any script is written with."""
_MARKS = regex.compile(r"[\p{Mn}\p{Me}]+")


def unseen(text: str) -> bool:
    """Whether there is a sign in the text that shows nothing, and is no space."""
    return _UNSEEN.search(text) is not None


def without_unseen(text: str) -> str:
    """The text without signs that show nothing."""
    return text if text.isascii() else _UNSEEN.sub("", text)


def without_selectors(text: str) -> str:
    """The text without signs that choose how another is drawn, but for one behind a picture, as
    keyboards of phones put it there."""
    return text if text.isascii() else _STRAY_SELECTOR.sub("", text)


def without_piles(text: str) -> str:
    """The text with at most eight marks on each letter."""
    return text if text.isascii() else _PILED.sub(r"\1", text)


def without_marks(text: str) -> str:
    """The text (NFD) without what stands above, below or around its letters."""
    return _MARKS.sub("", text)


def shows(text: str) -> bool:
    """Whether anything of the text is seen: not only spaces, marks without a letter."""
    return _SHOWN.search(text) is not None
