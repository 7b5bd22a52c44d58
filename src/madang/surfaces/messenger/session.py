"""The messenger's WebSocket: what each frame of a client does, and what it is answered.

Writes are handed to the writer and answered from its callback: no task and no `await` stands
between a frame and the log. Only catching up and refreshing a token run as tasks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
import structlog
from pydantic import TypeAdapter, ValidationError

from madang.clock import Clock
from madang.delivery.catchup import Catchup, CaughtUp
from madang.delivery.delivery import Delivery
from madang.delivery.members import Members
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Frame
from madang.hub.hub import Hub, Member
from madang.model.ids import uuid7, wire_user_id
from madang.model.times import LATEST, MICROSECONDS, cursor_of, iso
from madang.ports import SignalTold, Write, Writer
from madang.protocol.errors import Invalid, InvalidJson, MadangError, NotAParticipant
from madang.services.auth import AuthError
from madang.services.limits import RateLimit
from madang.services.messages import (
    AddReaction,
    DeleteMessage,
    Done,
    EditMessage,
    ReadMessage,
    RemoveReaction,
    SendMessage,
)
from madang.services.typing import Typing
from madang.surfaces import objects
from madang.surfaces.admission import Admission
from madang.surfaces.content import check_content, sender_type
from madang.surfaces.fields import error_of
from madang.surfaces.messenger import commands
from madang.surfaces.messenger.frames import MessengerFrames, encode_reply

log = structlog.get_logger(__name__)

HELLO_SECONDS = 1.0
"""How long live events wait for a new connection to say what it missed."""

ReplyTo = str | int | None


class Messenger:
    """The messenger surface over WebSocket. One object for all connections."""

    def __init__(
        self,
        *,
        frames: MessengerFrames,
        admission: Admission,
        entrance: Entrance,
        hub: Hub,
        members: Members,
        delivery: Delivery,
        catchup: Catchup,
        presence: Presence,
        writer: Writer,
        clock: Clock,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
        max_content: int,
        typing_seconds: float,
        heartbeat: int,
        epoch: Callable[[], str],
    ) -> None:
        self._frames = frames
        self._admission = admission
        self._entrance = entrance
        self._hub = hub
        self._members = members
        self._delivery = delivery
        self._catchup = catchup
        self._presence = presence
        self._writer = writer
        self._clock = clock
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self._max_content = max_content
        self._heartbeat = heartbeat
        self._epoch = epoch
        self._tasks: set[asyncio.Task[None]] = set()
        self._settling: dict[Connection, float] = {}
        self.typing = Typing(clock, typing_seconds, self._tell_typing)
        delivery.watch(self.typing.landed)
        self._handlers: dict[str, tuple[Any, Callable[[Connection, Any], None]]] = {
            "message.send": (_model(commands.MessageSend), self._send),
            "message.edit": (_model(commands.MessageEdit), self._edit),
            "message.delete": (_model(commands.OnMessage), self._delete),
            "message.read": (_model(commands.OnMessage), self._read),
            "typing": (_model(commands.Typing), self._typing),
            "typing.start": (_model(commands.Typing), self._typing),
            "typing.stop": (_model(commands.Typing), self._typing),
            "reaction.add": (_model(commands.Reaction), self._react),
            "reaction.remove": (_model(commands.Reaction), self._react),
            "subscribe": (_model(commands.Subscribe), self._subscribe),
            "unsubscribe": (_model(commands.Unsubscribe), self._unsubscribe),
            "resume": (_model(commands.Resume), self._resume),
            "presence.set": (_model(commands.PresenceSet), self._set_presence),
            "token.refresh": (_model(commands.TokenRefresh), self._refresh_token),
            "ping": (_model(commands.Ping), self._ping),
        }

    # A connection's life.

    def opened_for(self, claimed: str | None, connection: Connection, upgrade: Upgrade) -> None:
        """A connection whose path names the user `claimed`, or nobody."""
        welcome = partial(self._welcome, upgrade.query.get("cursor"))
        self._admission.admit(connection, upgrade, claimed, welcome, self.received)

    def closed(self, connection: Connection) -> None:
        self._admission.forget(connection)
        self._settling.pop(connection, None)
        self._catchup.forget(connection)
        self.typing.gone(connection)
        member = connection.member
        if member is not None:
            self._hub.detach(connection)
            self._presence.closed(member)
            if not member.connections:
                self._members.idle(member, self._entrance.now)

    def _welcome(self, cursor: str | None, connection: Connection, member: Member) -> None:
        connection.write(
            Frame(
                objects.frame(
                    "system",
                    event="connected",
                    message="Connected to messenger",
                    timestamp=iso(self._clock.now()),
                    user_id=wire_user_id(member.user_id),
                    connection_id=uuid7(self._clock.now()),
                    cursor=connection.floor,
                    epoch=self._epoch(),
                    heartbeat=self._heartbeat,
                )
            )
        )
        self._presence.opened(member)
        if cursor is not None:
            try:
                self._resume(connection, commands.Resume(type="resume", cursor=float(cursor)))
                return
            except (ValueError, MadangError):
                self._fail(connection, Invalid("cursor: must be a number"), None)
        self._catchup.hold(connection)
        if not self._settling:
            self._clock.call_later(HELLO_SECONDS, self._settle)
        self._settling[connection] = self._clock.monotonic() + HELLO_SECONDS

    def _settle(self) -> None:
        """Connections that did not say in time where they stand go live."""
        now = self._clock.monotonic()
        while self._settling:
            connection, until = next(iter(self._settling.items()))
            if until > now + 0.001:
                self._clock.call_later(until - now, self._settle)
                return
            del self._settling[connection]
            self._catchup.release(connection)

    # A frame.

    def received(self, connection: Connection, text: str) -> None:
        """See `gateways.entrance.Surface`."""
        if connection.member is None:
            self._admission.wait(connection, text)
            return
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            self._fail(connection, InvalidJson("Invalid JSON format"), None)
            return
        if type(content) is not dict:
            self._fail(connection, InvalidJson("Invalid JSON format"), None)
            return
        kind = content.get("type")
        if type(kind) is not str:
            self._fail(connection, Invalid("type: must be a string"), content)
            return
        found = self._handlers.get(kind)
        if found is None:
            log.info("unknown frame type", type=kind[:100])
            return
        if kind != "ping":
            self._presence.acted(connection, self._entrance.now)
            if kind not in ("resume", "subscribe") and self._settling.pop(connection, None):
                self._catchup.release(connection)
        validate, handle = found
        try:
            handle(connection, validate(content))
        except ValidationError as error:
            self._fail(connection, error_of(error.errors(include_url=False)), content)
        except MadangError as problem:
            self._fail(connection, problem, content)

    def _fail(
        self, connection: Connection, problem: MadangError, content: dict[str, Any] | None
    ) -> None:
        reply_to = None if content is None else content.get("id")
        if not isinstance(reply_to, str | int) or len(str(reply_to)) > 200:
            reply_to = None
        connection.write(Frame(objects.error(problem, reply_to)))

    # Writes.

    def _submit(
        self,
        connection: Connection,
        write: Write,
        reply_to: ReplyTo,
        answer: Callable[[Connection, ReplyTo, Any], None],
    ) -> None:
        def done(result: Any, error: MadangError | None) -> None:
            if not connection.open:
                return
            if error is not None:
                connection.write(Frame(objects.error(error, reply_to)))
            else:
                answer(connection, reply_to, result)

        self._writer.submit(write, done)

    def _send(self, connection: Connection, command: commands.MessageSend) -> None:
        member = _member(connection)
        check_content(
            command.content,
            command.message_type,
            connection.identity,
            self._max_content,
            bool(command.attachments),
        )
        self._messages_limit.check(member.org_id, member.user_id, self._clock.monotonic())
        write = SendMessage(
            member.org_id,
            command.conversation_id,
            member.user_id,
            command.content,
            sender_type(connection.identity),
            command.message_type,
            command.client_id,
            command.reply_to_id,
            tuple(command.attachments or ()),
            command.metadata,
        )
        self._submit(connection, write, command.id, self._answer_sent)

    def _answer_sent(self, connection: Connection, reply_to: ReplyTo, done: Done) -> None:
        connection.write(Frame(self._frames.sent(done.message, done.event, reply_to)))

    def _edit(self, connection: Connection, command: commands.MessageEdit) -> None:
        member = _member(connection)
        check_content(command.content, "text", connection.identity, self._max_content, False)
        self._messages_limit.check(member.org_id, member.user_id, self._clock.monotonic())
        write = EditMessage(member.org_id, command.message_id, member.user_id, command.content)
        self._submit(connection, write, command.id, self._answer_same("message.edited"))

    def _delete(self, connection: Connection, command: commands.OnMessage) -> None:
        member = _member(connection)
        write = DeleteMessage(member.org_id, command.message_id, member.user_id)
        self._submit(connection, write, command.id, self._answer_same("message.deleted"))

    def _read(self, connection: Connection, command: commands.OnMessage) -> None:
        member = _member(connection)
        self._signals_limit.check(member.org_id, member.user_id, self._clock.monotonic())
        write = ReadMessage(member.org_id, command.message_id, member.user_id)
        self._submit(connection, write, command.id, _answer_read)

    def _react(self, connection: Connection, command: commands.Reaction) -> None:
        member = _member(connection)
        self._messages_limit.check(member.org_id, member.user_id, self._clock.monotonic())
        adding = command.type == "reaction.add"
        kind = AddReaction if adding else RemoveReaction
        write = kind(member.org_id, command.message_id, member.user_id, command.emoji)
        answer = self._answer_same(
            "reaction.added" if adding else "reaction.removed", emoji=command.emoji
        )
        self._submit(connection, write, command.id, answer)

    def _answer_same(self, kind: str, **fields: Any) -> Callable[[Connection, ReplyTo, Done], None]:
        """Where the reply is the event itself: the asking connection gets it once."""

        def answer(connection: Connection, reply_to: ReplyTo, done: Done) -> None:
            if done.event is None:
                about = done.message
                member = _member(connection)
                told = {"message_id": about.id, "conversation_id": about.conversation_id}
                if kind == "message.edited":
                    told["data"] = objects.message(about)  # type: ignore[assignment]
                connection.write(
                    Frame(
                        objects.frame(
                            kind, reply_to, **told, user_id=wire_user_id(member.user_id), **fields
                        )
                    )
                )
            elif reply_to is not None:
                reply = Frame(encode_reply(done.event, reply_to))
                if connection.mutes(done.event.conversation_id):
                    connection.write(reply)
                else:
                    self._delivery.reply(done.event, connection, reply)

        return answer

    # Signals.

    def _typing(self, connection: Connection, command: commands.Typing) -> None:
        member = _member(connection)
        if not self._hub.is_in(member, command.conversation_id):
            raise NotAParticipant
        self._signals_limit.check(member.org_id, member.user_id, self._clock.monotonic())
        key = (member.org_id, command.conversation_id, member.user_id)
        starting = command.type == "typing.start" or (
            command.type == "typing" and command.is_typing
        )
        if starting:
            self.typing.start(key, connection)
        else:
            self.typing.stop(key)

    def _tell_typing(
        self, org_id: str, conversation_id: str, user_id: str, is_typing: bool
    ) -> None:
        text = objects.frame(
            "typing.start" if is_typing else "typing.stop",
            user_id=wire_user_id(user_id),
            conversation_id=conversation_id,
        )
        self._delivery.signal(org_id, SignalTold(conversation_id, text, user_id))

    def _set_presence(self, connection: Connection, command: commands.PresenceSet) -> None:
        self._presence.set(connection, command.status)
        connection.write(
            Frame(objects.frame("presence.confirmed", command.id, status=command.status))
        )

    def _ping(self, connection: Connection, command: commands.Ping) -> None:
        connection.write(Frame(objects.frame("pong", command.id, timestamp=iso(self._clock.now()))))

    # Catching up.

    def _resume(self, connection: Connection, command: commands.Resume) -> None:
        self._settling.pop(connection, None)
        reply_to = command.id

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"cursor": caught.cursor, "events": caught.events}
            told["recovered"] = caught.recovered
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(Frame(objects.frame("resumed", reply_to, **told)))

        if command.epoch is not None and command.epoch != self._epoch():
            ended(CaughtUp(connection.floor, 0, False, "other_epoch"))
            self._catchup.release(connection)
            return
        self._catchup.resume(connection, cursor_of(command.cursor), ended)

    def _subscribe(self, connection: Connection, command: commands.Subscribe) -> None:
        reply_to, conversation_id = command.id, command.conversation_id

        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"seq": caught.seq, "recovered": caught.recovered}
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(
                Frame(
                    objects.frame("subscribed", reply_to, conversation_id=conversation_id, **told)
                )
            )

        def failed(problem: MadangError) -> None:
            connection.write(Frame(objects.error(problem, reply_to)))

        self._catchup.subscribe(connection, conversation_id, command.after, ended, failed)

    def _unsubscribe(self, connection: Connection, command: commands.Unsubscribe) -> None:
        if not self._hub.is_in(_member(connection), command.conversation_id):
            raise NotAParticipant
        self._hub.flush()
        connection.mute(command.conversation_id)
        connection.write(
            Frame(
                objects.frame("unsubscribed", command.id, conversation_id=command.conversation_id)
            )
        )

    # Tokens.

    def _refresh_token(self, connection: Connection, command: commands.TokenRefresh) -> None:
        task = asyncio.get_running_loop().create_task(self._refreshed(connection, command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refreshed(self, connection: Connection, command: commands.TokenRefresh) -> None:
        member = _member(connection)
        try:
            identity = await self._admission.verifier.authenticate(command.token, self._clock.now())
            if (identity.org, identity.user_id) != (member.org_id, member.user_id):
                raise AuthError("Invalid token", "another user's")
        except AuthError as problem:
            connection.write(Frame(objects.error(problem, command.id)))
            return
        connection.identity = identity
        expires_at = iso(min(identity.expires_at * MICROSECONDS, LATEST))
        connection.write(Frame(objects.frame("token.refreshed", command.id, expires_at=expires_at)))


class MessengerPath:
    """The messenger as a WebSocket path leads to it: with or without a user id in the path."""

    __slots__ = ("_claimed", "_messenger", "closed", "received")

    def __init__(self, messenger: Messenger, claimed: str | None) -> None:
        self._messenger = messenger
        self._claimed = claimed
        self.received = messenger.received
        self.closed = messenger.closed

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        self._messenger.opened_for(self._claimed, connection, upgrade)


def _model(command: type[commands.Command]) -> Callable[[Any], Any]:
    return TypeAdapter(command).validator.validate_python


def _member(connection: Connection) -> Member:
    assert connection.member is not None
    return connection.member


def _answer_read(connection: Connection, reply_to: ReplyTo, done: Done) -> None:
    connection.write(Frame(objects.frame("read.confirmed", reply_to, message_id=done.message.id)))
