"""Files and thumbnails, to those who may have them at that moment.

Nothing that somebody uploaded is ever shown as a page: it is saved, or an `img` shows it, and where
a browser opens it all the same it is in a sandbox that runs nothing (`HEADERS`).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from starlette.types import Receive, Scope, Send

from madang.model.files import THUMBNAIL_TYPE
from madang.model.identity import Identity
from madang.model.nouns import File
from madang.model.times import MICROSECONDS
from madang.ports.blobs import BlobMissing
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import Unavailable
from madang.services import file_types, parts
from madang.services.files import not_found
from madang.surfaces.files import ranges
from madang.surfaces.files.fields import FilePath
from madang.surfaces.files.ranges import Range
from madang.surfaces.files.work import Work
from madang.surfaces.problems import problem
from madang.surfaces.requests import Caller

LOOK_AGAIN_SECONDS = 1.0
LOOK_AGAIN_BYTES = parts.PART
"""How long, and how far, somebody who is taken out of a conversation still gets of a file."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "referrer-policy": "no-referrer",
    # Kept by the browser, and asked for each time whether it may still be shown.
    "cache-control": "private, no-cache",
}


def add(routes: APIRouter, work: Work) -> None:
    """Add the routes."""

    @routes.get("/{file_id}", response_class=Response)
    async def get_file(request: Request, caller: Caller, file_id: FilePath) -> Response:
        """A file of a conversation I am in; `Range` and conditions work."""
        return await _file(work, request, caller, file_id)

    @routes.head("/{file_id}", response_class=Response)
    async def head_file(request: Request, caller: Caller, file_id: FilePath) -> Response:
        """The same without its bytes."""
        return await _file(work, request, caller, file_id)

    @routes.get("/{file_id}/thumb", response_class=Response)
    async def get_thumbnail(request: Request, caller: Caller, file_id: FilePath) -> Response:
        """The thumbnail of a picture; `Range` and conditions work."""
        return await _thumbnail(work, request, caller, file_id)

    @routes.head("/{file_id}/thumb", response_class=Response)
    async def head_thumbnail(request: Request, caller: Caller, file_id: FilePath) -> Response:
        """The same without its bytes."""
        return await _thumbnail(work, request, caller, file_id)


@dataclass(frozen=True, slots=True)
class _Content:
    """A file, or its thumbnail: so many bytes, known by the `tag`. `read(start, end)` gives them
    from the first up to, without, the last."""

    file: File
    tag: str
    size: int
    read: Callable[[int, int], AsyncIterator[bytes]]


async def _file(work: Work, request: Request, caller: Identity, file_id: str) -> Response:
    file = await _seen(work, caller, file_id)
    assert file.size is not None
    kind = file.type if file_types.is_picture(file.type) else file_types.BINARY
    headers = {"content-type": kind, "content-disposition": disposition(file.name)}
    read = partial(parts.read, work.blobs, file.id)
    content = _Content(file, f'"{file.id}"', file.size, read)
    return await _asked(work, request, caller, content, headers)


async def _thumbnail(work: Work, request: Request, caller: Identity, file_id: str) -> Response:
    file = await _seen(work, caller, file_id)
    if file.thumbnail_size is None:
        raise not_found()
    headers = {"content-type": THUMBNAIL_TYPE, "content-disposition": "inline"}
    read = partial(work.blobs.read, parts.thumbnail_key(file.id))
    content = _Content(file, f'"{file.id}-thumb"', file.thumbnail_size, read)
    return await _asked(work, request, caller, content, headers)


async def _asked(
    work: Work, request: Request, caller: Identity, content: _Content, headers: dict[str, str]
) -> Response:
    """What is asked for of it: all, parts, or nothing but what it is."""
    headers = {**HEADERS, **headers, "accept-ranges": "bytes"}
    answered = _by_conditions(request, content, headers)
    if answered is not None:
        return answered
    size, modified = content.size, content.file.created_at // MICROSECONDS
    wanted: list[Range] = []
    if request.method == "GET" and ranges.goes_on(request.headers, content.tag, modified):
        try:
            wanted = ranges.parse(request.headers.get("range"), size)
        except ranges.Unsatisfiable:
            refused = problem(416, ErrorCode.VALIDATION, "No such range")
            refused.headers.update({"content-range": f"bytes */{size}", "accept-ranges": "bytes"})
            return refused
    if len(wanted) > 1:
        return await _several(work, request, caller, content, wanted, headers)
    start, end = wanted[0] if wanted else (0, size)
    headers["content-length"] = str(end - start)
    if wanted:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        return Response(None, status, headers)
    allowed = _allowed(work, caller, content.file, content.read(start, end))
    return await _answer(request, status, headers, allowed)


async def _several(
    work: Work,
    request: Request,
    caller: Identity,
    content: _Content,
    wanted: list[Range],
    headers: dict[str, str],
) -> Response:
    """`multipart/byteranges` (RFC 9110, 14.6)."""
    boundary = secrets.token_hex(16)
    heads = [
        (
            f"--{boundary}\r\ncontent-type: {headers['content-type']}\r\n"
            f"content-range: bytes {start}-{end - 1}/{content.size}\r\n\r\n"
        ).encode()
        for start, end in wanted
    ]
    last = f"--{boundary}--\r\n".encode()
    length = sum(
        len(head) + end - start + 2 for head, (start, end) in zip(heads, wanted, strict=True)
    )

    async def body() -> AsyncIterator[bytes]:
        for head, (start, end) in zip(heads, wanted, strict=True):
            yield head
            async for piece in content.read(start, end):
                yield piece
            yield b"\r\n"
        yield last

    headers = {
        **headers,
        "content-type": f"multipart/byteranges; boundary={boundary}",
        "content-length": str(length + len(last)),
    }
    return await _answer(request, 206, headers, _allowed(work, caller, content.file, body()))


async def _seen(work: Work, caller: Identity, file_id: str) -> File:
    file = await work.store.file(caller.org, file_id, caller.user_id)
    if file is None:
        raise not_found()
    return file


def _by_conditions(request: Request, content: _Content, headers: dict[str, str]) -> Response | None:
    """The answer to a request whose conditions are not met; adds to `headers` what they go by."""
    tag, modified = content.tag, content.file.created_at // MICROSECONDS
    headers["etag"] = tag
    headers["last-modified"] = formatdate(modified, usegmt=True)
    if not ranges.is_wanted(request.headers, tag, modified):
        return problem(412, ErrorCode.CONFLICT, "It is not that any more")
    if ranges.is_current(request.headers, tag, modified):
        about = {name: headers[name] for name in ("etag", "last-modified", "cache-control")}
        return Response(None, 304, about)
    return None


class Cut(Exception):
    """What is being sent is not to be sent any further."""


async def _allowed(
    work: Work, caller: Identity, file: File, content: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The content, as long as the caller may have it: access ends in the middle of a file, too."""
    since, sent = work.clock.monotonic(), 0
    async for piece in content:
        sent += len(piece)
        now = work.clock.monotonic()
        if sent > LOOK_AGAIN_BYTES or now - since > LOOK_AGAIN_SECONDS:
            since, sent = now, len(piece)
            if await work.store.file(caller.org, file.id, caller.user_id) is None:
                raise Cut
        yield piece


async def _answer(
    request: Request, status: int, headers: dict[str, str], content: AsyncIterator[bytes]
) -> Response:
    """The first piece is read before anything is said: a file that is gone is not found."""
    try:
        first = await anext(content)
    except StopAsyncIteration:
        first = b""
    except BlobMissing:
        raise not_found() from None
    return _Streamed(status, headers, request, first, content)


class _Streamed(Response):
    """A body in pieces. What cannot be gone on with is broken off, so that nobody takes a part for
    the whole; and nothing is read for somebody who has hung up."""

    def __init__(
        self,
        status: int,
        headers: dict[str, str],
        request: Request,
        first: bytes,
        rest: AsyncIterator[bytes],
    ) -> None:
        super().__init__(None, status, headers)
        self._request = request
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        body: dict[str, object] = {"type": "http.response.body", "more_body": True}
        await send({**body, "body": self._first})
        sent = 0
        try:
            async for piece in self._rest:
                sent += len(piece)
                if sent > LOOK_AGAIN_BYTES:
                    sent = 0
                    if await self._request.is_disconnected():
                        return
                await send({**body, "body": piece})
        except (Cut, BlobMissing, Unavailable):
            return
        await send({"type": "http.response.body", "body": b""})


def disposition(name: str) -> str:
    """`Content-Disposition` (RFC 6266): to be saved under this name, whatever is in it."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
