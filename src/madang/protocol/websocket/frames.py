"""Frames to send: bytes of RFC 6455 section 5.2, built once and shared by every receiver.

Server frames are not masked, so one ``bytes`` object serves all connections of a channel; this
is why these are plain functions and not methods of a connection. ``masked_frame`` is the client's
side, for the Python client, tests and load generators. No I/O; may import only this package.
"""

import struct
from enum import IntEnum

from madang.protocol.websocket.deflate import deflate
from madang.protocol.websocket.masking import xor_mask

__all__ = [
    "MAX_CONTROL_PAYLOAD",
    "MAX_REASON",
    "Opcode",
    "binary_frame",
    "close_code_allowed",
    "close_frame",
    "deflated_text_frame",
    "masked_frame",
    "ping_frame",
    "pong_frame",
    "text_frame",
]

MAX_CONTROL_PAYLOAD = 125
"""Bytes in a control frame's payload (RFC 6455 section 5.5)."""

MAX_REASON = MAX_CONTROL_PAYLOAD - 2
"""Bytes of UTF-8 in a close reason: a control payload less the two bytes of the code."""


class Opcode(IntEnum):
    """Frame kinds of RFC 6455 section 5.2; 3 to 7 and 11 to 15 are reserved."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


_FIN = 0x80
_RSV1 = 0x40
_MASKED = 0x80
_PLAIN = 0

_length16 = struct.Struct("!BBH").pack
_length64 = struct.Struct("!BBQ").pack


def _header(first: int, length: int, masked: int = _PLAIN) -> bytes:
    """The header before the masking key, with the length in its shortest form."""
    if length < 126:
        return bytes((first, masked | length))
    if length < 65536:
        return _length16(first, masked | 126, length)
    return _length64(first, masked | 127, length)


def _short_headers(first: int) -> tuple[bytes, ...]:
    """Ready headers for all payloads that fit a 7-bit length."""
    return tuple(_header(first, length) for length in range(126))


_TEXT = _FIN | Opcode.TEXT
_BINARY = _FIN | Opcode.BINARY
_SHORT_TEXT = _short_headers(_TEXT)
_SHORT_BINARY = _short_headers(_BINARY)


def text_frame(payload: bytes) -> bytes:
    """One whole server-to-client text frame around ``payload``, which must be UTF-8."""
    length = len(payload)
    if length < 126:
        return _SHORT_TEXT[length] + payload
    return _header(_TEXT, length) + payload


def binary_frame(payload: bytes) -> bytes:
    """One whole server-to-client binary frame around ``payload``."""
    length = len(payload)
    if length < 126:
        return _SHORT_BINARY[length] + payload
    return _header(_BINARY, length) + payload


def deflated_text_frame(payload: bytes) -> bytes:
    """One whole server-to-client text frame, compressed as RFC 7692 says.

    No context is taken over and the window is ``deflate.SERVER_WINDOW_BITS`` wide, so the same
    frame is right for every receiver whose offer ``negotiate_deflate`` accepted.
    """
    body = deflate(payload)
    return _header(_TEXT | _RSV1, len(body)) + body


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping with at most 125 bytes of ``payload``; raises ``ValueError`` above that."""
    return _control(Opcode.PING, payload)


def pong_frame(payload: bytes = b"") -> bytes:
    """A pong with at most 125 bytes of ``payload``; raises ``ValueError`` above that."""
    return _control(Opcode.PONG, payload)


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; ``None`` sends no code, which the other side reads as 1005.

    ``reason`` is cut to 123 bytes of UTF-8 between two characters, and dropped without a code
    (RFC 6455 section 5.5.1 has no place for it). Raises ``ValueError`` for a code that may not
    be sent (section 7.4).
    """
    if code is None:
        return _control(Opcode.CLOSE, b"")
    if not close_code_allowed(code):
        raise ValueError(f"close code {code} may not be sent")
    text = reason.encode("utf-8", "replace")
    if len(text) > MAX_REASON:
        text = text[:MAX_REASON].decode("utf-8", "ignore").encode()
    return _control(Opcode.CLOSE, code.to_bytes(2, "big") + text)


def close_code_allowed(code: int) -> bool:
    """Whether ``code`` may stand in a close frame, in either direction.

    RFC 6455 section 7.4 and the registry it set up: 1000 to 1003, 1007 to 1014 and 3000 to 4999.
    1004 is reserved; 1005, 1006 and 1015 say that there was no close frame.
    """
    return 3000 <= code <= 4999 or 1000 <= code <= 1003 or 1007 <= code <= 1014


def masked_frame(
    opcode: int, payload: bytes, mask_key: bytes, *, fin: bool = True, rsv1: bool = False
) -> bytes:
    """One client-to-server frame, masked with the four bytes of ``mask_key``.

    Checks nothing but the key, so that tests can build what no honest client would send.
    A real client takes a fresh unpredictable key for each frame (section 5.3).
    """
    if len(mask_key) != 4:
        raise ValueError("a masking key has four bytes")
    first = (_FIN if fin else 0) | (_RSV1 if rsv1 else 0) | opcode
    return _header(first, len(payload), _MASKED) + mask_key + xor_mask(payload, mask_key)


def _control(opcode: Opcode, payload: bytes) -> bytes:
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame holds at most {MAX_CONTROL_PAYLOAD} bytes")
    return _header(_FIN | opcode, len(payload)) + payload
