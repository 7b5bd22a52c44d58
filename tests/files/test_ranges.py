"""Ranges and conditions, as RFC 9110 tells them."""

from __future__ import annotations

import pytest

from madang.surfaces.files import ranges
from madang.surfaces.files.ranges import Unsatisfiable

SIZE = 1000


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (None, []),
        ("", []),
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-499", [(0, 500)]),
        ("BYTES=500-", [(500, 1000)]),
        ("bytes=-100", [(900, 1000)]),
        ("bytes=-5000", [(0, 1000)]),
        ("bytes=990-5000", [(990, 1000)]),
        ("bytes= 0-1 , 5-6 ", [(0, 2), (5, 7)]),
        ("bytes=0-1,2000-3000", [(0, 2)]),
        # Not understood: as if it were not there.
        ("lines=0-1", []),
        ("bytes=5-2", []),
        ("bytes=a-b", []),
        ("bytes=-", []),
        ("bytes=1-2-3", []),
        ("bytes=0-1,x", []),
        ("bytes=٣-٤", []),
        ("bytes=" + "9" * 50 + "-", []),
        # More than there is, or too many of them.
        ("bytes=0-,0-", []),
        ("bytes=" + ",".join(["0-1"] * 9), []),
    ],
)
def test_what_is_asked_for(header: str | None, found: list[ranges.Range]) -> None:
    assert ranges.parse(header, SIZE) == found


@pytest.mark.parametrize(
    "header", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=2000-,3000-"]
)
def test_what_there_is_not(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        ranges.parse(header, SIZE)


TAG, TIME = '"abc"', 1_700_000_000
BEFORE, AT, AFTER = (
    "Tue, 14 Nov 2023 22:13:19 GMT",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:21 GMT",
)
NOWHERE = "Mon, 01 Jan 2020 00:00:00 +99999999999999999999"


@pytest.mark.parametrize(
    ("headers", "current"),
    [
        ({}, False),
        ({"if-none-match": TAG}, True),
        ({"if-none-match": 'W/"abc"'}, True),
        ({"if-none-match": '"x", "abc"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"x"'}, False),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, False),
        ({"if-modified-since": AT}, True),
        ({"if-modified-since": BEFORE}, False),
        ({"if-modified-since": "yesterday"}, False),
        ({"if-modified-since": NOWHERE}, False),
    ],
)
def test_whether_the_client_has_it(headers: dict[str, str], current: bool) -> None:
    assert ranges.is_current(headers, TAG, TIME) is current


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, True),
        ({"if-match": TAG}, True),
        ({"if-match": "*"}, True),
        ({"if-match": 'W/"abc"'}, False),
        ({"if-match": '"x"'}, False),
        ({"if-unmodified-since": AT}, True),
        ({"if-unmodified-since": BEFORE}, False),
        ({"if-unmodified-since": NOWHERE}, True),
    ],
)
def test_whether_it_is_what_the_client_means(headers: dict[str, str], wanted: bool) -> None:
    assert ranges.is_wanted(headers, TAG, TIME) is wanted


@pytest.mark.parametrize(
    ("condition", "goes_on"),
    [
        (None, True),
        (TAG, True),
        ('W/"abc"', False),
        ('"x"', False),
        (AT, True),
        (AFTER, False),
        (NOWHERE, False),
    ],
)
def test_whether_a_range_is_of_the_same(condition: str | None, goes_on: bool) -> None:
    headers = {} if condition is None else {"if-range": condition}
    assert ranges.goes_on(headers, TAG, TIME) is goes_on
