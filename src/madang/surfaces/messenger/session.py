"""The messenger's WebSocket: what each frame of a client does, and what it is answered.

Writes are handed to the writer and answered from its callback: no task and no `await` stands
between a frame and the log. Only catching up and refreshing a token run as tasks; they stand in
modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from madang.clock import Clock
from madang.delivery.catchup import Catchup
from madang.delivery.delivery import Delivery
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Frame, reply_beside
from madang.hub.hub import Hub, Member
from madang.model.ids import uuid7, wire_user_id
from madang.model.times import iso
from madang.ports.bus import SignalTold
from madang.ports.store import Write, Writer
from madang.protocol.errors import Invalid, InvalidJson, MadangError, NotAParticipant, RateLimited
from madang.services.asking import RunLimits
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
from madang.surfaces.admission import Admission, failed
from madang.surfaces.content import check_content, sender_type
from madang.surfaces.fields import error_of, reply_to_of
from madang.surfaces.messenger import commands
from madang.surfaces.messenger.catching_up import CatchingUp
from madang.surfaces.messenger.frames import MessengerFrames, encode_reply
from madang.surfaces.messenger.tokens import TokenRefresh

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
        delivery: Delivery,
        catchup: Catchup,
        presence: Presence,
        writer: Writer,
        clock: Clock,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
        run_limits: RunLimits,
        max_content: int,
        typing_seconds: float,
        heartbeat: int,
        epoch: Callable[[], str],
    ) -> None:
        self._frames = frames
        self._admission = admission
        self._entrance = entrance
        self._hub = hub
        self._delivery = delivery
        self._presence = presence
        self._writer = writer
        self._clock = clock
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self._run_limits = run_limits
        self._max_content = max_content
        self._heartbeat = heartbeat
        self._epoch = epoch
        self._catching_up = CatchingUp(hub, catchup, clock, epoch)
        tokens = TokenRefresh(admission, clock)
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
            "subscribe": (_model(commands.Subscribe), self._limited(self._catching_up.subscribe)),
            "unsubscribe": (_model(commands.Unsubscribe), self._catching_up.unsubscribe),
            "resume": (_model(commands.Resume), self._limited(self._catching_up.resume)),
            "presence.set": (_model(commands.PresenceSet), self._set_presence),
            "token.refresh": (_model(commands.TokenRefresh), self._limited(tokens.refresh)),
            "ping": (_model(commands.Ping), self._ping),
        }

    # A connection's life.

    def opened_for(self, claimed: str | None, connection: Connection, upgrade: Upgrade) -> None:
        """A connection whose path names the user `claimed`, or nobody."""
        welcome = partial(self._welcome, upgrade.query.get("cursor"))
        self._admission.admit(connection, upgrade, claimed, welcome, self.received)

    def closed(self, connection: Connection) -> None:
        self._catching_up.forget(connection)
        self.typing.gone(connection)
        self._admission.leave(connection)

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
        if cursor is not None:
            try:
                resume = commands.Resume(type="resume", cursor=float(cursor))
            except ValueError:
                self._fail(connection, Invalid("cursor: must be a number"), None)
            else:
                self._catching_up.resume(connection, resume)
                return
        self._catching_up.hold(connection)

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
            self._admission.unknown(kind)
            return
        if kind != "ping":
            self._presence.acted(connection, self._entrance.now)
            self._catching_up.acted(connection, kind)
        validate, handle = found
        try:
            handle(connection, validate(content))
        except ValidationError as error:
            self._fail(connection, error_of(error.errors(include_url=False)), content)
        except MadangError as problem:
            self._fail(connection, problem, content)
        except Exception:
            failed(connection, "a frame was not handled")

    def _fail(
        self, connection: Connection, problem: MadangError, content: dict[str, Any] | None
    ) -> None:
        connection.write(Frame(objects.error(problem, reply_to_of(content))))

    def _limited(
        self, handle: Callable[[Connection, Any], None]
    ) -> Callable[[Connection, Any], None]:
        """What takes work beyond the frame itself counts as a signal does."""

        def handle_some(connection: Connection, command: Any) -> None:
            member = _member(connection)
            self._signals_limit.check(member.org_id, member.user_id, self._clock.monotonic())
            handle(connection, command)

        return handle_some

    # Writes.

    def _submit(
        self,
        connection: Connection,
        write: Write,
        reply_to: ReplyTo,
        answer: Callable[[Connection, ReplyTo, Any], None],
    ) -> None:
        member = _member(connection)

        def done(result: Any, error: MadangError | None) -> None:
            if isinstance(error, RateLimited):  # Only what asks an agent is, and was counted.
                self._messages_limit.give_back(member.org_id, member.user_id)
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
            command.attachments,
            command.metadata,
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
            self._run_limits,
        )
        self._submit(connection, write, command.id, self._answer_sent)

    def _answer_sent(self, connection: Connection, reply_to: ReplyTo, done: Done) -> None:
        connection.write(Frame(self._frames.sent(done.message, done.event, reply_to)))

    def _edit(self, connection: Connection, command: commands.MessageEdit) -> None:
        member = _member(connection)
        check_content(command.content, "text", connection.identity, self._max_content)
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
                reply = partial(encode_reply, reply_to=reply_to)
                if connection.mutes(done.event.conversation_id):
                    connection.write(reply_beside(reply, done.event))
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
