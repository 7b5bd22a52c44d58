"""How text is cut for search, what is said and what is asked alike, whatever the database.

Words are runs of letters, marks and digits, folded: compatibility forms (NFKC), case, and the
accents of Latin letters. Scripts that write no spaces, or hang endings onto words, are cut into
single characters and overlapping pairs of them: Chinese, Japanese and Korean, and Thai, Lao, Khmer
and Burmese. Emoji are words of one character. Everything else parts words and is nothing itself.

`terms` is what an index keeps of a text. `Positions` is where the terms of a question stand in
one, and what a match is: the question's terms one after the other.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise

import regex

MAX_TERM = 64
"""Characters of a word that count: longer ones are keys and encodings, not words."""
STEP = 8192
"""Characters looked through in one turn of the loop: one or two milliseconds."""

STRETCH = 256
"""Characters without a space that are cut at once: a word of a language has no more."""

_PAIRED = (
    r"\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}"
    r"\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}ー"
)
_RUNS = regex.compile(
    rf"([{_PAIRED}]+)"
    rf"|([[\p{{L}}\p{{N}}]--[{_PAIRED}]][[\p{{L}}\p{{N}}\p{{M}}]--[{_PAIRED}]]*)"
    r"|([\p{Extended_Pictographic}\p{Regional_Indicator}])",
    regex.V1,
)
_PAIRS, _WORD, _SIGN = 1, 2, 3
_CLUSTERS = regex.compile(r"\X")
_ACCENTS = regex.compile(r"(?<=\p{Script=Latin})\p{Mn}+")
_LATIN_BEYOND_ASCII = regex.compile(r"[\p{Script=Latin}--[a-zA-Z]]|[a-zA-Z]\p{Mn}", regex.V1)
_MARKED_LATIN = regex.compile(r"\p{Script=Latin}\p{Mn}")
# Unicode's own bound (UAX #15, Stream-Safe Text Format); no script is written with half of it. What
# puts marks into order takes the square of their number, a second for a message full of them. The
# two sound marks of half width become marks.
_PILED = regex.compile(r"([\p{M}\uff9e\uff9f]{30})[\p{M}\uff9e\uff9f]+")
# Letters that no decomposition takes apart.
_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ı": "i", "ħ": "h", "æ": "ae", "œ": "oe"})


def fold(text: str) -> str:
    """The text as it is compared: what looks or sounds the same is the same. Of the marks on one
    letter, 30 count."""
    if text.isascii():
        return text.lower()
    text = _PILED.sub(r"\1", text)
    if not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold()
    if _LATIN_BEYOND_ASCII.search(text):
        bare = _ACCENTS.sub("", unicodedata.normalize("NFD", text)).translate(_LETTERS)
        text = unicodedata.normalize("NFKC", bare)
    elif not unicodedata.is_normalized("NFKC", text):
        text = unicodedata.normalize("NFKC", text)
    return text


def terms(text: str, most: int | None = None) -> set[str]:
    """Everything the text can be found by; with `most`, by no more than about so many different
    terms, those that come first."""
    folded = fold(text)
    found: set[str] = set()
    if most is not None and len(folded) > most // 2:
        for piece, is_paired in _stretches(folded):
            _cut(piece, is_paired, found)
            if len(found) >= most:
                break
        return found
    # As `_cut` does, without a call for each word.
    for run in _RUNS.finditer(folded):
        piece = run[0]
        if run.lastindex == _PAIRS:
            found.update(piece)
            found.update(map("".join, pairwise(piece)))
        else:
            found.add(piece[:MAX_TERM])
    return found


def _cut(piece: str, is_paired: bool, found: set[str]) -> None:
    if is_paired:
        found.update(piece)
        found.update(map("".join, pairwise(piece)))
    else:
        found.add(piece[:MAX_TERM])


def _stretches(folded: str) -> Iterator[tuple[str, bool]]:
    for run in _RUNS.finditer(folded):
        piece = run[0]
        if run.lastindex != _PAIRS:
            yield piece, False
            continue
        for start in range(0, len(piece), STRETCH):
            # With the first of the next stretch, which is the second of the last pair.
            yield piece[start : start + STRETCH + 1], True


Phrase = tuple[tuple[str, int], ...]
"""Terms, each with its distance from the first one."""


def phrase(text: str) -> Phrase:
    """What a text must hold to match this one: its words one after the other. Empty where there
    is no word in it."""
    wanted: list[tuple[str, int]] = []
    at = 0
    for run in _RUNS.finditer(fold(text)):
        piece = run[0]
        if run.lastindex != _PAIRS:
            wanted.append((piece[:MAX_TERM], at))
            at += 1
        elif len(piece) == 1:
            wanted.append((piece, at))
            at += 1
        else:
            wanted += [(piece[n : n + 2], at + n) for n in range(len(piece) - 1)]
            at += len(piece)
    return tuple(wanted)


def width(wanted: Phrase) -> int:
    """How many words long a phrase is; a character of a paired script is one."""
    last, distance = wanted[-1]
    # A pair takes two, and is the only term of two characters of such a script.
    return distance + (2 if is_pair(last) else 1)


def is_pair(term: str) -> bool:
    """Whether a term is two characters of a paired script."""
    if len(term) != 2:
        return False
    run = _RUNS.match(term)
    return run is not None and run.lastindex == _PAIRS


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the terms of a question stand in one text."""

    length: int
    """Words in the text; a character of a paired script is one."""
    _places: Mapping[str, int]
    """Of each term, the words it stands at, as the bits of a number: what is a phrase is then an
    `&` for each of its terms, however long it and the text are."""
    _spans: Sequence[tuple[int, int]]
    """Where each word stands in the folded text."""

    def of(self, wanted: Phrase) -> list[int]:
        """Where the phrase begins, each time, in words."""
        return list(_bits(self._begins(wanted)))

    def count(self, wanted: Phrase) -> int:
        """How many times the phrase stands there."""
        return self._begins(wanted).bit_count()

    def _begins(self, wanted: Phrase) -> int:
        begins = -1
        for term, distance in wanted:
            begins &= self._places.get(term, 0) >> distance
            if not begins:
                break
        return begins

    def spans(self, phrases: Iterable[Phrase]) -> list[tuple[int, int]]:
        """Where one of the phrases stands in the folded text, each time: [start, end). Of those
        that begin at the same word, the longest."""
        found: list[tuple[int, int]] = []
        taken = 0
        for wanted in sorted(phrases, key=width, reverse=True):
            begins = self._begins(wanted) & ~taken
            taken |= begins
            last = width(wanted) - 1
            found += [(self._spans[at][0], self._spans[at + last][1]) for at in _bits(begins)]
        return found


def _bits(number: int) -> Iterator[int]:
    """The places of the ones in a number, from the lowest."""
    digits = f"{number:b}"[::-1]
    at = digits.find("1")
    while at >= 0:
        yield at
        at = digits.find("1", at + 1)


def positions(folded: str, wanted: AbstractSet[str]) -> Positions:
    """Where these terms stand in a text that was folded."""
    spans: list[tuple[int, int]] = []
    return _whole(scan(folded, wanted, spans))


def scan(
    folded: str, wanted: AbstractSet[str], spans: list[tuple[int, int]] | None = None
) -> Generator[None, None, Positions]:
    """The same, in steps of about `STEP` characters. Without `spans` to put them into, it is not
    noted where words stand."""
    found: defaultdict[str, bytearray] = defaultdict(lambda: bytearray(len(folded) // 8 + 1))
    singles = {term for term in wanted if len(term) == 1}
    length, done = 0, STEP
    for run in _RUNS.finditer(folded):
        piece, start = run[0], run.start()
        if start >= done:
            done = start + STEP
            yield
        if run.lastindex != _PAIRS:
            if spans is not None:
                spans.append((start, run.end()))
            if piece[:MAX_TERM] in wanted:
                found[piece[:MAX_TERM]][length >> 3] |= 1 << (length & 7)
            length += 1
            continue
        if spans is not None:
            spans += [(at, at + 1) for at in range(start, run.end())]
        for part in range(0, len(piece), STEP):
            if part:
                done = start + part + STEP
                yield
            # With the first of the next part, which is the second of the last pair.
            here = piece[part : part + STEP + 1]
            for at, pair in enumerate(map("".join, pairwise(here)), length + part):
                if pair in wanted:
                    found[pair][at >> 3] |= 1 << (at & 7)
            if singles:
                for at, character in enumerate(here[:STEP], length + part):
                    if character in singles:
                        found[character][at >> 3] |= 1 << (at & 7)
        length += len(piece)
    places = {term: int.from_bytes(bits, "little") for term, bits in found.items()}
    return Positions(length, places, spans or ())


def _whole(steps: Generator[None, None, Positions]) -> Positions:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Positions = end.value
            return found


def fold_with_places(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """The folded text, and where in the text each of its characters begins and ends."""
    folded = fold(text)
    if len(folded) == len(text) and _is_plain(text):
        return folded, range(len(text)), range(1, len(text) + 1)
    pieces: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for start, end, piece in _folded_clusters(text):
        pieces.append(piece)
        begins += [start] * len(piece)
        ends += [end] * len(piece)
    return "".join(pieces), begins, ends


def _is_plain(text: str) -> bool:
    """Whether folding shortens nothing in the text: then it changes character by character if the
    length stays the same."""
    return text.isascii() or (
        not _PILED.search(text)
        and unicodedata.is_normalized("NFKC", text)
        and not _MARKED_LATIN.search(text)
    )


def _folded_clusters(text: str) -> Iterator[tuple[int, int, str]]:
    for cluster in _CLUSTERS.finditer(text):
        own = cluster[0]
        piece = fold(own)
        if len(own) > 1 and len(piece) == len(own):
            # Parts of an emoji, each in its own place.
            for n, character in enumerate(piece, cluster.start()):
                yield n, n + 1, character
        else:
            yield cluster.start(), cluster.end(), piece
