"""What can go wrong for a client, as one hierarchy.

MadangError                 everything below; `code`, `message`, `retry_after` (seconds)
├── Invalid                 INVALID_JSON, INVALID_ID, VALIDATION: the request itself is wrong
├── NotFound                NOT_FOUND: does not exist, or you may not see it
│   └── NotAParticipant     NOT_A_PARTICIPANT
├── Forbidden               FORBIDDEN: you may see it, but not do this
├── Conflict                CONFLICT
├── RateLimited             RATE_LIMIT: `retry_after` says when
├── TooLarge                TOO_LARGE: also raised here, before a frame that the server would refuse
├── Unavailable             UNAVAILABLE: nothing was changed, the same request may succeed later
├── ServerFault             INTERNAL, and whatever this version does not know
├── AuthError               no valid token; the client has stopped
├── Removed                 an admin closed this connection or access ended; the client has stopped
├── Disconnected            there is no connection now, or the client was closed
├── OutboxFull              `post` while the outbox holds as many messages as it may
└── TimedOut                no answer in time (a `TimeoutError` too); perhaps it was done
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madang.protocol.codes import ErrorCode


class MadangError(Exception):
    """A refusal or a failure.

    `code` is stable and upper-case, `message` is for people, `retry_after` is in seconds or None
    where trying again will not help. `client_id` is set where a message was being sent: sending
    again with it can never make a second message.
    """

    default_code = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
        client_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.retry_after = retry_after
        self.client_id = client_id


class Invalid(MadangError):
    """The request itself is wrong."""

    default_code = "VALIDATION"


class NotFound(MadangError):
    """It does not exist, or you may not see it: the server answers both alike."""

    default_code = "NOT_FOUND"


class NotAParticipant(NotFound):
    """The conversation does not exist, or you are not in it."""

    default_code = "NOT_A_PARTICIPANT"


class Forbidden(MadangError):
    """You may see it, but not do this to it."""

    default_code = "FORBIDDEN"


class Conflict(MadangError):
    """It is in a state that does not allow this."""

    default_code = "CONFLICT"


class RateLimited(MadangError):
    """Too many in too short a time."""

    default_code = "RATE_LIMIT"


class TooLarge(MadangError):
    """Bigger than the server takes."""

    default_code = "TOO_LARGE"


class Unavailable(MadangError):
    """The server cannot just now; nothing was changed."""

    default_code = "UNAVAILABLE"


class ServerFault(MadangError):
    """The server failed, or answered with something this client does not know."""


class AuthError(MadangError):
    """The token is missing, wrong or expired. The client does not try again by itself."""

    default_code = "UNAUTHORIZED"


class Removed(MadangError):
    """Closed by an admin, or access ended (close code 4009)."""

    default_code = "FORBIDDEN"


class Disconnected(MadangError):
    """There is no connection, or the client was closed before the answer came."""

    default_code = "UNAVAILABLE"


class OutboxFull(MadangError):
    """The outbox holds as many messages as it may."""

    default_code = "RATE_LIMIT"


class TimedOut(MadangError, TimeoutError):
    """No answer in time. Whether the request was carried out is unknown."""

    default_code = "UNAVAILABLE"


_BY_CODE: dict[str, type[MadangError]] = {
    ErrorCode.INVALID_JSON: Invalid,
    ErrorCode.INVALID_ID: Invalid,
    ErrorCode.VALIDATION: Invalid,
    ErrorCode.NOT_A_PARTICIPANT: NotAParticipant,
    ErrorCode.FORBIDDEN: Forbidden,
    ErrorCode.UNAUTHORIZED: AuthError,
    ErrorCode.NOT_FOUND: NotFound,
    ErrorCode.CONFLICT: Conflict,
    ErrorCode.RATE_LIMIT: RateLimited,
    ErrorCode.TOO_LARGE: TooLarge,
    ErrorCode.UNAVAILABLE: Unavailable,
    ErrorCode.INTERNAL: ServerFault,
}

_CODE_OF_STATUS: dict[int, str] = {
    400: ErrorCode.VALIDATION,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    409: ErrorCode.CONFLICT,
    413: ErrorCode.TOO_LARGE,
    422: ErrorCode.VALIDATION,
    429: ErrorCode.RATE_LIMIT,
    502: ErrorCode.UNAVAILABLE,
    503: ErrorCode.UNAVAILABLE,
    504: ErrorCode.UNAVAILABLE,
}


def error_for(code: str, message: str, *, retry_after_ms: object = None) -> MadangError:
    """The error for a `code` from the wire; an unknown one keeps its code as a `ServerFault`."""
    retry_after = retry_after_ms / 1000 if isinstance(retry_after_ms, int | float) else None
    return _BY_CODE.get(code, ServerFault)(message, code=code, retry_after=retry_after)


def error_from_frame(frame: Mapping[str, Any]) -> MadangError:
    """The error in a frame `{"type": "error", "code", "message", "retry_after"?}`."""
    code, message = frame.get("code"), frame.get("message")
    return error_for(
        code if isinstance(code, str) else ErrorCode.INTERNAL,
        message if isinstance(message, str) else "The server refused without a reason",
        retry_after_ms=frame.get("retry_after"),
    )


def error_from_problem(
    status: int, problem: object, retry_after_header: str | None = None
) -> MadangError:
    """The error in an RFC 9457 problem document, or in whatever came with a failing `status`.

    `retry_after_header` is HTTP's, in seconds; the document's own `retry_after` is finer and wins.
    """
    document: Mapping[str, Any] = problem if isinstance(problem, dict) else {}
    code = document.get("code")
    if not isinstance(code, str):
        code = _CODE_OF_STATUS.get(status, ErrorCode.INTERNAL)
    texts = (document.get("detail"), document.get("message"), document.get("title"))
    message = next((text for text in texts if isinstance(text, str)), f"HTTP status {status}")
    retry_after: object = document.get("retry_after")
    if retry_after is None and retry_after_header is not None and retry_after_header.isdigit():
        retry_after = int(retry_after_header) * 1000
    return error_for(code, message, retry_after_ms=retry_after)
