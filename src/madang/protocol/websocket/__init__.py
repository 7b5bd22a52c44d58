"""The WebSocket codec: RFC 6455 and RFC 7692 as pure functions and one small class.

Bytes in, messages out (``Receiver``); messages in, bytes out (the ``*_frame`` functions); and the
opening handshake. It imports the standard library only, and never touches a socket, a clock or
an event loop: a gateway does that.
"""

from madang.protocol.websocket.frames import (
    MAX_CONTROL_PAYLOAD,
    MAX_REASON,
    Opcode,
    binary_frame,
    close_code_allowed,
    close_frame,
    deflated_text_frame,
    masked_frame,
    ping_frame,
    pong_frame,
    text_frame,
)
from madang.protocol.websocket.handshake import (
    HandshakeError,
    Upgrade,
    accept_key,
    negotiate_deflate,
    read_upgrade,
    refusal,
    upgrade_response,
)
from madang.protocol.websocket.incoming import Close, Failure, Incoming, Limits, Ping, Pong
from madang.protocol.websocket.receiver import NO_STATUS, Receiver

__all__ = [
    "MAX_CONTROL_PAYLOAD",
    "MAX_REASON",
    "NO_STATUS",
    "Close",
    "Failure",
    "HandshakeError",
    "Incoming",
    "Limits",
    "Opcode",
    "Ping",
    "Pong",
    "Receiver",
    "Upgrade",
    "accept_key",
    "binary_frame",
    "close_code_allowed",
    "close_frame",
    "deflated_text_frame",
    "masked_frame",
    "negotiate_deflate",
    "ping_frame",
    "pong_frame",
    "read_upgrade",
    "refusal",
    "text_frame",
    "upgrade_response",
]
