"""The receiver as a whole: any cutting gives the same, it holds little, and time grows linearly."""

import gc
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.protocol.websocket import Close, Failure, Limits, Opcode, Ping, Receiver, masked_frame
from tests.protocol.websocket.wire import closing, cut, frame, last, more, raw_deflate, read, text

LIMITS = Limits(max_message=300)

KEYS = st.binary(min_size=4, max_size=4)
FRAMES = st.builds(
    masked_frame,
    st.sampled_from([0, 0, 1, 1, 1, 2, 8, 9, 10, 3]),
    st.one_of(
        st.binary(max_size=140),
        st.text(max_size=60).map(str.encode),
        st.text(max_size=60).map(lambda words: raw_deflate(words.encode())),
    ),
    KEYS,
    fin=st.booleans(),
    rsv1=st.booleans(),
)
STREAMS = st.one_of(
    st.lists(FRAMES, max_size=6).map(b"".join),
    st.builds(bytes.__add__, st.lists(FRAMES, max_size=3).map(b"".join), st.binary(max_size=20)),
)


@settings(deadline=None, max_examples=300)
@given(STREAMS, st.lists(st.integers(0, 900), max_size=10), st.booleans())
def test_any_cutting_gives_the_same_result(stream: bytes, marks: list[int], deflate: bool) -> None:
    borders = [0, *sorted(mark % (len(stream) + 1) for mark in marks), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(borders)]
    whole = read(stream, LIMITS, deflate=deflate)
    assert read(pieces, LIMITS, deflate=deflate) == whole
    assert read(cut(stream, 1), LIMITS, deflate=deflate) == whole


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=80), st.binary(max_size=300)), max_size=8), KEYS)
def test_what_was_sent_is_read(messages: list[str | bytes], key: bytes) -> None:
    stream = b"".join(
        masked_frame(Opcode.TEXT, message.encode(), key)
        if isinstance(message, str)
        else masked_frame(Opcode.BINARY, message, key)
        for message in messages
    )
    assert read(stream) == messages


@pytest.mark.parametrize("size", [4000, 4095, 4096, 4097, 4098, 4099, 70_001])
def test_long_payloads_are_unmasked_like_short_ones(size: int) -> None:
    """Two ways of unmasking meet at 4,096 bytes; frames of either length, in uneven pieces."""
    payload = bytes(n * 7 & 0xFF for n in range(size))
    stream = frame(Opcode.BINARY, payload) + text("next")
    limits = Limits(max_message=size)
    assert read(stream, limits) == [payload, "next"]
    assert read(cut(stream, 1000 + size % 3), limits) == [payload, "next"]


@pytest.mark.parametrize(
    ("end", "result"),
    [
        (closing(4001, b"x"), Close(4001, "x")),
        (b"\xff\xff", Failure(1002, "reserved bits set")),
        (text(b"\xff"), Failure(1007, "text is not UTF-8")),
        (frame(Opcode.BINARY, b"*" * 301), Failure(1009, "message too big")),
    ],
)
def test_messages_before_the_end_are_kept_and_nothing_follows_it(
    end: bytes, result: Close | Failure
) -> None:
    receiver = Receiver(LIMITS)
    stream = text("one") + frame(Opcode.PING, "p") + text("two", fin=False) + last("!")
    assert receiver.feed(stream + end + text("late")) == ["one", Ping(b"p"), "two!", result]
    assert receiver.feed(text("later")) == []
    assert receiver.feed(b"") == []


def _held_bytes(receiver: Receiver) -> int:
    """The receiver and everything that only it refers to."""
    shared = {id(LIMITS), id(None), id(True), id(False), id(b"")}
    size = sys.getsizeof(receiver)
    for slot in Receiver.__slots__:
        held = getattr(receiver, slot)
        if id(held) not in shared:
            size += sys.getsizeof(held)
    return size


def test_an_idle_receiver_holds_next_to_nothing() -> None:
    receiver = Receiver(LIMITS, deflate=True)
    assert _held_bytes(receiver) < 100
    used = text("a") + text("b", fin=False) + last("c") + frame(Opcode.PING, "p")
    used += frame(Opcode.TEXT, raw_deflate(b"d"), rsv1=True)
    for chunks in ([used], cut(used, 1), cut(used, 7)):
        assert [event for chunk in chunks for event in receiver.feed(chunk)]
        assert _held_bytes(receiver) < 100, "something was kept after the last message"
    receiver.feed(used[:3])
    receiver.feed(b"\xff" * 9)
    assert _held_bytes(receiver) < 100, "something was kept after the end"


def test_ten_thousand_idle_receivers() -> None:
    """What the allocator gives out for them, as the other test adds it up."""
    count = 10_000
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        receivers = [Receiver(LIMITS) for _ in range(count)]
        for receiver in receivers:
            receiver.feed(text("hello"))
        each = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    print(f"{each:.0f} bytes an idle receiver, with its place in a list")
    assert each < 120


def _traced_peak(chunks: list[bytes], limits: Limits, *, deflate: bool = False) -> int:
    tracemalloc.start()
    try:
        read(chunks, limits, deflate=deflate)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_takes_no_more_memory_than_the_limit_allows() -> None:
    bomb = raw_deflate(b"x" * (64 << 20), level=9)
    limits = Limits(max_message=65536)
    stream = frame(Opcode.TEXT, bomb, rsv1=True)
    assert len(stream) < 2 * limits.max_message, "its size on the wire must not give it away"
    assert read(stream, limits, deflate=True) == [Failure(1009, "message too big")]
    assert _traced_peak([stream], limits, deflate=True) < 10 * limits.max_message


def test_a_drip_feed_keeps_what_came_and_not_one_object_a_byte() -> None:
    stream = text("마" * 21_000)
    assert _traced_peak(cut(stream, 1)[:-1], Limits()) < 3 * len(stream)


def test_a_huge_announced_length_reserves_nothing() -> None:
    limits = Limits(max_message=1 << 40)
    header = b"\x82\xff" + (1 << 39).to_bytes(8, "big") + b"keys"
    assert _traced_peak([header + b"x"], limits) < 10_000


def _drip_seconds(size: int, *, compressed: bool) -> float:
    body = raw_deflate(b"*" * size, level=0) if compressed else b"*" * size
    chunks = cut(frame(Opcode.TEXT, body, rsv1=compressed), 16)
    limits = Limits(max_message=size)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        assert len(read(chunks, limits, deflate=compressed)) == 1
        best = min(best, time.perf_counter() - start)
    return best


@pytest.mark.parametrize("compressed", [False, True])
def test_time_grows_linearly_in_a_drip_feed(compressed: bool) -> None:
    """Eight times the bytes take about eight times as long; were what is here copied or checked
    again for each piece, it would be near sixty-four times at these sizes."""
    small = _drip_seconds(1 << 18, compressed=compressed)
    large = _drip_seconds(1 << 21, compressed=compressed)
    assert large < 24 * small


def test_a_message_of_many_fragments_is_put_together_in_linear_time() -> None:
    count = 20_000
    limits = Limits(max_message=10 * count, max_fragments=count + 2)
    stream = text("마당", fin=False) + more("마당") * count + last()
    assert read(stream, limits) == ["마당" * (count + 1)]
