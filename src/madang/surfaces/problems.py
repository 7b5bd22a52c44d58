"""REST errors: RFC 9457 problem documents with the stable `code`, and FastAPI's `detail` kept."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from madang import logs
from madang.protocol.codes import HTTP_STATUS, ErrorCode
from madang.protocol.errors import Invalid, MadangError
from madang.surfaces.fields import error_of

log = logs.get_logger(__name__)

_CODE_OF_STATUS = {
    400: ErrorCode.VALIDATION,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.VALIDATION,
    408: ErrorCode.UNAVAILABLE,
    413: ErrorCode.TOO_LARGE,
}


def problem(status: int, code: ErrorCode, text: str, *, retry_after: int | None = None) -> Response:
    """A problem document. `retry_after` is in milliseconds, the header's in whole seconds."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": text,
        "code": code,
    }
    headers = {}
    if retry_after is not None:
        content["retry_after"] = retry_after
        headers["Retry-After"] = str(math.ceil(retry_after / 1000))
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(orjson.dumps(content), status, headers, media_type="application/problem+json")


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""

    @app.exception_handler(MadangError)
    async def refused(_: Request, error: MadangError) -> Response:
        return problem(
            HTTP_STATUS[error.code], error.code, error.text, retry_after=error.retry_after
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        details = list(error.errors())
        found = error_of(details)
        if details[0]["type"] == "model_attributes_type" and not _is_json(request):
            # Only what is said to be JSON is read as such: no other page's form can send it.
            found = Invalid("Send Content-Type: application/json")
        return problem(HTTP_STATUS[found.code], found.code, found.text)

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        code = _CODE_OF_STATUS.get(error.status_code, ErrorCode.INTERNAL)
        answer = problem(error.status_code, code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request failed", path=request.url.path, exc_info=error)
        return problem(500, ErrorCode.INTERNAL, "Internal error")


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
