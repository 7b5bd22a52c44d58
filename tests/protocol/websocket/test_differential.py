"""The same bytes, valid and hostile and cut anywhere, through three implementations.

``websockets`` and ``wsproto`` must make of a stream what ``Receiver`` makes of it: the same
messages, the same close codes. Where they may differ, one of the named rules below says why;
anything else fails. The short form runs always; for a long one set MADANG_FUZZ_SECONDS, and
MADANG_SEED to repeat a run.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from madang.protocol.websocket import Limits, Opcode, masked_frame
from tests.protocol.websocket.oracles import Outcome, by_madang, by_websockets, by_wsproto
from tests.protocol.websocket.wire import raw_deflate

SECONDS = float(os.environ.get("MADANG_FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("MADANG_SEED", random.SystemRandom().randrange(2**32)))

Rule = Callable[[Outcome, Outcome], bool]


def _decided_earlier(ours: Outcome, theirs: Outcome) -> bool:
    """We refuse at the first byte that shows the fault; they still wait for the frame's end, and
    the stream ended before it."""
    return (
        ours.failure is not None
        and theirs.failure is None
        and theirs.waiting
        and ours.before == theirs.events
    )


def _close_in_message(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` refuses a close frame between two fragments. RFC 6455 section 5.4 allows
    control frames there and makes no exception for it (``wsproto`` reads it so too)."""
    return (
        theirs.why == "incomplete fragmented message"
        and ours.events[-1][0] == "close"
        and ours.events[:-1] == theirs.before
    )


def _length_not_shortest(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` accepts lengths in more bytes than needed. RFC 6455 section 5.2: "the minimal
    number of bytes MUST be used" (``wsproto`` refuses too). In a control frame we call the same
    fault too long. It goes on, so only what came before can be compared."""
    return (
        ours.why in ("length not in its shortest form", "control frame too long")
        and theirs.events[: len(ours.before)] == ours.before
    )


def _size_before_bits(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` looks at the length before reserved bits, order of opcodes and the length's
    top bit: of a header wrong in two ways it names the size, we name the other."""
    return ours.failure == 1002 and theirs.failure == 1009 and ours.before == theirs.before


def _control_counted(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` holds a control frame between fragments against what is left of the message's
    limit, although it is no part of the message (RFC 6455 section 5.4). The frame itself may not
    be whole in the stream."""
    done = len(theirs.before)
    return (
        theirs.failure == 1009
        and ours.events[:done] == theirs.before
        and [event[0] for event in ours.events[done : done + 1]]
        in ([], ["ping"], ["pong"], ["close"])
    )


def _reason_before_code(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` reads a close frame's reason first: where both are bad it names the reason,
    we and ``wsproto`` the code."""
    return (
        ours.why == "close code not allowed"
        and theirs.failure == 1007
        and ours.before == theirs.before
    )


def _code_for_bad_deflate(ours: Outcome, theirs: Outcome) -> bool:
    """RFC 7692 names no code for data that cannot be inflated: ``websockets`` takes 1002, we and
    ``wsproto`` 1007, data not consistent with its type."""
    return (
        ours.failure == 1007
        and theirs.why == "decompression failed"
        and ours.before == theirs.before
    )


def _tail_taken_for_size(ours: Outcome, theirs: Outcome) -> bool:
    """``websockets`` takes output that only the put-back tail sets free for too much of it. That
    happens where a damaged message ends within a block, which zlib cannot tell from a whole one;
    only what came before can be compared."""
    return (
        theirs.failure == 1009
        and not theirs.why.startswith("frame with ")  # a header's size, which it would name
        and ours.events[: len(theirs.before)] == theirs.before
        and len(ours.events) > len(theirs.before)
    )


def _code_1014(ours: Outcome, theirs: Outcome) -> bool:
    """``wsproto`` does not know 1014, Bad Gateway, which IANA's registry has, and so never comes
    to look at the reason behind it."""
    return (
        theirs.why == "CLOSE with unknown reserved code"
        and (ours.events[-1][:2] == ("close", 1014) or ours.why == "close reason is not UTF-8")
        and ours.events[:-1] == theirs.before
    )


def _has_no_limit(ours: Outcome, theirs: Outcome) -> bool:
    """``wsproto`` has no limit on size and goes on: only what came before can be compared."""
    return ours.failure == 1009 and theirs.events[: len(ours.before)] == ours.before


def _inflates_before_order(ours: Outcome, theirs: Outcome) -> bool:
    """``wsproto`` inflates a new message inside a fragmented one before it refuses it, and names
    the fault that it finds then."""
    return (
        ours.why == "new message inside a fragmented one"
        and theirs.why == "error in extension"
        and ours.before == theirs.before
    )


WEBSOCKETS_RULES: tuple[Rule, ...] = (
    _decided_earlier,
    _close_in_message,
    _length_not_shortest,
    _size_before_bits,
    _control_counted,
    _reason_before_code,
    _code_for_bad_deflate,
    _tail_taken_for_size,
)
WSPROTO_RULES: tuple[Rule, ...] = (
    _decided_earlier,
    _code_1014,
    _has_no_limit,
    _inflates_before_order,
)


class Streams:
    """Random client streams: messages as honest clients send them, then, often, damaged."""

    LENGTHS = (0, 1, 2, 5, 20, 60, 124, 125, 126, 127, 128, 200, 700)
    RARE_LENGTHS = (65535, 65536, 66000)
    LETTERS = 'a{} ":,0é마당ḱ안녕\U0001f600\ud7ff\ue000\U0010ffff\x00'
    CODES = (1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1013, 1014, 1015, 1016, 2999, 3000)

    def __init__(self, rng: random.Random, *, deflate: bool) -> None:
        self.rng = rng
        self.deflate = deflate

    def stream(self) -> bytes:
        frames = [frame for _ in range(self.rng.randint(1, 6)) for frame in self.message()]
        if self.rng.random() < 0.3:
            frames.append(self.close())
        kind = self.rng.random()
        if kind < 0.25:  # whole frames out of place
            for _ in range(self.rng.randint(1, 2)):
                at = self.rng.randrange(len(frames) + 1)
                frames.insert(at, self.odd_frame())
        elif kind < 0.35:
            self.rng.shuffle(frames)
        stream = bytearray(b"".join(frames))
        if 0.35 <= kind < 0.8:
            for _ in range(self.rng.choice((1, 1, 1, 2, 5))):
                self.damage(stream, frames)
        return bytes(stream)

    def cut(self, stream: bytes) -> list[bytes]:
        rng = self.rng
        if rng.random() < 0.2:
            return [stream]
        if rng.random() < 0.1 and len(stream) < 3000:
            return [stream[at : at + 1] for at in range(len(stream))]
        marks = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randint(1, 12)))
        return [stream[a:b] for a, b in zip([0, *marks], [*marks, len(stream)], strict=True)]

    def length(self) -> int:
        return self.rng.choice(self.LENGTHS if self.rng.random() < 0.98 else self.RARE_LENGTHS)

    def payload(self, opcode: int) -> bytes:
        length = self.length()
        if opcode == Opcode.BINARY:
            return self.rng.randbytes(length)
        payload = "".join(self.rng.choices(self.LETTERS, k=length)).encode()[:length]
        return payload if self.rng.random() < 0.04 else payload.decode("utf-8", "ignore").encode()

    def frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        return masked_frame(opcode, payload, self.rng.randbytes(4), fin=fin, rsv1=rsv1)

    def message(self) -> list[bytes]:
        rng = self.rng
        opcode = rng.choice((Opcode.TEXT, Opcode.TEXT, Opcode.BINARY))
        body = self.payload(opcode)
        compressed = self.deflate and rng.random() < 0.7
        if compressed:
            body = raw_deflate(body, rng.choice((9, 12, 15)), rng.choice((0, 1, 9)))
        pieces = rng.choice((1, 1, 1, 2, 3, 7))
        marks = sorted(rng.randrange(len(body) + 1) for _ in range(pieces - 1))
        frames: list[bytes] = []
        for a, b in zip([0, *marks], [*marks, len(body)], strict=True):
            fin = len(marks) == 0 or len([f for f in frames if f[0] & 0x0F < 8]) == len(marks)
            first = not frames
            frames.append(
                self.frame(
                    opcode if first else Opcode.CONTINUATION,
                    body[a:b],
                    fin=fin,
                    rsv1=compressed and first,
                )
            )
            if rng.random() < 0.25:
                frames.append(self.control())
        return frames

    def control(self) -> bytes:
        payload = self.rng.randbytes(self.rng.choice((0, 0, 4, 125)))
        return self.frame(self.rng.choice((Opcode.PING, Opcode.PONG)), payload)

    def close(self) -> bytes:
        rng = self.rng
        code = rng.choice(self.CODES) if rng.random() < 0.7 else rng.randrange(65536)
        reason = rng.choice((b"", b"bye", "안녕".encode(), b"\xed\xa0\x80", b"x" * 123))
        body = code.to_bytes(2, "big") + reason
        return self.frame(Opcode.CLOSE, body[: rng.choice((0, 1, 2, 125, 125))])

    def odd_frame(self) -> bytes:
        """A frame whose header is as it comes, on a payload of the right length."""
        rng = self.rng
        payload = self.payload(rng.choice((Opcode.TEXT, Opcode.BINARY)))
        opcode = rng.choice((0, 0, 1, 2, 8, 9, 10, rng.randrange(16)))
        odd = bytearray(self.frame(opcode, payload, fin=rng.random() < 0.7))
        if rng.random() < 0.4:
            odd[0] |= rng.choice((0x10, 0x20, 0x40, 0x40, 0x40, 0x70))
        if rng.random() < 0.15:  # a length in too many bytes
            key = rng.randbytes(4)
            size = rng.choice((2, 8))
            body = rng.randbytes(rng.randrange(126))
            mark = 0x80 | (126 if size == 2 else 127)
            odd = bytearray((0x82, mark)) + len(body).to_bytes(size, "big") + key + body
        elif rng.random() < 0.1:  # a length that nobody will ever send
            odd = bytearray((0x80 | opcode, 0xFF)) + rng.randbytes(8) + rng.randbytes(4)
        elif rng.random() < 0.1:
            odd[1] &= 0x7F
        return bytes(odd)

    def damage(self, stream: bytearray, frames: list[bytes]) -> None:
        rng = self.rng
        if not stream:
            return
        at = rng.randrange(len(stream))
        if rng.random() < 0.4:  # aim at a header: random places hit payloads nearly always
            index = rng.randrange(len(frames))
            at = min(sum(map(len, frames[:index])) + rng.choice((0, 0, 1, 1, 2, 3, 6)), at | 1)
            at = min(at, len(stream) - 1)
        match rng.randrange(6):
            case 0 | 1:
                stream[at] ^= 1 << rng.randrange(8)
            case 2:
                stream[at] = rng.randrange(256)
            case 3:
                del stream[at : at + rng.choice((1, 1, 4, 50))]
            case 4:
                stream[at:at] = rng.randbytes(rng.choice((1, 1, 4, 50)))
            case _:
                del stream[at:]


def agreed(ours: Outcome, theirs: Outcome, rules: tuple[Rule, ...]) -> str | None:
    """How the two agree: "" in full, else the name of a rule, or None if they do not."""
    if ours.events == theirs.events:
        return ""
    return next((rule.__name__ for rule in rules if rule(ours, theirs)), None)


@pytest.mark.timeout(SECONDS + 60)
def test_three_implementations_agree() -> None:
    print(f"MADANG_SEED={SEED} MADANG_FUZZ_SECONDS={SECONDS:g}")
    seen: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    case = 0
    while time.monotonic() < until or case < 500:
        rng = random.Random(f"{SEED}/{case}")
        deflate = case % 2 == 1
        # A limit that is hit often where a header alone decides; with compression one that is
        # hit never, as websockets counts compressed bytes there (test_conformance has the bombs).
        limits = Limits(max_message=2**20 if deflate else rng.choice((126, 500, 70000)))
        streams = Streams(rng, deflate=deflate)
        stream = streams.stream()
        chunks = streams.cut(stream)
        ours = by_madang(chunks, limits, deflate=deflate)
        whole = by_madang([stream], limits, deflate=deflate)
        for name, theirs, rules in (
            ("cut", whole, ()),
            ("websockets", by_websockets(chunks, limits, deflate=deflate), WEBSOCKETS_RULES),
            ("wsproto", by_wsproto(chunks, deflate=deflate), WSPROTO_RULES),
        ):
            how = agreed(ours, theirs, rules)
            assert how is not None, (
                f"MADANG_SEED={SEED} case {case}, {name}, deflate={deflate}, {limits}\n"
                f"ours {ours}\ntheirs {theirs}\nchunks {chunks}"
            )
            seen[f"{name} {how or 'same'}"] += 1
        seen["bytes"] += len(stream)
        seen["messages"] += len(ours.before)
        seen[f"ended {ours.events[-1][0] if ours.events else 'with nothing'}"] += 1
        seen[f"failed {ours.failure} {ours.why}" if ours.failure else "sound"] += 1
        case += 1
    print(f"{case} streams")
    for name, count in sorted(seen.items()):
        print(f"{count:>10}  {name}")
    # The streams must reach what they are there for.
    assert {"failed 1002", "failed 1007", "failed 1009"} <= {name[:11] for name in seen}
    assert seen["sound"] > case // 10
    assert seen["ended close"] > 0
    same = seen["websockets same"] + seen["wsproto same"]
    assert same > 1.5 * case, "too much is left to the rules"
