"""The developer console: one static page that speaks the messenger contract in the open.

The files beside this module are served as they are (ES modules, no build step, no request to any
other host) under a Content-Security-Policy without inline script or style. This package may import
nothing of Madang; whoever serves it asks ``console_directory`` where the files are.

Relative addresses in ``index.html`` need the page to be at ``/console/``: a server answers
``/console`` with a redirect there that keeps the query (Starlette's ``Mount`` does). It also
answers ``/console/config.json`` with ``{"dev": bool, "version": str}``.

``api.html`` is the page ``/docs``: Swagger UI, whose script and style come out of a package and not
from another host.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "DOCS_CONTENT_SECURITY_POLICY",
    "console_directory",
    "docs_files",
]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page is written for; serve every file of it with this header. Pictures that people send
are fetched with a token, and shown as ``blob:``."""

DOCS_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The same for the page ``/docs``, whose Swagger UI writes styles into its elements."""


def console_directory() -> Path:
    """The directory that holds ``index.html`` and everything it loads."""
    return Path(__file__).resolve().parent


def docs_files() -> dict[str, Path]:
    """What ``/docs`` (the empty name) and ``/docs/NAME`` answer with."""
    here = console_directory()
    found = find_spec("fastapi_offline")
    assert found is not None and found.origin is not None
    swagger = Path(found.origin).parent / "static"
    return {
        "": here / "api.html",
        "api.js": here / "api.js",
        **{name: swagger / name for name in ("swagger-ui.css", "swagger-ui-bundle.js")},
    }
