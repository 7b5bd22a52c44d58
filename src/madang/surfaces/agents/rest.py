"""Sessions over REST: create, list, change, archive; their history; who is in them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query

from madang.agents.catalog import Catalog
from madang.agents.runner import Runner
from madang.clock import Clock
from madang.model.identity import Identity
from madang.model.ids import is_user_id, parse_uuid
from madang.model.nouns import Message
from madang.model.runs import SessionView, WhenBusy, is_own_agent
from madang.model.times import iso, parse_iso
from madang.ports.store import Store, Writer
from madang.protocol.errors import Invalid, NotAParticipant, NotFound, RateLimited, invalid_id
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.services.messages import Done, ReadMessage, SendMessage
from madang.services.sessions import (
    ChangeSession,
    CreateSession,
    HandOver,
    LetIn,
    SendOut,
)
from madang.surfaces.agents import bodies, frames
from madang.surfaces.agents.viewing import Watching
from madang.surfaces.content import check_content, sender_type
from madang.surfaces.requests import PAGE_BYTES, Caller, JsonResponse, Limit, uuid_named

SessionPath = Annotated[str, uuid_named("session_id")]
Key = Annotated[str | None, Header(min_length=1, max_length=200)]
_LARGEST_SEQ = 10**9
"""A larger number is a time in microseconds."""
_FIRST_TIME, _LAST_TIME = 946_684_800_000_000, 4_102_444_800_000_000
"""From 2000 to 2100: a number before or after is one of another unit, and a mistake."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with. `outside`: a session's agent may be a user id that is none of
    those on offer."""

    store: Store
    writer: Writer
    clock: Clock
    catalog: Catalog
    runner: Runner
    watching: Watching
    messages_limit: RateLimit
    changes_limit: RateLimit
    run_limits: RunLimits
    max_content: int
    when_busy: WhenBusy
    outside: bool
    send_timeout: float

    def count(self, caller: Identity) -> None:
        """Count a message, or what is told to a session as one is. Raises `RateLimited`."""
        self.messages_limit.check(caller.org, caller.user_id, self.clock.monotonic())

    def counting(self, caller: Identity) -> AbstractContextManager[None]:
        """The same, unless what is done then is refused for another limit."""
        now = self.clock.monotonic()
        return self.messages_limit.counting(caller.org, caller.user_id, now)

    def count_change(self, caller: Identity) -> None:
        """Count what is neither a message nor asks an agent. Raises `RateLimited`."""
        self.changes_limit.check(caller.org, caller.user_id, self.clock.monotonic())

    def agent_user(self, agent_id: str) -> str:
        """Who an agent is as a participant. Raises `NotFound`."""
        offered = self.catalog.get(agent_id)
        if offered is not None:
            return offered.user_id
        if not self.outside or is_own_agent(agent_id):
            raise NotFound("Agent not found")
        return agent_id

    async def view(self, caller: Identity, session_id: str) -> SessionView:
        """Raises `NotFound`: there is no such session, or the caller is not in it."""
        seen = await self.store.session(caller.org, session_id, caller.user_id)
        if seen is None:
            raise NotFound("Session not found")
        return seen

    async def whole(self, caller: Identity, session_id: str) -> dict[str, Any]:
        """A session as whoever asks for it is answered: only then are its messages counted.
        Raises `NotFound`."""
        seen = await self.view(caller, session_id)
        count = await self.store.message_count(caller.org, session_id, caller.user_id)
        return frames.session(seen, self.catalog, count)

    async def send(
        self, caller: Identity, session_id: str, body: bodies.NewMessage, key: str | None
    ) -> Done:
        """Send a message. Raises `MadangError`."""
        self.admit(caller, body)
        return await self.send_admitted(caller, session_id, body, key)

    def admit(self, caller: Identity, body: bodies.NewMessage) -> None:
        """Check a message, and count it. Raises `MadangError`."""
        check_content(
            body.content,
            body.message_type,
            caller,
            self.max_content,
            body.attachments,
            body.metadata,
        )
        self.count(caller)

    async def send_admitted(
        self, caller: Identity, session_id: str, body: bodies.NewMessage, key: str | None
    ) -> Done:
        """Send one that was checked and counted. Raises `MadangError`."""
        try:
            done: Done = await self.writer.write(
                SendMessage(
                    caller.org,
                    session_id,
                    caller.user_id,
                    body.content,
                    sender_type(caller),
                    body.message_type,
                    body.client_id or key,
                    body.reply_to_id,
                    tuple(body.attachments or ()),
                    body.metadata,
                    self.run_limits,
                )
            )
        except NotAParticipant:
            raise NotFound("Session not found") from None
        except RateLimited:
            self.messages_limit.give_back(caller.org, caller.user_id)
            raise
        return done

    async def sent(self, caller: Identity, session_id: str, done: Done) -> JsonResponse:
        """What somebody is answered who has sent a message."""
        runs = done.runs
        if done.event is None:
            found = await self.store.runs_answering(caller.org, session_id, done.message.id)
            runs = tuple(run.message_id for run in found if is_own_agent(run.agent_id))
        told = {
            "message_id": done.message.id,
            "status": "sent",
            "created_at": iso(done.message.created_at),
            "seq": done.message.seq,
            "runs": list(runs),
        }
        return JsonResponse(told, 201 if done.event else 200)


def add_sessions(routes: APIRouter, parts: Parts) -> None:
    """`/sessions` and below."""
    store, writer, catalog = parts.store, parts.writer, parts.catalog

    @routes.get("/agents")
    async def list_agents(caller: Caller) -> Any:
        """The agents on offer."""
        listed = [frames.agent(one) for one in catalog.agents.values() if one.listed]
        return JsonResponse({"agents": listed})

    @routes.post("/sessions", status_code=201)
    async def create_session(caller: Caller, body: bodies.NewSession) -> Any:
        """A session with an agent. Without a title, the first message gives it one."""
        agent = parts.agent_user(body.agent_id)
        if any(map(is_own_agent, body.participant_ids or ())):
            raise Invalid("participant_ids: agents come in by agent_ids of /participants")
        parts.count_change(caller)
        opened = await writer.write(
            CreateSession(
                caller.org,
                caller.user_id,
                agent,
                body.title or None,
                body.metadata,
                body.when_busy or parts.when_busy,
                body.answers or "always",
                tuple(body.participant_ids or ()),
            )
        )
        return JsonResponse(await parts.whole(caller, opened.conversation.id), 201)

    @routes.get("/sessions")
    async def list_sessions(
        caller: Caller,
        status: Annotated[Literal["active", "archived"] | None, Query()] = None,
        agent_id: Annotated[str | None, Query(max_length=100)] = None,
        limit: Limit = 50,
        offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    ) -> Any:
        """Mine, newest activity first."""
        asked = None
        if agent_id is not None:
            offered = catalog.get(agent_id)
            asked = agent_id if offered is None else offered.user_id
        found, total = await store.sessions(
            caller.org,
            caller.user_id,
            status=status,
            agent_id=asked,
            limit=limit,
            offset=offset,
        )
        return JsonResponse(
            {
                "sessions": [frames.session_line(seen, catalog) for seen in found],
                "total": total,
                "has_more": offset + len(found) < total,
            }
        )

    @routes.get("/sessions/{session_id}")
    async def get_session(caller: Caller, session_id: SessionPath) -> Any:
        """One I am in."""
        return JsonResponse(await parts.whole(caller, session_id))

    @routes.patch("/sessions/{session_id}")
    async def update_session(
        caller: Caller, session_id: SessionPath, body: bodies.SessionChange
    ) -> Any:
        """Change it (admins). What is left out stays; a null title clears it."""
        await parts.view(caller, session_id)
        parts.count_change(caller)
        await writer.write(
            ChangeSession(
                caller.org,
                session_id,
                caller.user_id,
                body.title,
                body.metadata,
                body.when_busy,
                body.answers,
                set_title="title" in body.model_fields_set,
                status=body.status,
            )
        )
        return JsonResponse(await parts.whole(caller, session_id))

    @routes.post("/sessions/{session_id}/restore")
    async def restore_session(caller: Caller, session_id: SessionPath) -> Any:
        """Open an archived one again (admins)."""
        await parts.view(caller, session_id)
        parts.count_change(caller)
        await writer.write(ChangeSession(caller.org, session_id, caller.user_id, status="active"))
        return JsonResponse(await parts.whole(caller, session_id))

    @routes.delete("/sessions/{session_id}")
    async def archive_session(caller: Caller, session_id: SessionPath) -> Any:
        """Archive it (admins): read-only until it is restored."""
        await parts.view(caller, session_id)
        parts.count_change(caller)
        await writer.write(ChangeSession(caller.org, session_id, caller.user_id, status="archived"))
        told = {"message": "Session archived successfully", "session_id": session_id}
        return JsonResponse(told)

    _add_history(routes, parts)
    _add_people(routes, parts)


def _add_history(routes: APIRouter, parts: Parts) -> None:
    store = parts.store

    @routes.get("/sessions/{session_id}/messages")
    async def list_messages(
        caller: Caller,
        session_id: SessionPath,
        limit: Limit = 50,
        before: str | None = None,
        after: str | None = None,
    ) -> Any:
        """Messages newest last, before or after a seq, a message id or a time: ISO 8601, or
        microseconds since 1970. A whole number is a seq up to 1,000,000,000, and a time beyond.
        Where they are long, a page has fewer than `limit`."""
        if before is not None and after is not None:
            raise Invalid("Only one of before and after can be given")
        await parts.view(caller, session_id)
        found = await store.messages(
            caller.org,
            session_id,
            caller.user_id,
            before_seq=await _seq(store, caller, session_id, "before", before, 1),
            after_seq=await _seq(store, caller, session_id, "after", after, 0),
            limit=limit,
            most_bytes=PAGE_BYTES,
        )
        if found is None:
            raise NotFound("Session not found")
        total = await store.message_count(caller.org, session_id, caller.user_id)
        messages: tuple[Message, ...] = found.items
        return JsonResponse(
            {
                "messages": [frames.history(message) for message in messages],
                "has_more": found.has_more,
                "total": total,
            }
        )

    @routes.post("/sessions/{session_id}/messages", status_code=201)
    async def send_message(
        caller: Caller,
        session_id: SessionPath,
        body: bodies.NewMessage,
        idempotency_key: Key = None,
    ) -> Any:
        """Send a message; the agent answers over the WebSocket. A repeat (same `client_id` or
        `Idempotency-Key`) answers 200 with the first one, and asks nobody again."""
        done = await parts.send(caller, session_id, body, idempotency_key)
        return await parts.sent(caller, session_id, done)

    @routes.post("/sessions/{session_id}/read")
    async def read(caller: Caller, session_id: SessionPath, body: bodies.ReadUpTo) -> Any:
        """I have read up to this message."""
        await parts.view(caller, session_id)
        await parts.writer.write(
            ReadMessage(caller.org, body.message_id, caller.user_id, session_id)
        )
        seen = await parts.view(caller, session_id)
        told = {"message_id": body.message_id, "unread_count": seen.view.unread_count}
        return JsonResponse(told)


async def _seq(
    store: Store, caller: Identity, session_id: str, name: str, place: str | None, beyond: int
) -> int | None:
    """A place in a session's history as a seq. `beyond` is 1 for `before`: what was said a
    microsecond before a time is in."""
    if place is None:
        return None
    if place.isascii() and place.isdecimal() and len(place) < 19:
        number = int(place)
        if number <= _LARGEST_SEQ:
            return number
        if not _FIRST_TIME <= number < _LAST_TIME:
            raise Invalid(f"{name}: a number beyond {_LARGEST_SEQ} is a time in microseconds")
        time: int | None = number
    else:
        message_id = parse_uuid(place)
        if message_id is not None:
            seq = await store.seq_of(caller.org, session_id, message_id=message_id, time=None)
            if seq is None:
                raise NotFound("Message not found")
            return seq
        time = parse_iso(place)
    if time is None:
        raise Invalid(f"{name}: must be a seq, a message id or a time")
    found = await store.seq_of(caller.org, session_id, message_id=None, time=time - beyond)
    return (found or 0) + beyond


def _add_people(routes: APIRouter, parts: Parts) -> None:
    writer = parts.writer

    @routes.post("/sessions/{session_id}/participants")
    async def let_in(caller: Caller, session_id: SessionPath, body: bodies.NewPeople) -> Any:
        """Let people and agents in (admins)."""
        await parts.view(caller, session_id)
        agents = [parts.agent_user(name) for name in body.agent_ids]
        if any(is_own_agent(user) for user in body.user_ids):
            raise Invalid("user_ids: agents come in by agent_ids")
        parts.count_change(caller)
        joining = (*body.user_ids, *agents)
        await writer.write(LetIn(caller.org, session_id, caller.user_id, joining))
        return JsonResponse(await parts.whole(caller, session_id))

    @routes.delete("/sessions/{session_id}/participants/{user_id:path}")
    async def send_out(caller: Caller, session_id: SessionPath, user_id: str) -> Any:
        """Send somebody out (admins), or leave it oneself."""
        if not is_user_id(user_id):
            raise invalid_id("user_id")
        await parts.view(caller, session_id)
        parts.count_change(caller)
        event = await writer.write(SendOut(caller.org, session_id, caller.user_id, user_id))
        return JsonResponse(
            {
                "session_id": session_id,
                "user_id": user_id,
                "by": caller.user_id,
                "seq": event.seq,
            }
        )

    @routes.post("/sessions/{session_id}/handover")
    async def hand_over(caller: Caller, session_id: SessionPath, body: bodies.HandOverTo) -> Any:
        """A person takes over from the agent (`to` a user id, or `*` for whoever comes first), or
        gives back (`to` null)."""
        await parts.view(caller, session_id)
        parts.count_change(caller)
        await writer.write(HandOver(caller.org, session_id, caller.user_id, body.to, body.note))
        return JsonResponse(await parts.whole(caller, session_id))
