"""What is said on the messenger's connections: resume, catch-up, answers, and sending again.

One session outlives all connections of a client. It stands between `connection.Link`, which
calls it, and `messenger.Client`, the program's side. `outbox`, `calls`, `order` and `inbox` keep
what has to be kept; this only moves frames between them.
"""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

from madang.client.backoff import Timing
from madang.client.calls import Call, Calls
from madang.client.connection import Link
from madang.client.errors import (
    Disconnected,
    MadangError,
    RateLimited,
    TooLarge,
    Unavailable,
    error_from_frame,
)
from madang.client.frames import REPLIES, Frame, cursor_in, encode, is_event
from madang.client.inbox import Inbox
from madang.client.model import Event, Gap, Message, Signal, user_in
from madang.client.order import Order, Verdict
from madang.client.outbox import Outbox, Outgoing
from madang.client.rest import MESSENGER
from madang.client.token import Token
from madang.protocol.codes import CloseCode

log = logging.getLogger("madang.client")

Happening = Event | Gap | Signal

RESUME_ID = "resume"
BUSY_PAUSE = 1.0
"""Seconds before a posted message is tried again where the server did not say when."""


class Session:
    """A user's side of the messenger, over any number of connections."""

    def __init__(
        self,
        url: str,
        token: Token,
        timing: Timing,
        *,
        user: str | None,
        cursor: int | None,
        epoch: str | None,
        buffer: int,
        outbox: int,
        open_timeout: float,
    ) -> None:
        self._url = url
        self._timing = timing
        self._user = user
        self.user_id = user
        self.connection_id: str | None = None
        self.outbox = Outbox(outbox)
        self.calls = Calls()
        self.order = Order(max(buffer, 1))
        self.inbox: Inbox[Happening] = Inbox(
            buffer, cursor, awaited=self._awaited, refill=self._refill
        )
        self.link = Link(self, token, timing, open_timeout=open_timeout, greeted=True)
        self.epoch = epoch
        self._head: int | None = None
        self.subscriptions: set[str] = set()
        self.wants_signals = False
        self.greeted = False
        """The server knows us on this connection: requests may be sent."""
        self._pause: asyncio.Task[None] | None = None

    # -- the program's side ----------------------------------------------------------------------

    def enter(self, message: Outgoing) -> None:
        """Put a message into the outbox, and on its way where there is a connection."""
        if self.link.state.name == "closed":
            raise self.link.error or Disconnected("The client is closed")
        self.outbox.add(message)
        if self.greeted and self._pause is None:
            self.link.put(message.encoded)
        self.inbox.nudge()

    def request(self, call: Call) -> None:
        """Make a request, now or on the next connection."""
        self.calls.add(call)
        if self.greeted:
            self.link.put(call.encoded)
        self.inbox.nudge()

    def _awaited(self) -> bool:
        return len(self.calls) > 0 or self.outbox.awaited()

    def _refill(self) -> None:
        self.link.restart()

    # -- the connection's side -------------------------------------------------------------------

    def url(self) -> str:
        """Where the messenger's socket is; a server in dev mode takes the user from the path."""
        who = "" if self._user is None else f"/{quote(self._user, safe='')}"
        return f"ws{self._url.removeprefix('http')}{MESSENGER}/ws{who}"

    async def before_dialling(self) -> None:
        """Not while there is no room for what would come."""
        await self.inbox.wait_while_full()

    def opened(self) -> None:
        """Ask for what was missed before anything else can be said."""
        self.inbox.refilling()
        cursor = self.inbox.received
        # Until `connected` says where the log stands, nothing is known to be newer than the gap.
        self.order.connected(None, resuming=cursor is not None)
        if cursor is not None:
            self._resume_from(cursor)

    def _resume_from(self, cursor: int) -> None:
        frame = {"type": "resume", "cursor": cursor, "epoch": self.epoch, "id": RESUME_ID}
        self.link.put(encode(frame))

    def lost(self, code: int) -> None:
        """Everything unanswered waits for the next connection."""
        greeted, self.greeted = self.greeted, False
        if code == CloseCode.TOO_LARGE and greeted and (blamed := self.outbox.largest()):
            self.outbox.refuse(blamed.client_id, TooLarge("Message too large"))

    def stopped(self, error: MadangError | None) -> None:
        """Nobody will be answered any more."""
        if self._pause is not None:
            self._pause.cancel()
        reason = error or Disconnected("The client was closed")
        self.calls.fail_all(reason)
        for message in self.outbox.entries():
            self.outbox.refuse(message.client_id, reason)
        self.inbox.end(error)

    async def received(self, frame: Frame) -> None:
        """Take one frame. Answers come before events, so that nobody waits behind a full inbox."""
        kind = frame["type"]
        if kind == "message.sent":
            self._sent(frame)
        elif kind == "error" and frame.get("reply_to") == RESUME_ID:
            self._resume_refused(error_from_frame(frame))
        elif kind == "error" and self.outbox.get(frame.get("reply_to")) is not None:
            self._refused(frame["reply_to"], error_from_frame(frame))
        else:
            if kind == "subscribed":
                await self._subscribed(frame)
            answered = self.calls.settle(frame)
            if is_event(frame):
                await self._happened(Event.from_wire(frame))
            elif kind == "resumed":
                await self._resumed(frame)
            elif kind == "system" and frame.get("event") == "connected":
                self._connected(frame)
            elif not answered and (kind not in REPLIES or kind in ("error", "system")):
                self._signalled(Signal.from_wire(frame))

    # -- frames, one by one ----------------------------------------------------------------------

    def _connected(self, frame: Frame) -> None:
        self.user_id = user_in(frame["user_id"]) if "user_id" in frame else self.user_id
        self.connection_id = frame.get("connection_id")
        head = cursor_in(frame.get("cursor"))
        resuming = self.inbox.received is not None
        self.order.connected(head, resuming=resuming)
        self._head = head
        epoch = frame.get("epoch")
        self.epoch = epoch if isinstance(epoch, str) else self.epoch
        if not resuming and head is not None:
            # From here on: a connection that breaks before the first event misses nothing either.
            self.inbox.put(None, head)
            # Nothing was missed, but until the server hears so it may keep live events back.
            self._resume_from(head)
        self.greeted = True
        for message in self.outbox.entries():
            if self._pause is None:
                self.link.put(message.encoded)
        for call in self.calls.under_way():
            self.link.put(call.encoded)
        self.link.live()

    async def _happened(self, event: Event) -> None:
        if self.order.hold(event) or not await self.inbox.room():
            return
        verdict = self.order.place(event)
        if verdict is Verdict.HOLE:
            log.info("seq %d of %s came too early: catching up", event.seq, event.conversation_id)
            self.link.restart()
        elif verdict is Verdict.NEW:
            if event.type == "participant.left" and event.user_id == self.user_id:
                self.order.removed(event.conversation_id)
            self.inbox.put(event, event.cursor)

    async def _resumed(self, frame: Frame) -> None:
        # Events since the connection began may come after `resumed` although their cursors are
        # below its: only up to the beginning is it certain that nothing is left to come.
        told = (cursor_in(frame.get("cursor")), self._head)
        cursor = min((one for one in told if one is not None), default=None)
        recovered = frame.get("recovered") is not False
        waiting = self.order.held()
        if not recovered:
            reason = frame.get("reason")
            self.order.forget()
            if await self.inbox.room():
                gap = Gap(reason if isinstance(reason, str) else "not recovered", cursor)
                self.inbox.put(gap, cursor, exact=True)
        for event in waiting:
            if await self.inbox.room() and self.order.place(event) is Verdict.NEW:
                self.inbox.put(event, event.cursor)
        if self.order.overflowed:
            self.inbox.spilled = True
        self.order.resuming = False
        if self.inbox.spilled:
            return
        if recovered and cursor is not None:
            self.inbox.put(None, cursor)
        self._subscribe_again()

    def _resume_refused(self, error: MadangError) -> None:
        log.info("resume refused: %s", error)
        self.link.restart(error.retry_after if error.retry_after is not None else BUSY_PAUSE)

    async def _subscribed(self, frame: Frame) -> None:
        conversation_id = str(frame.get("conversation_id"))
        self.order.reread_ended(conversation_id)
        if frame.get("recovered") is False and await self.inbox.room():
            reason = frame.get("reason")
            text = reason if isinstance(reason, str) else "not recovered"
            self.inbox.put(Gap(text, self.inbox.received, conversation_id))

    def _subscribe_again(self) -> None:
        for conversation_id in self.subscriptions:
            after = self.order.last(conversation_id)
            frame = {"type": "subscribe", "conversation_id": conversation_id, "after": after}
            self.link.put(encode(frame))

    def _sent(self, frame: Frame) -> None:
        client_id = frame.get("client_id") or frame.get("reply_to")
        if self.outbox.get(client_id) is not None:
            self.outbox.settle(client_id, Message.from_wire(frame["data"]))

    def _refused(self, client_id: str, error: MadangError) -> None:
        message = self.outbox.get(client_id)
        if message is None:
            return
        if not message.awaited and isinstance(error, RateLimited | Unavailable):
            self._send_again_after(BUSY_PAUSE if error.retry_after is None else error.retry_after)
            return
        self.outbox.refuse(client_id, error)
        if not message.awaited:
            refusal = {"client_id": client_id, "code": error.code, "message": error.message}
            about = {"conversation_id": message.conversation_id, "content": message.content}
            log.warning("message %s refused: %s", client_id, error)
            self._signalled(Signal("send.refused", {**refusal, **about}))

    def _signalled(self, signal: Signal) -> None:
        if self.wants_signals:
            self.inbox.pass_by(signal)
        elif signal.type == "error":
            log.warning("the server says: %s", signal.data.get("message"))

    def _send_again_after(self, seconds: float) -> None:
        """Send the whole outbox again, in order; what the server has already, it tells again."""

        async def pause() -> None:
            await self._timing.sleep(seconds)
            self._pause = None
            if self.greeted:
                for message in self.outbox.entries():
                    self.link.put(message.encoded)

        if self._pause is None:
            self._pause = asyncio.create_task(pause(), name="madang-client-pause")
