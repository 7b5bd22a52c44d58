"""The routes that belong to no surface: health and metrics, the files of the console and of live
rooms' pages, and what only a development server has. May import surfaces and what is below;
`compose` puts them into the app."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field
from starlette.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from madang import console, logs
from madang.clock import Clock
from madang.exposition import CONTENT_TYPE, Measured, exposition
from madang.gateways.entrance import Entrance, retry_after
from madang.ports.bus import Bus
from madang.ports.store import Store
from madang.protocol.codes import ErrorCode
from madang.rooms import RoomPages
from madang.services.auth import mint
from madang.services.trust import minting_key
from madang.settings import Settings
from madang.surfaces.fields import Strict, UserRef
from madang.surfaces.problems import problem
from madang.surfaces.requests import JsonResponse, JsonRoute

log = logs.get_logger(__name__)

DEV_TOKEN_SECONDS = 24 * 3600
READY_SECONDS = 2.0
"""Within this the store must answer for the node to be ready: balancers wait no longer."""


class _DevToken(Strict):
    user_id: UserRef
    roles: list[Literal["admin", "agent", "service"]] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    settings: Settings
    clock: Clock
    store: Store
    entrance: Entrance
    bus: Bus
    measured: Measured


def add(app: FastAPI, parts: Parts) -> None:
    """Add them to the app."""
    settings = parts.settings
    app.router.route_class = JsonRoute

    @app.get("/healthz", include_in_schema=False)
    async def alive() -> Any:
        return JsonResponse({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Any:
        states = {
            "draining": "yes" if parts.entrance.draining else "no",
            "store": await _store_state(parts.store),
            "bus": "away" if parts.bus.away else "ok",
        }
        failing = [part for part, state in states.items() if state not in ("ok", "no")]
        if not failing:
            return JsonResponse({"status": "ok", **states})
        return JsonResponse(
            {"status": "unavailable", "failing": failing, **states},
            503,
            {"retry-after": retry_after()},
        )

    if settings.metrics:

        @app.get("/metrics", include_in_schema=False)
        async def metrics() -> Any:
            return Response(
                await exposition(parts.measured), headers={"content-type": CONTENT_TYPE}
            )

    @app.get("/", include_in_schema=False)
    async def root(request: Request) -> Any:
        return RedirectResponse(request.scope.get("root_path", "") + "/console/")

    if settings.dev:

        @app.post("/api/v1/dev/token", tags=["development"])
        async def dev_token(body: _DevToken) -> Any:
            """A token for anyone: exists only with --dev."""
            token = mint(
                minting_key(settings),
                body.user_id,
                now=parts.clock.now(),
                ttl=DEV_TOKEN_SECONDS,
                roles=body.roles,
            )
            return JsonResponse({"token": token})

    @app.get("/console/config.json", include_in_schema=False)
    async def console_config() -> Any:
        return JsonResponse({"dev": settings.dev, "version": app.version})

    described = console.docs_files()

    @app.get("/docs", include_in_schema=False)
    @app.get("/docs/{name}", include_in_schema=False)
    async def docs(name: str = "") -> Any:
        if name not in described:
            return problem(404, ErrorCode.NOT_FOUND, "Not found")
        return FileResponse(
            described[name], headers=_page_headers(console.DOCS_CONTENT_SECURITY_POLICY)
        )

    files = StaticFiles(directory=console.console_directory(), html=True)
    app.mount("/console", _only_page_files(files))
    app.mount("/r", RoomPages(dev=settings.dev, missing=_not_found))


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await problem(404, ErrorCode.NOT_FOUND, "Not found")(scope, receive, send)


async def _store_state(store: Store) -> str:
    """`ok`, `slow` or `away`."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await store.epoch()
    except TimeoutError:
        return "slow"
    except Exception:
        # Whatever keeps the store from answering, the node is not ready, and says which part.
        log.warning("the store does not answer", exc_info=True)
        return "away"
    return "ok"


def _page_headers(policy: str) -> dict[str, str]:
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }


_PAGE_FILE = re.compile(r"/?([\w./-]+\.(html|css|js|svg))?", re.ASCII)


def _only_page_files(files: ASGIApp) -> ASGIApp:
    """The console's directory is a package too: only what belongs to the page is served, with
    the policy it is written for."""
    named = _page_headers(console.CONTENT_SECURITY_POLICY)
    policy = [(name.encode(), value.encode()) for name, value in named.items()]

    async def serve_page(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not _PAGE_FILE.fullmatch(path):
            scope = {**scope, "path": scope.get("root_path", "") + "/none"}

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *policy]
            await send(message)

        await files(scope, receive, with_policy)

    return serve_page
