"""Permessage-deflate (RFC 7692), always without context takeover.

Giving up the shared window costs some ratio and buys two things: a message is deflated once for
all its receivers, and an idle connection keeps no zlib state (which would be tens of kilobytes).
Pure functions over ``zlib``; imports nothing of ours.
"""

import zlib

__all__ = ["SERVER_WINDOW_BITS", "InflateError", "Inflater", "deflate"]

SERVER_WINDOW_BITS = 12
"""Window of what we send, as a power of two: 4 KiB. A wider one gains little on messages of this
size and costs more to set up, and with this one an offer that asks us to stay small can be kept."""

_MEMORY_LEVEL = 5
"""zlib's hash memory, 2 ** (level + 9) bytes: matches the small window, halves the set-up time."""

_CLIENT_WINDOW_BITS = 15
"""What we read may use any window a client may choose."""

_TAIL = b"\x00\x00\xff\xff"
"""End of a sync flush: left out on the wire, put back before inflating (sections 7.2.1, 7.2.2)."""


class InflateError(Exception):
    """The bytes are not a deflate stream."""


def deflate(payload: bytes) -> bytes:
    """``payload`` as the body of one compressed message, the flush's tail removed."""
    deflater = zlib.compressobj(
        zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -SERVER_WINDOW_BITS, _MEMORY_LEVEL
    )
    body = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return body[: -len(_TAIL)]


class Inflater:
    """Inflates one message, piece by piece, never making more than it was told to.

    What follows a block marked as the last one is ignored: section 7.2.3.5 lets a sender end
    that way and pad, and this is how zlib-based peers read it.
    """

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-_CLIENT_WINDOW_BITS)

    def feed(self, piece: bytes, most: int) -> bytes:
        """The output that ``piece`` completes, cut off at ``most`` bytes (``most`` > 0).

        A result as long as ``most`` means that the message is too big; the inflater must then be
        dropped. Raises ``InflateError``.
        """
        if self._stream.eof:  # zlib would collect the rest in ``unused_data``, copying each time
            return b""
        try:
            return self._stream.decompress(piece, most)
        except zlib.error as error:
            raise InflateError(str(error)) from error

    def finish(self, most: int) -> bytes:
        """The last output, after the last piece of the message; as ``feed``."""
        return self.feed(_TAIL, most)
