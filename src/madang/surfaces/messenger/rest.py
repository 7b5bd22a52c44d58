"""The messenger over REST. Every route asks a service or the store for what the caller may see,
and words it as the WebSocket does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from madang.clock import Clock
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance
from madang.model.identity import Identity
from madang.model.ids import is_user_id, wire_user_id
from madang.model.nouns import PARTICIPANTS_TOLD, ConversationView, Message, Participant
from madang.model.times import iso, parse_iso
from madang.ports.store import Page, Store, Writer
from madang.protocol.errors import Invalid, NotAParticipant, NotFound, invalid_id
from madang.services.asking import RunLimits
from madang.services.conversations import (
    AddParticipants,
    ArchiveConversation,
    CreateConversation,
    RemoveParticipant,
    SetNotifications,
    UpdateConversation,
)
from madang.services.limits import RateLimit
from madang.services.messages import DeleteMessage, EditMessage, ReadMessage, SendMessage
from madang.surfaces import objects
from madang.surfaces.content import check_content, sender_type
from madang.surfaces.messenger import bodies, paging
from madang.surfaces.messenger.paging import Places
from madang.surfaces.messenger.rest_people import add_people
from madang.surfaces.requests import (
    PAGE_BYTES,
    Caller,
    ConversationPath,
    JsonResponse,
    JsonRoute,
    Limit,
    MessagePath,
)

PeoplePage = Annotated[str | None, Query(max_length=600)]
"""The `next` of a page of people: a user id of a hundred characters fits, whatever they are."""

MOST_PEOPLE = PARTICIPANTS_TOLD
"""Receipts in one answer: as many as a conversation tells of people."""
ManyPeople = Annotated[int, Query(ge=1, le=MOST_PEOPLE)]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes work with."""

    store: Store
    writer: Writer
    clock: Clock
    presence: Presence
    entrance: Entrance
    messages_limit: RateLimit
    changes_limit: RateLimit
    run_limits: RunLimits
    max_content: int


def router(parts: Parts) -> APIRouter:
    """The routes under `/api/v1/messenger`."""
    routes = APIRouter(
        prefix="/api/v1/messenger",
        route_class=JsonRoute,
        tags=["messenger"],
        default_response_class=JsonResponse,
    )
    _add_conversations(routes, parts)
    _add_messages(routes, parts)
    _add_participants(routes, parts)
    add_people(routes, parts.store, parts.presence, parts.clock)
    return routes


def _add_conversations(routes: APIRouter, parts: Parts) -> None:
    store, writer = parts.store, parts.writer

    @routes.post("/conversations", status_code=201)
    async def create_conversation(caller: Caller, body: bodies.NewConversation) -> Any:
        """Open a direct conversation or a group. The same two people have one direct one: the
        second time answers 200 with the first."""
        parts.changes_limit.check(caller.org, caller.user_id, parts.clock.monotonic())
        opened = await writer.write(
            CreateConversation(
                caller.org,
                caller.user_id,
                body.kind,
                tuple(body.participant_ids),
                body.title,
                body.metadata,
            )
        )
        view = await _view(parts, caller, opened.view.conversation.id)
        return JsonResponse(objects.conversation(view), 201 if opened.event else 200)

    @routes.get("/conversations")
    async def list_conversations(
        caller: Caller, limit: Limit = 50, page: Annotated[str | None, Query(max_length=200)] = None
    ) -> Any:
        """Mine, newest activity first."""
        found = await store.conversations(
            caller.org, caller.user_id, before=paging.read(page), limit=limit
        )
        views: tuple[ConversationView, ...] = found.items
        following = None
        if found.has_more:
            last = views[-1].conversation
            following = paging.write(last.updated_at, last.id)
        return JsonResponse(
            {
                "conversations": [objects.conversation(view) for view in views],
                "has_more": found.has_more,
                "next": following,
            }
        )

    @routes.get("/conversations/{conversation_id}")
    async def get_conversation(caller: Caller, conversation_id: ConversationPath) -> Any:
        """One I am in."""
        return JsonResponse(objects.conversation(await _view(parts, caller, conversation_id)))

    @routes.patch("/conversations/{conversation_id}")
    async def update_conversation(
        caller: Caller, conversation_id: ConversationPath, body: bodies.ConversationChange
    ) -> Any:
        """Change title or metadata (admins). What is left out stays; a null title clears it."""
        if body.model_fields_set:
            parts.changes_limit.check(caller.org, caller.user_id, parts.clock.monotonic())
            await writer.write(
                UpdateConversation(
                    caller.org,
                    conversation_id,
                    caller.user_id,
                    body.title,
                    body.metadata,
                    set_title="title" in body.model_fields_set,
                )
            )
        return JsonResponse(objects.conversation(await _view(parts, caller, conversation_id)))

    @routes.delete("/conversations/{conversation_id}")
    async def archive_conversation(caller: Caller, conversation_id: ConversationPath) -> Any:
        """Archive it (admins): read-only from then on."""
        await writer.write(ArchiveConversation(caller.org, conversation_id, caller.user_id))
        return JsonResponse(objects.conversation(await _view(parts, caller, conversation_id)))

    @routes.get("/conversations/{conversation_id}/notification-settings")
    async def get_notifications(caller: Caller, conversation_id: ConversationPath) -> Any:
        """How much of the conversation I want to be told of."""
        return JsonResponse(_notifications(await _me(parts, caller, conversation_id)))

    @routes.put("/conversations/{conversation_id}/notification-settings")
    async def set_notifications(
        caller: Caller, conversation_id: ConversationPath, body: bodies.NotificationSettings
    ) -> Any:
        """Set it: all, mentions or none, and until when it is muted."""
        until = None
        if body.muted_until is not None:
            until = parse_iso(body.muted_until)
            if until is None:
                raise Invalid("muted_until: must be an ISO 8601 time")
        me = await writer.write(
            SetNotifications(caller.org, conversation_id, caller.user_id, body.level, until)
        )
        return JsonResponse(_notifications(me))


def _add_messages(routes: APIRouter, parts: Parts) -> None:
    store, writer = parts.store, parts.writer

    @routes.get("/conversations/{conversation_id}/messages")
    async def list_messages(
        caller: Caller,
        conversation_id: ConversationPath,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
        page: str | None = None,
        limit: Limit = 50,
    ) -> Any:
        """Messages newest last, before, after or around a seq, a message id or a time."""
        seqs = await Places(store, caller, conversation_id).seqs(before, after, around, page)
        found = await store.messages(
            caller.org,
            conversation_id,
            caller.user_id,
            before_seq=seqs.before,
            after_seq=seqs.after,
            around_seq=seqs.around,
            limit=limit,
            most_bytes=PAGE_BYTES,
        )
        if found is None:
            raise NotAParticipant
        messages: tuple[Message, ...] = found.items
        following = None
        if found.has_more and messages and around is None:
            following = seqs.following(messages[0].seq, messages[-1].seq)
        return JsonResponse(
            {
                "messages": [objects.message(message) for message in messages],
                "has_more": found.has_more,
                "next": following,
            }
        )

    @routes.post("/conversations/{conversation_id}/messages", status_code=201)
    async def send_message(
        caller: Caller,
        conversation_id: ConversationPath,
        body: bodies.NewMessage,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
    ) -> Any:
        """Send a message. A repeat (same `client_id` or `Idempotency-Key`) answers 200 with the
        first one."""
        check_content(
            body.content,
            body.message_type,
            caller,
            parts.max_content,
            body.attachments,
            body.metadata,
        )
        write = SendMessage(
            caller.org,
            conversation_id,
            caller.user_id,
            body.content,
            sender_type(caller),
            body.message_type,
            body.client_id or idempotency_key,
            body.reply_to_id,
            tuple(body.attachments or ()),
            body.metadata,
            parts.run_limits,
        )
        now = parts.clock.monotonic()
        with parts.messages_limit.counting(caller.org, caller.user_id, now):
            done = await writer.write(write)
        return JsonResponse(objects.message(done.message), 201 if done.event else 200)

    @routes.get("/messages/{message_id}")
    async def get_message(caller: Caller, message_id: MessagePath) -> Any:
        """One message of a conversation I am in."""
        return JsonResponse(objects.message(await _message(parts, caller, message_id)))

    @routes.patch("/messages/{message_id}")
    async def edit_message(
        caller: Caller, message_id: MessagePath, body: bodies.MessageChange
    ) -> Any:
        """Edit my message."""
        check_content(body.content, "text", caller, parts.max_content)
        parts.messages_limit.check(caller.org, caller.user_id, parts.clock.monotonic())
        done = await writer.write(EditMessage(caller.org, message_id, caller.user_id, body.content))
        return JsonResponse(objects.message(done.message))

    @routes.delete("/messages/{message_id}")
    async def delete_message(caller: Caller, message_id: MessagePath) -> Any:
        """Delete my message, or any as an admin: its place stays, its content is gone."""
        done = await writer.write(DeleteMessage(caller.org, message_id, caller.user_id))
        return JsonResponse(objects.message(done.message))

    @routes.get("/messages/{message_id}/receipts")
    async def receipts(
        caller: Caller,
        message_id: MessagePath,
        page: PeoplePage = None,
        limit: ManyPeople = MOST_PEOPLE,
    ) -> Any:
        """Who has read up to this message or further, its sender left out."""
        message = await _message(parts, caller, message_id)
        found = await store.participants(
            caller.org,
            message.conversation_id,
            caller.user_id,
            after=paging.read_person(page),
            read_seq=message.seq,
            limit=limit,
        )
        if found is None:
            # Taken out of it just now.
            raise NotFound("Message not found")
        read = [
            {"user_id": wire_user_id(person.user_id), "last_read_seq": person.last_read_seq}
            for person in found.items
            if person.user_id != message.sender_id
        ]
        return JsonResponse({"message_id": message_id, "receipts": read, **_more_people(found)})

    @routes.post("/conversations/{conversation_id}/read")
    async def read(caller: Caller, conversation_id: ConversationPath, body: bodies.ReadUpTo) -> Any:
        """I have read up to this message."""
        await writer.write(
            ReadMessage(caller.org, body.message_id, caller.user_id, conversation_id)
        )
        view = await _view(parts, caller, conversation_id)
        return JsonResponse(
            {
                "message_id": body.message_id,
                "conversation_id": conversation_id,
                "unread_count": view.unread_count,
            }
        )


def _add_participants(routes: APIRouter, parts: Parts) -> None:
    store, writer = parts.store, parts.writer

    @routes.get("/conversations/{conversation_id}/participants")
    async def list_participants(
        caller: Caller,
        conversation_id: ConversationPath,
        page: PeoplePage = None,
        limit: Limit = 50,
    ) -> Any:
        """Who is in it, whoever has been there longest first."""
        found = await store.participants(
            caller.org,
            conversation_id,
            caller.user_id,
            after=paging.read_person(page),
            limit=limit,
        )
        if found is None:
            raise NotAParticipant
        people = [objects.participant(person) for person in found.items]
        return JsonResponse({"participants": people, **_more_people(found)})

    @routes.post("/conversations/{conversation_id}/participants")
    async def add_participants(
        caller: Caller, conversation_id: ConversationPath, body: bodies.NewParticipants
    ) -> Any:
        """Take people into a group (admins)."""
        parts.changes_limit.check(caller.org, caller.user_id, parts.clock.monotonic())
        await writer.write(
            AddParticipants(
                caller.org, conversation_id, caller.user_id, tuple(body.user_ids), body.role
            )
        )
        return JsonResponse(objects.conversation(await _view(parts, caller, conversation_id)))

    @routes.delete("/conversations/{conversation_id}/participants/{user_id:path}")
    async def remove_participant(
        caller: Caller, conversation_id: ConversationPath, user_id: str
    ) -> Any:
        """Take someone out of a group (admins), or leave it oneself."""
        if not is_user_id(user_id):
            raise invalid_id("user_id")
        event = await writer.write(
            RemoveParticipant(caller.org, conversation_id, caller.user_id, user_id)
        )
        return JsonResponse(
            {
                "conversation_id": conversation_id,
                "user_id": wire_user_id(user_id),
                "by": wire_user_id(caller.user_id),
                "seq": event.seq,
                "cursor": event.cursor,
            }
        )


# What the routes share.


def _more_people(found: Page) -> dict[str, Any]:
    last = found.items[-1] if found.has_more else None
    following = None if last is None else paging.write_person(last.joined_at, last.user_id)
    return {"has_more": found.has_more, "next": following}


async def _view(parts: Parts, caller: Identity, conversation_id: str) -> ConversationView:
    view = await parts.store.conversation(caller.org, conversation_id, caller.user_id)
    if view is None:
        raise NotAParticipant
    return view


async def _me(parts: Parts, caller: Identity, conversation_id: str) -> Participant:
    me = await parts.store.participant(caller.org, conversation_id, caller.user_id)
    if me is None:
        raise NotAParticipant
    return me


async def _message(parts: Parts, caller: Identity, message_id: str) -> Message:
    message = await parts.store.message(caller.org, message_id, caller.user_id)
    if message is None:
        raise NotFound("Message not found")
    return message


def _notifications(me: Participant) -> dict[str, Any]:
    until = None if me.muted_until is None else iso(me.muted_until)
    return {"level": me.notification_level, "muted_until": until}
