"""What answers HTTP: the routes of all surfaces in one app, and what every request goes through."""

from __future__ import annotations

import socket

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

import madang
from madang import own_routes
from madang.clock import Clock
from madang.compose.core import Core
from madang.compose.limits import Limits
from madang.compose.surfaces import Surfaces
from madang.exposition import Measured
from madang.metrics import Tally
from madang.settings import Settings
from madang.surfaces import problems
from madang.surfaces import search as search_rest
from madang.surfaces.events import rest as events_rest
from madang.surfaces.files import assembly as files_assembly
from madang.surfaces.files import tus
from madang.surfaces.limited import TellLimits
from madang.surfaces.messenger import rest as messenger_rest
from madang.surfaces.requests import BodyLimit, CountAnswers


def open_http(core: Core, limits: Limits, surfaces: Surfaces) -> tuple[FastAPI, ASGIApp]:
    """The app with all routes, and the stack that requests go through on their way to it."""
    answers = Tally()
    app = FastAPI(
        title="Madang",
        version=madang.__version__,
        summary="A messaging server that loses nothing.",
        docs_url=None,  # ours asks no other host for anything
        redoc_url=None,
    )
    app.state.callers = surfaces.callers
    problems.install(app)
    _add_surfaces(app, core, limits, surfaces)
    _add_own_routes(app, core, surfaces, answers)
    stack = TellLimits(app, core.clock)
    return app, CountAnswers(_bounded(stack, core.settings, core.clock), answers)


def _add_surfaces(app: FastAPI, core: Core, limits: Limits, surfaces: Surfaces) -> None:
    settings, store, writer = core.settings, core.backends.store, core.backends.writer
    app.include_router(
        messenger_rest.router(
            messenger_rest.Parts(
                store,
                writer,
                core.clock,
                core.presence,
                core.entrance,
                limits.messages,
                limits.changes,
                limits.runs,
                settings.ws_message_size_limit,
            )
        )
    )
    app.include_router(
        events_rest.router(
            events_rest.Parts(
                store,
                writer,
                core.hub,
                surfaces.admission,
                core.members,
                core.catchup,
                core.entrance,
                settings.output_limit_bytes,
                settings.ws_connection_timeout,
            )
        )
    )
    search = surfaces.search if settings.search_enabled else None
    surfaces.live.add_routes(app, search)
    if search is not None:
        app.include_router(search_rest.router(search))
    for routes in (*surfaces.files.routers(), *surfaces.agents.routers()):
        app.include_router(routes)


def _add_own_routes(app: FastAPI, core: Core, surfaces: Surfaces, answers: Tally) -> None:
    backends = core.backends
    measured = Measured(
        _node_name(core.settings),
        madang.__version__,
        core.entrance,
        core.hub,
        backends.writer,
        backends.store,
        core.delivery,
        core.catchup,
        backends.bus,
        answers,
        surfaces.agents,
    )
    own_routes.add(
        app,
        own_routes.Parts(
            core.settings, core.clock, backends.store, core.entrance, backends.bus, measured
        ),
    )


def _bounded(app: ASGIApp, settings: Settings, clock: Clock) -> ASGIApp:
    stack: ASGIApp = BodyLimit(app, clock, settings.body_timeout, streamed=files_assembly.STREAMED)
    if settings.cors_origins:
        stack = CORSMiddleware(
            stack,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "If-None-Match",
                "If-Range",
                "Last-Event-ID",
                "Range",
                *tus.REQUEST_HEADERS,
            ],
            expose_headers=[
                "Content-Disposition",
                "Content-Range",
                "ETag",
                "RateLimit",
                "RateLimit-Policy",
                "Retry-After",
                *tus.HEADERS,
            ],
        )
    return stack


def _node_name(settings: Settings) -> str:
    port = f":{settings.port}" if settings.port else ""
    return settings.node_name or f"{socket.gethostname()}{port}"
