"""Routes that say how much of the caller's allowance is left: the `RateLimit` headers
(draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response

from madang.clock import Clock
from madang.model.identity import Identity
from madang.protocol.codes import HTTP_STATUS
from madang.protocol.errors import RateLimited
from madang.services.limits import RateLimit
from madang.surfaces.problems import problem
from madang.surfaces.requests import JsonRoute


def limited_route(limit: RateLimit, clock: Clock) -> type[JsonRoute]:
    """A route class for a router whose answers tell of `limit`."""

    class LimitedRoute(JsonRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def tell_limit(request: Request) -> Response:
                try:
                    response = await handle(request)
                except RateLimited as error:
                    response = problem(
                        HTTP_STATUS[error.code],
                        error.code,
                        error.text,
                        retry_after=error.retry_after,
                    )
                caller: Identity | None = getattr(request.state, "caller", None)
                if caller is not None:
                    add_headers(response, limit, caller, clock.monotonic())
                return response

            return tell_limit

    return LimitedRoute


def add_headers(response: Response, limit: RateLimit, caller: Identity, now: float) -> None:
    """What is left of the caller's allowance, as of now."""
    left = limit.left(caller.org, caller.user_id, now)
    if left is not None:
        passing, reset = left
        policy = f'"{limit.name}"'
        response.headers["RateLimit-Policy"] = f"{policy};q={limit.per_minute};w=60"
        response.headers["RateLimit"] = f"{policy};r={passing};t={reset}"
