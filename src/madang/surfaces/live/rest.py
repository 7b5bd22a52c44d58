"""Live rooms over REST: opening, joining, reading and ending one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any, Literal

import segno
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from madang.clock import Clock
from madang.model.ids import parse_uuid, uuid7
from madang.model.live import PollState, QuestionState, Room, Seat, poll_of, question_of
from madang.ports.live import LiveStore
from madang.ports.store import Page, Writer
from madang.protocol.errors import Forbidden, Invalid, MadangError
from madang.services.limits import RateLimit
from madang.services.live import codes, tokens
from madang.services.live.rooms import ChangeRoom, EraseRoom, OpenRoom
from madang.services.live.seats import TakeSeat
from madang.surfaces.live import bodies, export, frames
from madang.surfaces.live.attendance import Attendance
from madang.surfaces.live.door import Caller, Door, is_own_machine, network
from madang.surfaces.requests import Caller as Identified
from madang.surfaces.requests import JsonResponse, JsonRoute, Limit

MAX_HOST = 255
"""Characters of the name that a client calls the server by: no host's name is longer."""
QR_SCALE = 8
"""Pixels a module: sharp wherever the picture is not scaled."""
_NO_CONTENT = {
    "content-security-policy": "default-src 'none'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Files are only to be looked at or kept."""


After = Annotated[str | None, Query(max_length=100)]
Before = Annotated[int | None, Query(ge=1, lt=2**62)]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with. `public_url` is the server's own address, where it knows it."""

    attendance: Attendance
    door: Door
    store: LiveStore
    writer: Writer
    clock: Clock
    changes_limit: RateLimit
    public_url: str | None


def _token(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _address(request: Request) -> str | None:
    return network(None if request.client is None else request.client.host)


_bearer = HTTPBearer(
    auto_error=False, scheme_name="Seat", description="The token of a seat, or the host's."
)
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
"""Only for /docs, which learns from it where the token goes."""


async def _calling(request: Request, code: str, _: Bearer) -> Caller:
    door: Door = request.app.state.live_door
    return await door.calling(code, _token(request), _address(request))


Calling = Annotated[Caller, Depends(_calling)]
"""Whoever knows the code, or has a seat; the app keeps its `Door` in `app.state.live_door`."""


async def _hosting(caller: Calling) -> Caller:
    if not caller.is_host:
        raise Forbidden("Only a host can do this")
    return caller


Hosting = Annotated[Caller, Depends(_hosting)]


async def _check_host(request: Request) -> None:
    """Links are made of it: refused before anything is done."""
    if len(request.headers.get("host", "")) > MAX_HOST:
        raise HTTPException(400, "Host is too long")


def router(parts: Parts) -> APIRouter:
    """The routes under `/api/v1/sessions`."""
    routes = APIRouter(
        prefix="/api/v1/sessions",
        route_class=JsonRoute,
        dependencies=[Depends(_check_host)],
        tags=["live rooms"],
        default_response_class=JsonResponse,
    )
    _add_opening(routes, parts)
    _add_reading(routes, parts)
    _add_hosting(routes, parts)
    return routes


def _add_opening(routes: APIRouter, parts: Parts) -> None:
    store, writer = parts.store, parts.writer

    @routes.post("/", status_code=201, include_in_schema=False)
    @routes.post("", status_code=201)
    async def open_session(caller: Identified, request: Request, body: bodies.NewSession) -> Any:
        """Open a room. The host's token is told here and never again: keep it."""
        parts.changes_limit.check(caller.org, caller.user_id, parts.clock.monotonic())
        token = tokens.new_token()
        opened = await writer.write(
            OpenRoom(
                caller.org,
                caller.user_id,
                body.title,
                await codes.free(store),
                tokens.key_of(token),
                body.settings,
                body.language or "ko",
                body.nickname or caller.name,
            )
        )
        room: Room = opened.room
        return JsonResponse(
            {
                **frames.session(room, True),
                "host_token": token,
                "participant_id": room.host_id,
                "participant_nickname": opened.seat.nickname,
                "join_url": _join_url(parts, request, room),
            },
            201,
        )

    @routes.get("/{code}")
    async def get_session(caller: Calling, request: Request) -> Any:
        """What the room is. Anyone who knows the code may ask while it is open."""
        room = caller.room
        here = await parts.attendance.present(room)
        return JsonResponse(
            {
                **frames.session(room, caller.is_host),
                "join_url": _join_url(parts, request, room),
                "online_count": len(here.online),
                "total_participants": here.total,
                "question_count": here.counts.questions,
                "poll_count": here.counts.polls,
            }
        )

    @routes.get("/{code}/qr.svg")
    async def qr_code(caller: Calling, request: Request) -> Response:
        """The join link as a QR code."""
        drawn = BytesIO()
        link = _join_url(parts, request, caller.room)
        segno.make(link, error="m", micro=False).save(
            drawn, kind="svg", scale=QR_SCALE, border=4, light="#fff", title=link
        )
        headers = {**_NO_CONTENT, "cache-control": "no-cache"}
        return Response(drawn.getvalue(), media_type="image/svg+xml", headers=headers)

    @routes.post("/{code}/participants", status_code=201)
    async def join(request: Request, code: str, body: bodies.NewParticipant, _: Bearer) -> Any:
        """Take a seat. With the token of a seat in this room: that seat again, as it is; with the
        host's, the host's."""
        address = _address(request)
        given = _token(request) or body.token
        room, seat = await parts.door.joining(code, given, address)
        token = given
        if seat is None:
            token = tokens.new_token()
            own = is_own_machine(address)
            taken = await writer.write(
                TakeSeat(
                    room.org_id,
                    room.id,
                    uuid7(parts.clock.now()),
                    body.nickname or "",
                    tokens.key_of(token),
                    None if own else tokens.hashed(room, address or ""),
                    None if body.device is None else tokens.hashed(room, body.device),
                )
            )
            seat = taken.seat
        return JsonResponse(
            {
                "participant_id": seat.participant_id,
                "token": token,
                "nickname": seat.nickname,
                "role": seat.role,
                "is_muted": seat.muted,
                "session_code": room.code,
            },
            201,
        )


def _add_reading(routes: APIRouter, parts: Parts) -> None:
    store = parts.store

    @routes.get("/{code}/status")
    async def status(caller: Calling) -> Any:
        """Who is here."""
        room = caller.room
        here = await parts.attendance.present(room)
        return JsonResponse(
            {
                "session_code": room.code,
                "status": room.status,
                "online_participants": here.online,
                "online_count": len(here.online),
                "total_participants": here.total,
            }
        )

    @routes.get("/{code}/messages")
    async def messages(
        caller: Calling,
        limit: Limit = 50,
        before: Before = None,
    ) -> Any:
        """The chat, newest last. `next` is the `before` of the page before it."""
        room = caller.room
        page = await store.chat(room.org_id, room.id, before_seq=before, limit=limit)
        told = [{**frames.chat(room, one), "seq": one.seq} for one in page.items]
        following = page.items[0].seq if page.has_more else None
        return JsonResponse({"messages": told, "has_more": page.has_more, "next": following})

    @routes.get("/{code}/questions")
    async def questions(
        caller: Calling,
        sort: Literal["top", "new"] = "top",
        state: QuestionState | None = None,
        limit: Limit = 50,
        page: After = None,
    ) -> Any:
        """Questions that I may see: most votes first (equal ones as they were asked), or newest
        first. Mine say `own`, those I have voted for `voted`."""
        room = caller.room
        found = await store.questions(
            room.org_id,
            room.id,
            seen_by=caller.seen_by,
            sort=sort,
            state=state,
            after=_votes_and_seq(page),
            limit=limit,
        )
        voted = await _votes(parts, caller, found)
        told = []
        for message in found.items:
            about = question_of(message)
            if about is not None:
                own = caller.seat is not None and caller.seat.participant_id == message.sender_id
                mine = {"seq": message.seq, "voted": message.id in voted, "own": own}
                told.append(
                    {**frames.question(room, message, about, own or caller.is_host), **mine}
                )
        following = None
        if found.has_more:
            last = found.items[-1]
            about = question_of(last)
            following = f"{0 if about is None else about.votes}.{last.seq}"
        return JsonResponse({"questions": told, "has_more": found.has_more, "next": following})

    @routes.get("/{code}/polls")
    async def polls(
        caller: Calling, state: PollState | None = None, limit: Limit = 50, before: Before = None
    ) -> Any:
        """Polls with their results, newest first; `mine` is what I answered. `next` is the `before`
        of the page after it."""
        room = caller.room
        found = await store.polls(room.org_id, room.id, state=state, before_seq=before, limit=limit)
        voted = await _votes(parts, caller, found)
        told = []
        for message in found.items:
            about = poll_of(message)
            if about is not None:
                given = sorted(voted.get(message.id, ()))
                mine = given if about.kind == "cloud" else sorted(map(int, given))
                kind = "poll_open" if about.state == "open" else "poll_closed"
                told.append(
                    {
                        **frames.poll(room, message, about, kind),
                        "seq": message.seq,
                        "mine": mine,
                    }
                )
        following = found.items[-1].seq if found.has_more else None
        return JsonResponse({"polls": told, "has_more": found.has_more, "next": following})


async def _votes(parts: Parts, caller: Caller, found: Page) -> dict[str, list[str]]:
    if caller.seat is None or not found.items:
        return {}
    ids = [message.id for message in found.items]
    return await parts.store.votes_of(caller.room.org_id, caller.seat.participant_id, ids)


def _add_hosting(routes: APIRouter, parts: Parts) -> None:
    store, writer = parts.store, parts.writer

    @routes.patch("/{code}")
    async def change_session(caller: Hosting, body: bodies.SessionChange) -> Any:
        """Pause, go on, end, or change title, language or settings (hosts)."""
        room, host = as_host(caller)
        changed = room
        if body.model_fields_set:
            write = ChangeRoom(
                room.org_id,
                room.id,
                host.participant_id,
                body.status,
                body.settings,
                body.title,
                body.language,
            )
            changed = (await writer.write(write)).room
        return JsonResponse(frames.session(changed, True))

    @routes.delete("/{code}", status_code=204)
    async def erase_session(caller: Hosting) -> Response:
        """Erase the room with everything said in it, at once (hosts)."""
        room, host = as_host(caller)
        await writer.write(EraseRoom(room.org_id, room.id, host.participant_id))
        return Response(status_code=204)

    @routes.get("/{code}/participants")
    async def participants(caller: Hosting, limit: Limit = 200, page: After = None) -> Any:
        """Who has a seat, in order of joining (hosts)."""
        room = caller.room
        found = await store.seats(room.org_id, room.id, after=_joined_and_id(page), limit=limit)
        online = frozenset((await parts.attendance.present(room)).online)
        told = [frames.person(room, seat, seat.participant_id in online) for seat in found.items]
        last = found.items[-1] if found.has_more else None
        following = None if last is None else f"{last.joined_at}.{last.participant_id}"
        return JsonResponse({"participants": told, "has_more": found.has_more, "next": following})

    @routes.get("/{code}/export.csv")
    async def export_csv(caller: Hosting) -> Response:
        """The questions, for a spreadsheet (hosts)."""
        rows = export.as_csv(caller.room, _reader(parts, caller.room, questions=True))
        return await _file(rows, f"{caller.room.code}.csv", "text/csv; charset=utf-8")

    @routes.get("/{code}/export.json")
    async def export_json(caller: Hosting) -> Response:
        """Everything that was said, asked and voted (hosts)."""
        parts_of_it = export.as_json(caller.room, _reader(parts, caller.room), parts.clock.now())
        return await _file(parts_of_it, f"{caller.room.code}.json", "application/json")


def as_host(caller: Caller) -> tuple[Room, Seat]:
    """The room, and the seat of whoever hosts it."""
    assert caller.seat is not None, "a host has a seat"
    return caller.room, caller.seat


def _reader(parts: Parts, room: Room, *, questions: bool = False) -> export.ReadPage:
    kind: Literal["question"] | None = "question" if questions else None

    async def read(after: int) -> Page:
        return await parts.store.export(
            room.org_id, room.id, kind=kind, after_seq=after, limit=export.PAGE
        )

    return read


async def _file(content: AsyncIterator[bytes], name: str, media_type: str) -> Response:
    # The beginning is read first: a store that is away is a 503 then, and not half a file.
    begin = [await anext(content)]
    begin += [chunk async for chunk in _some(content)]

    async def all_of_it() -> AsyncIterator[bytes]:
        for chunk in begin:
            yield chunk
        async for chunk in content:
            yield chunk

    headers = {**_NO_CONTENT, "content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(all_of_it(), media_type=media_type, headers=headers)


async def _some(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The next one, if there is one."""
    try:
        yield await anext(content)
    except StopAsyncIteration:
        return


def _join_url(parts: Parts, request: Request, room: Room) -> str:
    """Where the room's page is: the server's own address, or the one it was asked under."""
    base = parts.public_url or str(request.base_url)
    return f"{base.rstrip('/')}/r/{room.code}"


def _votes_and_seq(page: str | None) -> tuple[int, int] | None:
    if page is None:
        return None
    votes, _, seq = page.partition(".")
    if not _is_number(votes) or not _is_number(seq):
        raise _not_a_page()
    return int(votes), int(seq)


def _joined_and_id(page: str | None) -> tuple[int, str] | None:
    if page is None:
        return None
    joined_at, _, participant_id = page.partition(".")
    found = parse_uuid(participant_id)
    if found is None or not _is_number(joined_at):
        raise _not_a_page()
    return int(joined_at), found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _not_a_page() -> MadangError:
    return Invalid("page: not one that was given out")
