"""The messenger over a WebSocket: what is said on the connection, and what a program calls.

Sending a frame and waiting for its answer outlive connections: messages stand in the outbox and
requests in `calls` until they are answered, and both are sent again on the next connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from madang.client.backoff import Timing
from madang.client.calls import Call, Match
from madang.client.connection import State
from madang.client.errors import Disconnected, MadangError, TimedOut
from madang.client.frames import Frame, encode
from madang.client.inbox import Handed
from madang.client.model import Json, Message
from madang.client.outbox import Outgoing
from madang.client.rest import Rest
from madang.client.session import Session
from madang.client.token import TokenSource

log = logging.getLogger("madang.client")

SLOWEST_TYPIST = 256
"""Frames waiting to be written above which `typing` is dropped: it is stale when it arrives."""
FLUSH_TIMEOUT = 5.0
"""Seconds that leaving `async with` waits for posted messages to be confirmed."""


class Client(Rest):
    """One user's connection to the messenger, and all of REST beside it.

    Made by `connect`. Everything is for one event loop. Every call takes or has a timeout in
    seconds and raises `MadangError`s.
    """

    def __init__(
        self,
        url: str,
        *,
        token: TokenSource | None = None,
        user: str | None = None,
        cursor: int | None = None,
        epoch: str | None = None,
        buffer: int = 1000,
        outbox: int = 1000,
        timeout: float = 10.0,
        timing: Timing | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(url, token=token, timeout=timeout, http=http)
        self._timing = timing or Timing()
        self._session = Session(
            self.url,
            self._token,
            self._timing,
            user=user,
            cursor=cursor,
            epoch=epoch,
            buffer=buffer,
            outbox=outbox,
            open_timeout=timeout,
        )
        self._link = self._session.link
        self._outbox = self._session.outbox
        self._inbox = self._session.inbox

    @property
    def user_id(self) -> str | None:
        """Who I am, once connected."""
        return self._session.user_id

    @property
    def connection_id(self) -> str | None:
        """The server's name for the present connection."""
        return self._session.connection_id

    # -- opening and closing ---------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None and len(self._outbox) and self.state.name != "closed":
                await self.flush(FLUSH_TIMEOUT)
        except TimedOut as late:
            log.warning("%s", late.message)
        finally:
            await self.close()

    async def open(self) -> None:
        """Connect, trying again until `timeout`.

        Raises:
            AuthError: the token is missing, wrong or for somebody else.
            TimedOut: the server was not reached.
        """
        try:
            await self._link.open(self._timeout)
        except MadangError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection; what waits for an answer gets `Disconnected`.

        What was posted and not confirmed is lost with it: `flush` first.
        """
        self._inbox.end(None)
        await self._link.close()
        await super().close()

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until every posted message is confirmed or refused.

        Raises:
            TimedOut: some are still on their way after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                self._inbox.nudge()
                await self._outbox.empty()
        except TimeoutError:
            raise TimedOut(f"{len(self._outbox)} messages not confirmed yet") from None

    @property
    def state(self) -> State:
        """connecting, live, waiting or closed; why, and for how long."""
        return self._link.state

    def watch(self, watcher: Callable[[State], None]) -> Callable[[], None]:
        """Call `watcher` with every new state. Returns the function that ends it."""
        return self._link.watch(watcher)

    async def wait_for(self, *names: str, timeout: float | None = None) -> State:
        """Wait until the state is one of `names`.

        Raises:
            TimedOut: it was not within `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._link.until(*names)
        except TimeoutError:
            raise TimedOut(f"Still {self.state.name} after {timeout:g} s") from None

    # -- events ----------------------------------------------------------------------------------

    @property
    def cursor(self) -> int | None:
        """The place in the log of the last event handed over: store it, and give it to the next
        `connect` to be told everything after it."""
        return self._inbox.cursor

    @property
    def epoch(self) -> str | None:
        """Which log the cursor belongs to; it changes when a backup was restored."""
        return self._session.epoch

    def events(self, *, signals: bool = False) -> AsyncIterator[Any]:
        """Every durable event once and in order, across reconnects, until the client is closed.

        Yields `Event`s, and a `Gap` where the server could not tell what was missed; with
        `signals`, `Signal`s too (typing, presence), which are dropped when the program is slow.
        `cursor` has moved when an event is handed over. One consumer at a time; leaving the loop
        and coming back goes on where it was.

        Raises:
            MadangError: what stopped the client for good, after the last event.
        """
        self._session.wants_signals = self._session.wants_signals or signals
        return Handed(self._inbox)

    async def subscribe(
        self, conversation_id: str, *, after: int | None = None, timeout: float | None = None
    ) -> int:
        """Follow a conversation, with what came after the seq `after` among the events.

        Your own conversations come without it; use it to read an older part again. Kept up over
        reconnects. Returns the conversation's last seq.
        """
        if after is not None:
            self._session.order.reread(conversation_id, after)
        reply = await self._request(
            {"type": "subscribe", "conversation_id": conversation_id, "after": after},
            timeout=timeout,
        )
        self._session.subscriptions.add(conversation_id)
        seq = reply.get("seq")
        return seq if isinstance(seq, int) else 0

    async def unsubscribe(self, conversation_id: str, *, timeout: float | None = None) -> None:
        """Stop following what is not one of my own conversations."""
        self._session.subscriptions.discard(conversation_id)
        await self._request(
            {"type": "unsubscribe", "conversation_id": conversation_id}, timeout=timeout
        )

    # -- messages --------------------------------------------------------------------------------

    async def send(
        self,
        conversation_id: str,
        content: str,
        *,
        message_type: str = "text",
        reply_to_id: str | None = None,
        attachments: Sequence[Json] | None = None,
        metadata: Json | None = None,
        client_id: str | None = None,
        timeout: float | None = None,
    ) -> Message:
        """Send a message and wait until it is on the server's disk, over reconnects if need be.

        Raises:
            MadangError: it was refused; nothing was sent.
            TimedOut: no confirmation in `timeout` seconds. It is not tried further; sending again
                with the error's `client_id` cannot make a second message.
        """
        frame = _message_frame(
            conversation_id, content, message_type, reply_to_id, attachments, metadata, client_id
        )
        seconds = self._timeout if timeout is None else timeout
        made = _outgoing(frame, awaited=True)
        try:
            async with asyncio.timeout(seconds):
                self._inbox.nudge()
                await self._outbox.room()
                self._session.enter(made)
                return await made.answer
        except TimeoutError:
            raise TimedOut(
                f"No confirmation in {seconds:g} s ({self.state.name})", client_id=made.client_id
            ) from None
        finally:
            if self._outbox.get(made.client_id) is made:
                self._outbox.discard(made.client_id)
            made.answer.cancel()

    def post(
        self,
        conversation_id: str,
        content: str,
        *,
        message_type: str = "text",
        reply_to_id: str | None = None,
        attachments: Sequence[Json] | None = None,
        metadata: Json | None = None,
        client_id: str | None = None,
    ) -> str:
        """Put a message into the outbox and return its `client_id` at once.

        It is sent in order, again after a lost connection, and again where the server was busy or
        over its limit. A refusal comes as a `Signal` of type `send.refused`.

        Raises:
            OutboxFull: too many are on their way.
        """
        frame = _message_frame(
            conversation_id, content, message_type, reply_to_id, attachments, metadata, client_id
        )
        made = _outgoing(frame, awaited=False)
        self._session.enter(made)
        return made.client_id

    @property
    def unconfirmed(self) -> list[tuple[str, str, str]]:
        """What stands in the outbox, oldest first: (client_id, conversation_id, content)."""
        return [(one.client_id, one.conversation_id, one.content) for one in self._outbox.entries()]

    async def edit(self, message_id: str, content: str, *, timeout: float | None = None) -> Message:
        """Change the text of a message of mine; returns it as it is now."""
        reply = await self._request(
            {"type": "message.edit", "message_id": message_id, "content": content}, timeout=timeout
        )
        return Message.from_wire(reply["data"])

    async def delete(self, message_id: str, *, timeout: float | None = None) -> None:
        """Delete a message of mine, or as an admin of its conversation anyone's."""
        await self._request(
            {"type": "message.delete", "message_id": message_id},
            match=_event_about("message.deleted", message_id),
            timeout=timeout,
        )

    async def read(self, message_id: str, *, timeout: float | None = None) -> None:
        """I have read up to this message."""
        await self._request({"type": "message.read", "message_id": message_id}, timeout=timeout)

    async def react(self, message_id: str, emoji: str, *, timeout: float | None = None) -> None:
        """Add my reaction."""
        await self._react("add", message_id, emoji, timeout)

    async def unreact(self, message_id: str, emoji: str, *, timeout: float | None = None) -> None:
        """Take my reaction back."""
        await self._react("remove", message_id, emoji, timeout)

    def typing(self, conversation_id: str, active: bool = True) -> None:
        """Tell the others that I type, or stopped. Not answered; lost where not connected."""
        if self._session.greeted and self._link.unsent < SLOWEST_TYPIST:
            kind = "typing.start" if active else "typing.stop"
            self._link.put(encode({"type": kind, "conversation_id": conversation_id}))

    # -- oneself ---------------------------------------------------------------------------------

    async def set_presence(self, status: str, *, timeout: float | None = None) -> None:
        """`online`, `away` or `dnd`."""
        await self._request({"type": "presence.set", "status": status}, timeout=timeout)

    async def refresh_token(
        self, token: str | None = None, *, timeout: float | None = None
    ) -> str | None:
        """Show a newer token on the open connection: this one, or one from the token function.

        Returns when it expires, as the server wrote it.
        """
        if token is None:
            self._token.expire()
            token = await self._token.current()
        reply = await self._request({"type": "token.refresh", "token": token}, timeout=timeout)
        if token is not None:
            self._token.replace(token)
        expires = reply.get("expires_at")
        return expires if isinstance(expires, str) else None

    async def ping(self, *, timeout: float | None = None) -> float:
        """Seconds there and back."""
        began = self._timing.monotonic()
        await self._request({"type": "ping"}, timeout=timeout)
        return self._timing.monotonic() - began

    async def leave(self, conversation_id: str) -> None:
        """Leave a conversation."""
        if self.user_id is None:
            raise Disconnected("Not connected yet: nobody to leave as")
        await self.remove_participant(conversation_id, self.user_id)

    # -- how -------------------------------------------------------------------------------------

    async def _react(self, change: str, message_id: str, emoji: str, timeout: float | None) -> None:
        done = "reaction.added" if change == "add" else "reaction.removed"

        def mine(frame: Frame) -> bool:
            return (
                frame["type"] == done
                and frame.get("message_id") == message_id
                and frame.get("emoji") == emoji
                and str(frame.get("user_id")) == self.user_id
            )

        await self._request(
            {"type": f"reaction.{change}", "message_id": message_id, "emoji": emoji},
            match=mine,
            timeout=timeout,
        )

    async def _request(
        self, frame: Frame, *, match: Match | None = None, timeout: float | None
    ) -> Frame:
        """Ask and wait for the reply, asking again after a lost connection: every request made
        this way may be carried out twice without harm."""
        if self._link.state.name == "closed":
            raise self._link.error or Disconnected("The client is closed")
        seconds = self._timeout if timeout is None else timeout
        name = self._session.calls.next_id()
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        call = Call(name, encode({**frame, "id": name}), answer, match)
        self._session.request(call)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            raise TimedOut(
                f"No answer to {frame['type']} in {seconds:g} s ({self.state.name})"
            ) from None
        finally:
            self._session.calls.discard(call)


def connect(
    url: str,
    *,
    token: TokenSource | None = None,
    user: str | None = None,
    cursor: int | None = None,
    epoch: str | None = None,
    buffer: int = 1000,
    outbox: int = 1000,
    timeout: float = 10.0,
    timing: Timing | None = None,
    http: httpx.AsyncClient | None = None,
) -> Client:
    """A messenger client, to be entered with `async with`.

    Args:
        url: the server's, as `http://` or `https://`, with the path it is mounted under.
        token: a JWT, or a function (sync or async) that gives a fresh one; it is called again
            when the server says that the token has expired.
        user: who to be on a server in dev mode, which needs no token.
        cursor: where to go on from; without one, from the moment of connecting.
        epoch: the log's, as `epoch` told it when the cursor was stored; where the server's
            database was restored from a backup since, there is a `Gap` instead of a mistake.
        buffer: events kept for a slow program before reading stops; 0 for a program that wants
            none.
        outbox: messages on their way at most.
        timeout: seconds for the first connection and, where a call names none, for each answer.
        timing: sleep, randomness and clock, for tests.
        http: your own httpx client for REST; it is not closed.
    """
    return Client(
        url,
        token=token,
        user=user,
        cursor=cursor,
        epoch=epoch,
        buffer=buffer,
        outbox=outbox,
        timeout=timeout,
        timing=timing,
        http=http,
    )


def new_client_id() -> str:
    """A UUIDv7 (RFC 9562, 5.7): unlike any other, and beginning with the time, so that the server
    finds the ids of one conversation's latest messages beside each other."""
    milliseconds = time.time_ns() // 1_000_000
    head = (milliseconds << 80) | (7 << 76) | (secrets.randbits(12) << 64)
    return str(uuid.UUID(int=head | (2 << 62) | secrets.randbits(62)))


def _message_frame(
    conversation_id: str,
    content: str,
    message_type: str,
    reply_to_id: str | None,
    attachments: Sequence[Json] | None,
    metadata: Json | None,
    client_id: str | None,
) -> Frame:
    client_id = client_id or new_client_id()
    return {
        "type": "message.send",
        "id": client_id,
        "conversation_id": conversation_id,
        "content": content,
        "message_type": message_type,
        "client_id": client_id,
        "reply_to_id": reply_to_id,
        "attachments": list(attachments) if attachments else None,
        "metadata": metadata,
    }


def _outgoing(frame: Frame, *, awaited: bool) -> Outgoing:
    answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    return Outgoing(
        frame["client_id"],
        frame["conversation_id"],
        frame["content"],
        encode(frame),
        answer,
        awaited,
    )


def _event_about(kind: str, message_id: str) -> Match:
    return lambda frame: frame["type"] == kind and frame.get("message_id") == message_id
