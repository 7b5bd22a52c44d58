"""Names of files are for display: whatever somebody sends, nobody is led astray by it."""

from __future__ import annotations

import time
import unicodedata

import pytest

from madang.model.filenames import MAX_NAME, display_name, extension
from madang.surfaces.files.downloads import disposition

FAMILY = "👨‍👩‍👧‍👦"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\windows\\win.ini", "win.ini"),
        ("C:\\Users\\Ann\\사진.png", "사진.png"),
        ("/", "file"),
        ("..", "file"),
        (". . .", "file"),
        ("", "file"),
        (None, "file"),
        ("\0\x1b[31m\r\n", "[31m"),
        ("a\r\nSet-Cookie: b.txt", "aSet-Cookie: b.txt"),
        ("gnp\u202egnp.exe", "gnpgnp.exe"),
        ("\u2066a\u2069\u200eb\u061c.txt", "ab.txt"),
        ("\ufeffa\u200bb\u00ad.txt", "ab.txt"),
        ("a\u2028b.txt", "ab.txt"),
        ("  two   words .txt ", "two words .txt"),
        (f"{FAMILY}.png", f"{FAMILY}.png"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.png",) * 2,
        ("\ud800broken.txt", "broken.txt"),
        (".env", ".env"),
        ('quo"te%.txt', 'quo"te%.txt'),
    ],
)
def test_a_name_is_shown_without_what_deceives(given: str | None, shown: str) -> None:
    assert display_name(given) == shown


def test_korean_of_a_mac_is_composed() -> None:
    apart = unicodedata.normalize("NFD", "회의록.hwp")
    assert apart != "회의록.hwp"
    assert display_name(apart) == "회의록.hwp"


@pytest.mark.parametrize("stem", ["x" * 300, "가" * 300, FAMILY * 60, "e\u0323\u0301" * 200])
def test_a_long_name_keeps_its_extension_and_whole_characters(stem: str) -> None:
    shown = display_name(f"{stem}.jpeg")
    assert len(shown) <= MAX_NAME
    kept = shown.removesuffix("….jpeg")
    assert kept != shown
    composed = unicodedata.normalize("NFC", stem)
    assert composed.startswith(kept)
    following = composed[len(kept)]
    assert following in ("x", "가", FAMILY[0]) or not unicodedata.category(following).startswith(
        "M"
    )


def test_a_name_of_marks_takes_no_time() -> None:
    begun = time.process_time()
    shown = display_name("a" + "\u0316\u0301" * 20_000 + ".pdf")
    assert time.process_time() - begun < 0.1
    assert len(shown) <= MAX_NAME and shown.endswith("….pdf")


def test_a_name_that_is_all_extension_is_cut_too() -> None:
    assert len(display_name("a." + "b" * 400)) <= MAX_NAME


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.PDF", "pdf"),
        ("a.tar.gz", "gz"),
        (".env", ""),
        ("a", ""),
        ("a.", ""),
        ("a." + "b" * 30, ""),
    ],
)
def test_the_extension(name: str, ending: str) -> None:
    assert extension(name) == ending


def test_the_header_that_names_a_download_is_one_line_of_ascii() -> None:
    for name in ("사진 1.png", 'a"b\\c%d.txt', f"{FAMILY}.png", "a;b,c=d.txt", "x" * 150):
        header = disposition(display_name(name))
        assert header.isascii() and header.isprintable()
        assert header.startswith('attachment; filename="')
        assert header.count('"') == 2
    assert disposition("사진 1.png") == (
        "attachment; filename=\"__ 1.png\"; filename*=UTF-8''%EC%82%AC%EC%A7%84%201.png"
    )
