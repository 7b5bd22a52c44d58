"""The one hierarchy of errors that may reach a client.

MadangError
├── InvalidJson, InvalidId, Invalid     the request itself is wrong
├── Unauthorized                        no valid token
├── NotAParticipant, NotFound, Forbidden, Conflict
├── RateLimited, TooLarge               limits, with `retry_after` (ms) where one helps
└── Unavailable                         not just now; the same request may succeed later

Inside raises, the boundary translates. `text` is public: it never holds an internal detail.
"""

from __future__ import annotations

from madang.protocol.codes import ErrorCode


class MadangError(Exception):
    """A refusal with a stable `code` and a public `text`.

    `retry_after` is in milliseconds, or None where trying again will not help.
    """

    code = ErrorCode.INTERNAL

    def __init__(self, text: str, *, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after


class InvalidJson(MadangError):
    """The bytes are not JSON, or not a JSON object."""

    code = ErrorCode.INVALID_JSON


class InvalidId(MadangError):
    """An id field does not hold an id."""

    code = ErrorCode.INVALID_ID


class Invalid(MadangError):
    """A field is missing, unknown or has a wrong value."""

    code = ErrorCode.VALIDATION


class Unauthorized(MadangError):
    """No token, or one that is not valid."""

    code = ErrorCode.UNAUTHORIZED


class NotAParticipant(MadangError):
    """The conversation does not exist or the caller is not in it: both answer alike."""

    code = ErrorCode.NOT_A_PARTICIPANT

    def __init__(self) -> None:
        super().__init__("Not a participant of this conversation")


class NotFound(MadangError):
    """It does not exist, or the caller may not see it: both answer alike."""

    code = ErrorCode.NOT_FOUND


class Forbidden(MadangError):
    """The caller may see it but not do this to it."""

    code = ErrorCode.FORBIDDEN


class Conflict(MadangError):
    """It is in a state that does not allow this."""

    code = ErrorCode.CONFLICT


class RateLimited(MadangError):
    """Too many in too short a time; `retry_after` says when the next one will pass."""

    code = ErrorCode.RATE_LIMIT


class TooLarge(MadangError):
    """Bigger than the limit."""

    code = ErrorCode.TOO_LARGE


class Unavailable(MadangError):
    """A part the server needs is away; nothing was changed, the request may be repeated."""

    code = ErrorCode.UNAVAILABLE

    def __init__(self, text: str = "Temporarily unavailable", *, retry_after: int = 1000) -> None:
        super().__init__(text, retry_after=retry_after)


def invalid_id(field: str) -> InvalidId:
    """The error for a field that should hold an id and does not."""
    return InvalidId(f"Invalid {field} format")
