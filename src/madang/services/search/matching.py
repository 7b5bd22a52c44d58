"""Whether a message answers a query, how well, and where: pure, and the same wherever it runs.

The index only brings candidates near. What is decided here is decided by the message as it is now,
so that an index that is a moment behind shows nothing that was deleted or is no longer said.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from madang.model.analyzer import (
    MAX_TERM,
    STEP,
    Phrase,
    fold,
    fold_with_places,
    is_pair,
    positions,
    scan,
    width,
)
from madang.services.search.query import Query

DAY = 24 * 3600 * 1_000_000
FADES = 120 * DAY
"""Microseconds in which a message falls behind one that says it as well by as much as the best
match is ahead of the worst: relevance first among what is recent, time across the years."""
STEPS = 1_000_000
"""Relevance of 1 in the whole numbers that ranks are."""
_SATURATION = 0.6
"""Times a phrase must stand in a message of usual length to bring half of what it can."""
_USUAL_LENGTH = 20
_IN_ORDER = 0.5
"""What a message gains that says all the phrases one after the other, as they were asked for."""

SNIPPET = 240
"""Characters shown of a text."""
_BEFORE = 60
"""How many of them come before the first match."""
_MOST_RANGES = 50
_BETWEEN = r"[\W_]*"
"""All that can stand between two words, and more: signs are words to the analyzer."""
_FIRST = 8
"""Terms of a phrase that a text is first looked through for: they leave out nearly all others."""
LOOKED_THROUGH = 8192
"""Characters of a text in which matches are shown: far into a long one nobody needs a mark."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a message is searched by: who said it, where and when, its text and its files' names."""

    sender_id: str
    conversation_id: str
    created_at: int
    content: str
    attachments: Sequence[Mapping[str, Any]]

    @property
    def names(self) -> list[str]:
        """The names of its files, as far as they have one."""
        return [
            name for each in self.attachments if isinstance(name := each.get("name"), str) and name
        ]


@dataclass(frozen=True, slots=True)
class Highlight:
    """A part of a text, and where in it matches stand: [start, end) in UTF-16 code units, as
    JavaScript counts. The text is plain, as it was written."""

    field: str
    text: str
    ranges: tuple[tuple[int, int], ...]
    offset: int
    """Where the part begins in the whole text, in the same units."""


def relevance(query: Query, text: Text) -> float | None:
    """From 0 to 1.5: how well the message answers; None where it does not."""
    steps = judging(query, text)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            score: float | None = end.value
            return score


def judging(query: Query, text: Text) -> Generator[None, None, float | None]:
    """`relevance` in steps of a millisecond or two."""
    if not _answers_filters(query, text):
        return None
    if not query.phrases and not query.without:
        return 0.0
    folded = [fold(each) for each in (text.content, *text.names)]
    # A long text is looked through in steps at once.
    if max(map(len, folded)) <= STEP:
        for phrase in query.phrases:
            near = _near(phrase)
            if near is not None and not any(map(near.search, folded)):
                return None
    wanted = query.terms
    fields = []
    for each in folded:
        fields.append((yield from scan(each, wanted)))
    if any(places.count(phrase) for phrase in query.without for places in fields):
        return None
    length = sum(places.length for places in fields)
    norm = _SATURATION * (0.25 + 0.75 * length / _USUAL_LENGTH)
    score = 0.0
    for phrase in query.phrases:
        times = sum(places.count(phrase) for places in fields)
        if times == 0:
            return None
        score += times / (times + norm)
    if not query.phrases:
        return 0.0
    score /= len(query.phrases)
    if len(query.phrases) > 1:
        joined = _joined(query)
        if any(places.count(joined) for places in fields):
            score += _IN_ORDER
    return score


@lru_cache(maxsize=256)
def _near(phrase: Phrase) -> re.Pattern[str] | None:
    """What stands in every folded text that holds a phrase of several terms, and in few others:
    its terms with nothing that is part of a word between them. None where there is no saying so.

    Most candidates for a phrase of frequent words hold the words and not the phrase; to look at
    one by this takes a tenth of cutting it into words. There is only one way to read a text by it,
    so that it takes no longer than the text is long, a few times.
    """
    if len(phrase) < 2 or any(len(term) >= MAX_TERM for term, _ in phrase):
        return None
    last, at = phrase[0]
    pattern = re.escape(last)
    for term, distance in phrase[1:_FIRST]:
        if distance == at + 1 and is_pair(last) and is_pair(term):
            # Two pairs of one run.
            pattern += re.escape(term[1])
        elif term[0].isalnum():
            pattern += _BETWEEN + re.escape(term)
        else:
            # A sign could be what stands between too: each of them would be tried as either.
            return None
        last, at = term, distance
    return re.compile(pattern)


def _answers_filters(query: Query, text: Text) -> bool:
    return (
        (not query.senders or text.sender_id in query.senders)
        and (not query.conversations or text.conversation_id in query.conversations)
        and (not query.with_file or bool(text.attachments))
        and (query.after is None or text.created_at >= query.after)
        and (query.before is None or text.created_at < query.before)
    )


def _joined(query: Query) -> Phrase:
    """All the phrases one after the other."""
    joined: list[tuple[str, int]] = []
    base = 0
    for each in query.phrases:
        joined += [(term, base + distance) for term, distance in each]
        base += width(each)
    return tuple(joined)


def rank(score: float, created_at: int) -> int:
    """Relevance and time in one number. What is ahead stays ahead, whenever one looks."""
    return round(score * STEPS) + created_at * STEPS // FADES


def highlights(query: Query, text: Text) -> list[Highlight]:
    """Where the query's phrases stand: the text first, then names of files that hold one. A text
    without a match is shown from its beginning."""
    found = [_highlight("content", text.content, query)] if text.content else []
    for each in text.names:
        name = _highlight("attachment", each, query)
        if name.ranges:
            found.append(name)
    return found


def _highlight(field: str, text: str, query: Query) -> Highlight:
    ranges = _ranges(text, query)
    start = 0
    if len(text) > SNIPPET and ranges and ranges[0][1] > SNIPPET - _BEFORE:
        start = max(0, min(ranges[0][0] - _BEFORE, len(text) - SNIPPET))
        # At a word, where one begins near.
        space = text.find(" ", start, ranges[0][0])
        start = start if space < 0 else space + 1
    end = min(len(text), start + SNIPPET)
    shown = [(a - start, min(b, end) - start) for a, b in ranges[:_MOST_RANGES] if a < end]
    part = text[start:end]
    return Highlight(field, part, _in_utf16(part, shown), _utf16_length(text[:start]))


def _ranges(text: str, query: Query) -> list[tuple[int, int]]:
    """Where matches stand in the text, in order, those that touch as one."""
    folded, begins, ends = fold_with_places(text[:LOOKED_THROUGH])
    places = positions(folded, query.terms)
    spans = sorted((begins[start], ends[end - 1]) for start, end in places.spans(query.phrases))
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _utf16_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _in_utf16(text: str, ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    wide = [n for n, character in enumerate(text) if character > "\uffff"]
    if not wide:
        return tuple(ranges)

    def at(place: int) -> int:
        return place + bisect_right(wide, place - 1)

    return tuple((at(start), at(end)) for start, end in ranges)
