"""Our frames, read by us and by two other implementations; and theirs, read by us."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Frame as WebsocketsFrame
from websockets.frames import Opcode as WebsocketsOpcode
from websockets.protocol import CLIENT
from websockets.protocol import Protocol as WebsocketsProtocol
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate
from wsproto.frame_protocol import FrameProtocol

from madang.protocol.websocket import (
    Close,
    Incoming,
    Limits,
    Opcode,
    Ping,
    Pong,
    binary_frame,
    close_code_allowed,
    close_frame,
    deflated_text_frame,
    masked_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from tests.protocol.websocket.wire import KEY, read

SIZES = (0, 1, 125, 126, 127, 65535, 65536, 200_000)
MIB = 2**20
AS_CLIENT = Limits(max_message=MIB, expect_mask=False)
AS_SERVER = Limits(max_message=MIB)

Reader = Callable[[bytes], list[tuple[int, bytes]]]


def _read_by_websockets(stream: bytes) -> list[tuple[int, bytes]]:
    protocol = WebsocketsProtocol(CLIENT, max_size=MIB)
    protocol.extensions = [WebsocketsDeflate(True, True, 12, 15)]
    protocol.receive_data(stream)
    assert protocol.parser_exc is None
    frames: list[Any] = protocol.events_received()
    return [(int(frame.opcode), bytes(frame.data)) for frame in frames]


def _wsproto(*, client: bool) -> FrameProtocol:
    extension = WsprotoDeflate(
        client_no_context_takeover=True, server_no_context_takeover=True, server_max_window_bits=12
    )
    extension._enabled = True  # by a handshake otherwise
    return FrameProtocol(client=client, extensions=[extension])


def _read_by_wsproto(stream: bytes) -> list[tuple[int, bytes]]:
    protocol = _wsproto(client=True)
    protocol.receive_bytes(stream)
    frames = []
    for frame in protocol.received_frames():
        payload: Any = frame.payload
        if isinstance(payload, str):
            payload = payload.encode()
        elif isinstance(payload, tuple):
            code = b"" if payload[0] == 1005 else struct.pack("!H", payload[0])
            payload = code + payload[1].encode()
        assert frame.message_finished
        frames.append((int(frame.opcode), bytes(payload)))
    return frames


READERS = pytest.mark.parametrize("reader", [_read_by_websockets, _read_by_wsproto])


@READERS
@pytest.mark.parametrize("size", SIZES)
def test_data_frames_are_read_by_others(reader: Reader, size: int) -> None:
    words = ("마당 " * size).encode()[:size].decode("utf-8", "ignore").encode()
    assert reader(text_frame(words)) == [(1, words)]
    assert reader(deflated_text_frame(words)) == [(1, words)]
    body = bytes(n & 0xFF for n in range(size))
    assert reader(binary_frame(body)) == [(2, body)]


@READERS
def test_a_shared_run_of_frames_is_read_by_others(reader: Reader) -> None:
    """Frames joined for one write, plain and compressed, control frames between."""
    stream = text_frame(b"a") + ping_frame(b"p") + deflated_text_frame(b"b" * 300)
    stream += pong_frame() + deflated_text_frame(b"b" * 300) + binary_frame(b"c")
    stream += close_frame(4008, "느림")
    assert reader(stream) == [
        (1, b"a"),
        (9, b"p"),
        (1, b"b" * 300),
        (10, b""),
        (1, b"b" * 300),
        (2, b"c"),
        (8, struct.pack("!H", 4008) + "느림".encode()),
    ]


@READERS
def test_a_close_without_a_code_is_read_by_others(reader: Reader) -> None:
    assert reader(close_frame(None)) == [(8, b"")]


@pytest.mark.parametrize("size", SIZES)
def test_our_frames_are_read_by_us(size: int) -> None:
    stream = text_frame(b"*" * size) + binary_frame(b"*" * size) + deflated_text_frame(b"*" * size)
    expected: list[Incoming] = ["*" * size, b"*" * size, "*" * size]
    assert read(stream, AS_CLIENT, deflate=True) == expected


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_others_are_read_by_us(size: int) -> None:
    words = ("안녕 hi " * size).encode()[:size].decode("utf-8", "ignore")
    body = bytes(n & 0xFF for n in range(size))
    expected: list[Incoming] = [words, body, Ping(b"p"), Pong(), Close(1000, "bye")]

    extensions = [WebsocketsDeflate(False, True, 15, 12)]
    stream = b"".join(
        WebsocketsFrame(opcode, payload).serialize(mask=True, extensions=extensions)
        for opcode, payload in (
            (WebsocketsOpcode.TEXT, words.encode()),
            (WebsocketsOpcode.BINARY, body),
            (WebsocketsOpcode.PING, b"p"),
            (WebsocketsOpcode.PONG, b""),
            (WebsocketsOpcode.CLOSE, b"\x03\xe8bye"),
        )
    )
    assert read(stream, AS_SERVER, deflate=True) == expected

    wsproto = _wsproto(client=True)
    stream = bytes(wsproto.send_data(words) + wsproto.send_data(body) + wsproto.ping(b"p"))
    stream += bytes(wsproto.pong() + wsproto.close(1000, "bye"))
    assert read(stream, AS_SERVER, deflate=True) == expected


def test_examples_of_the_rfc() -> None:
    """RFC 6455 section 5.7."""
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert masked_frame(Opcode.TEXT, b"Hello", KEY) == bytes.fromhex("818537fa213d7f9f4d5158")
    assert ping_frame(b"Hello") == bytes.fromhex("890548656c6c6f")
    assert binary_frame(b"x" * 256)[:4] == bytes.fromhex("827e0100")
    assert binary_frame(b"x" * 65536)[:10] == bytes.fromhex("827f0000000000010000")
    # RFC 7692 section 7.2.3.1
    assert deflated_text_frame(b"Hello") == bytes.fromhex("c107f248cdc9c90700")


@given(st.binary(max_size=9000), st.binary(min_size=4, max_size=4))
def test_masking_is_the_rfc_s_loop(payload: bytes, key: bytes) -> None:
    """RFC 6455 section 5.3, as it is written there."""
    masked = bytes(octet ^ key[n % 4] for n, octet in enumerate(payload))
    assert masked_frame(Opcode.BINARY, payload, key).endswith(key + masked)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="four bytes"):
        masked_frame(Opcode.TEXT, b"x", key)


@pytest.mark.parametrize("build", [ping_frame, pong_frame])
def test_control_frames_are_short(build: Callable[[bytes], bytes]) -> None:
    assert read(build(b"x" * 125), AS_CLIENT)
    with pytest.raises(ValueError, match="at most 125"):
        build(b"x" * 126)


@pytest.mark.parametrize(
    "code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535, 65536]
)
def test_codes_that_may_not_be_sent(code: int) -> None:
    assert not close_code_allowed(code)
    with pytest.raises(ValueError, match="may not be sent"):
        close_frame(code)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1008, 1014, 3000, 4008, 4999])
def test_codes_that_may_be_sent(code: int) -> None:
    assert read(close_frame(code, "x"), AS_CLIENT) == [Close(code, "x")]


@given(st.text(max_size=200))
def test_a_close_reason_is_cut_between_characters(reason: str) -> None:
    """``st.text`` makes no surrogates; the next test has one."""
    (close,) = read(close_frame(1001, reason), AS_CLIENT)
    assert isinstance(close, Close)
    assert reason.startswith(close.reason)
    if close.reason != reason:
        assert 120 <= len(close.reason.encode()) <= 123


def test_a_close_reason_with_half_a_surrogate_pair_is_still_utf8() -> None:
    assert read(close_frame(1001, "a\ud800b"), AS_CLIENT) == [Close(1001, "a?b")]
