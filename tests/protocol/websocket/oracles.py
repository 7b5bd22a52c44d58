"""Two other implementations, made to say what they make of a client's bytes in our words.

An ``Outcome`` is a list of messages, the last of which may be ``("close", code, reason)`` or
``("fail", code)``. Neither library does all that a server must, so each adapter adds what the
library leaves to its callers and no more; every addition says why it is there.
"""

from codecs import getincrementaldecoder
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Close as WebsocketsClose
from websockets.frames import Opcode as WebsocketsOpcode
from websockets.protocol import SERVER
from websockets.protocol import Protocol as WebsocketsProtocol
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate
from wsproto.frame_protocol import (
    CloseReason,
    FrameProtocol,
    MessageDecoder,
    ParseFailed,
    RsvBits,
)
from wsproto.frame_protocol import Opcode as WsprotoOpcode

from madang.protocol.websocket import Close, Failure, Limits, Ping, Pong, Receiver

Event = tuple[Any, ...]


@dataclass
class Outcome:
    """``events``; ``why``: the text of a failure; ``waiting``: the bytes ended inside a frame."""

    events: list[Event] = field(default_factory=list)
    why: str = ""
    waiting: bool = False

    @property
    def failure(self) -> int | None:
        """The close code of the failure at the end, if there was one."""
        return self.events[-1][1] if self.events and self.events[-1][0] == "fail" else None

    @property
    def before(self) -> list[Event]:
        """What came before the failure."""
        return self.events if self.failure is None else self.events[:-1]


def by_madang(chunks: Iterable[bytes], limits: Limits, *, deflate: bool) -> Outcome:
    receiver = Receiver(limits, deflate=deflate)
    outcome = Outcome()
    for chunk in chunks:
        for event in receiver.feed(chunk):
            match event:
                case str():
                    outcome.events.append(("text", event))
                case bytes():
                    outcome.events.append(("binary", event))
                case Ping(payload):
                    outcome.events.append(("ping", payload))
                case Pong(payload):
                    outcome.events.append(("pong", payload))
                case Close(code, reason):
                    outcome.events.append(("close", code, reason))
                case Failure(code, reason):
                    outcome.events.append(("fail", code))
                    outcome.why = reason
    return outcome


def by_websockets(chunks: Iterable[bytes], limits: Limits, *, deflate: bool) -> Outcome:
    """``websockets``: its protocol hands out frames, its connections put messages together.

    Added here, as its connections do it: joining fragments and decoding text; and that the latter
    fails at the second byte of a surrogate.
    """
    protocol = WebsocketsProtocol(SERVER, max_size=limits.max_message)
    if deflate:
        protocol.extensions = [
            WebsocketsDeflate(
                remote_no_context_takeover=True,
                local_no_context_takeover=True,
                remote_max_window_bits=15,
                local_max_window_bits=15,
            )
        ]
    outcome = Outcome()
    parts: list[Any] = []
    decoder: Any = None
    for chunk in chunks:
        protocol.receive_data(chunk)
        for frame in protocol.events_received():
            payload = bytes(frame.data)  # type: ignore[union-attr]
            opcode = frame.opcode  # type: ignore[union-attr]
            if opcode is WebsocketsOpcode.PING:
                outcome.events.append(("ping", payload))
            elif opcode is WebsocketsOpcode.PONG:
                outcome.events.append(("pong", payload))
            elif opcode is WebsocketsOpcode.CLOSE:
                close = WebsocketsClose.parse(payload)
                outcome.events.append(("close", int(close.code), close.reason))
                return outcome
            else:
                if opcode is WebsocketsOpcode.TEXT:
                    decoder = getincrementaldecoder("utf-8")()
                fin = frame.fin  # type: ignore[union-attr]
                try:
                    parts.append(decoder.decode(payload, fin) if decoder else payload)
                except UnicodeDecodeError:
                    outcome.events.append(("fail", 1007))
                    return outcome
                if decoder and _begins_surrogate(decoder):
                    outcome.events.append(("fail", 1007))
                    return outcome
                if fin:
                    whole = ("text", "".join(parts)) if decoder else ("binary", b"".join(parts))
                    outcome.events.append(whole)
                    parts, decoder = [], None
        if protocol.close_sent is not None:
            outcome.events.append(("fail", int(protocol.close_sent.code)))
            outcome.why = protocol.close_sent.reason
            return outcome
    outcome.waiting = _inside_frame(protocol)
    return outcome


def _inside_frame(protocol: WebsocketsProtocol) -> bool:
    """Whether its parser, a chain of generators, waits anywhere but between two frames."""
    generator: Any = protocol.parser
    while generator.gi_yieldfrom is not None:
        generator = generator.gi_yieldfrom
    return str(generator.gi_code.co_name) != "at_eof"


def _begins_surrogate(decoder: Any) -> bool:
    """Whether what Python's decoder holds back can only become half of a surrogate pair. It waits
    for the third byte, for the sake of error handlers that would let it pass."""
    held: bytes = decoder.getstate()[0]
    return len(held) == 2 and b"\xed\xa0" <= held <= b"\xed\xbf"


class _PromptDecoder(MessageDecoder):
    """Fails at the second byte of a surrogate, as it does at the first bad byte of all else."""

    def process_frame(self, frame: Any) -> Any:
        frame = super().process_frame(frame)
        if self.decoder is not None and _begins_surrogate(self.decoder):
            raise ParseFailed("half a surrogate pair", CloseReason.INVALID_FRAME_PAYLOAD_DATA)
        return frame


class _RepairedDeflate(WsprotoDeflate):
    """wsproto 1.3 forgets, when a ping stands between two fragments of a compressed message, that
    the message is compressed, and hands out deflated bytes as text. RFC 7692 section 6.1 keeps
    the state over control frames."""

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        if not self._inbound_is_compressible:
            return None
        return super().frame_inbound_complete(proto, fin)

    def frame_inbound_header(self, proto: Any, opcode: Any, rsv: Any, payload_length: int) -> Any:
        if opcode.iscontrol():  # the other half of the same: do not begin a message either
            self._inbound_is_compressible = False
            return CloseReason.PROTOCOL_ERROR if rsv.rsv1 else RsvBits(True, False, False)
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)


def by_wsproto(chunks: Iterable[bytes], *, deflate: bool) -> Outcome:
    """``wsproto``, which knows no limit on size.

    Added here: joining the pieces of a message, which it hands out as they come; and
    ``_PromptDecoder`` and ``_RepairedDeflate``.
    """
    extensions = []
    if deflate:
        extension = _RepairedDeflate(client_no_context_takeover=True)
        extension.accept("permessage-deflate")
        extensions.append(extension)
    protocol = FrameProtocol(client=False, extensions=list(extensions))
    protocol._message_decoder = _PromptDecoder()
    outcome = Outcome()
    parts: list[Any] = []
    for chunk in chunks:
        protocol.receive_bytes(chunk)
        try:
            for frame in protocol.received_frames():
                payload: Any = frame.payload
                if frame.opcode is WsprotoOpcode.PING:
                    outcome.events.append(("ping", bytes(payload)))
                elif frame.opcode is WsprotoOpcode.PONG:
                    outcome.events.append(("pong", bytes(payload)))
                elif frame.opcode is WsprotoOpcode.CLOSE:
                    outcome.events.append(("close", int(payload[0]), payload[1]))
                    return outcome
                else:
                    parts.append(payload)
                    if frame.message_finished:
                        if frame.opcode is WsprotoOpcode.TEXT:
                            outcome.events.append(("text", "".join(parts)))
                        else:
                            outcome.events.append(("binary", b"".join(parts)))
                        parts = []
        except ParseFailed as error:
            outcome.events.append(("fail", int(error.code)))
            outcome.why = str(error)
            return outcome
    decoder = protocol._frame_decoder
    outcome.waiting = decoder.header is not None or len(decoder.buffer) > 0
    return outcome
