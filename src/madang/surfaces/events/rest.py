"""The events surface over REST and Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import Field, model_validator
from sse_starlette import EventSourceResponse, ServerSentEvent

from madang.delivery.catchup import Catchup, CaughtUp
from madang.delivery.members import Members
from madang.gateways.entrance import Entrance
from madang.gateways.sse import EventStream, SseConnection
from madang.hub.frame import Frame
from madang.hub.hub import Hub
from madang.model.identity import Identity
from madang.model.times import iso
from madang.ports.store import Store, Writer
from madang.protocol.errors import Forbidden, Invalid
from madang.services.publishing import PublishEvent, check_type
from madang.surfaces.admission import SEES_WHOLE_ORG, Admission
from madang.surfaces.events import frames
from madang.surfaces.events.session import read_cursor
from madang.surfaces.fields import ClientId, Payload, Strict, UserRef, Uuid
from madang.surfaces.objects import frame
from madang.surfaces.requests import Caller, JsonResponse, JsonRoute, needs_role


class NewEvent(Strict):
    """To a conversation or to a user's inbox, one of the two."""

    type: Annotated[str, Field(max_length=100)]
    payload: Payload = None
    conversation_id: Uuid | None = None
    user_id: UserRef | None = None
    idempotency_key: ClientId | None = None

    @model_validator(mode="after")
    def _one_target(self) -> NewEvent:
        if (self.conversation_id is None) == (self.user_id is None):
            raise ValueError("one of conversation_id and user_id says to whom")
        return self


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with. `output_limit` is in bytes: a stream that has so much unsent
    ends; `send_timeout` in seconds: so does one whose client takes nothing for so long."""

    store: Store
    writer: Writer
    hub: Hub
    admission: Admission
    members: Members
    catchup: Catchup
    entrance: Entrance
    output_limit: int
    send_timeout: float


def router(parts: Parts) -> APIRouter:
    """The routes under `/api/v1/events`."""
    routes = APIRouter(
        prefix="/api/v1/events",
        route_class=JsonRoute,
        tags=["events"],
        default_response_class=JsonResponse,
    )
    store = parts.store

    @routes.post("", status_code=201)
    async def publish(caller: Caller, body: NewEvent) -> Any:
        """Publish an event (role `service`). It is on disk before this answers; a repeat of an
        `idempotency_key` answers 200 with the first one's place."""
        needs_role(caller, "service")
        check_type(body.type)
        published = await parts.writer.write(
            PublishEvent(
                caller.org,
                caller.user_id,
                body.type,
                body.payload,
                body.conversation_id,
                body.user_id,
                body.idempotency_key,
            )
        )
        content = {"cursor": published.event.cursor, "seq": published.event.seq}
        return JsonResponse(content, 200 if published.repeated else 201)

    @routes.get("")
    async def list_events(
        caller: Caller,
        cursor: str = "0",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        scope: str | None = None,
    ) -> Any:
        """All that I may see after the cursor, oldest first."""
        after = read_cursor(cursor)
        if _whole_org(caller, scope):
            found = await store.events_of_org(caller.org, after, None, limit + 1)
        else:
            found = await store.events_for_user(caller.org, caller.user_id, after, None, limit + 1)
        reason = await store.why_lost(caller.org, after)
        if reason is not None:
            # A part of what was missed would look like all of it. Who goes on with the cursor of
            # this answer hears what happens from now on.
            head = await store.head(caller.org)
            content = {"events": [], "cursor": head, "has_more": False}
            return JsonResponse({**content, "recovered": False, "reason": reason})
        page = found[:limit]
        return JsonResponse(
            {
                "events": [frames.event(event) for event in page],
                "cursor": page[-1].cursor if page else after,
                "has_more": len(found) > limit,
                "recovered": True,
            }
        )

    @routes.get("/devices")
    async def devices(caller: Caller) -> Any:
        """My devices (an admin: everybody's) and how far behind each is."""
        everybody = "admin" in caller.roles
        found = await store.devices(caller.org, None if everybody else caller.user_id)
        return JsonResponse(
            {
                "devices": [
                    {**device, "updated_at": iso(device["updated_at"])} for device in found
                ],
                "has_more": False,
                "next": None,
            }
        )

    @routes.get("/stream")
    async def stream(
        caller: Caller,
        cursor: str | None = None,
        scope: str | None = None,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventSourceResponse:
        """The events after `Last-Event-ID` (or `cursor`; else from now on), then live ones."""
        parts.entrance.check_room()
        start = last_event_id or cursor
        after = None if start is None else read_cursor(start)
        whole_org = _whole_org(caller, scope)
        # Read before the answer begins, so that a store that is away is a 503 and not a cut.
        member = await parts.members.get(caller.org, caller.user_id)
        connection = SseConnection(parts.entrance, parts.output_limit)
        connection.identity = caller

        async def events() -> AsyncIterator[ServerSentEvent]:
            def ended(caught: CaughtUp) -> None:
                told: dict[str, Any] = {"recovered": caught.recovered}
                if caught.reason is not None:
                    told["reason"] = caught.reason
                text = frame("replay_complete", cursor=caught.cursor, events=caught.events, **told)
                connection.write(Frame(text))

            try:
                parts.admission.enter(connection, member, whole_org=whole_org)
                begin = connection.floor if after is None else after
                parts.catchup.resume(connection, begin, ended, whole_org=whole_org)
                async for event in connection.events():
                    yield event
            finally:
                connection.open = False
                parts.admission.leave(connection)

        return EventStream(connection, events(), send_timeout=parts.send_timeout)

    return routes


def _whole_org(caller: Identity, scope: str | None) -> bool:
    """Whether the caller asked for everybody's events, and may."""
    if scope is None or scope == "mine":
        return False
    if scope != "org":
        raise Invalid("scope: must be mine or org")
    if not caller.roles & SEES_WHOLE_ORG:
        raise Forbidden("A token with the role admin or service is needed")
    return True
