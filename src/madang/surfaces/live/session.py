"""Live rooms over WebSocket: who sits where, and what becomes of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame, form_of
from madang.hub.hub import Hub, Member
from madang.model.identity import Identity
from madang.model.live import Asked, Room, Seat, Seated, poll_of, question_of
from madang.model.nouns import Event, Message
from madang.model.times import cursor_of, iso
from madang.ports.bus import SignalTold
from madang.ports.store import Write, Writer
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Conflict, Invalid, InvalidJson, MadangError
from madang.services.limits import RateLimit
from madang.services.live.access import ENDED
from madang.services.live.chat import SendChat
from madang.services.live.counts import CountTeller
from madang.services.live.moderation import Ban, Kick, Mute, RemoveMessage, Unmute
from madang.services.live.polls import ClosePoll, OpenPoll, VotePoll
from madang.services.live.questions import Ask, SetState, Vote
from madang.services.live.seats import Rename
from madang.services.typing import Typing
from madang.surfaces import objects
from madang.surfaces.admission import FOREVER, Admission, failed
from madang.surfaces.fields import error_of, reply_to_of
from madang.surfaces.live import commands, frames
from madang.surfaces.live.attendance import Attendance
from madang.surfaces.live.door import Door
from madang.surfaces.live.frames import LiveFrames
from madang.surfaces.live.rooms import Rooms
from madang.surfaces.resuming import Resuming

SEAT_GRACE_SECONDS = 1.0
"""How long after a seat's last connection its others are told: a page that is loaded again takes
less."""
LARGEST_TYPED_IN = 500
"""In a room with more people on this node nobody is told who types: all would be told of all."""

ReplyTo = str | int | None


class _Sitting:
    """What a connection is to its room."""

    __slots__ = ("nickname", "participant_id", "role", "room_id", "was_muted")

    def __init__(self, room: Room, seat: Seat) -> None:
        self.room_id = room.id
        self.participant_id = seat.participant_id
        self.nickname = seat.nickname
        self.role = seat.role
        self.was_muted = seat.muted


class LiveSession:
    """The live surface over WebSocket. One object for all connections."""

    def __init__(
        self,
        *,
        frames: LiveFrames,
        rooms: Rooms,
        door: Door,
        attendance: Attendance,
        counts: CountTeller,
        admission: Admission,
        entrance: Entrance,
        hub: Hub,
        delivery: Delivery,
        resuming: Resuming,
        presence: Presence,
        writer: Writer,
        clock: Clock,
        messages_limit: RateLimit,
        signals_limit: RateLimit,
        typing_seconds: float,
        grace: float,
        heartbeat: int,
        epoch: Callable[[], str],
    ) -> None:
        self._frames = frames
        self._rooms = rooms
        self._door = door
        self._attendance = attendance
        self._counts = counts
        self._admission = admission
        self._entrance = entrance
        self._hub = hub
        self._delivery = delivery
        self._resuming = resuming
        self._presence = presence
        self._writer = writer
        self._clock = clock
        self._messages_limit = messages_limit
        self._signals_limit = signals_limit
        self._grace = min(grace, SEAT_GRACE_SECONDS)
        self._heartbeat = heartbeat
        self._epoch = epoch
        self._sitting: dict[Connection, _Sitting] = {}
        self.typing = Typing(clock, typing_seconds, self._tell_typing)
        delivery.watch(self._watch)
        self._handlers: dict[str, tuple[Any, Callable[[Connection, Any], None]]] = {
            "chat_message": (_model(commands.Chat), self._chat),
            "question": (_model(commands.Question), self._ask),
            "question_vote": (_model(commands.QuestionVote), self._vote),
            "question_state": (_model(commands.QuestionState), self._set_state),
            "participant_update": (_model(commands.ParticipantUpdate), self._update),
            "typing": (_model(commands.Typing), self._type),
            "moderate": (_model(commands.Moderate), self._moderate),
            "poll_open": (_model(commands.PollOpen), self._open_poll),
            "poll_vote": (_model(commands.PollVote), self._vote_poll),
            "poll_close": (_model(commands.PollClose), self._close_poll),
            "resume": (_model(commands.Resume), self._resume),
            "ping": (_model(commands.Ping), self._ping),
        }

    # A connection's life.

    def opened_for(
        self, code: str, participant: str, connection: Connection, upgrade: Upgrade
    ) -> None:
        """A connection to a seat of the room with this code."""
        identify = self._identify(code, participant, connection, upgrade)
        welcome = partial(self._welcome, upgrade.query)
        self._admission.admit_known(connection, identify, welcome, self.received)

    def closed(self, connection: Connection) -> None:
        """See `gateways.entrance.Surface`."""
        self._resuming.forget(connection)
        self.typing.gone(connection)
        self._admission.leave(connection, self._grace)
        sitting = self._sitting.pop(connection, None)
        if sitting is not None and self._rooms.leave(sitting.room_id):
            self._attendance.emptied(sitting.room_id)

    async def _identify(
        self, code: str, participant: str, connection: Connection, upgrade: Upgrade
    ) -> Identity:
        room, seat = await self._door.connecting(code, participant, upgrade.token, upgrade.address)
        if connection.open:
            dialect = Dialect.LIVE_HOST if seat.is_host else Dialect.LIVE
            connection.form = form_of(dialect, deflated=bool(connection.form & 1))
            self._sitting[connection] = _Sitting(room, seat)
            self._rooms.enter(room)
        return Identity(seat.participant_id, room.org_id, None, seat.nickname, frozenset(), FOREVER)

    def _welcome(self, query: Mapping[str, str], connection: Connection, member: Member) -> None:
        sitting = self._sitting[connection]
        if not self._hub.is_in(member, sitting.room_id):
            # Sent away since the seat was looked at.
            connection.close(CloseCode.NOT_ALLOWED, "Participant not found")
            return
        room = self._rooms.here[sitting.room_id]
        self._attendance.sat_down(member, room)
        connection.write(
            Frame(
                objects.frame(
                    "connected",
                    session_code=room.code,
                    participant_id=sitting.participant_id,
                    participant_nickname=sitting.nickname,
                    role=sitting.role,
                    is_muted=sitting.was_muted,
                    timestamp=iso(self._clock.now()),
                    cursor=connection.floor,
                    epoch=self._epoch(),
                    heartbeat=self._heartbeat,
                    session=frames.session(room, sitting.role == "host"),
                )
            )
        )
        cursor = query.get("cursor")
        if cursor is not None:
            content: dict[str, Any] = {
                "type": "resume",
                "cursor": cursor,
                "epoch": query.get("epoch"),
            }
            try:
                content["cursor"] = float(cursor) if "." in cursor else int(cursor)
                self._resume(connection, commands.Resume.model_validate(content))
            except ValueError:
                self._fail(connection, Invalid("cursor: must be a number"), None)
            else:
                return
        self._resuming.hold(connection)

    # A frame.

    def received(self, connection: Connection, text: str) -> None:
        """See `gateways.entrance.Surface`."""
        if connection.member is None:
            self._admission.wait(connection, text)
            return
        try:
            content = orjson.loads(text)
        except orjson.JSONDecodeError:
            content = None
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
            self._fail(connection, Invalid(f"Unknown message type: {kind[:100]}"), content)
            return
        if kind != "ping":
            self._presence.acted(connection, self._entrance.now)
            self._resuming.acted(connection, kind)
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

    # Writes.

    def _at(self, connection: Connection, limit: RateLimit) -> tuple[str, str, str]:
        """(org_id, room's id, participant_id), after counting one against a limit of the seat."""
        member = connection.member
        assert member is not None, "frames are handled once a connection is attached"
        limit.check(member.org_id, member.user_id, self._clock.monotonic())
        return member.org_id, self._sitting[connection].room_id, member.user_id

    def _submit(
        self,
        connection: Connection,
        write: Write,
        reply_to: ReplyTo,
        unchanged: Callable[[Any, bool], Mapping[str, Any]],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Hand in a write, and answer it: with its event in the event's place, or, where there is
        none, with what `unchanged(result, as host)` says. `more` are fields of the answer alone.
        Who gave no `id` asks for no answer but that of the room."""

        def done(result: Any, error: MadangError | None) -> None:
            tell_at = getattr(result, "tell_at", None)
            if tell_at is not None:
                self._counts.at(write.org_id, result.message.conversation_id, tell_at)
            if not connection.open:
                return
            if error is not None:
                connection.write(Frame(objects.error(error, reply_to)))
            elif reply_to is not None:
                self._answer(connection, result, reply_to, unchanged, more or {})

        self._writer.submit(write, done)

    def _answer(
        self,
        connection: Connection,
        result: Asked | Seated,
        reply_to: str | int,
        unchanged: Callable[[Any, bool], Mapping[str, Any]],
        more: Mapping[str, Any],
    ) -> None:
        event = result.event
        message = result.message if isinstance(result, Asked) else None
        host = connection.dialect == Dialect.LIVE_HOST
        if message is not None and connection.member is not None:
            host = host or message.sender_id == connection.member.user_id
        if event is not None:
            reply = partial(self._frames.reply, host=host, reply_to=reply_to, more=more)
            self._delivery.reply(event, connection, reply)
        else:
            told = {**unchanged(result, host), **more, "reply_to": reply_to}
            connection.write(Frame(orjson.dumps(told)))

    def _room(self, connection: Connection) -> Room:
        return self._rooms.here[self._sitting[connection].room_id]

    def _as_is(self, connection: Connection, message: Message, host: bool) -> Mapping[str, Any]:
        told = frames.message_as_is(self._room(connection), message, host)
        return {**(told or {"type": "message_removed", "message_id": message.id})} | {
            "seq": message.seq
        }

    def _chat(self, connection: Connection, command: commands.Chat) -> None:
        place = self._at(connection, self._messages_limit)
        write = SendChat(*place, command.content, command.client_id)
        self._submit(connection, write, command.id, self._first(connection))

    def _ask(self, connection: Connection, command: commands.Question) -> None:
        place = self._at(connection, self._messages_limit)
        write = Ask(*place, command.content, command.anonymous, command.client_id)
        self._submit(connection, write, command.id, self._first(connection), {"own": True})

    def _first(self, connection: Connection) -> Callable[[Asked, bool], Mapping[str, Any]]:
        """The answer to what was sent before: the first message again."""
        return lambda asked, host: self._as_is(connection, asked.message, host)

    def _vote(self, connection: Connection, command: commands.QuestionVote) -> None:
        place = self._at(connection, self._signals_limit)
        write = Vote(*place, command.message_id, command.up)
        more = {"voted": command.up}
        self._submit(connection, write, command.id, self._question_as_is(connection), more)

    def _set_state(self, connection: Connection, command: commands.QuestionState) -> None:
        place = self._at(connection, self._signals_limit)
        write = SetState(*place, command.message_id, command.state)
        self._submit(connection, write, command.id, self._question_as_is(connection))

    def _question_as_is(self, connection: Connection) -> Callable[[Asked, bool], Mapping[str, Any]]:
        def told(asked: Asked, host: bool) -> Mapping[str, Any]:
            about = question_of(asked.message)
            if about is None:
                return self._as_is(connection, asked.message, host)
            return frames.question_update(self._room(connection), asked.message, about)

        return told

    def _open_poll(self, connection: Connection, command: commands.PollOpen) -> None:
        place = self._at(connection, self._messages_limit)
        options = tuple(command.options)
        write = OpenPoll(
            *place, command.question, command.kind, options, command.most, command.client_id
        )
        self._submit(connection, write, command.id, self._first(connection))

    def _vote_poll(self, connection: Connection, command: commands.PollVote) -> None:
        place = self._at(connection, self._signals_limit)
        choices, words = tuple(command.choices or ()), tuple(command.words or ())
        write = VotePoll(*place, command.message_id, choices, words)

        def told(asked: Asked, host: bool) -> Mapping[str, Any]:
            about = poll_of(asked.message)
            if about is None:
                return self._as_is(connection, asked.message, host)
            return frames.poll_update(self._room(connection), asked.message, about)

        mine = list(choices) if command.words is None else list(words)
        self._submit(connection, write, command.id, told, {"mine": mine})

    def _close_poll(self, connection: Connection, command: commands.PollClose) -> None:
        place = self._at(connection, self._signals_limit)
        write = ClosePoll(*place, command.message_id)
        self._submit(connection, write, command.id, self._first(connection))

    def _update(self, connection: Connection, command: commands.ParticipantUpdate) -> None:
        place = self._at(connection, self._messages_limit)
        if command.nickname is None:
            raise Invalid("Missing field: nickname")
        write = Rename(*place, command.nickname)
        self._submit(connection, write, command.id, self._person(connection))

    def _person(self, connection: Connection) -> Callable[[Seated, bool], Mapping[str, Any]]:
        def told(seated: Seated, _: bool) -> Mapping[str, Any]:
            seat = seated.seat
            about = frames.person(self._room(connection), seat, seat.online)
            return {"type": "participant_update", **about}

        return told

    def _moderate(self, connection: Connection, command: commands.Moderate) -> None:
        place = self._at(connection, self._signals_limit)
        if command.action == "remove_message":
            if command.message_id is None:
                raise Invalid("Missing field: message_id")
            remove = RemoveMessage(*place, command.message_id)
            self._submit(connection, remove, command.id, self._first(connection))
            return
        if command.participant_id is None:
            raise Invalid("Missing field: participant_id")
        write = _MODERATING[command.action](*place, command.participant_id)
        self._submit(connection, write, command.id, self._person(connection))

    # What is not kept.

    def _type(self, connection: Connection, command: commands.Typing) -> None:
        place = self._at(connection, self._signals_limit)
        room = self._room(connection)
        if room.status == "ended":
            raise Conflict(ENDED)
        org_id, room_id, user_id = place
        if command.is_typing:
            channel = self._hub.channels.get(room_id)
            if channel is not None and len(channel.members) <= LARGEST_TYPED_IN:
                self.typing.start((org_id, room_id, user_id), connection)
        else:
            self.typing.stop((org_id, room_id, user_id))

    def _tell_typing(self, org_id: str, room_id: str, user_id: str, is_typing: bool) -> None:
        room = self._rooms.here.get(room_id)
        member = self._hub.members.get((org_id, user_id))
        sitting = None
        if member is not None:
            sitting = next(filter(None, map(self._sitting.get, member.connections)), None)
        if room is None:
            return
        text = objects.frame(
            "typing",
            participant_id=user_id,
            participant_nickname="" if sitting is None else sitting.nickname,
            is_typing=is_typing,
            session_code=room.code,
        )
        self._delivery.signal(org_id, SignalTold(room_id, text, user_id))

    def _resume(self, connection: Connection, command: commands.Resume) -> None:
        self._at(connection, self._signals_limit)
        cursor = cursor_of(command.cursor)
        self._resuming.resume_after(connection, cursor, command.epoch, command.id)

    def _ping(self, connection: Connection, command: commands.Ping) -> None:
        connection.write(Frame(objects.frame("pong", command.id, timestamp=iso(self._clock.now()))))

    # The log.

    def _watch(self, event: Event) -> None:
        """See `Delivery.watch`: before the event is told here."""
        room = self._rooms.here.get(event.conversation_id)
        if room is None:
            return
        self._rooms.changed(event)
        self._attendance.changed(event)
        self.typing.landed(event)
        match event.type:
            case "participant.updated" if event.user_id is not None:
                for connection in self._connections(event.org_id, event.user_id):
                    self._named(connection, event)
            case "participant.left" if event.user_id is not None:
                self._send_away(event, event.user_id)
            case "room.erased":
                self._end(event)

    def _connections(self, org_id: str, user_id: str) -> tuple[Connection, ...]:
        member = self._hub.members.get((org_id, user_id))
        return () if member is None else member.connections

    def _named(self, connection: Connection, event: Event) -> None:
        sitting = self._sitting.get(connection)
        if sitting is not None:
            sitting.nickname = str(event.data.get("nickname", sitting.nickname))

    def _send_away(self, event: Event, user_id: str) -> None:
        """Kicked or banned: told so, and closed."""
        self._hub.flush()
        action = "ban" if event.data.get("reason") == "banned" else "kick"
        told = Frame(objects.frame("moderated", action=action, participant_id=user_id))
        for connection in self._connections(event.org_id, user_id):
            if connection in self._sitting:
                connection.write(told)
                reason = "Banned by the host" if action == "ban" else "Removed by the host"
                connection.close(CloseCode.ACCESS_REMOVED, reason)

    def _end(self, event: Event) -> None:
        """The room is erased: there is nothing left to be connected to."""
        channel = self._hub.channels.get(event.conversation_id)
        for member in tuple(channel.members) if channel is not None else ():
            for connection in member.connections:
                if connection in self._sitting:
                    connection.close(CloseCode.NOT_ALLOWED, "Session not found")


_MODERATING: Mapping[str, Callable[[str, str, str, str], Write]] = {
    "mute": Mute,
    "unmute": Unmute,
    "kick": Kick,
    "ban": Ban,
}


class LivePath:
    """A room as a WebSocket path leads to it."""

    __slots__ = ("_code", "_live", "_participant", "closed", "received")

    def __init__(self, live: LiveSession, code: str, participant: str) -> None:
        self._live = live
        self._code = code
        self._participant = participant
        self.received = live.received
        self.closed = live.closed

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        self._live.opened_for(self._code, self._participant, connection, upgrade)


def _model(command: type[commands.Command]) -> Callable[[Any], Any]:
    return TypeAdapter(command).validator.validate_python
