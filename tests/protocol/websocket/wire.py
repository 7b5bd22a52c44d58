"""Building blocks for the codec's tests: client frames, and reading a stream in any pieces."""

import zlib
from collections.abc import Iterable

from madang.protocol.websocket import Incoming, Limits, Opcode, Receiver, masked_frame

KEY = b"\x37\xfa\x21\x3d"  # the key of RFC 6455 section 5.7's examples


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, rsv1: bool = False
) -> bytes:
    """A client's frame."""
    if isinstance(payload, str):
        payload = payload.encode()
    return masked_frame(opcode, payload, KEY, fin=fin, rsv1=rsv1)


def text(payload: bytes | str, *, fin: bool = True) -> bytes:
    return frame(Opcode.TEXT, payload, fin=fin)


def more(payload: bytes | str = b"", *, fin: bool = False) -> bytes:
    """A continuation, not the last one unless ``fin``."""
    return frame(Opcode.CONTINUATION, payload, fin=fin)


def last(payload: bytes | str = b"") -> bytes:
    return more(payload, fin=True)


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(Opcode.CLOSE, code.to_bytes(2, "big") + reason)


def raw_deflate(payload: bytes, window_bits: int = 15, level: int = -1) -> bytes:
    """A compressed message's body, the flush's tail removed (RFC 7692 section 7.2.1)."""
    deflater = zlib.compressobj(level, zlib.DEFLATED, -window_bits)
    return (deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def read(
    chunks: bytes | Iterable[bytes], limits: Limits | None = None, *, deflate: bool = False
) -> list[Incoming]:
    """All that one receiver makes of the chunks."""
    receiver = Receiver(limits or Limits(), deflate=deflate)
    pieces = [chunks] if isinstance(chunks, bytes) else chunks
    return [event for piece in pieces for event in receiver.feed(piece)]


def cut(stream: bytes, size: int) -> list[bytes]:
    """The stream in pieces of ``size`` bytes."""
    return [stream[at : at + size] for at in range(0, len(stream), size)]
