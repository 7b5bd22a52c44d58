"""Names of files as people see them. Nothing is ever found, made or run by such a name."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 150
"""Characters, the extension among them: what a line on a screen and every file system takes."""
MAX_EXTENSION = 20
LONGEST = 2048
"""Characters of a name that are looked at, half of them from its end: composing takes the square of
how many marks stand on one letter."""

_KEPT_FORMATS = frozenset(("\u200d", *map(chr, range(0xE0020, 0xE0080))))
"""Invisible, and needed in emoji: the joiner of families, the letters of flags. All other invisible
characters turn text around or hide some of it."""
_EXTENDS = ("Mn", "Me", "Mc", "Sk", "Cf")
"""Categories of what belongs to the character before it."""


def display_name(given: str | None) -> str:
    """The last part of a path, composed (NFC), without what is invisible, and not too long.

    `..\\..\\etc/passwd` is `passwd`, a name of nothing visible is `file`.
    """
    last = re.split(r"[/\\]", given or "")[-1]
    if len(last) > LONGEST:
        last = last[: LONGEST // 2] + last[-LONGEST // 2 :]
    composed = unicodedata.normalize("NFC", "".join(filter(_is_kept, last)))
    name = " ".join(composed.split()).strip(" ")
    if not name.strip(". "):
        return "file"
    return _shortened(name)


def _is_kept(character: str) -> bool:
    if character in _KEPT_FORMATS or character == " ":
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")


def _shortened(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    if not dot or not 0 < len(extension) <= MAX_EXTENSION:
        stem, end = name, ""
    else:
        end = f".{extension}"
    cut = MAX_NAME - len(end) - 1
    # Not in the middle of what is one character to people.
    while cut > 1 and (_extends(stem[cut]) or stem[cut - 1] == "\u200d"):
        cut -= 1
    return f"{stem[:cut]}…{end}"


def _extends(character: str) -> bool:
    return unicodedata.category(character) in _EXTENDS


def extension(name: str) -> str:
    """In lower case and without its dot; empty where there is none."""
    stem, dot, found = name.rpartition(".")
    return found.lower() if dot and stem and len(found) <= MAX_EXTENSION else ""
