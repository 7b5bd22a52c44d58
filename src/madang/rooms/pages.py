"""Serves the pages from memory, compressed once: a hall full of phones asks for them in the same
minute, and the server has better things to do than to read files. What stands in comments is left
out; every line keeps its number."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import orjson
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the pages are written for; every file of them carries it."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_PAGE_OF = {"": "enter.html", "new": "new.html"}
_ROOM = re.compile(r"[A-Za-z0-9 -]{1,20}(?:/(host|screen))?", re.ASCII)
_COMMENT = re.compile(rb"^[ \t]*(?:/\*(?:(?!\*/).)*\*/|//[^\n]*)[ \t]*$", re.MULTILINE | re.DOTALL)
"""One that has its lines to itself."""
_FILE = re.compile(r"files/([0-9a-f]+)/([\w-]+\.(?:css|js|svg))", re.ASCII)


def rooms_directory() -> Path:
    """The directory that holds the pages and everything they load."""
    return Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class _File:
    plain: bytes
    zipped: bytes
    etag: str
    type: str


class RoomPages:
    """An ASGI app to be mounted at `/r`.

    What the pages load lies below a name that is made from all of it: a browser asks for it once
    and keeps it, and never mixes files of two versions.

    Args:
        dev: whether the page that opens a room may ask for a development token.
        missing: answers what is none of the pages.
    """

    def __init__(self, *, dev: bool, missing: ASGIApp) -> None:
        self._missing = missing
        self._config = orjson.dumps({"dev": dev})
        found = {
            path.name: path.read_bytes()
            for path in sorted(rooms_directory().iterdir())
            if path.suffix in _TYPES
        }
        self.version = blake2b(b"\0".join(found.values()), digest_size=6).hexdigest()
        self._files: Mapping[str, _File] = {
            name: self._file(name, content) for name, content in found.items()
        }

    def _file(self, name: str, content: bytes) -> _File:
        suffix = name[name.rindex(".") :]
        if suffix == ".html":
            content = content.replace(b"files/", b"files/%s/" % self.version.encode())
        elif suffix in (".js", ".css"):
            content = _COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), content)
        etag = f'"{blake2b(content, digest_size=8).hexdigest()}"'
        return _File(content, gzip.compress(content, 9, mtime=0), etag, _TYPES[suffix])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(scope.get("root_path", "")).removeprefix("/")
        answer = self._answer(path, scope) if scope.get("method") in ("GET", "HEAD") else None
        await (answer or self._missing)(scope, receive, send)

    def _answer(self, path: str, scope: Scope) -> Response | None:
        if path == "config.json":
            return Response(self._config, headers=_headers("no-store"), media_type=_JSON)
        asked = _FILE.fullmatch(path)
        if asked is not None:
            # A page of another node, which may be of another version: it gets what there is here,
            # and does not keep it under that name.
            kept = _FOR_EVER if asked[1] == self.version else "no-store"
            return self._send(asked[2], kept, scope)
        if path in _PAGE_OF:
            return self._send(_PAGE_OF[path], "no-cache", scope)
        if path.endswith("/") and _ROOM.fullmatch(path[:-1]):
            return RedirectResponse(f"{scope.get('root_path', '')}/{path[:-1]}")
        room = _ROOM.fullmatch(path)
        if room is None:
            return None
        return self._send(f"{room[1] or 'join'}.html", "no-cache", scope)

    def _send(self, name: str, kept: str, scope: Scope) -> Response | None:
        file = self._files.get(name)
        if file is None:
            return None
        asked = Headers(scope=scope)
        headers = {**_headers(kept), "etag": file.etag, "vary": "accept-encoding"}
        if file.etag in asked.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = file.plain
        if "gzip" in asked.get("accept-encoding", ""):
            content = file.zipped
            headers["content-encoding"] = "gzip"
        headers["content-type"] = file.type
        return Response(content, headers=headers)


_JSON = "application/json"


def _headers(kept: str) -> dict[str, str]:
    return {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": kept,
    }
