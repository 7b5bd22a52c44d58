"""The cases that a conformance suite tries, in Autobahn's order and numbering by section.

Each case is the client's bytes and what a server must make of them, once whole and once byte by
byte: the answer may not depend on the cutting.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from madang.protocol.websocket import Close, Failure, Incoming, Limits, Opcode, Ping, Pong
from tests.protocol.websocket.wire import (
    KEY,
    closing,
    cut,
    frame,
    last,
    more,
    raw_deflate,
    read,
    text,
)

MIB = 2**20
DEFAULTS = Limits()
CONTINUATION, TEXT, BINARY = Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG

SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536)

RESERVED_BITS = Failure(1002, "reserved bits set")
RESERVED_OPCODE = Failure(1002, "reserved opcode")
LENGTH_LONG = Failure(1002, "length not in its shortest form")
NOT_UTF8 = Failure(1007, "text is not UTF-8")
DAMAGED = Failure(1007, "compressed message is damaged")
TOO_BIG = Failure(1009, "message too big")


@dataclass(frozen=True)
class Case:
    name: str
    stream: bytes
    result: Sequence[Incoming]
    limits: Limits = DEFAULTS
    deflate: bool = False


def _long_header(first: int, mark: int, length: int) -> bytes:
    """A header up to its key, with the length in the form that ``mark`` says."""
    return bytes((first, 0x80 | mark)) + length.to_bytes(2 if mark == 126 else 8, "big") + KEY


def framing() -> list[Case]:
    cases = []
    for size in SIZES:
        cases.append(Case(f"1.1 text of {size}", text(b"*" * size), ["*" * size]))
        body = b"\x00\xff\xfe" * (size // 3 + 1)
        cases.append(Case(f"1.2 binary of {size}", frame(BINARY, body[:size]), [body[:size]]))
    return [
        *cases,
        Case("1.3 many in one chunk", text("a") * 50 + frame(BINARY, "b"), ["a"] * 50 + [b"b"]),
        Case("1.4 unmasked text", b"\x81\x01a", [Failure(1002, "wrong masking")]),
        Case("1.4 unmasked ping", b"\x89\x00", [Failure(1002, "wrong masking")]),
        Case("1.5 16-bit length for 125", _long_header(0x82, 126, 125), [LENGTH_LONG]),
        Case("1.5 64-bit length for 65535", _long_header(0x82, 127, 65535), [LENGTH_LONG]),
        Case("1.5 64-bit length for 0", _long_header(0x81, 127, 0), [LENGTH_LONG]),
        Case(
            "1.5 length with its top bit set",
            _long_header(0x82, 127, 1 << 63),
            [Failure(1002, "length with its top bit set")],
        ),
        Case(
            "1.6 a server's frames, read by a client",
            b"\x81\x01a\x89\x00\x82\x7e\x00\x7e" + b"x" * 126,
            ["a", Ping(), b"x" * 126],
            Limits(expect_mask=False),
        ),
        Case(
            "1.6 a masked frame, read by a client",
            text("a"),
            [Failure(1002, "wrong masking")],
            Limits(expect_mask=False),
        ),
    ]


def pings() -> list[Case]:
    return [
        Case("2.1 empty ping", frame(PING), [Ping()]),
        Case("2.2 ping with text", frame(PING, "hello"), [Ping(b"hello")]),
        Case("2.3 ping with binary", frame(PING, b"\x00\xff\xfe"), [Ping(b"\x00\xff\xfe")]),
        Case("2.4 ping of 125", frame(PING, b"\xfe" * 125), [Ping(b"\xfe" * 125)]),
        Case(
            "2.5 ping of 126", frame(PING, b"\xfe" * 126), [Failure(1002, "control frame too long")]
        ),
        Case("2.7 unasked pong", frame(PONG), [Pong()]),
        Case("2.8 unasked pong with payload", frame(PONG, "x"), [Pong(b"x")]),
        Case("2.9 pong, then ping", frame(PONG, "x") + frame(PING, "y"), [Pong(b"x"), Ping(b"y")]),
        Case(
            "2.10 ten pings",
            b"".join(frame(PING, b"%d" % n) for n in range(10)),
            [Ping(b"%d" % n) for n in range(10)],
        ),
    ]


def reserved_bits() -> list[Case]:
    cases = []
    for bits in (0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70):
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG):
            bad = bytearray(frame(opcode, b"" if opcode == CLOSE else b"x"))
            bad[0] |= bits
            name = f"3 bits {bits:#x} on {opcode.name}"
            cases.append(Case(name, text("a") + bad + text("b"), ["a", RESERVED_BITS]))
            if bits != 0x40 or opcode >= CLOSE:
                cases.append(Case(name + ", deflate", bytes(bad), [RESERVED_BITS], deflate=True))
    return cases


def reserved_opcodes() -> list[Case]:
    return [
        Case(
            f"4 opcode {opcode} with {size} bytes",
            text("a") + frame(opcode, b"x" * size) + frame(PING),
            ["a", RESERVED_OPCODE],
        )
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
        for size in (0, 5)
    ]


def fragments() -> list[Case]:
    start = text("one ", fin=False)
    nothing = Failure(1002, "continuation without a message")
    unfinished = Failure(1002, "new message inside a fragmented one")
    return [
        Case(
            "5.1 ping in two fragments",
            frame(PING, "a", fin=False) + last("b"),
            [Failure(1002, "control frame fragmented")],
        ),
        Case(
            "5.2 pong in two fragments",
            frame(PONG, "a", fin=False) + last("b"),
            [Failure(1002, "control frame fragmented")],
        ),
        Case("5.3 two fragments", start + last("two"), ["one two"]),
        Case("5.6 ping between", start + frame(PING, "p") + last("two"), [Ping(b"p"), "one two"]),
        Case(
            "5.8 binary, pong between",
            frame(BINARY, "a", fin=False) + frame(PONG) + last("b"),
            [Pong(), b"ab"],
        ),
        Case("5.9 continuation first", last("x") + text("y"), [nothing]),
        Case("5.10 unfinished continuation first", more("x") + text("y"), [nothing]),
        Case("5.13 continuation after a message", text("x") + last("y"), ["x", nothing]),
        Case(
            "5.15 continuation after fragments",
            start + last("two") + more("x") + last("y"),
            ["one two", nothing],
        ),
        Case("5.18 text inside", start + text("two"), [unfinished]),
        Case("5.18 binary inside", start + frame(BINARY, fin=False), [unfinished]),
        Case(
            "5.19 pings between five fragments",
            start
            + more("2 ")
            + frame(PING, "p")
            + more("3 ")
            + more("4 ")
            + frame(PING)
            + last("5"),
            [Ping(b"p"), Ping(), "one 2 3 4 5"],
        ),
        Case("5 empty fragments", text("", fin=False) + more() * 3 + last(), [""]),
        Case("5 empty binary fragments", frame(BINARY, fin=False) + more() + last(), [b""]),
        Case("5 text in the last fragment", text("", fin=False) + last("x"), ["x"]),
        Case("5 close between", start + closing(1000), [Close(1000)]),
        Case("5 two messages", (start + last("2")) * 2, ["one 2", "one 2"]),
    ]


# Autobahn 6.5 to 6.23: valid strings, by the classes of Markus Kuhn's UTF-8 stress test.
VALID_UTF8 = (
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\x00",
    "\x7f",
    "\x80",
    "\u07ff",
    "\u0800",
    "\uffff",
    "\U00010000",
    "\ud7ff",
    "\ue000",
    "\ufffd",
    "\U0010ffff",
    "\ufffe",
    "\U0001fffe\U0001ffff\U0010fffe",  # non-characters are characters to UTF-8
    "\ufeff마당",
    "안녕하세요 \U0001f44b\U0001f3fd",
)

# Autobahn 6.3 to 6.21: invalid byte strings.
INVALID_UTF8 = (
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"\xf5\x80\x80\x80",  # first byte that no character has
    b"\xf8\x88\x80\x80\x80",  # five bytes
    b"\xfc\x84\x80\x80\x80\x80",  # six bytes
    b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf",
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf7\xbf\xbf\xbf",
    b"\x80",  # continuation bytes alone
    b"\xbf",
    b"\x80\xbf\x80\xbf",
    bytes(range(0x80, 0xC0)),
    b"\xc0 \xc1 ",  # first bytes alone
    b"\xdf ",
    b"\xe0 ",
    b"\xef ",
    b"\xf0 ",
    b"\xf4 ",
    b"\xce\xba\xe1",  # cut characters at the end
    b"\xe1\xbd",
    b"\xc0",
    b"\xe0\x80",
    b"\xe0\xa0",
    b"\xf0\x80\x80",
    b"\xf0\x90\x80",
    b"\xdf",
    b"\xef\xbf",
    b"\xf4\x8f\xbf",
    b"\xfe",  # impossible bytes
    b"\xff",
    b"\xfe\xfe\xff\xff",
    b"\xc0\xaf",  # overlong forms
    b"\xe0\x80\xaf",
    b"\xf0\x80\x80\xaf",
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",  # halves of surrogate pairs
    b"\xed\xad\xbf",
    b"\xed\xae\x80",
    b"\xed\xaf\xbf",
    b"\xed\xb0\x80",
    b"\xed\xbe\x80",
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",  # whole pairs, each half for itself
    b"\xed\xaf\xbf\xed\xbf\xbf",
)


def utf8() -> list[Case]:
    cases = []
    for valid in VALID_UTF8:
        body = valid.encode()
        split = [text(body[:1], fin=False), *(more(body[i : i + 1]) for i in range(1, len(body)))]
        cases += [
            Case(f"6 valid {valid!a}", text(body), [valid]),
            Case(f"6 valid {valid!a} in fragments", b"".join(split) + last(), [valid]),
            Case(
                f"6 valid {valid!a}, compressed",
                frame(TEXT, raw_deflate(body), rsv1=True),
                [valid],
                deflate=True,
            ),
        ]
    for invalid in INVALID_UTF8:
        for border in range(len(invalid) + 1):
            head, tail = invalid[:border], invalid[border:]
            cases.append(
                Case(
                    f"6 invalid {invalid!r} cut at {border}",
                    text(head, fin=False) + last(tail),
                    [NOT_UTF8],
                )
            )
        cases += [
            Case(f"6 invalid {invalid!r}", text("a") + text(invalid), ["a", NOT_UTF8]),
            Case(f"6 invalid {invalid!r} as binary", frame(BINARY, invalid), [invalid]),
            Case(
                f"6 invalid {invalid!r}, compressed",
                frame(TEXT, raw_deflate(invalid), rsv1=True),
                [DAMAGED],
                deflate=True,
            ),
        ]
    return cases


def closes() -> list[Case]:
    not_allowed = Failure(1002, "close code not allowed")
    cases = [
        Case(f"7.7 code {code}", closing(code, b"x"), [Close(code, "x")])
        for code in (*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4009, 4999)
    ]
    cases += [
        Case(f"7.9 code {code}", closing(code), [not_allowed])
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ]
    return [
        *cases,
        Case("7.1.1 text, then close", text("a") + closing(1000), ["a", Close(1000)]),
        Case("7.1.2 two closes", closing(1000) + closing(1001), [Close(1000)]),
        Case("7.1.3 ping after close", closing(1000) + frame(PING), [Close(1000)]),
        Case("7.1.4 text after close", closing(1000) + text("late"), [Close(1000)]),
        Case("7.1.5 close inside a message", text("a", fin=False) + closing(1000), [Close(1000)]),
        Case("7.3.1 no body", frame(CLOSE), [Close(1005)]),
        Case("7.3.2 one byte", frame(CLOSE, "x"), [Failure(1002, "close frame of one byte")]),
        Case("7.3.3 code alone", closing(1000), [Close(1000)]),
        Case("7.3.4 reason", closing(1000, "안녕".encode()), [Close(1000, "안녕")]),
        Case("7.3.5 longest reason", closing(1000, b"*" * 123), [Close(1000, "*" * 123)]),
        Case(
            "7.3.6 reason too long",
            closing(1000, b"*" * 124),
            [Failure(1002, "control frame too long")],
        ),
        Case(
            "7.5.1 reason not UTF-8",
            closing(1000, b"\xed\xa0\x80"),
            [Failure(1007, "close reason is not UTF-8")],
        ),
        Case("7 fragmented", frame(CLOSE, fin=False), [Failure(1002, "control frame fragmented")]),
    ]


def limits() -> list[Case]:
    small = Limits(max_message=100)
    few = Limits(max_fragments=3)
    part = text("*" * 60, fin=False)
    return [
        Case("9 a message of 1 MiB", text("*" * MIB), ["*" * MIB], Limits(max_message=MIB)),
        Case("9 exactly the limit", text("*" * 100), ["*" * 100], small),
        Case("9 one above", text("a") + text("*" * 101), ["a", TOO_BIG], small),
        Case("9 binary one above", frame(BINARY, "*" * 101), [TOO_BIG], small),
        Case("9 limit in bytes, not characters", text("é" * 51), [TOO_BIG], small),
        Case("9 fragments of the limit", part + last("*" * 40), ["*" * 100], small),
        Case("9 fragments one above", part + last("*" * 41), [TOO_BIG], small),
        Case(
            "9 control frames do not count", part + frame(PING, "*" * 99), [Ping(b"*" * 99)], small
        ),
        Case("9 limit of nothing", text("") + text("a"), ["", TOO_BIG], Limits(max_message=0)),
        Case("9 contract's limit", text("*" * 65536) + text("*" * 65537), ["*" * 65536, TOO_BIG]),
        Case("9 fragments enough", text("a", fin=False) + more("b") + last("c"), ["abc"], few),
        Case(
            "9 too many fragments",
            text("a", fin=False) + more() * 3,
            [Failure(1009, "too many fragments")],
            few,
        ),
    ]


def deflated() -> list[Case]:
    long = "".join(f"{n} 마당 " for n in range(4000))
    noise = bytes((n * n >> 3) & 0xFF for n in range(20000))
    hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 section 7.2.3.1
    body = raw_deflate(long.encode())
    third = len(body) // 3
    cases = [
        Case(
            f"12 window {bits}, level {level}",
            frame(TEXT, raw_deflate(long.encode(), bits, level), rsv1=True),
            [long],
            Limits(max_message=MIB),
            deflate=True,
        )
        for bits in (9, 10, 11, 12, 13, 14, 15)
        for level in (0, 1, 9)
    ]
    rest: Sequence[tuple[str, bytes, Sequence[Incoming]]] = (
        ("RFC's Hello", frame(TEXT, hello, rsv1=True), ["Hello"]),
        (
            "RFC's Hello in two fragments",
            frame(TEXT, hello[:3], fin=False, rsv1=True) + last(hello[3:]),
            ["Hello"],
        ),
        (
            "RFC's Hello, not compressed (section 7.2.3.3)",
            frame(TEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", rsv1=True),
            ["Hello"],
        ),
        (
            "RFC's Hello with BFINAL set (section 7.2.3.4)",
            frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", rsv1=True) + text("next"),
            ["Hello", "next"],
        ),
        (
            "RFC's Hello in two blocks (section 7.2.3.5)",
            frame(TEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", rsv1=True),
            ["Hello"],
        ),
        ("plain message between", text("a") + frame(TEXT, hello, rsv1=True), ["a", "Hello"]),
        ("empty", frame(TEXT, raw_deflate(b""), rsv1=True), [""]),
        ("empty, no bytes at all", frame(BINARY, b"", rsv1=True), [b""]),
        ("noise", frame(BINARY, raw_deflate(noise), rsv1=True), [noise]),
        (
            "fragments with pings between",
            frame(TEXT, body[:third], fin=False, rsv1=True)
            + frame(PING)
            + more(body[third : 2 * third])
            + frame(PONG)
            + last(body[2 * third :]),
            [Ping(), Pong(), long],
        ),
        (
            "RSV1 on a continuation",
            frame(TEXT, hello[:3], fin=False, rsv1=True)
            + frame(CONTINUATION, hello[3:], rsv1=True),
            [RESERVED_BITS],
        ),
        (
            "context taken over, which was not negotiated",
            frame(TEXT, hello, rsv1=True) + frame(TEXT, b"\xf2\x00\x11\x00\x00", rsv1=True),
            ["Hello", DAMAGED],
        ),
        ("no deflate data", frame(TEXT, b"\xff" * 20, rsv1=True), [DAMAGED]),
        ("text marked as compressed", frame(TEXT, "Hello, world", rsv1=True), [DAMAGED]),
        (
            "bad UTF-8 in the first fragment",
            frame(TEXT, raw_deflate(b"\xff" + b"x" * 99) + b"\0\0\xff\xff", fin=False, rsv1=True),
            [DAMAGED],
        ),
    )
    cases += [
        Case(f"13 {name}", stream, result, Limits(max_message=MIB), deflate=True)
        for name, stream, result in rest
    ]
    small = Limits(max_message=1000)
    bomb = raw_deflate(b"x" * 50 * MIB, level=9)
    finals = b"\x00\x00\x00\xff\xff" * 1000  # empty stored blocks: many bytes, no output
    bombs: Sequence[tuple[str, bytes, Sequence[Incoming]]] = (
        ("exactly the limit", frame(TEXT, raw_deflate(b"x" * 1000), rsv1=True), ["x" * 1000]),
        ("one above", frame(TEXT, raw_deflate(b"x" * 1001), rsv1=True), [TOO_BIG]),
        (
            "limit, stored",
            frame(BINARY, raw_deflate(noise[:1000], level=0), rsv1=True),
            [noise[:1000]],
        ),
        ("50 MiB in few bytes", frame(TEXT, bomb[:1500], rsv1=True), [TOO_BIG]),
        (
            "bomb in fragments",
            frame(TEXT, bomb[:600], fin=False, rsv1=True) + last(bomb[600:1200]),
            [TOO_BIG],
        ),
        ("more bytes than twice the limit", frame(TEXT, bomb[:2065], rsv1=True), [TOO_BIG]),
        ("bytes that inflate to nothing", frame(TEXT, finals, rsv1=True), [TOO_BIG]),
        (
            "bad byte before the limit",
            frame(TEXT, raw_deflate(b"\xff" + b"x" * 5000), rsv1=True),
            [DAMAGED],
        ),
        (
            "bad byte behind the limit",
            frame(TEXT, raw_deflate(b"x" * 1000 + b"\xff"), rsv1=True),
            [TOO_BIG],
        ),
    )
    cases += [Case(f"13 {name}", stream, res, small, True) for name, stream, res in bombs]
    return cases


CASES = [
    *framing(),
    *pings(),
    *reserved_bits(),
    *reserved_opcodes(),
    *fragments(),
    *utf8(),
    *closes(),
    *limits(),
    *deflated(),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    assert read(case.stream, case.limits, deflate=case.deflate) == list(case.result)
    # Byte by byte, and for the long ones in pieces that divide nothing evenly.
    chopped = cut(case.stream, 1 if len(case.stream) < 70_000 else 997)
    assert read(chopped, case.limits, deflate=case.deflate) == list(case.result)


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _can_go_on(start: bytes) -> bool:
    """Whether some continuation makes ``start`` valid: tried, with the bytes that can matter."""
    ends = (b"", b"\x80", b"\x90", b"\xa0", b"\x80\x80", b"\x90\x80", b"\xa0\x80")
    long_ends = (b"\x80\x80\x80", b"\x90\x80\x80")
    return any(_is_utf8(start + end) for end in (*ends, *long_ends))


@pytest.mark.parametrize("invalid", INVALID_UTF8, ids=repr)
def test_bad_utf8_is_refused_at_the_first_byte_that_shows_it(invalid: bytes) -> None:
    """6.4, fail-fast: with the rest of the frame, and of the message, still to come."""
    ends = [at for at in range(1, len(invalid) + 1) if not _can_go_on(invalid[:at])]
    if not ends:
        return  # a cut character: only the message's end shows it, as the cases above have it
    at = ends[0]
    header_and_start = text("κόσμε".encode() + invalid + b"x" * 100)
    shown = len(header_and_start) - 100 - len(invalid) + at
    assert read(header_and_start[: shown - 1]) == []
    assert read(header_and_start[:shown]) == [NOT_UTF8]
    fragment = text("κόσμε".encode() + invalid[:at], fin=False)
    assert read(fragment[:-1]) == []
    assert read(fragment) == [NOT_UTF8]
    assert read(text("κόσμε", fin=False) + more(invalid[:at])) == [NOT_UTF8]


@pytest.mark.parametrize("size", [101, 126, 65536, 2**40])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_too_big_is_refused_by_its_header(opcode: Opcode, size: int) -> None:
    """1009 before a byte of payload, or even the masking key, has come."""
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    else:
        header = _long_header(0x80 | opcode, 126 if size < 65536 else 127, size)[:-4]
    assert read(header, Limits(max_message=100)) == [TOO_BIG]
    assert read(header[:-1], Limits(max_message=100)) == []
