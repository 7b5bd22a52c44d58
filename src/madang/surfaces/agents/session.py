"""A session's WebSocket: what each frame of a person does, and what it is answered. What an agent
outside sends besides stands in `outside`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from madang.agents.runner import Runner
from madang.clock import Clock
from madang.delivery.attending import Attending, Place
from madang.delivery.delivery import Delivery
from madang.delivery.presence import Presence
from madang.gateways.entrance import Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Form, Frame
from madang.hub.hub import Hub, Member
from madang.model.ids import parse_uuid, wire_user_id
from madang.model.nouns import Event, MessageType
from madang.model.runs import SessionView
from madang.model.times import iso
from madang.ports.bus import Bus, SignalTold
from madang.ports.store import Store, Write, Writer
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Forbidden, Invalid, InvalidJson, MadangError, NotFound
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.services.messages import Done, ReadMessage, SendMessage
from madang.services.runs import AnswerApproval, ChooseAnswer, Regenerate
from madang.services.sessions import HandOver
from madang.services.typing import Typing
from madang.surfaces import objects
from madang.surfaces.admission import Admission, failed
from madang.surfaces.agents import commands, frames
from madang.surfaces.agents.outside import Outside
from madang.surfaces.agents.seats import MOST_EARLY, NO_SESSION, Seat, Seats
from madang.surfaces.content import check_content, sender_type
from madang.surfaces.fields import error_of, reply_to_of

ReplyTo = str | int | None
Handler = Callable[[Seat, Any], None]


class SessionSocket:
    """The WebSocket of all sessions. One object for all connections."""

    def __init__(
        self,
        *,
        admission: Admission,
        hub: Hub,
        delivery: Delivery,
        bus: Bus,
        presence: Presence,
        store: Store,
        writer: Writer,
        clock: Clock,
        seats: Seats,
        runner: Runner,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
        run_limits: RunLimits,
        max_content: int,
        typing_seconds: float,
    ) -> None:
        self._admission = admission
        self._hub = hub
        self._delivery = delivery
        self._store = store
        self._writer = writer
        self._clock = clock
        self._seats = seats
        self._runner = runner
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self._run_limits = run_limits
        self._max_content = max_content
        self._outside = Outside(runner, writer, clock, run_limits)
        self._seated: dict[Connection, Seat] = {}
        self._attending = Attending(bus, self._tell_coming)
        presence.watch_others(self._attending.turned)
        self.typing = Typing(clock, typing_seconds, self._tell_typing)
        delivery.watch(self.typing.landed)
        self._handlers: dict[str, tuple[Any, Handler]] = {
            "message": (_model(commands.Message), self._message),
            "file": (_model(commands.File), self._file),
            "typing": (_model(commands.Typing), self._typing),
            "stop": (_model(commands.OnMessage), self._limited(self._stop)),
            "read": (_model(commands.OnMessage), self._limited(self._read)),
            "regenerate": (_model(commands.OnMessage), self._regenerate),
            "choose": (_model(commands.OnMessage), self._limited(self._choose)),
            "handover": (_model(commands.HandOver), self._limited(self._hand_over)),
            "approval_answer": (_model(commands.ApprovalAnswer), self._limited(self._answer)),
            "ping": (_model(commands.Ping), self._ping),
            "stream_start": (_model(commands.StreamStart), self._agents(self._outside.start)),
            "stream_chunk": (_model(commands.StreamChunk), self._agents(self._outside.chunk)),
            "stream_end": (_model(commands.StreamEnd), self._agents(self._outside.end)),
            "run_step": (
                _model(commands.RunStep),
                self._limited(self._agents(self._outside.step)),
            ),
            "approval_request": (
                _model(commands.ApprovalRequest),
                self._limited(self._agents(self._outside.ask)),
            ),
        }

    # A connection's life.

    def opened_for(self, session_id: str, connection: Connection, upgrade: Upgrade) -> None:
        """A connection whose path names this session."""
        connection.form = Form.AGENT_DEFLATED if connection.form & 1 else Form.AGENT
        room = parse_uuid(session_id)
        if room is None:
            connection.close(CloseCode.NOT_ALLOWED, NO_SESSION)
            return
        after = upgrade.query.get("after")
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 16):
            connection.close(CloseCode.NOT_ALLOWED, "after: must be a seq")
            return
        since = None if after is None else int(after)

        def welcome(connection: Connection, user: Member) -> None:
            assert connection.member is not None
            seat = Seat(connection, room, user, connection.member, since)
            seat.agent = "agent" in connection.identity.roles if connection.identity else False
            self._seated[connection] = seat
            self._admission.start(connection, self._enter(seat))

        self._admission.admit(connection, upgrade, None, welcome, self.received, beside=True)

    async def _enter(self, seat: Seat) -> None:
        try:
            seated = await self._seats.enter(seat, self._welcome)
        except MadangError as error:
            seat.connection.close(CloseCode.TRY_LATER, error.text)
            return
        if not seated:
            return
        self._attending.changed(_place(seat), True)
        while seat.early and seat.connection.open:
            self._handle(seat, seat.early.popleft())

    def _welcome(self, seat: Seat, seen: SessionView, seq: int, recovered: bool) -> None:
        seat.connection.write(
            Frame(
                objects.frame(
                    "system",
                    event="connected",
                    session_id=seat.session_id,
                    user_id=wire_user_id(seat.user.user_id),
                    trace_id=seen.session.trace_id,
                    seq=seq,
                    recovered=recovered,
                    timestamp=iso(self._clock.now()),
                )
            )
        )

    def closed(self, connection: Connection) -> None:
        seat = self._seated.pop(connection, None)
        self.typing.gone(connection)
        if seat is not None:
            self._outside.gone(seat)
        was_here = seat is not None and seat.ready
        self._admission.leave(connection)
        if seat is None or not was_here:
            return
        if not self._hub.beside_in(seat.user, seat.session_id):
            self._attending.changed(_place(seat), False)

    def _tell_coming(self, place: Place, here: bool) -> None:
        member = self._hub.members.get((place.org_id, place.user_id))
        if member is not None and not self._hub.is_in(member, place.conversation_id):
            return  # They were sent out, which was told.
        text = objects.frame(
            "system",
            event="user_joined" if here else "user_left",
            user_id=wire_user_id(place.user_id),
            timestamp=iso(self._clock.now()),
        )
        signal = SignalTold(place.conversation_id, text, place.user_id, dialect=Dialect.AGENT)
        self._delivery.signal(place.org_id, signal)

    async def close(self) -> None:
        await self._attending.close()

    # A frame.

    def received(self, connection: Connection, text: str) -> None:
        """See `gateways.entrance.Surface`."""
        seat = self._seated.get(connection)
        if seat is None:
            self._admission.wait(connection, text)
        elif seat.ready and not seat.early:
            self._handle(seat, text)
        elif len(seat.early) < MOST_EARLY:
            seat.early.append(text)
        else:
            connection.close(CloseCode.NOT_ALLOWED, "Too many frames before connected")

    def _handle(self, seat: Seat, text: str) -> None:
        connection = seat.connection
        content: Any = None
        try:
            content = orjson.loads(text)
            if type(content) is not dict:
                raise InvalidJson("Invalid JSON format")
            kind = content.get("type")
            if type(kind) is not str:
                raise Invalid("type: must be a string")
            found = self._handlers.get(kind)
            if found is None:
                self._admission.unknown(kind)
                return
            validate, handle = found
            handle(seat, validate(content))
        except orjson.JSONDecodeError:
            self._fail(connection, InvalidJson("Invalid JSON format"), None)
        except ValidationError as error:
            self._fail(connection, error_of(error.errors(include_url=False)), content)
        except MadangError as problem:
            self._fail(connection, problem, content)
        except Exception:
            failed(connection, "a frame was not handled")

    def _fail(self, connection: Connection, problem: MadangError, content: Any) -> None:
        connection.write(Frame(objects.error(problem, reply_to_of(content))))

    def _limited(self, handle: Handler) -> Handler:
        """What takes work beyond the frame itself counts as a signal does."""

        def handle_some(seat: Seat, command: Any) -> None:
            self._signals_limit.check(seat.user.org_id, seat.user.user_id, self._clock.monotonic())
            handle(seat, command)

        return handle_some

    def _agents(self, handle: Handler) -> Handler:
        """What only agents may."""

        def handle_theirs(seat: Seat, command: Any) -> None:
            if not seat.agent:
                raise Forbidden("A token with the role agent is needed")
            handle(seat, command)

        return handle_theirs

    # What people do.

    def _submit(
        self,
        seat: Seat,
        write: Write,
        reply_to: ReplyTo,
        answer: Callable[[Any], Event | None],
        same: Callable[[Any], bytes | None] = lambda _: None,
    ) -> None:
        """Hand it in. Its event is the reply (`answer` finds it); where nothing changed, `same` is
        said to this connection alone."""

        def done(result: Any, error: MadangError | None) -> None:
            connection = seat.connection
            if not connection.open:
                return
            if error is not None:
                connection.write(Frame(objects.error(error, reply_to)))
                return
            event = answer(result)
            if event is None:
                text = same(result)
                if text is not None:
                    connection.write(Frame(text))
            elif reply_to is not None:
                encode = partial(frames.encode_reply, reply_to=reply_to)
                self._delivery.reply(event, connection, encode)

        self._writer.submit(write, done)

    def _message(self, seat: Seat, command: commands.Message) -> None:
        self._send(
            seat,
            command,
            command.content,
            command.message_type,
            tuple(command.attachments or ()),
            command.metadata,
        )

    def _file(self, seat: Seat, command: commands.File) -> None:
        self._send(seat, command, command.message, "file", ({"file_id": command.file_id},))

    def _send(
        self,
        seat: Seat,
        command: commands.Message | commands.File,
        content: str,
        message_type: MessageType,
        attachments: tuple[Mapping[str, Any], ...],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        identity, user = seat.connection.identity, seat.user
        check_content(content, message_type, identity, self._max_content, attachments, metadata)
        self._messages_limit.check(user.org_id, user.user_id, self._clock.monotonic())
        write = SendMessage(
            user.org_id,
            seat.session_id,
            user.user_id,
            content,
            sender_type(identity),
            message_type,
            command.client_id,
            command.reply_to_id,
            attachments,
            metadata,
            self._run_limits,
        )

        def again(done: Done) -> bytes:
            told = frames.message_fields(done.message)
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda done: done.event, again)

    def _typing(self, seat: Seat, command: commands.Typing) -> None:
        self._signals_limit.check(seat.user.org_id, seat.user.user_id, self._clock.monotonic())
        key = (seat.user.org_id, seat.session_id, seat.user.user_id)
        if command.is_typing:
            self.typing.start(key, seat.connection)
        else:
            self.typing.stop(key)

    def _tell_typing(self, org_id: str, session_id: str, user_id: str, is_typing: bool) -> None:
        text = objects.frame("typing", user_id=wire_user_id(user_id), is_typing=is_typing)
        signal = SignalTold(session_id, text, user_id, dialect=Dialect.AGENT)
        self._delivery.signal(org_id, signal)

    def _stop(self, seat: Seat, command: commands.OnMessage) -> None:
        self._admission.start(seat.connection, self._stop_run(seat, command))

    async def _stop_run(self, seat: Seat, command: commands.OnMessage) -> None:
        """Everybody hears of the end; who asked is answered where there was none to come."""
        connection = seat.connection
        try:
            run = await self._store.run(seat.user.org_id, command.message_id, seat.user.user_id)
            if run is None or run.conversation_id != seat.session_id:
                raise NotFound("Message not found")
            if not run.over:
                await self._runner.stop(run.org_id, run.message_id)
                if command.id is None:
                    return
                run = await self._store.run(run.org_id, run.message_id, seat.user.user_id) or run
            end = {
                "type": "stream_end",
                "message_id": run.message_id,
                "tokens_used": run.tokens_used,
                "latency_ms": run.latency_ms,
                "status": run.status,
            }
            connection.write(Frame(orjson.dumps(_replied(end, command.id))))
        except MadangError as error:
            connection.write(Frame(objects.error(error, command.id)))

    def _read(self, seat: Seat, command: commands.OnMessage) -> None:
        user = seat.user
        write = ReadMessage(user.org_id, command.message_id, user.user_id, seat.session_id)

        def again(_: Done) -> bytes:
            told = {"type": "read", "message_id": command.message_id}
            told["user_id"] = wire_user_id(user.user_id)  # type: ignore[assignment]
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda done: done.event, again)

    def _regenerate(self, seat: Seat, command: commands.OnMessage) -> None:
        user = seat.user
        self._messages_limit.check(user.org_id, user.user_id, self._clock.monotonic())
        write = Regenerate(user.org_id, command.message_id, user.user_id, self._run_limits)

        def waiting(run: Any) -> bytes | None:
            if command.id is None:
                return None
            told = {"type": "regenerating", "message_id": run.message_id, "status": run.status}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda _: None, waiting)

    def _choose(self, seat: Seat, command: commands.OnMessage) -> None:
        user = seat.user
        write = ChooseAnswer(user.org_id, command.message_id, user.user_id)

        def again(_: Any) -> bytes:
            told = {"type": "answer_chosen", "message_id": command.message_id}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda event: event, again)

    def _hand_over(self, seat: Seat, command: commands.HandOver) -> None:
        user = seat.user
        write = HandOver(user.org_id, seat.session_id, user.user_id, command.to, command.note)

        def again(_: Any) -> bytes:
            told = {"type": "handover", "to": command.to, "by": wire_user_id(user.user_id)}
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda event: event, again)

    def _answer(self, seat: Seat, command: commands.ApprovalAnswer) -> None:
        user = seat.user
        write = AnswerApproval(
            user.org_id,
            command.message_id,
            command.request_id,
            user.user_id,
            command.answer,
            command.note,
        )

        def again(_: Any) -> bytes:
            told = {
                "type": "approval_answer",
                "message_id": command.message_id,
                "request_id": command.request_id,
                "answer": command.answer,
            }
            return orjson.dumps(_replied(told, command.id))

        self._submit(seat, write, command.id, lambda result: result[1], again)

    def _ping(self, seat: Seat, command: commands.Ping) -> None:
        seat.connection.write(
            Frame(objects.frame("pong", command.id, timestamp=iso(self._clock.now())))
        )


class SessionPath:
    """The WebSocket of one session, as its path leads to it."""

    __slots__ = ("_session_id", "_socket", "closed", "received")

    def __init__(self, socket: SessionSocket, session_id: str) -> None:
        self._socket = socket
        self._session_id = session_id
        self.received = socket.received
        self.closed = socket.closed

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        self._socket.opened_for(self._session_id, connection, upgrade)


def _place(seat: Seat) -> Place:
    return Place(seat.user.org_id, seat.session_id, seat.user.user_id)


def _model(command: type[commands.Command]) -> Callable[[Any], Any]:
    return TypeAdapter(command).validator.validate_python


def _replied(told: dict[str, Any], reply_to: ReplyTo) -> dict[str, Any]:
    return told if reply_to is None else {**told, "reply_to": reply_to}
