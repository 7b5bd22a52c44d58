"""Bytes received to messages: the reading half of RFC 6455, without I/O.

A ``Receiver`` belongs to one connection and holds next to nothing while no message is under way,
because a node keeps one for each of its idle connections. Whole short text frames, nearly all of
a chat's traffic, take a path of their own in ``Receiver.feed``; everything else goes frame by
frame. May import only this package.

Invariant: the result depends on the bytes alone, never on how they were cut into chunks. Each
check is therefore made at the first byte that can decide it.
"""

from codecs import utf_8_decode

from madang.protocol.websocket.deflate import InflateError, Inflater
from madang.protocol.websocket.frames import MAX_CONTROL_PAYLOAD, Opcode, close_code_allowed
from madang.protocol.websocket.incoming import (
    MAX_SHORT_PAYLOAD,
    Close,
    Failure,
    Incoming,
    Limits,
    Ping,
    Pong,
)
from madang.protocol.websocket.masking import xor_mask

__all__ = ["NO_STATUS", "Receiver"]

NO_STATUS = 1005
"""Stands for a close frame without a code (RFC 6455 section 7.1.5); never on the wire."""

_CONTINUATION = int(Opcode.CONTINUATION)  # plain integers: compared for every frame
_TEXT = int(Opcode.TEXT)
_BINARY = int(Opcode.BINARY)
_CLOSE = int(Opcode.CLOSE)
_PING = int(Opcode.PING)
_PONG = int(Opcode.PONG)

_FIN = 0x80
_RSV1 = 0x40
_RSV2_RSV3 = 0x30
_MASKED = 0x80
_WHOLE_TEXT = _FIN | _TEXT

_from_bytes = int.from_bytes  # looked up once: twice a message, a tenth of its time

_RESERVED_BITS = Failure(1002, "reserved bits set")
_RESERVED_OPCODE = Failure(1002, "reserved opcode")
_MASKING = Failure(1002, "wrong masking")
_CONTROL_CUT = Failure(1002, "control frame fragmented")
_CONTROL_LONG = Failure(1002, "control frame too long")
_LENGTH_LONG = Failure(1002, "length not in its shortest form")
_LENGTH_SIGN = Failure(1002, "length with its top bit set")
_NOTHING_TO_CONTINUE = Failure(1002, "continuation without a message")
_NOT_CONTINUED = Failure(1002, "new message inside a fragmented one")
_CLOSE_SHORT = Failure(1002, "close frame of one byte")
_CLOSE_CODE = Failure(1002, "close code not allowed")
_CLOSE_REASON = Failure(1007, "close reason is not UTF-8")
_NOT_UTF8 = Failure(1007, "text is not UTF-8")
# Also for bad UTF-8 once inflated: zlib drops what it made before the fault in the same piece, so
# which of the two shows first would depend on the cutting.
_DAMAGED = Failure(1007, "compressed message is damaged")
_TOO_BIG = Failure(1009, "message too big")
_TOO_MANY_FRAGMENTS = Failure(1009, "too many fragments")


class _Violation(Exception):
    """The stream broke a rule; carries what the receiver then reports."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


def _wire_limit(limit: int, compressed: bool) -> int:
    """Bytes that a message of at most ``limit`` bytes may take as it comes.

    Compressed ones may outnumber the message they make (stored blocks, flushes), so they get twice
    the room: a bound for streams that inflate to nothing, not a measure of the message.
    """
    return 2 * limit + 64 if compressed else limit


class _Message:
    """A data message of which some bytes are still to come.

    ``left`` is how many bytes of the present frame are missing; ``key`` is its masking key, turned
    so that it starts at the next byte; ``wire`` counts payload bytes as they came, inflated or not.
    """

    __slots__ = (
        "_bad_text",
        "_checked",
        "_inflater",
        "_text",
        "fin",
        "fragments",
        "key",
        "left",
        "payload",
        "wire",
    )

    def __init__(self, *, text: bool, compressed: bool) -> None:
        self._text = text
        self._inflater = Inflater() if compressed else None
        self._bad_text = _DAMAGED if compressed else _NOT_UTF8
        self._checked = 0  # bytes of ``payload`` that are whole characters
        self.payload = bytearray()
        self.wire = 0
        self.fragments = 0
        self.fin = 0
        self.left = 0
        self.key = b""

    def room(self, limit: int) -> int:
        """Bytes that the next frame's header may announce."""
        return _wire_limit(limit, self._inflater is not None) - self.wire

    def begin_frame(self, length: int, key: bytes, fin: int) -> None:
        self.fragments += 1
        self.wire += length
        self.left = length
        self.key = key
        self.fin = fin

    def add(self, piece: bytes, limit: int) -> None:
        """Take the next bytes of the present frame, still masked."""
        size = len(piece)
        self.left -= size
        if self.key:
            piece = xor_mask(piece, self.key)
            turn = size & 3
            if turn and self.left:
                self.key = self.key[turn:] + self.key[:turn]
        if self._inflater is None:
            self.payload += piece
        else:
            self._inflate(piece, limit)
        if self._text and not (self.fin and not self.left):
            self._check_text()

    def finish(self, limit: int) -> str | bytes:
        """The whole message, its last frame being complete."""
        if self._inflater is not None:
            self._inflate(None, limit)
        if not self._text:
            return bytes(self.payload)
        try:
            return self.payload.decode()
        except UnicodeDecodeError:
            raise _Violation(self._bad_text) from None

    def _inflate(self, piece: bytes | None, limit: int) -> None:
        """Inflate a piece, or with ``None`` what is left at the message's end."""
        assert self._inflater is not None
        most = limit - len(self.payload) + 1  # one above the limit shows that there is more
        try:
            if piece is None:
                self.payload += self._inflater.finish(most)
            else:
                self.payload += self._inflater.feed(piece, most)
        except InflateError:
            raise _Violation(_DAMAGED) from None
        if len(self.payload) > limit:
            if self._text:  # a bad byte before the limit comes first, however the bytes were cut
                del self.payload[limit:]
                self._check_text()
            raise _Violation(_TOO_BIG)

    def _check_text(self) -> None:
        """Refuse bad UTF-8 as soon as its first bad byte is here; a cut character may go on."""
        try:
            self._checked += utf_8_decode(self.payload[self._checked :], "strict", False)[1]
        except UnicodeDecodeError:
            raise _Violation(self._bad_text) from None
        # Python waits for a surrogate's third byte, though its second already shows it.
        cut = self.payload[self._checked :]
        if len(cut) == 2 and cut[0] == 0xED and cut[1] >= 0xA0:
            raise _Violation(self._bad_text)


class Receiver:
    """Turns one connection's bytes into messages, in the order they were sent.

    ``deflate`` is whether permessage-deflate was negotiated (``negotiate_deflate``). An idle
    receiver refers to shared objects only and takes 80 bytes or so.
    """

    __slots__ = ("_deflate", "_limits", "_message", "_over", "_rest")

    def __init__(self, limits: Limits, *, deflate: bool = False) -> None:
        self._limits = limits
        self._deflate = deflate
        self._rest = b""  # start of a frame: a header or control frame that is not yet whole
        self._message: _Message | None = None
        self._over = False

    def feed(self, chunk: bytes) -> list[Incoming]:
        """What ``chunk`` completes, in order.

        A ``Close`` or ``Failure`` is always the last; what came before it in the same chunk is
        still returned, what comes after it is ignored, in this chunk and in later ones. Never
        raises for what a peer may send. Time grows linearly with the bytes, however they are cut;
        memory held is bounded by ``Limits.max_message``, and zlib's some 40 KiB while a compressed
        message is under way.
        """
        if self._over:
            return []
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        incoming: list[Incoming] = []
        short = self._limits.short_text
        at = 0
        end = len(chunk)
        try:
            while at < end:
                body = at + 6
                if body <= end and chunk[at] == _WHOLE_TEXT and self._message is None:
                    length = chunk[at + 1] ^ _MASKED
                    stop = body + length
                    if length <= short and stop <= end:  # masked, a 7-bit length, not too big
                        # xor_mask, written out: the call is a tenth of the whole
                        pad = (chunk[at + 2 : body] * ((length + 3) >> 2))[:length]
                        incoming.append(
                            (_from_bytes(chunk[body:stop], "little") ^ _from_bytes(pad, "little"))
                            .to_bytes(length, "little")
                            .decode()
                        )
                        at = stop
                        continue
                if self._message is not None and self._message.left:
                    at = self._payload(self._message, chunk, at, end, incoming)
                else:
                    at = self._frame(chunk, at, end, incoming)
        except UnicodeDecodeError:
            self._stop(incoming, _NOT_UTF8)
        except _Violation as violation:
            self._stop(incoming, violation.failure)
        return incoming

    def _frame(self, chunk: bytes, at: int, end: int, incoming: list[Incoming]) -> int:
        """Read the frame at ``at`` as far as it is here; return where the next bytes are."""
        if end - at < 2:
            return self._keep(chunk, at, end)
        limits = self._limits
        first = chunk[at]
        opcode = first & 0x0F
        length = chunk[at + 1] & 0x7F
        self._check_start(first, opcode, length, masked=chunk[at + 1] >= _MASKED)
        body = at + 2
        if length > MAX_SHORT_PAYLOAD:
            body += 2 if length == 126 else 8
            if body > end:
                return self._keep(chunk, at, end)
            length = int.from_bytes(chunk[at + 2 : body], "big")
            if length < (126 if body == at + 4 else 65536):
                raise _Violation(_LENGTH_LONG)
            if length >> 63:
                raise _Violation(_LENGTH_SIGN)
        message = self._message
        if opcode < _CLOSE:
            compressed = bool(first & _RSV1)
            if message is not None:
                if message.fragments >= limits.max_fragments:
                    raise _Violation(_TOO_MANY_FRAGMENTS)
                room = message.room(limits.max_message)
            else:
                room = _wire_limit(limits.max_message, compressed)
            if length > room:
                raise _Violation(_TOO_BIG)
        key = b""
        if limits.expect_mask:
            body += 4
            if body > end:
                return self._keep(chunk, at, end)
            key = chunk[body - 4 : body]
        stop = body + length
        if opcode >= _CLOSE:
            if stop > end:
                return self._keep(chunk, at, end)
            payload = chunk[body:stop]
            self._control(opcode, xor_mask(payload, key) if key else payload, incoming)
            return end if self._over else stop
        if message is None:
            if first & _FIN and stop <= end and not compressed:
                payload = chunk[body:stop]
                if key:
                    payload = xor_mask(payload, key)
                incoming.append(payload.decode() if opcode == _TEXT else payload)
                return stop
            message = self._message = _Message(text=opcode == _TEXT, compressed=compressed)
        message.begin_frame(length, key, first & _FIN)
        return self._payload(message, chunk, body, end, incoming)

    def _check_start(self, first: int, opcode: int, length: int, *, masked: bool) -> None:
        """All that the first two bytes of a frame can get wrong."""
        if first & _RSV2_RSV3 or (
            first & _RSV1 and not (self._deflate and opcode in (_TEXT, _BINARY))
        ):
            raise _Violation(_RESERVED_BITS)
        if masked != self._limits.expect_mask:
            raise _Violation(_MASKING)
        if opcode >= _CLOSE:
            if opcode > _PONG:
                raise _Violation(_RESERVED_OPCODE)
            if not first & _FIN:
                raise _Violation(_CONTROL_CUT)
            if length > MAX_CONTROL_PAYLOAD:
                raise _Violation(_CONTROL_LONG)
        elif opcode > _BINARY:
            raise _Violation(_RESERVED_OPCODE)
        elif opcode == _CONTINUATION:
            if self._message is None:
                raise _Violation(_NOTHING_TO_CONTINUE)
        elif self._message is not None:
            raise _Violation(_NOT_CONTINUED)

    def _payload(
        self, message: _Message, chunk: bytes, at: int, end: int, incoming: list[Incoming]
    ) -> int:
        """Take what is here of the present frame's payload; return where the next bytes are."""
        limit = self._limits.max_message
        stop = min(end, at + message.left)
        if stop > at:
            message.add(chunk[at:stop], limit)
        if message.fin and not message.left:
            incoming.append(message.finish(limit))
            self._message = None
        return stop

    def _control(self, opcode: int, payload: bytes, incoming: list[Incoming]) -> None:
        if opcode == _PING:
            incoming.append(Ping(payload))
        elif opcode == _PONG:
            incoming.append(Pong(payload))
        elif not payload:
            self._stop(incoming, Close(NO_STATUS))
        elif len(payload) == 1:
            raise _Violation(_CLOSE_SHORT)
        else:
            code = int.from_bytes(payload[:2], "big")
            if not close_code_allowed(code):
                raise _Violation(_CLOSE_CODE)
            try:
                reason = payload[2:].decode()
            except UnicodeDecodeError:
                raise _Violation(_CLOSE_REASON) from None
            self._stop(incoming, Close(code, reason))

    def _keep(self, chunk: bytes, at: int, end: int) -> int:
        """Put the start of a frame aside until more of it comes: at most 130 bytes."""
        self._rest = chunk[at:]
        return end

    def _stop(self, incoming: list[Incoming], last: Close | Failure) -> None:
        incoming.append(last)
        self._over = True
        self._message = None
