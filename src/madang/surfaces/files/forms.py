"""Uploads by form: `multipart/form-data` with the file and what is said with it, in one request.

The body is read as it comes and never kept: of the file, one part is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from madang.model.filenames import display_name
from madang.model.files import file_ids
from madang.model.identity import Identity
from madang.model.nouns import File, Message
from madang.model.times import iso
from madang.protocol.errors import (
    Conflict,
    Invalid,
    MadangError,
    NotAParticipant,
    NotFound,
    RateLimited,
    TooLarge,
    Unavailable,
)
from madang.surfaces.content import sender_type
from madang.surfaces.files.fields import FIELDS, Caption, caption, text
from madang.surfaces.files.work import Work
from madang.surfaces.requests import Caller, JsonResponse, uuid_named

AROUND = 1024 * 1024
"""Bytes of a body beside the file's: boundaries, other fields."""

ConversationPath = Annotated[str, uuid_named("conversation_id")]
SessionPath = Annotated[str, uuid_named("session_id")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        **{name: {"type": "string"} for name in sorted(FIELDS)},
                    },
                }
            }
        },
    }
}


def add_to_sessions(routes: APIRouter, work: Work) -> None:
    """Add the route to those of sessions."""

    @routes.post("/{session_id}/files", status_code=201, openapi_extra=_BODY)
    async def upload_to_session(
        request: Request, caller: Caller, session_id: SessionPath, idempotency_key: Key = None
    ) -> Response:
        """Upload a file and send it as a message. A repeat (same `client_id` or
        `Idempotency-Key`) answers 200 with the first one."""
        try:
            return await _upload(work, request, caller, session_id, idempotency_key)
        except NotAParticipant:
            raise NotFound("Session not found") from None


def add_to_conversations(routes: APIRouter, work: Work) -> None:
    """Add the same route to those of the messenger's conversations."""

    @routes.post("/{conversation_id}/files", status_code=201, openapi_extra=_BODY)
    async def upload_to_conversation(
        request: Request,
        caller: Caller,
        conversation_id: ConversationPath,
        idempotency_key: Key = None,
    ) -> Response:
        """Upload a file and send it as a message. A repeat (same `client_id` or
        `Idempotency-Key`) answers 200 with the first one."""
        return await _upload(work, request, caller, conversation_id, idempotency_key)


async def _upload(
    work: Work, request: Request, caller: Identity, conversation_id: str, key: str | None
) -> Response:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data" or not options.get("boundary"):
        raise Invalid("The body must be multipart/form-data")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > work.uploads.bounds.max_size + AROUND:
        raise TooLarge(f"File too large: at most {work.uploads.bounds.max_size} bytes")
    work.check_beginning(caller)
    form = _Form(work, caller, conversation_id, request, options["boundary"])
    try:
        file, words = await form.read()
    except ClientDisconnect:
        # Nobody is there to be told.
        return Response(None, 400)
    except MultipartError:
        raise Invalid("The body is not valid multipart/form-data") from None
    try:
        done = await work.completing.send(
            file, words.message, sender_type(caller), words.client_id or key, words.reply_to_id
        )
    except RateLimited:
        # Whoever sends the form again sends the file again.
        await work.completing.drop(file)
        raise
    if not file_ids(done.message.attachments):
        raise Conflict("client_id was used for another message")
    return JsonResponse(_told(done.message), 201 if done.event else 200)


def _told(message: Message) -> dict[str, Any]:
    sent = next(a for a in message.attachments if "file_id" in a)
    return {
        "file_id": sent["file_id"],
        "file_url": sent["file_url"],
        "thumbnail_url": sent.get("thumbnail_url"),
        "message_id": message.id,
        "conversation_id": message.conversation_id,
        "seq": message.seq,
        "created_at": iso(message.created_at),
        "file_info": {name: sent[name] for name in ("name", "type", "size")},
    }


class _Form:
    """One body on its way in."""

    def __init__(
        self, work: Work, caller: Identity, conversation_id: str, request: Request, boundary: str
    ) -> None:
        self._work = work
        self._caller = caller
        self._conversation_id = conversation_id
        self._request = request
        # Names of files come in any bytes; Latin-1 keeps them until `_utf8`.
        self._parser = PushMultipartParser(
            boundary, max_segment_count=8, max_header_size=8192, header_charset="latin1"
        )
        self._file: File | None = None

    async def read(self) -> tuple[File, Caption]:
        """The file, stored and looked at, and what is said with it. Where anything is wrong with
        either, the file is deleted.

        Raises:
            MadangError, MultipartError, ClientDisconnect
        """
        fields: dict[str, Any] = {}
        events = self._events()
        try:
            try:
                async with asyncio.timeout(self._work.uploads.bounds.longest):
                    await self._segments(events, fields)
            except TimeoutError:
                raise Unavailable("The upload took too long") from None
            words = caption(fields, self._work.max_content)
            if self._file is None:
                raise Invalid("Missing field: file")
            async with self._work.uploads.alone(self._file.id):
                self._file = await self._work.completing.finish(self._file)
        except BaseException as error:
            await self._give_up(error)
            raise
        finally:
            await events.aclose()
        return self._file, words

    async def _segments(self, events: AsyncGenerator[Any], fields: dict[str, Any]) -> None:
        async for event in events:
            if not isinstance(event, MultipartSegment):
                continue
            name = _utf8(event.name)
            if name == "file" and self._file is None:
                await self._take(_utf8(event.filename or ""), events)
            elif name in FIELDS and name not in fields:
                fields[name] = await self._field(name, events)
                caption(fields, self._work.max_content)
            else:
                raise Invalid(f"Unknown field: {name[:100]}")

    async def _give_up(self, error: BaseException) -> None:
        if self._file is not None and not isinstance(error, asyncio.CancelledError):
            try:
                await self._work.completing.drop(self._file)
            except MadangError:
                pass  # It is swept when its time has come.

    async def _take(self, name: str, events: AsyncGenerator[Any]) -> None:
        uploads = self._work.uploads
        begun = await uploads.begin(
            self._caller, self._conversation_id, display_name(name), None, {}
        )
        self._file = begun
        async with uploads.alone(begun.id) as turn:
            self._file = await uploads.receive(begun, _content(events), turn)

    async def _field(self, name: str, events: AsyncGenerator[Any]) -> str:
        content = bytearray()
        async for piece in _content(events):
            content += piece
            if len(content) > self._work.max_content:
                raise TooLarge(f"{name}: too large")
        return text(name, content)

    async def _events(self) -> AsyncGenerator[MultipartSegment | bytes | bytearray | None]:
        """What the parser finds: where a field begins, its bytes, and None where it ends."""
        read = 0
        chunks = aiter(self._request.stream())
        with self._parser:
            while not self._parser.closed:
                try:
                    async with asyncio.timeout(self._work.uploads.bounds.idle):
                        chunk = await anext(chunks, b"")
                except TimeoutError:
                    raise Unavailable("The upload stalled") from None
                read += len(chunk)
                if read > self._work.uploads.bounds.max_size + AROUND:
                    raise TooLarge("Request body too large")
                for event in self._parser.parse(chunk):
                    yield event


async def _content(events: AsyncGenerator[Any]) -> AsyncIterator[bytes | bytearray]:
    """The bytes of the field that has just begun."""
    while (piece := await anext(events)) is not None:
        yield piece


def _utf8(name: str) -> str:
    return name.encode("latin1", "replace").decode("utf-8", "replace")
