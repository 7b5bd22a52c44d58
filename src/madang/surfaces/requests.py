"""What REST routes of all surfaces share: who asks, how bodies are read and answers written."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import orjson
from fastapi import Depends, Path, Query, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from madang.clock import Clock
from madang.metrics import Tally
from madang.model.identity import Identity
from madang.model.ids import parse_uuid
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import Forbidden, Invalid, Unauthorized, invalid_id
from madang.services.auth import TokenVerifier
from madang.services.live.impostors import Impostors
from madang.surfaces.problems import problem

PAGE_BYTES = 512 * 1024
"""Of the messages in a page of history: it ends with the one that reaches them."""
MAX_BODY = 1024 * 1024
"""Bytes of a request's body: fifty thousand participants of a group fit."""


class _OrjsonRequest(Request):
    """Reads JSON as the WebSocket does: lone surrogates and other non-JSON are refused."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = orjson.loads(await self.body())
            except orjson.JSONDecodeError:
                raise json.JSONDecodeError("Invalid JSON format", "", 0) from None
        return self._json


class JsonRoute(APIRoute):
    """A route whose bodies are read by orjson."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read_with_orjson(request: Request) -> Response:
            return await handle(_OrjsonRequest(request.scope, request.receive))

        return read_with_orjson


class JsonResponse(Response):
    """JSON by orjson: what is given must be ready for it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class BodyLimit:
    """Refuses bodies above `limit` bytes with 413, also those whose length nobody announced, and
    with 408 those that are not there after `seconds`, or of which nothing more comes for a third of
    that; but for paths that match `streamed`, whose routes read what they bound themselves."""

    def __init__(
        self,
        app: ASGIApp,
        clock: Clock,
        seconds: float,
        limit: int = MAX_BODY,
        streamed: re.Pattern[str] | None = None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._seconds = seconds
        self._limit = limit
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (self._streamed and self._streamed.search(scope["path"])):
            await self._app(scope, receive, send)
            return
        refused = problem(413, ErrorCode.TOO_LARGE, "Request body too large")
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            await refused(scope, receive, send)
            return
        read = 0
        whole = answered = False
        until = self._clock.monotonic() + self._seconds

        async def next_piece() -> Message:
            if whole or answered:
                return await receive()  # What is waited for is that the client goes away.
            left = until - self._clock.monotonic()
            try:
                async with asyncio.timeout(min(left, self._seconds / 3)):
                    return await receive()
            except TimeoutError:
                # Whatever still comes of it is not read: the connection is of no more use.
                raise HTTPException(
                    408, "Request body took too long", {"Connection": "close"}
                ) from None

        async def count() -> Message:
            nonlocal read, whole
            message = await next_piece()
            whole = not message.get("more_body", False)
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, "Request body too large")
            return message

        async def answer(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await self._app(scope, count, answer)


class CountAnswers:
    """Counts the answers of `app` by class of status: `2xx`, `5xx`."""

    def __init__(self, app: ASGIApp, answers: Tally) -> None:
        self._app = app
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers.add(f"{message['status'] // 100}xx")
            await send(message)

        await self._app(scope, receive, count if scope["type"] == "http" else send)


class Callers:
    """Who asks: the identity that a request's token proves."""

    def __init__(self, verifier: TokenVerifier, clock: Clock, impostors: Impostors) -> None:
        self._verifier = verifier
        self._clock = clock
        self._impostors = impostors

    async def __call__(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            token = request.query_params.get("token", "")
        if not token:
            raise Unauthorized("Missing token")
        identity = await self._verifier.authenticate(token.strip(), self._clock.now())
        await self._impostors.check(identity.org, identity.user_id)
        return identity


_bearer = HTTPBearer(auto_error=False, description="A JWT; `madang token USER` prints one.")


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    # The second argument is there for /docs, which learns from it where the token goes.
    callers: Callers = request.app.state.callers
    identity = request.state.caller = await callers(request)
    return identity


Caller = Annotated[Identity, Depends(_caller)]
"""Who asks; the app keeps its `Callers` in `app.state.callers`."""


def needs_role(identity: Identity, *roles: str) -> None:
    """Raises `Forbidden` unless the token grants one of the roles."""
    if not identity.roles.intersection(roles):
        raise Forbidden(f"A token with the role {' or '.join(roles)} is needed")


def uuid_named(name: str) -> Any:
    """A path parameter that is an id; for `Annotated[str, …]`."""

    # Not `Annotated`: its text would be read where `name` is not known.
    def parse(text: str = Path(alias=name)) -> str:
        found = parse_uuid(text)
        if found is None:
            raise invalid_id(name)
        return found

    return Depends(parse)


ConversationPath = Annotated[str, uuid_named("conversation_id")]
MessagePath = Annotated[str, uuid_named("message_id")]
Limit = Annotated[int, Query(ge=1, le=200)]


def integer(name: str, text: str | None) -> int | None:
    """A whole number out of a query parameter."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"{name}: must be a whole number") from None
