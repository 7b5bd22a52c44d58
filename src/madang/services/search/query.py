"""The language of queries: `"the plan" from:ann in:ID has:file after:2026-01-01 -draft 회의`.

Everything must be so: words stand in the message, phrases stand in it word by word, what begins
with `-` does not. Of several `from:` (or `in:`) one is enough. A colon after any other word is no
filter but a mark between words, as in an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from madang.model.analyzer import Phrase, phrase
from madang.model.ids import is_user_id, parse_uuid
from madang.model.times import parse_iso
from madang.protocol.errors import Invalid, invalid_id

MAX_QUERY = 500
"""Characters: more than anybody types, and a sentence that is pasted fits."""
MAX_PIECES = 32
"""Words, phrases and filters."""
MAX_TERMS = 256
"""What the pieces come to, once they are cut."""

_PIECE = re.compile(
    r"""
    (?P<minus>-?)
    (?:(?P<filter>from|in|has|before|after):)?
    (?:"(?P<quoted>[^"]*)"(?=\s|$)|(?P<plain>[^\s"]+)|(?P<nothing>(?=\s|$)))
    """,
    re.VERBOSE | re.IGNORECASE,
)
_QUOTES = str.maketrans("“”„‟＂", '"""""')


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Times are microseconds: after <= created_at < before."""

    phrases: tuple[Phrase, ...] = ()
    without: tuple[Phrase, ...] = ()
    senders: frozenset[str] = frozenset()
    conversations: frozenset[str] = frozenset()
    with_file: bool = False
    after: int | None = None
    before: int | None = None

    @property
    def terms(self) -> frozenset[str]:
        """Every term of its phrases, wanted and not."""
        return frozenset(term for each in (*self.phrases, *self.without) for term, _ in each)


@dataclass(slots=True)
class _Reading:
    """A query while it is read."""

    phrases: list[Phrase] = field(default_factory=list)
    without: list[Phrase] = field(default_factory=list)
    senders: set[str] = field(default_factory=set)
    conversations: set[str] = field(default_factory=set)
    with_file: bool = False
    after: int | None = None
    before: int | None = None

    def words(self, text: str, minus: bool) -> None:
        cut = phrase(text)
        if cut:
            (self.without if minus else self.phrases).append(cut)

    def filter(self, name: str, value: str) -> None:
        match name:
            case "from":
                if not is_user_id(value):
                    raise Invalid("q: from: must be followed by a user id")
                self.senders.add(value)
            case "in":
                conversation_id = parse_uuid(value)
                if conversation_id is None:
                    raise Invalid("q: in: must be followed by the id of a conversation")
                self.conversations.add(conversation_id)
            case "has":
                if value.lower() != "file":
                    raise Invalid("q: has: can only be followed by file")
                self.with_file = True
            case "after":
                self.after = max(self.after or 0, _time(name, value))
            case "before":
                time = _time(name, value)
                self.before = time if self.before is None else min(self.before, time)


def _time(name: str, value: str) -> int:
    """A day is its beginning, in UTC."""
    time = parse_iso(value)
    if time is None:
        raise Invalid(f"q: {name}: must be followed by a day or a time, like 2026-01-31")
    return time


def read(text: str, conversation_id: str | None = None) -> Query:
    """What a text asks for; in one conversation only, where it is named beside the text.

    Raises:
        Invalid: it is too long, a quotation mark is left open, a filter has no value or a wrong
            one, or nothing is asked for.
        InvalidId: `conversation_id` is none.
    """
    if len(text) > MAX_QUERY:
        raise Invalid(f"q: at most {MAX_QUERY} characters")
    if "\0" in text:
        raise Invalid("q: must not contain NUL")
    reading = _Reading()
    for minus, name, value, quoted in _pieces(text.translate(_QUOTES)):
        if name is None:
            reading.words(value, minus)
        elif minus:
            raise Invalid("q: - can stand before words and phrases only")
        elif not value and not quoted:
            raise Invalid(f"q: {name}: must be followed by what it is")
        else:
            reading.filter(name, value)
    return _checked(reading, conversation_id)


def _pieces(text: str) -> Iterator[tuple[bool, str | None, str, bool]]:
    """(minus, filter, value, quoted) of each piece."""
    at = count = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _PIECE.match(text, at)
        if found is None or found.end() == at:
            # The only thing that is no piece: a quotation mark with no other, or in a word.
            raise Invalid("q: a quotation mark is left open, or stands within a word")
        at = found.end()
        if at < len(text) and text[at] == '"':
            raise Invalid("q: a quotation mark is left open, or stands within a word")
        count += 1
        if count > MAX_PIECES:
            raise Invalid(f"q: at most {MAX_PIECES} words, phrases and filters")
        name = found["filter"]
        value = found["plain"] if found["quoted"] is None else found["quoted"]
        yield (
            bool(found["minus"]),
            None if name is None else name.lower(),
            value or "",
            found["quoted"] is not None,
        )


def _checked(reading: _Reading, conversation_id: str | None) -> Query:
    conversations = frozenset(reading.conversations)
    if conversation_id is not None:
        place = parse_uuid(conversation_id)
        if place is None:
            raise invalid_id("conversation_id")
        # Named beside the text it bounds all that the text says.
        conversations = conversations & {place} if conversations else frozenset({place})
        if not conversations:
            raise Invalid("q: in: names another conversation than the one that is searched")
    query = Query(
        tuple(dict.fromkeys(reading.phrases)),
        tuple(dict.fromkeys(reading.without)),
        frozenset(reading.senders),
        conversations,
        reading.with_file,
        reading.after,
        reading.before,
    )
    if not (
        query.phrases
        or query.senders
        or reading.conversations
        or query.with_file
        or query.after is not None
        or query.before is not None
    ):
        raise Invalid("q: there is no word in it to look for")
    if len(query.terms) > MAX_TERMS:
        raise Invalid(f"q: at most {MAX_TERMS} words and characters")
    return query
