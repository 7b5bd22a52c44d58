"""What a file is, its bytes say."""

from __future__ import annotations

import io
import time
import zipfile

import pytest

from madang.services.file_types import HEAD, Allowed, sniff
from tests.files.pictures import picture

OOXML = "application/vnd.openxmlformats-officedocument."


def zipped(*names: str, first: tuple[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        if first is not None:
            archive.writestr(zipfile.ZipInfo(first[0]), first[1])
        for name in names:
            archive.writestr(name, "<x/>")
    return out.getvalue()


OFFICE = ("[Content_Types].xml", "_rels/.rels")
CASES: list[tuple[bytes, str, str]] = [
    (picture("PNG"), "a.png", "image/png"),
    (picture("PNG"), "a.pdf", "image/png"),
    (picture("JPEG"), "a.png", "image/jpeg"),
    (picture("GIF"), "a", "image/gif"),
    (picture("WEBP"), "a", "image/webp"),
    (picture("BMP"), "a", "image/bmp"),
    (b"%PDF-1.7\n1 0 obj\n<script>", "a.txt", "application/pdf"),
    (zipped("a.txt"), "a.docx", "application/zip"),
    (zipped(*OFFICE, "word/document.xml"), "a.zip", f"{OOXML}wordprocessingml.document"),
    (zipped(*OFFICE, "xl/workbook.xml"), "a", f"{OOXML}spreadsheetml.sheet"),
    (zipped(*OFFICE, "ppt/presentation.xml"), "a", f"{OOXML}presentationml.presentation"),
    (
        zipped("c.xml", first=("mimetype", "application/vnd.oasis.opendocument.text")),
        "a",
        "application/vnd.oasis.opendocument.text",
    ),
    (zipped("c.xml", first=("mimetype", "application/hwp+zip")), "a", "application/hwp+zip"),
    (zipped("c.xml", first=("mimetype", "application/epub+zip")), "a", "application/epub+zip"),
    (zipped("c.xml", first=("mimetype", "image/png")), "a.png", "application/zip"),
    (zipped("c.xml", first=("mimetype", "text/html")), "a.png", "application/zip"),
    (zipped("c.xml", first=("mimetypeapplication/hwp+zip", "x")), "a", "application/zip"),
    (b"PK\3\4" + bytes(26) + b"mimetypeimage/pngPK", "a.png", "application/zip"),
    (b"PK\3\4" + bytes(26) + b"mimetypeapplication/hwp+zipPK", "a", "application/zip"),
    (bytes.fromhex("D0CF11E0A1B11AE1") + bytes(600), "보고.hwp", "application/x-hwp"),
    (bytes.fromhex("D0CF11E0A1B11AE1") + bytes(600), "a.png", "application/x-ole-storage"),
    (b"MZ\x90\x00\x03\0\0\0", "a.png", "application/x-msdownload"),
    (b"\x7fELF\x02\x01\x01" + bytes(60), "a.txt", "application/x-executable"),
    (bytes(range(256)) * 4, "a.txt", "application/octet-stream"),
    ("안녕하세요".encode(), "a.txt", "text/plain"),
    ("\ufeffa,b\n1,2".encode(), "a.csv", "text/csv"),
    ("안녕".encode("utf-16"), "a.txt", "text/plain"),
    (b"# Title\n<p align='center'>", "a.md", "text/markdown"),
    (b"BM is a nice city", "a.txt", "text/plain"),
    (b"MZ hello", "a.exe", "text/plain"),
    (b"{\\rtf1\\ansi}", "a.txt", "application/rtf"),
    ("한글".encode("euc-kr") * 40, "a.txt", "application/octet-stream"),
]
PAGES = [
    b"<html><script>alert(1)</script>",
    b"  \n<!DOCTYPE HTML>",
    b"<!-- a --><!-- b -->\n<script>alert(1)</script>",
    b"<!--><script>alert(1)</script>",
    b"<!-- a --!><script>alert(1)</script> -->",
    b"<!-- " + b"x" * HEAD + b" --><script>alert(1)</script>",
    b"\xef\xbb\xbf<HtMl>",
    b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>",
    "<html><script>alert(1)</script>".encode("utf-16"),
]
DRAWINGS = [
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
    b"<?xml version='1.0'?>\n<!-- a -->\n<!DOCTYPE svg>\n<svg>",
    b"\n\n<x:svg xmlns:x='http://www.w3.org/2000/svg'>",
    b"<!DOCTYPE foo [<!ENTITY a 'b'>]><svg >",
]


@pytest.mark.parametrize(("content", "name", "kind"), CASES)
def test_bytes_say_what_it_is(content: bytes, name: str, kind: str) -> None:
    assert sniff(content, name, whole=True) == kind


@pytest.mark.parametrize("content", PAGES)
@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.html", "a.md"])
def test_a_page_is_a_page_whatever_it_is_called(content: bytes, name: str) -> None:
    assert sniff(content, name, whole=True) == "text/html"


@pytest.mark.parametrize("content", DRAWINGS)
@pytest.mark.parametrize("name", ["a.txt", "a.png", "a.xml"])
def test_so_is_a_drawing(content: bytes, name: str) -> None:
    assert sniff(content, name, whole=True) == "image/svg+xml"


SLOW = [
    b"<!---->" * 2000 + b"x",
    b"<!-- a -->\n" * 1400 + b"<p>",
    b"<?a?>" * 3000 + b"x",
    b"<?a?><!---->" * 1300 + b"x",
    b" " * (HEAD - 1) + b"x",
    b"<!" * (HEAD // 2),
    b"<?" * (HEAD // 2),
    b"<!doctype" + b" " * HEAD,
    b"<!" + b"<a" * HEAD,
    b"PK\x03\x04" + bytes(26) + b"mimetype" + b"a" * HEAD,
]


@pytest.mark.parametrize("content", SLOW, ids=lambda content: repr(content[:12]))
def test_looking_takes_no_time(content: bytes) -> None:
    """Whatever it is, every byte is looked at a few times: who uploads keeps nobody waiting."""
    begun = time.process_time()
    sniff(content[:HEAD], "a.txt", whole=len(content) <= HEAD)
    assert time.process_time() - begun < 0.5


def test_a_comment_at_the_beginning_of_a_text() -> None:
    assert sniff(b"<!-- lint off -->\n# Title", "a.md", whole=True) == "text/markdown"
    assert sniff(b"<!-- a --> b --> <p>", "a.txt", whole=True) == "text/plain"


def test_a_character_that_the_head_cuts_is_no_error() -> None:
    text = ("x" + "가" * HEAD).encode()
    assert sniff(text[:HEAD], "a.txt", whole=False) == "text/plain"
    assert sniff(text[: HEAD - 1], "a.txt", whole=True) == "application/octet-stream"


def test_polyglots_are_their_first_face() -> None:
    page = b"<html><script>alert(1)</script></html>"
    for kind in ("PNG", "JPEG", "GIF"):
        assert sniff(picture(kind) + page, "a.html", whole=True) == f"image/{kind.lower()}"
    # A program that begins as a picture does is a text, and is never shown as a picture.
    assert sniff(b"GIF89a/*" + page + b"*/=alert(1)", "a.gif", whole=True) == "text/plain"
    assert sniff(b"%PDF-1.4\n" + zipped("a"), "a.zip", whole=True) == "application/pdf"


def test_what_may_be_said_to_be_allowed() -> None:
    allowed = Allowed.of(["image/*", ".pdf", "docx", "HWP", "text/plain", "mp3"])
    for kind in (
        "image/png",
        "image/bmp",
        "application/pdf",
        f"{OOXML}wordprocessingml.document",
        "application/x-hwp",
        "text/plain",
        "audio/mpeg",
    ):
        assert kind in allowed
    for kind in ("image/svg+xml", "text/html", "text/csv", "application/zip", "video/mp4"):
        assert kind not in allowed
    assert "image/svg+xml" in Allowed.of(["image/svg+xml"])
    assert "application/x-msdownload" in Allowed.of(["*"])
    assert "text/html" not in Allowed.of(["text/*"])
    with pytest.raises(ValueError, match="no-such"):
        Allowed.of(["no-such"])
