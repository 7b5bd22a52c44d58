"""The REST side of the messenger and of the event log, on httpx. Usable without a WebSocket:

async with madang.client.Rest(url, token=service_token) as backend:
    await backend.publish_event("invoice.paid", {"id": 7}, user_id="alice")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx

from madang.client.errors import Disconnected, TimedOut, error_from_problem
from madang.client.frames import cursor_in
from madang.client.model import (
    Conversation,
    Device,
    Json,
    LogEvent,
    Message,
    NotificationSettings,
    Page,
    Presence,
    Published,
    Receipt,
)
from madang.client.paging import Listing, Query
from madang.client.token import Token, TokenSource

T = TypeVar("T")

MESSENGER = "/api/v1/messenger"
EVENTS = "/api/v1/events"


def _segment(text: str) -> str:
    # Ids come from users: none of them may reach another path.
    return quote(text, safe="")


def _place(value: str | int | datetime | None) -> str | int | None:
    return value.isoformat() if isinstance(value, datetime) else value


class Rest:
    """Every REST call of the two surfaces. Errors are raised as `MadangError`s.

    A token given as a function is asked again once where the server answers 401.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        timeout: float = 10.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """`url` is the server's (`https://chat.example`), with the path it is mounted under if
        there is one. `timeout` in seconds. `http`: your own httpx client; it is not closed."""
        self.url = url.rstrip("/")
        self._token = token if isinstance(token, Token) else Token(token)
        self._timeout = timeout
        self._http = http or httpx.AsyncClient(timeout=timeout)
        self._owns_http = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._owns_http:
            await self._http.aclose()

    # -- conversations ---------------------------------------------------------------------------

    async def create_conversation(
        self,
        participant_ids: Sequence[str | int],
        *,
        kind: str = "group",
        title: str | None = None,
        metadata: Json | None = None,
    ) -> Conversation:
        """A new `group`, or the `direct` conversation with one other, which exists only once."""
        body = _given(
            kind=kind, title=title, participant_ids=_users(participant_ids), metadata=metadata
        )
        return Conversation.from_wire(await self._post(f"{MESSENGER}/conversations", body))

    def conversations(self, *, limit: int | None = None) -> Listing[Conversation]:
        """Mine, newest activity first."""
        return self._listing(
            f"{MESSENGER}/conversations",
            "conversations",
            Conversation.from_wire,
            _given(limit=limit),
        )

    async def conversation(self, conversation_id: str) -> Conversation:
        """One of mine, as it is now."""
        return Conversation.from_wire(await self._get(_conversation(conversation_id)))

    async def update_conversation(
        self, conversation_id: str, *, title: str | None = None, metadata: Json | None = None
    ) -> Conversation:
        """Change title or metadata (admins)."""
        body = _given(title=title, metadata=metadata)
        return Conversation.from_wire(
            await self._call("PATCH", _conversation(conversation_id), json=body)
        )

    async def archive_conversation(self, conversation_id: str) -> None:
        """Make it read-only for everyone (admins)."""
        await self._call("DELETE", _conversation(conversation_id))

    async def add_participants(
        self, conversation_id: str, user_ids: Sequence[str | int], *, role: str | None = None
    ) -> None:
        """Let people in (admins)."""
        body = _given(user_ids=_users(user_ids), role=role)
        await self._post(f"{_conversation(conversation_id)}/participants", body)

    async def remove_participant(self, conversation_id: str, user_id: str | int) -> None:
        """Show someone out (admins), or leave oneself."""
        path = f"{_conversation(conversation_id)}/participants/{_segment(str(user_id))}"
        await self._call("DELETE", path)

    async def notification_settings(self, conversation_id: str) -> NotificationSettings:
        """How loud this conversation is for me."""
        path = f"{_conversation(conversation_id)}/notification-settings"
        return NotificationSettings.from_wire(await self._get(path))

    async def set_notification_settings(
        self, conversation_id: str, level: str, *, muted_until: datetime | None = None
    ) -> NotificationSettings:
        """`level`: `all`, `mentions` or `none`; `muted_until` is an aware time."""
        path = f"{_conversation(conversation_id)}/notification-settings"
        body = _given(level=level, muted_until=_place(muted_until))
        return NotificationSettings.from_wire(await self._call("PUT", path, json=body))

    # -- messages --------------------------------------------------------------------------------

    def messages(
        self,
        conversation_id: str,
        *,
        before: str | int | datetime | None = None,
        after: str | int | datetime | None = None,
        around: str | int | datetime | None = None,
        limit: int = 50,
    ) -> Listing[Message]:
        """History. A page is `limit` messages, newest last; a place is a seq, a message id or an
        aware time, itself not included in `before` and `after`.

        Iterated it goes on by itself: from `after` to the newest, around a place just that page,
        and else page by page back to the first message (each page newest last).
        """
        given = _given(
            before=_place(before), after=_place(after), around=_place(around), limit=limit
        )

        def following(query: Query, page: Page[Message]) -> Query | None:
            if "around" in query:
                return None
            if "after" in query:
                return {**query, "after": page[-1].seq}
            return {**query, "before": page[0].seq}

        path = f"{_conversation(conversation_id)}/messages"
        return self._listing(path, "messages", Message.from_wire, given, following)

    async def post_message(
        self,
        conversation_id: str,
        content: str,
        *,
        client_id: str | None = None,
        message_type: str | None = None,
        reply_to_id: str | None = None,
        metadata: Json | None = None,
        attachments: Sequence[Json] | None = None,
    ) -> Message:
        """Send over REST. With a `client_id` of yours a repeat returns the first message."""
        body = _given(
            content=content,
            message_type=message_type,
            reply_to_id=reply_to_id,
            metadata=metadata,
            attachments=list(attachments) if attachments else None,
        )
        headers = {"Idempotency-Key": client_id} if client_id else None
        path = f"{_conversation(conversation_id)}/messages"
        return Message.from_wire(await self._post(path, body, headers=headers))

    async def message(self, message_id: str) -> Message:
        """One message as it is now."""
        return Message.from_wire(await self._get(_message(message_id)))

    async def edit_message(self, message_id: str, content: str) -> Message:
        """Change the text of a message of mine, over REST."""
        body = {"content": content}
        return Message.from_wire(await self._call("PATCH", _message(message_id), json=body))

    async def delete_message(self, message_id: str) -> None:
        """Delete over REST: mine, or as an admin of the conversation."""
        await self._call("DELETE", _message(message_id))

    async def receipts(self, message_id: str) -> Page[Receipt]:
        """Who has read it."""
        return _page(
            await self._get(f"{_message(message_id)}/receipts"), "receipts", Receipt.from_wire
        )

    async def mark_read(self, conversation_id: str, message_id: str) -> None:
        """Read up to this message, over REST."""
        await self._post(f"{_conversation(conversation_id)}/read", {"message_id": message_id})

    # -- people, and the server ------------------------------------------------------------------

    async def presence(self, user_ids: Sequence[str | int]) -> Page[Presence]:
        """Of these users, as far as I may see them."""
        query = {"user_ids": ",".join(_users(user_ids))}
        return _page(await self._get(f"{MESSENGER}/presence", query), "users", Presence.from_wire)

    async def online(self, *, zone: str | None = None) -> Page[Presence]:
        """Who is there now, of those who share a conversation with me."""
        answer = await self._get(f"{MESSENGER}/presence/online", _given(zone=zone))
        return _page(answer, "users", Presence.from_wire)

    async def stats(self) -> Json:
        """The server's counts (admins)."""
        answer: Json = await self._get(f"{MESSENGER}/stats")
        return answer

    # -- the event log ---------------------------------------------------------------------------

    async def publish_event(
        self,
        type: str,
        payload: Any = None,
        *,
        conversation_id: str | None = None,
        user_id: str | int | None = None,
        idempotency_key: str | None = None,
    ) -> Published:
        """Publish to a conversation or into a user's inbox (a token with the role `service`).

        On disk when this returns. With an `idempotency_key` a repeat adds nothing.
        """
        body = _given(
            type=type,
            conversation_id=conversation_id,
            user_id=None if user_id is None else str(user_id),
            idempotency_key=idempotency_key,
        )
        answer = await self._post(EVENTS, {**body, "payload": {} if payload is None else payload})
        return Published(cursor=answer["cursor"], seq=answer.get("seq"))

    def logged_events(
        self, *, cursor: int | float | None = None, limit: int | None = None
    ) -> Listing[LogEvent]:
        """All that I may see after `cursor`, oldest first; iterated, up to the present."""

        def following(query: Query, page: Page[LogEvent]) -> Query | None:
            return {**query, "cursor": page[-1].cursor if page.cursor is None else page.cursor}

        given = _given(cursor=cursor, limit=limit)
        return self._listing(EVENTS, "events", LogEvent.from_wire, given, following)

    async def devices(self) -> Page[Device]:
        """My clients of the event log and how far behind each is."""
        return _page(await self._get(f"{EVENTS}/devices"), "devices", Device.from_wire)

    # -- how -------------------------------------------------------------------------------------

    def _listing(
        self,
        path: str,
        name: str,
        parse: Callable[[Json], T],
        query: Query,
        following: Callable[[Query, Page[T]], Query | None] | None = None,
    ) -> Listing[T]:
        async def fetch(query: Query) -> Page[T]:
            return _page(await self._get(path, query), name, parse)

        def next_page(query: Query, page: Page[T]) -> Query | None:
            return None if page.next is None else {**query, "page": page.next}

        return Listing(fetch, query, following or next_page)

    async def _get(self, path: str, query: Query | None = None) -> Any:
        return await self._call("GET", path, params=query)

    async def _post(
        self, path: str, body: Json, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        return await self._call("POST", path, json=body, headers=headers)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Query | None = None,
        json: Json | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        answer = await self._ask(method, path, params, json, headers)
        if answer.status_code == 401 and self._token.expire():
            answer = await self._ask(method, path, params, json, headers)
        try:
            content = answer.json() if answer.content else None
        except ValueError:
            content = None
        if answer.is_success:
            return content
        raise error_from_problem(answer.status_code, content, answer.headers.get("Retry-After"))

    async def _ask(
        self,
        method: str,
        path: str,
        params: Query | None,
        json: Json | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        token = await self._token.current()
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return await self._http.request(
                method,
                self.url + path,
                params=params,
                json=json,
                headers={**shown, **(headers or {})},
                timeout=self._timeout,
            )
        except httpx.TimeoutException as error:
            raise TimedOut(f"No answer from {method} {path} in {self._timeout:g} s") from error
        except httpx.TransportError as error:
            raise Disconnected(f"{method} {path}: {error}") from error


def _conversation(conversation_id: str) -> str:
    return f"{MESSENGER}/conversations/{_segment(conversation_id)}"


def _message(message_id: str) -> str:
    return f"{MESSENGER}/messages/{_segment(message_id)}"


def _users(user_ids: Sequence[str | int]) -> list[str]:
    return [str(user_id) for user_id in user_ids]


def _given(**fields: Any) -> dict[str, Any]:
    """Only the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def _page(answer: Any, name: str, parse: Callable[[Json], T]) -> Page[T]:
    return Page(
        items=tuple(parse(one) for one in answer[name]),
        has_more=bool(answer.get("has_more")),
        next=answer.get("next"),
        cursor=cursor_in(answer.get("cursor")),
    )
