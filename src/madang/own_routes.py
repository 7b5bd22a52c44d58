"""The routes that belong to no surface: health, the console's files, and what only a development
server has. May import surfaces and what is below; `compose` puts them into the app."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI, Request
from pydantic import Field
from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from madang import console
from madang.clock import Clock
from madang.gateways.entrance import Entrance
from madang.ports.store import Store
from madang.protocol.errors import Unavailable
from madang.services.auth import mint
from madang.services.trust import minting_key
from madang.settings import Settings
from madang.surfaces.fields import Strict, UserRef
from madang.surfaces.requests import JsonResponse, JsonRoute

DEV_TOKEN_SECONDS = 24 * 3600


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


def add(app: FastAPI, parts: Parts) -> None:
    """Add them to the app."""
    settings = parts.settings
    app.router.route_class = JsonRoute

    @app.get("/healthz", include_in_schema=False)
    async def alive() -> Any:
        return JsonResponse({"status": "ok"})

    @app.get("/readyz", include_in_schema=False)
    async def ready() -> Any:
        if parts.entrance.draining:
            raise Unavailable("Going away")
        await parts.store.epoch()
        return JsonResponse({"status": "ok"})

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

    files = StaticFiles(directory=console.console_directory(), html=True)
    app.mount("/console", _only_page_files(files))


_PAGE_FILE = re.compile(r"/?([\w./-]+\.(html|css|js|svg))?", re.ASCII)


def _only_page_files(files: ASGIApp) -> ASGIApp:
    """The console's directory is a package too: only what belongs to the page is served, with
    the policy it is written for."""
    policy = console.CONTENT_SECURITY_POLICY.encode()

    async def serve_page(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if not _PAGE_FILE.fullmatch(path):
            scope = {**scope, "path": scope.get("root_path", "") + "/none"}

        async def with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", policy),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-cache"),
                ]
            await send(message)

        await files(scope, receive, with_policy)

    return serve_page
