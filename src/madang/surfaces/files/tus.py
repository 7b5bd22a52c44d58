"""Uploads that go on where they were cut off: the tus protocol, 1.0.0, with creation (also with the
first bytes), termination, expiration and checksum.

Where it is silent, `Upload-Metadata` says which conversation the file is for (`conversation_id` or
`session_id`), what it is called (`filename` or `name`), and, with `message`, that it is to be sent
as a message as soon as it is there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from madang.model.filenames import display_name
from madang.model.identity import Identity
from madang.model.ids import parse_uuid
from madang.model.nouns import File
from madang.model.times import MICROSECONDS
from madang.protocol.codes import HTTP_STATUS
from madang.protocol.errors import Conflict, Invalid, MadangError, NotFound, TooLarge, invalid_id
from madang.services.uploads import Checksum, ChecksumMismatch
from madang.surfaces.content import sender_type
from madang.surfaces.files.fields import FIELDS, Caption, FilePath, caption, text
from madang.surfaces.files.work import Work
from madang.surfaces.problems import problem
from madang.surfaces.requests import Caller

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,expiration,checksum"
ALGORITHMS = ("sha1", "sha256", "md5")
BODY = "application/offset+octet-stream"
CHECKSUM_MISMATCH = 460
"""The one status that the protocol made itself."""
HEADERS = (
    "Location",
    "Tus-Checksum-Algorithm",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Resumable",
    "Tus-Version",
    "Upload-Defer-Length",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
)
"""What a page of another origin must be allowed to read."""
REQUEST_HEADERS = (
    "Tus-Resumable",
    "Upload-Checksum",
    "Upload-Length",
    "Upload-Metadata",
    "Upload-Offset",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
)
"""And to send."""


class TusRoute(APIRoute):
    """Says on every answer, refusals too, which protocol it is, and refuses others."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def speak_tus(request: Request) -> Response:
            spoken = request.headers.get("tus-resumable")
            if request.method != "OPTIONS" and spoken != VERSION:
                answer = problem(412, Conflict.code, f"Tus-Resumable must be {VERSION}")
                answer.headers["tus-version"] = VERSION
            else:
                answer = await _answered(handle, request)
            answer.headers["tus-resumable"] = VERSION
            return answer

        return speak_tus


async def _answered(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request
) -> Response:
    try:
        return await handle(request)
    except ClientDisconnect:
        # What came is stored; nobody is there to be told.
        return Response(None, 400)
    except ChecksumMismatch as error:
        # Not `problem`: the standard library knows no name for this status.
        return Response(error.text, CHECKSUM_MISMATCH, media_type="text/plain")
    except MadangError as error:
        return problem(
            HTTP_STATUS[error.code], error.code, error.text, retry_after=error.retry_after
        )


def router(prefix: str, work: Work) -> APIRouter:
    """The routes under `prefix`."""
    routes = APIRouter(
        prefix=prefix, route_class=TusRoute, tags=["files"], default_response_class=Response
    )

    @routes.options("", include_in_schema=False)
    @routes.options("/{file_id}", include_in_schema=False)
    async def options() -> Response:
        return Response(
            None,
            204,
            {
                "tus-version": VERSION,
                "tus-extension": EXTENSIONS,
                "tus-max-size": str(work.uploads.bounds.max_size),
                "tus-checksum-algorithm": ",".join(ALGORITHMS),
            },
        )

    @routes.post("", status_code=201)
    async def create(request: Request, caller: Caller) -> Response:
        """Begin an upload, perhaps with its first bytes."""
        return await _create(work, request, caller)

    @routes.head("/{file_id}")
    async def where(caller: Caller, file_id: FilePath) -> Response:
        """How far it is."""
        return await _where(work, caller, file_id)

    @routes.patch("/{file_id}", status_code=204)
    async def append(request: Request, caller: Caller, file_id: FilePath) -> Response:
        """The next bytes."""
        return await _append(work, request, caller, file_id)

    @routes.delete("/{file_id}", status_code=204)
    async def terminate(caller: Caller, file_id: FilePath) -> Response:
        """Give it up."""
        return await _terminate(work, caller, file_id)

    @routes.post("/{file_id}", include_in_schema=False)
    async def overridden(request: Request, caller: Caller, file_id: FilePath) -> Response:
        # For what stands between and knows neither PATCH nor DELETE.
        match request.headers.get("x-http-method-override", "").upper():
            case "PATCH":
                return await _append(work, request, caller, file_id)
            case "DELETE":
                return await _terminate(work, caller, file_id)
            case "HEAD":
                return await _where(work, caller, file_id)
        return problem(405, Invalid.code, "Method Not Allowed")

    return routes


async def _create(work: Work, request: Request, caller: Identity) -> Response:
    size = _number(request, "upload-length")
    written = request.headers.get("upload-metadata", "")
    metadata = _metadata(written)
    _caption(metadata, work)
    given = metadata.get("conversation_id", metadata.get("session_id", b""))
    conversation_id = parse_uuid(text("conversation_id", given))
    if conversation_id is None:
        raise invalid_id("conversation_id")
    called = metadata.get("filename") or metadata.get("name") or b""
    name = display_name(called.decode("utf-8", "replace"))
    work.check_beginning(caller)
    file = await work.uploads.begin(caller, conversation_id, name, size, {"tus": written})
    headers = {"location": f"{request.url.path.rstrip('/')}/{file.id}"}
    if request.headers.get("content-type", "") == BODY:
        try:
            file = await _take(work, request, caller, file)
        except MadangError:
            # It is not known to whom it is not told: nothing of it is kept.
            await work.completing.drop(file)
            raise
        headers["upload-offset"] = str(file.received)
    return Response(None, 201, {**headers, **_expires(file)})


async def _where(work: Work, caller: Identity, file_id: str) -> Response:
    file = await work.uploads.own(caller, file_id)
    if file.size is not None:
        async with work.uploads.alone(file_id):
            file = await work.uploads.own(caller, file_id)
            file = await _complete(work, caller, file)
    # Else a form that is still coming: who looks does not cut it off.
    length = (
        {"upload-defer-length": "1"} if file.size is None else {"upload-length": str(file.size)}
    )
    headers = {
        "upload-offset": str(file.received),
        **length,
        "cache-control": "no-store",
        **_expires(file),
    }
    if written := file.metadata.get("tus"):
        headers["upload-metadata"] = written
    return Response(None, 200, headers)


async def _append(work: Work, request: Request, caller: Identity, file_id: str) -> Response:
    if request.headers.get("content-type", "") != BODY:
        return problem(415, Invalid.code, f"Content-Type must be {BODY}")
    offset = _number(request, "upload-offset")
    work.check_going_on(caller)
    file = await work.uploads.own(caller, file_id)
    if file.size is None:
        # A form's: nothing else goes on with it.
        raise Conflict("Not an upload of this kind")
    file = await _take(work, request, caller, file, offset)
    return Response(None, 204, {"upload-offset": str(file.received), **_expires(file)})


async def _take(
    work: Work, request: Request, caller: Identity, file: File, offset: int = 0
) -> File:
    checksum = _checksum(request)
    async with work.uploads.alone(file.id) as turn:
        file = await work.uploads.own(caller, file.id)
        if offset != file.received:
            raise Conflict(f"Upload-Offset is {file.received}")
        assert file.size is not None, "tus uploads have one from the beginning"
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > file.size - offset:
            raise TooLarge("More than announced")
        if file.status == "uploading":
            chunks: AsyncIterator[bytes] = aiter(request.stream())
            file = await work.uploads.receive(file, chunks, turn, checksum=checksum)
        return await _complete(work, caller, file)


async def _complete(work: Work, caller: Identity, file: File) -> File:
    """What is to happen when all of it is there; also after a server was killed before that."""
    if file.size is None or file.received < file.size:
        return file
    finished = await work.completing.finish(file)
    metadata = _metadata(str(file.metadata.get("tus", "")))
    if finished.message_id is None and "message" in metadata:
        words = _caption(metadata, work)
        await work.completing.send(
            finished, words.message, sender_type(caller), words.client_id, words.reply_to_id
        )
    return finished


async def _terminate(work: Work, caller: Identity, file_id: str) -> Response:
    await work.uploads.own(caller, file_id)
    async with work.uploads.alone(file_id):
        # As it is now: whoever worked on it may have sent it, or given it up as well.
        with suppress(NotFound):
            await work.completing.give_up(await work.uploads.own(caller, file_id))
    return Response(None, 204)


def _expires(file: File) -> dict[str, str]:
    if file.expires_at is None:
        return {}
    return {"upload-expires": formatdate(file.expires_at // MICROSECONDS, usegmt=True)}


def _number(request: Request, name: str) -> int:
    written = request.headers.get(name, "")
    if not (written.isascii() and written.isdigit() and len(written) <= 18):
        raise Invalid(f"{name.title()} must be a whole number")
    return int(written)


def _metadata(written: str) -> dict[str, bytes]:
    """`key base64, key base64`; a key alone is empty."""
    found: dict[str, bytes] = {}
    for pair in filter(None, (part.strip() for part in written.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True)
        except ValueError:
            raise Invalid("Upload-Metadata must be keys and values in Base64") from None
    return found


def _caption(metadata: Mapping[str, bytes], work: Work) -> Caption:
    fields = {name: text(name, metadata[name]) for name in FIELDS & metadata.keys()}
    return caption(fields, work.max_content)


def _checksum(request: Request) -> Checksum | None:
    written = request.headers.get("upload-checksum")
    if written is None:
        return None
    algorithm, _, digest = written.partition(" ")
    if algorithm in ALGORITHMS:
        try:
            found = base64.b64decode(digest, validate=True)
        except ValueError:
            found = b""
        if len(found) == hashlib.new(algorithm, usedforsecurity=False).digest_size:
            return Checksum(algorithm, found)
    raise Invalid(
        f"Upload-Checksum must be one of {', '.join(ALGORITHMS)} and its digest in Base64"
    )
