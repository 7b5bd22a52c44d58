"""When a service says that it may be asked again."""

from __future__ import annotations

import time

import pytest

from madang.agents.signing import retry_after

NOW = 1_445_412_470
"""Ten seconds before the dates below."""


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10.0),
        ("Wednesday, 21-Oct-15 07:28:00 GMT", 10.0),
        ("Wed Oct 21 07:28:00 2015", 10.0),
        ("Wed, 21 Oct 2015 09:28:00 +0200", 10.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("soon", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
        ("9" * 400, None),
    ],
)
def test_seconds_or_a_date(
    said: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever this machine is."""
    for zone in ("UTC", "Asia/Seoul"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert retry_after({"retry-after": said}, NOW * 1_000_000) == seconds
    monkeypatch.undo()
    time.tzset()


def test_nothing_said() -> None:
    assert retry_after({}, 0) is None
