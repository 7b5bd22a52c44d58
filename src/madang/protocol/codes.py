"""Every code a client can meet, in one place: errors and WebSocket close codes.

The range of a close code decides what a client does: 1001, 1011, 1012, 1013 and 4000 to 4008 mean
"reconnect and resume"; 1008, 1009, 4009 and above mean "not again with the same token".
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """Stable codes of error frames and problem documents."""

    INVALID_JSON = "INVALID_JSON"
    INVALID_ID = "INVALID_ID"
    VALIDATION = "VALIDATION"
    NOT_A_PARTICIPANT = "NOT_A_PARTICIPANT"
    FORBIDDEN = "FORBIDDEN"
    UNAUTHORIZED = "UNAUTHORIZED"
    NOT_FOUND = "NOT_FOUND"
    CONFLICT = "CONFLICT"
    RATE_LIMIT = "RATE_LIMIT"
    TOO_LARGE = "TOO_LARGE"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL = "INTERNAL"


HTTP_STATUS: dict[ErrorCode, int] = {
    ErrorCode.INVALID_JSON: 400,
    ErrorCode.INVALID_ID: 422,
    ErrorCode.VALIDATION: 422,
    ErrorCode.UNAUTHORIZED: 401,
    ErrorCode.NOT_A_PARTICIPANT: 404,
    ErrorCode.FORBIDDEN: 403,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.CONFLICT: 409,
    ErrorCode.RATE_LIMIT: 429,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}


class CloseCode(IntEnum):
    """WebSocket close codes (RFC 6455, 7.4) as Madang uses them."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The server stops or restarts: reconnect at once."""
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    BAD_UTF8 = 1007
    NOT_ALLOWED = 1008
    """Do not reconnect with the same token."""
    TOO_LARGE = 1009
    INTERNAL = 1011
    TRY_LATER = 1013
    """The server holds as many connections as it may."""
    TOKEN_EXPIRED = 4001
    IDLE = 4002
    """Nothing was heard for WS_CONNECTION_TIMEOUT: reconnect and resume."""
    TOO_SLOW = 4008
    """Unsent bytes passed the limit: reconnect and resume."""
    ACCESS_REMOVED = 4009
