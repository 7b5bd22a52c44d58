"""The developer console: one static page that speaks the messenger contract in the open.

The files beside this module are served as they are (ES modules, no build step, no request to any
other host) under a Content-Security-Policy without inline script or style. This package may import
nothing of Madang; whoever serves it asks ``console_directory`` where the files are.

Relative addresses in ``index.html`` need the page to be at ``/console/``: a server answers
``/console`` with a redirect there that keeps the query (Starlette's ``Mount`` does). It also
answers ``/console/config.json`` with ``{"dev": bool, "version": str}``.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["CONTENT_SECURITY_POLICY", "console_directory"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page is written for; serve every file of it with this header."""


def console_directory() -> Path:
    """The directory that holds ``index.html`` and everything it loads."""
    return Path(__file__).resolve().parent
