"""The language of queries, and its errors."""

from __future__ import annotations

import contextlib
import random
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madang.model.analyzer import phrase
from madang.model.times import parse_iso
from madang.protocol.errors import Invalid, InvalidId
from madang.services.search.query import MAX_PIECES, MAX_QUERY, Query, read

ROOM = str(uuid.uuid4())


def test_words_and_phrases() -> None:
    query = read('  plan "the big day"   회의록 -draft -"not this" ')
    assert query.phrases == (phrase("plan"), phrase("the big day"), phrase("회의록"))
    assert query.without == (phrase("draft"), phrase("not this"))


def test_filters() -> None:
    query = read(
        f"from:ann FROM:7 in:{ROOM.upper()} has:FILE after:2026-01-31 before:2026-02-01T12:00:00Z x"
    )
    assert query == Query(
        (phrase("x"),),
        (),
        frozenset({"ann", "7"}),
        frozenset({ROOM}),
        True,
        parse_iso("2026-01-31"),
        parse_iso("2026-02-01T12:00:00Z"),
    )


def test_filters_alone_ask_for_something() -> None:
    for text in ("from:ann", "has:file", "after:2026-01-01", "before:2026-01-01", f"in:{ROOM}"):
        assert read(text).phrases == ()


def test_values_in_quotes() -> None:
    assert read('from:"ann lee" x').senders == {"ann lee"}
    assert read("“the plan”").phrases == (phrase("the plan"),)


def test_a_colon_is_no_filter() -> None:
    for text in ("https://example.com/a", "note:x", "3:30", "a:b:c"):
        assert read(text).phrases == (phrase(text),)


def test_the_narrowest_times_count() -> None:
    query = read("after:2026-01-01 after:2026-03-01 before:2026-12-01 before:2026-06-01 x")
    assert query.after == parse_iso("2026-03-01")
    assert query.before == parse_iso("2026-06-01")


def test_one_conversation_beside_the_text() -> None:
    assert read("x", ROOM).conversations == {ROOM}
    assert read(f"x in:{ROOM} in:{uuid.uuid4()}", ROOM).conversations == {ROOM}
    with pytest.raises(Invalid, match="another conversation"):
        read(f"x in:{uuid.uuid4()}", ROOM)
    with pytest.raises(InvalidId):
        read("x", "nonsense")
    with pytest.raises(Invalid, match="no word"):
        read("!", ROOM)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no word"),
        ("   ", "no word"),
        ("!!! ---", "no word"),
        ('""', "no word"),
        ("-only", "no word"),
        ('"open', "quotation mark"),
        ('open"', "quotation mark"),
        ('a"b"c', "quotation mark"),
        ('"a"b', "quotation mark"),
        ('x "', "quotation mark"),
        ("from:", "from: must be followed"),
        ('x from:"" y', "from: must be followed"),
        ("from:" + "x" * 101, "user id"),
        ("in:nonsense", "id of a conversation"),
        ("has:pictures", "only be followed by file"),
        ("has:", "has: must be followed"),
        ("before:yesterday", "day or a time"),
        ("after:2026-02-30", "day or a time"),
        ("after:2026-13-01", "day or a time"),
        ("after:", "after: must be followed"),
        ("x -from:ann", "words and phrases only"),
        ("x -has:file", "words and phrases only"),
        ("x" * (MAX_QUERY + 1), "characters"),
        ("x " * (MAX_PIECES + 1), "words, phrases and filters"),
        ("회" + "".join(chr(0xAC00 + n) for n in range(400)), "words and characters"),
        ("a\0b", "NUL"),
    ],
)
def test_what_is_wrong_is_told(text: str, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        read(text)


@given(st.text(st.sampled_from("ab회의\"-: fromhasbeforein:20260131*()&|!<>'\\%\t👍"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    told = "q: "
    try:
        read(text)
    except Invalid as error:
        told = error.text
    assert told.startswith("q: ")


def test_reading_takes_no_time() -> None:
    """No text of the greatest length makes the reader go back and forth."""
    dice = random.Random(5)
    texts = ["".join(dice.choices("\"-: afrominhas'", k=MAX_QUERY)) for _ in range(300)]
    texts += [
        each * (MAX_QUERY // len(each)) for each in ('"', "-", "from:", '-"', '"a" ', "in:x ")
    ]
    begun = time.process_time()
    for text in texts:
        with contextlib.suppress(Invalid):
            read(text)
    assert time.process_time() - begun < 2, "a few milliseconds each, at most"
