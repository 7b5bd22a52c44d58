"""What a file is, from its bytes: whatever its name or its sender says; and what is let in."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from mimetypes import MimeTypes

import filetype

from madang.model.filenames import extension

HEAD = 16 * 1024
"""Bytes of the beginning that are looked at."""

BINARY = "application/octet-stream"
ANY_TEXT = "text/plain"
SVG = "image/svg+xml"
HTML = "text/html"

_OWN_NAMES = {
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
}
"""Of what the library finds, the names that others use."""

_TEXTS = {
    "csv": "text/csv",
    "ics": "text/calendar",
    "json": "application/json",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "vcf": "text/vcard",
}
"""Text is what its name says, of these: for a browser they are all the same."""

_COMPOUND = bytes.fromhex("D0CF11E0A1B11AE1")
_COMPOUNDS = {
    "doc": "application/msword",
    "hwp": "application/x-hwp",
    "ppt": "application/vnd.ms-powerpoint",
    "xls": "application/vnd.ms-excel",
}
_OOXML = "application/vnd.openxmlformats-officedocument."
_ZIPPED = (
    (b"word/", f"{_OOXML}wordprocessingml.document"),
    (b"xl/", f"{_OOXML}spreadsheetml.sheet"),
    (b"ppt/", f"{_OOXML}presentationml.presentation"),
)
_OOXML_EXTENSIONS = {"docx": _ZIPPED[0][1], "xlsx": _ZIPPED[1][1], "pptx": _ZIPPED[2][1]}
# The first entry of a ZIP, if it is one that says what the whole is: stored, with a name of eight
# characters and nothing more. Of what it may say only what is in a ZIP is believed.
_MIMETYPE_ENTRY = re.compile(
    rb"PK\x03\x04.{4}\0\0.{16}\x08\0\0\0mimetype"
    rb"(application/(?:epub\+zip|hwp\+zip|vnd\.oasis\.opendocument\.[a-z.-]+))",
    re.DOTALL,
)

# What a browser would take for a page (WHATWG MIME Sniffing, 7.1), less the tags that people begin
# a text with: what it could be made to run is called so, however it is dressed.
# A comment ends where it ends first (`<!-->` does at once), and is never read again: the group is
# atomic, so that a thousand of them cost a thousand steps. One whose end is not in sight may hide
# anything.
_BEGIN = rb"(?>\s*(?:<\?[^>]*>\s*|<!--(?:-?>|.*?--!?>)\s*)*)"
_HTML = re.compile(
    _BEGIN
    + rb"<(?:!--|(?:!doctype\s+html|html|head|body|script|style|iframe|title|meta|base)[\s>/])",
    re.IGNORECASE | re.DOTALL,
)
_MARKUP = re.compile(rb"\s*<[?!]", re.IGNORECASE)
_SVG = re.compile(rb"<(\w+:)?svg[\s>/]", re.IGNORECASE)
_SVG_FIRST = re.compile(rb"\s*" + _SVG.pattern, re.IGNORECASE)
_BINARY_BYTES = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def sniff(head: bytes, name: str, *, whole: bool) -> str:
    """The media type of a file from its first `HEAD` bytes (`whole`: they are all there is).

    The name decides only between types that are the same to whoever opens them: which text, which
    document of an office.
    """
    head = head[:HEAD]
    text = _decoded(head, whole)
    if text is not None:
        return _text_type(text, name)
    if head.startswith(_COMPOUND):
        return _COMPOUNDS.get(extension(name), "application/x-ole-storage")
    if head.startswith(b"PK\x03\x04"):
        return _zip_type(head, name)
    found = filetype.guess_mime(head)
    return _OWN_NAMES.get(found, found) if found else BINARY


def _decoded(head: bytes, whole: bool) -> bytes | None:
    """The head as UTF-8, if it is text."""
    for mark, codec in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            even = head if len(head) % 2 == 0 else head[:-1]
            return even.decode(codec, "ignore").encode()
    head = head.removeprefix(codecs.BOM_UTF8)
    if _BINARY_BYTES.search(head) or head.startswith(b"%PDF-"):
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        return None
    return head


def _text_type(text: bytes, name: str) -> str:
    marked = _MARKUP.match(text) is not None
    if _SVG_FIRST.match(text) or (marked and _SVG.search(text)):
        return SVG
    if _HTML.match(text) or (marked and b"<html" in text.lower()):
        return HTML
    if text.lstrip().startswith(b"<?xml"):
        return "application/xml"
    if text.startswith(b"{\\rtf"):
        return "application/rtf"
    return _TEXTS.get(extension(name), ANY_TEXT)


def _zip_type(head: bytes, name: str) -> str:
    said = _MIMETYPE_ENTRY.match(head)
    if said:
        return said[1].decode()
    if b"[Content_Types].xml" in head or b"_rels/.rels" in head:
        for folder, kind in _ZIPPED:
            if folder in head:
                return kind
        return _OOXML_EXTENSIONS.get(extension(name), "application/zip")
    return "application/zip"


def is_picture(media_type: str) -> bool:
    """Whether thumbnails are made of it, and browsers may show it as what it is."""
    return media_type in _PICTURES


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which media types may be uploaded."""

    names: frozenset[str]
    families: frozenset[str]
    """The parts before the slash, of which everything may; `*` is everything."""

    @classmethod
    def of(cls, said: Sequence[str]) -> Allowed:
        """From media types, families (`image/*`), extensions (`.pdf`, `pdf`), or `*`.

        Raises:
            ValueError: one of them is none of these.
        """
        names, families = set(), set()
        for each in (one.strip().lower() for one in said):
            family, slash, rest = each.partition("/")
            if each in ("*", "*/*"):
                families.add("*")
            elif slash and rest == "*":
                families.add(family)
            elif slash:
                names.add(each)
            else:
                names.add(_type_of_extension(each.removeprefix(".")))
        return cls(frozenset(names), frozenset(families))

    def __contains__(self, media_type: object) -> bool:
        if not isinstance(media_type, str):
            return False
        if media_type in self.names or "*" in self.families:
            return True
        # Who says "pictures" does not mean programs that a browser runs.
        return media_type.partition("/")[0] in self.families and media_type not in (SVG, HTML)


_KNOWN = MimeTypes()
_OPEN_DOCUMENT = "application/vnd.oasis.opendocument."
_NOT_IN_PYTHON = {
    "avif": "image/avif",
    "heic": "image/heic",
    "hwpx": "application/hwp+zip",
    "odp": f"{_OPEN_DOCUMENT}presentation",
    "ods": f"{_OPEN_DOCUMENT}spreadsheet",
    "odt": f"{_OPEN_DOCUMENT}text",
    "rtf": "application/rtf",
    "webp": "image/webp",
}
"""Or not in every one of the versions we run on."""


def _type_of_extension(ending: str) -> str:
    found = (
        _TEXTS.get(ending)
        or _COMPOUNDS.get(ending)
        or _OOXML_EXTENSIONS.get(ending)
        or _NOT_IN_PYTHON.get(ending)
        or _KNOWN.guess_type(f"x.{ending}")[0]
    )
    if found is None:
        raise ValueError(f"{ending!r} is no media type and no known extension")
    return _OWN_NAMES.get(found, found)
