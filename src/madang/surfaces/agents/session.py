"""A session's WebSocket: how connections come and go, and whose each frame is. What people send
stands in `people`, what an agent outside sends besides in `outside`."""

from __future__ import annotations

from collections.abc import Callable
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
from madang.model.ids import parse_uuid
from madang.model.runs import SessionView
from madang.model.times import iso
from madang.ports.bus import Bus, SignalTold
from madang.ports.store import Store, Writer
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Forbidden, Invalid, InvalidJson, MadangError
from madang.services.asking import RunLimits
from madang.services.limits import RateLimit
from madang.surfaces import objects
from madang.surfaces.admission import Admission, failed
from madang.surfaces.agents import commands
from madang.surfaces.agents.outside import Outside
from madang.surfaces.agents.people import People
from madang.surfaces.agents.seats import NO_SESSION, Seat, Seats
from madang.surfaces.fields import error_of, reply_to_of

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
        changes_limit: RateLimit,
        signals_limit: RateLimit,
        run_limits: RunLimits,
        max_content: int,
        typing_seconds: float,
    ) -> None:
        self._admission = admission
        self._hub = hub
        self._delivery = delivery
        self._clock = clock
        self._seats = seats
        self._messages_limit = messages_limit
        self._changes_limit = changes_limit
        self._signals_limit = signals_limit
        people = People(
            start=admission.start,
            delivery=delivery,
            store=store,
            writer=writer,
            clock=clock,
            runner=runner,
            messages_limit=messages_limit,
            signals_limit=signals_limit,
            run_limits=run_limits,
            max_content=max_content,
            typing_seconds=typing_seconds,
        )
        self._outside = Outside(
            runner,
            delivery,
            store,
            writer,
            clock,
            run_limits,
            start=admission.start,
            count=self._count_answer,
            give_back=self._give_back_answer,
            max_content=max_content,
        )
        self._seated: dict[Connection, Seat] = {}
        self._attending = Attending(bus, self._tell_coming)
        presence.watch_others(self._attending.turned)
        self._typing = people.typing
        delivery.watch(self._typing.landed)
        self._handlers: dict[str, tuple[Any, Handler]] = {
            "message": (_model(commands.Message), people.message),
            "file": (_model(commands.File), people.file),
            "typing": (_model(commands.Typing), people.types),
            "stop": (_model(commands.OnMessage), self._limited(people.stop)),
            "read": (_model(commands.OnMessage), self._limited(people.read)),
            "regenerate": (_model(commands.Regenerate), people.regenerate),
            "choose": (_model(commands.OnMessage), self._arranged(people.choose)),
            "handover": (_model(commands.HandOver), self._arranged(people.hand_over)),
            "approval_answer": (_model(commands.ApprovalAnswer), self._arranged(people.answer)),
            "ping": (_model(commands.Ping), self._ping),
            "stream_start": (
                _model(commands.StreamStart),
                self._agents(self._outside.start),
            ),
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
        for text in seat.early.hear(seat.connection):
            if not seat.connection.open:
                break
            self._handle(seat, text)

    def _welcome(self, seat: Seat, seen: SessionView, seq: int, recovered: bool) -> None:
        seat.connection.write(
            Frame(
                objects.frame(
                    "system",
                    event="connected",
                    session_id=seat.session_id,
                    user_id=seat.user.user_id,
                    trace_id=seen.session.trace_id,
                    seq=seq,
                    recovered=recovered,
                    timestamp=iso(self._clock.now()),
                )
            )
        )

    def closed(self, connection: Connection) -> None:
        seat = self._seated.pop(connection, None)
        self._typing.gone(connection)
        if seat is not None:
            self._outside.gone(seat)
        was_here = seat is not None and seat.ready
        self._admission.leave(connection)
        if seat is None or not was_here:
            return
        if not self._hub.beside_in(seat.user, seat.session_id):
            self._attending.changed(_place(seat), False)

    def _tell_coming(self, place: Place, here: bool, at: int) -> None:
        member = self._hub.members.get((place.org_id, place.user_id))
        if member is not None and not self._hub.is_in(member, place.conversation_id):
            return  # They were sent out, which was told.
        text = objects.frame(
            "system",
            event="user_joined" if here else "user_left",
            user_id=place.user_id,
            timestamp=iso(self._clock.now()),
        )
        signal = SignalTold(
            place.conversation_id, text, place.user_id, dialect=Dialect.AGENT, at=at
        )
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
        else:
            seat.early.keep(connection, text, len(text))

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
        return partial(self._within, self._signals_limit, handle)

    def _count_answer(self, seat: Seat) -> None:
        """What is told to the session as a message is, and kept, counts as one."""
        user = seat.user
        self._messages_limit.check(user.org_id, user.user_id, self._clock.monotonic())

    def _give_back_answer(self, seat: Seat) -> None:
        self._messages_limit.give_back(seat.user.org_id, seat.user.user_id)

    def _arranged(self, handle: Handler) -> Handler:
        """What is kept and is no message counts as a change."""
        return partial(self._within, self._changes_limit, handle)

    def _within(self, limit: RateLimit, handle: Handler, seat: Seat, command: Any) -> None:
        limit.check(seat.user.org_id, seat.user.user_id, self._clock.monotonic())
        handle(seat, command)

    def _agents(self, handle: Handler) -> Handler:
        """What only agents may."""

        def handle_theirs(seat: Seat, command: Any) -> None:
            if not seat.agent:
                raise Forbidden("A token with the role agent is needed")
            self._outside.check(seat, command)
            handle(seat, command)

        return handle_theirs

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
