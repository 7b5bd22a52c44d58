"""Answers that say how much of the caller's allowance is left: the `RateLimit` headers
(draft-ietf-httpapi-ratelimit-headers), of every limit that the request was counted towards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import Depends
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from madang.clock import Clock
from madang.services.limits import Asked, RateLimit, asked_of
from madang.surfaces.requests import Caller


class TellLimits:
    """Adds the headers to what `app` answers, refusals included."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with asked_of() as asked:

            async def tell(message: Message) -> None:
                if asked and message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    _add(headers, asked.values(), self._clock.monotonic())
                await send(message)

            await self._app(scope, receive, tell)


def _add(headers: MutableHeaders, asked: Iterable[Asked], now: float) -> None:
    policies, states = [], []
    for limit, org_id, user_id in asked:
        left = limit.left(org_id, user_id, now)
        if left is not None:
            passing, reset = left
            policies.append(f'"{limit.name}";q={limit.per_minute};w=60')
            states.append(f'"{limit.name}";r={passing};t={reset}')
    if policies:
        headers["RateLimit-Policy"] = ", ".join(policies)
        headers["RateLimit"] = ", ".join(states)


def telling(limit: RateLimit) -> Any:
    """For a router whose answers all tell of `limit`, counted or not."""

    async def note(caller: Caller) -> None:
        limit.note(caller.org, caller.user_id)

    return Depends(note)
