"""Live rooms over WebSocket: who sits where, and what becomes of a frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import orjson
from pydantic import ValidationError

from madang.clock import Clock
from madang.delivery.delivery import Delivery
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Dialect, Frame, form_of
from madang.hub.hub import Hub, Member
from madang.model.identity import Identity
from madang.model.nouns import Event
from madang.model.times import cursor_of, iso
from madang.ports.bus import SignalTold
from madang.ports.store import Writer
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Conflict, Forbidden, Invalid, InvalidJson, MadangError
from madang.services.limits import RateLimit
from madang.services.live.access import ENDED
from madang.services.live.counts import CountTeller
from madang.services.typing import Typing
from madang.surfaces import objects
from madang.surfaces.admission import FOREVER, Admission, failed
from madang.surfaces.fields import error_of, reply_to_of
from madang.surfaces.live import commands, frames
from madang.surfaces.live.attendance import Attendance
from madang.surfaces.live.door import Door
from madang.surfaces.live.frames import LiveFrames
from madang.surfaces.live.rooms import Rooms
from madang.surfaces.live.sitting import Sitting, Sittings
from madang.surfaces.live.writes import RoomWrites
from madang.surfaces.resuming import Resuming

SEAT_GRACE_SECONDS = 1.0
"""How long after a seat's last connection its others are told: a page that is loaded again takes
less."""
LARGEST_TYPED_IN = 500
"""In a room with more people on this node nobody is told who types: all would be told of all."""


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
        self._rooms = rooms
        self._door = door
        self._attendance = attendance
        self._admission = admission
        self._entrance = entrance
        self._hub = hub
        self._delivery = delivery
        self._resuming = resuming
        self._presence = presence
        self._clock = clock
        self._signals_limit = signals_limit
        self._grace = min(grace, SEAT_GRACE_SECONDS)
        self._heartbeat = heartbeat
        self._epoch = epoch
        self._sittings = Sittings(rooms, clock)
        writes = RoomWrites(
            self._sittings,
            frames,
            counts,
            delivery,
            writer,
            messages_limit=messages_limit,
            signals_limit=signals_limit,
        )
        self.typing = Typing(clock, typing_seconds, self._tell_typing)
        delivery.watch(self._watch)
        self._handlers: dict[str, tuple[Any, Callable[[Connection, Any], None]]] = {
            **writes.handlers,
            "typing": (commands.reader(commands.Typing), self._type),
            "resume": (commands.reader(commands.Resume), self._resume),
            "ping": (commands.reader(commands.Ping), self._ping),
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
        # A seat is not remembered as a user: nothing is to be left of it when its room is erased.
        self._admission.leave(connection, self._grace, remembers=False)
        sitting = self._sittings.here.pop(connection, None)
        if sitting is not None and self._rooms.leave(sitting.room_id):
            self._attendance.emptied(sitting.room_id)

    async def _identify(
        self, code: str, participant: str, connection: Connection, upgrade: Upgrade
    ) -> Identity:
        room, seat = await self._door.connecting(code, participant, upgrade.token, upgrade.address)
        if connection.open:
            dialect = Dialect.LIVE_HOST if seat.is_host else Dialect.LIVE
            connection.form = form_of(dialect, deflated=bool(connection.form & 1))
            self._sittings.here[connection] = Sitting(room, seat)
            self._rooms.enter(room)
        return Identity(seat.participant_id, room.org_id, None, seat.nickname, frozenset(), FOREVER)

    def _welcome(self, query: Mapping[str, str], connection: Connection, member: Member) -> None:
        sitting = self._sittings.here[connection]
        if not self._hub.is_in(member, sitting.room_id):
            # Sent away since the seat was looked at.
            connection.close(CloseCode.NOT_ALLOWED, "Participant not found")
            return
        room = self._rooms.here[sitting.room_id]
        self._attendance.sat_down(member, room)
        session = frames.session(room, sitting.role == "host")
        # The log does not tell the blocked words, so they may be old ones here.
        session["settings"].pop("blocked_words", None)
        connection.write(
            Frame(
                objects.frame(
                    "connected",
                    session_code=room.code,
                    participant_id=sitting.participant_id,
                    participant_nickname=sitting.nickname,
                    role=sitting.role,
                    is_muted=sitting.muted,
                    timestamp=iso(self._clock.now()),
                    cursor=connection.floor,
                    epoch=self._epoch(),
                    heartbeat=self._heartbeat,
                    session=session,
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
                command = commands.Resume.model_validate(content)
            except ValueError:
                self._fail(connection, Invalid("cursor: must be a number"), None)
            else:
                # Not counted: who comes back has asked for nothing yet.
                self._resume_after(connection, command)
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

    # What is not kept.

    def _type(self, connection: Connection, command: commands.Typing) -> None:
        place = self._sittings.at(connection, self._signals_limit)
        room = self._sittings.room(connection)
        if room.status == "ended":
            raise Conflict(ENDED)
        org_id, room_id, user_id = place
        if command.is_typing:
            if self._sittings.here[connection].muted:
                raise Forbidden("You are muted")
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
            sitting = next(filter(None, map(self._sittings.here.get, member.connections)), None)
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
        self._sittings.at(connection, self._signals_limit)
        self._resume_after(connection, command)

    def _resume_after(self, connection: Connection, command: commands.Resume) -> None:
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
        if event.message is None or event.message.message_type == "text":
            # Not after a question, which may be anonymous: who has just stopped typing, asked it.
            self.typing.landed(event)
        match event.type:
            case "participant.updated" if event.user_id is not None:
                for connection in self._connections(event.org_id, event.user_id):
                    self._named(connection, event)
            case "participant.muted" | "participant.unmuted" if event.user_id is not None:
                for connection in self._connections(event.org_id, event.user_id):
                    self._muted(connection, event)
            case "participant.left" if event.user_id is not None:
                self._send_away(event, event.user_id)
            case "room.erased":
                self._end(event)

    def _connections(self, org_id: str, user_id: str) -> tuple[Connection, ...]:
        member = self._hub.members.get((org_id, user_id))
        return () if member is None else member.connections

    def _named(self, connection: Connection, event: Event) -> None:
        sitting = self._sittings.here.get(connection)
        if sitting is not None:
            sitting.nickname = str(event.data.get("nickname", sitting.nickname))

    def _muted(self, connection: Connection, event: Event) -> None:
        sitting = self._sittings.here.get(connection)
        if sitting is not None:
            sitting.muted = event.type == "participant.muted"
        if event.type == "participant.muted" and event.user_id is not None:
            self.typing.stop((event.org_id, event.conversation_id, event.user_id))

    def _send_away(self, event: Event, user_id: str) -> None:
        """Kicked or banned: told so, and closed."""
        self._hub.flush()
        action = "ban" if event.data.get("reason") == "banned" else "kick"
        told = Frame(objects.frame("moderated", action=action, participant_id=user_id))
        for connection in self._connections(event.org_id, user_id):
            if connection in self._sittings.here:
                connection.write(told)
                reason = "Banned by the host" if action == "ban" else "Removed by the host"
                connection.close(CloseCode.ACCESS_REMOVED, reason)

    def _end(self, event: Event) -> None:
        """The room is erased: there is nothing left to be connected to."""
        channel = self._hub.channels.get(event.conversation_id)
        for member in tuple(channel.members) if channel is not None else ():
            for connection in member.connections:
                if connection in self._sittings.here:
                    connection.close(CloseCode.NOT_ALLOWED, "Session not found")


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
