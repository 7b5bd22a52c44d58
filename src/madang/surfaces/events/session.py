"""The events surface over WebSocket: a cursor, what came after it, then everything live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import orjson

from madang.clock import Clock
from madang.delivery.catchup import Catchup, CaughtUp
from madang.delivery.presence import Presence
from madang.gateways.entrance import Entrance, Upgrade
from madang.hub.connection import Connection
from madang.hub.frame import Form, Frame
from madang.hub.hub import Hub, Member
from madang.model.times import cursor_of, iso
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import Invalid, InvalidJson, MadangError, Unavailable
from madang.services.limits import RateLimit
from madang.surfaces.admission import Admission, failed
from madang.surfaces.fields import MAX_REPLY_TO, reply_to_of
from madang.surfaces.objects import error, frame

CURSOR_SECONDS = 1.0
"""How long a connection may take to say where it starts."""
MAX_CLIENT_ID = 200


class _Device:
    """What one connection said of itself: its `client_id`, and whether it has started."""

    __slots__ = ("client_id", "started", "whole_org")

    def __init__(self, client_id: str | None, whole_org: bool) -> None:
        self.client_id = client_id
        self.whole_org = whole_org
        self.started = False


class EventsSession:
    """The events surface over WebSocket. One object for all connections."""

    def __init__(
        self,
        *,
        admission: Admission,
        entrance: Entrance,
        hub: Hub,
        catchup: Catchup,
        presence: Presence,
        store: Store,
        clock: Clock,
        signals_limit: RateLimit,
    ) -> None:
        self._admission = admission
        self._entrance = entrance
        self._hub = hub
        self._catchup = catchup
        self._presence = presence
        self._store = store
        self._clock = clock
        self._signals_limit = signals_limit
        self._devices: dict[Connection, _Device] = {}

    # A connection's life.

    def opened(self, connection: Connection, upgrade: Upgrade) -> None:
        """See `gateways.entrance.Surface`."""
        connection.form = Form.EVENTS_DEFLATED if connection.form & 1 else Form.EVENTS
        client_id = upgrade.query.get("client_id")
        if client_id is not None and not 0 < len(client_id) <= MAX_CLIENT_ID:
            connection.close(CloseCode.NOT_ALLOWED, "Invalid client_id")
            return
        whole_org = upgrade.query.get("scope") == "org"
        cursor = upgrade.query.get("cursor")
        self._devices[connection] = _Device(client_id, whole_org)

        def welcome(connection: Connection, _: Member) -> None:
            self._catchup.hold(connection)
            if cursor is not None:
                try:
                    self._start_from(connection, cursor, None)
                    return
                except Invalid as problem:
                    connection.write(Frame(error(problem)))
            self._clock.call_later(CURSOR_SECONDS, partial(self._start_anywhere, connection))

        self._admission.admit(
            connection, upgrade, None, welcome, self.received, whole_org=whole_org
        )

    def closed(self, connection: Connection) -> None:
        self._devices.pop(connection, None)
        self._admission.leave(connection)

    # Frames.

    def received(self, connection: Connection, text: str) -> None:
        """`cursor` (before anything else), `ack` and `ping`."""
        if connection.member is None:
            self._admission.wait(connection, text)
            return
        content: Any = None
        try:
            content = orjson.loads(text)
            if type(content) is not dict:
                raise InvalidJson("Invalid JSON format")
            self._handle(connection, content, _reply_to(content))
        except orjson.JSONDecodeError:
            connection.write(Frame(error(InvalidJson("Invalid JSON format"))))
        except MadangError as problem:
            connection.write(Frame(error(problem, reply_to_of(content))))
        except Exception:
            failed(connection, "a frame was not handled")

    def _handle(
        self, connection: Connection, content: dict[str, Any], reply_to: str | int | None
    ) -> None:
        device = self._devices[connection]
        kind = content.get("type")
        if kind != "ping":
            self._presence.acted(connection, self._entrance.now)
        match kind:
            case "cursor":
                _only(content, "cursor")
                self._limit(connection)
                self._start_from(connection, content.get("cursor"), reply_to)
            case "ack":
                _only(content, "cursor")
                cursor = read_cursor(content.get("cursor"))
                if device.client_id is None:
                    raise Invalid("ack: connect with client_id to have a cursor kept")
                self._limit(connection)
                work = self._ack(connection, device.client_id, cursor, reply_to)
                self._admission.start(connection, work)
            case "ping":
                connection.write(Frame(frame("pong", reply_to)))
            case str():
                self._admission.unknown(kind)
            case _:
                raise Invalid("type: must be a string")

    def _limit(self, connection: Connection) -> None:
        """What takes work beyond the frame itself counts as a signal does."""
        member = connection.member
        assert member is not None
        self._signals_limit.check(member.org_id, member.user_id, self._clock.monotonic())

    async def _ack(
        self, connection: Connection, client_id: str, cursor: int, reply_to: str | int | None
    ) -> None:
        member = connection.member
        assert member is not None
        try:
            known = self._hub.heads.get(member.org_id, 0)
            if cursor > known and cursor > await self._store.head(member.org_id):
                raise Invalid("cursor: not one that was given out")
            await self._store.save_ack(
                member.org_id, member.user_id, client_id, cursor, self._clock.now()
            )
        except MadangError as problem:
            connection.write(Frame(error(problem, reply_to)))
            return
        if reply_to is not None:
            connection.write(Frame(frame("acked", reply_to, cursor=cursor)))

    # Where to start.

    def _start_from(self, connection: Connection, given: Any, reply_to: str | int | None) -> None:
        """Raises `Invalid` for what is not a cursor."""
        cursor = read_cursor(given)
        device = self._devices[connection]
        device.started = True
        ended = self._ended(connection, reply_to)
        self._catchup.resume(connection, cursor, ended, whole_org=device.whole_org)

    def _start_anywhere(self, connection: Connection) -> None:
        """Nothing was said in time: from the device's acknowledged cursor, or from now on."""
        device = self._devices.get(connection)
        if device is not None and not device.started and connection.open:
            self._admission.start(connection, self._start_from_ack(connection, device))

    async def _start_from_ack(self, connection: Connection, device: _Device) -> None:
        member = connection.member
        assert member is not None
        acked = None
        if device.client_id is not None:
            try:
                acked = await self._store.acked_cursor(
                    member.org_id, member.user_id, device.client_id
                )
            except Unavailable:
                connection.close(CloseCode.TRY_LATER, "Temporarily unavailable")
                return
        if device.started or not connection.open:
            return
        device.started = True
        start = connection.floor if acked is None else acked
        self._catchup.resume(connection, start, self._ended(connection), whole_org=device.whole_org)

    def _ended(
        self, connection: Connection, reply_to: str | int | None = None
    ) -> Callable[[CaughtUp], None]:
        def ended(caught: CaughtUp) -> None:
            told: dict[str, Any] = {"recovered": caught.recovered}
            if caught.reason is not None:
                told["reason"] = caught.reason
            connection.write(
                Frame(
                    frame(
                        "replay_complete",
                        reply_to,
                        cursor=caught.cursor,
                        events=caught.events,
                        timestamp=iso(self._clock.now()),
                        **told,
                    )
                )
            )

        return ended


def read_cursor(given: Any) -> int:
    """A cursor as a frame or a query carries it."""
    try:
        number = float(given) if isinstance(given, str) and "." in given else given
        number = int(number) if isinstance(number, str) else number
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError
        if not 0 <= number < 2**62:
            raise ValueError
    except ValueError:
        raise Invalid("cursor: must be a number") from None
    return cursor_of(number)


def _reply_to(content: dict[str, Any]) -> str | int | None:
    """The frame's `id`; every reply carries it back, so only what can be carried is taken."""
    found = reply_to_of(content)
    if found is None and content.get("id") is not None:
        raise Invalid(f"id: must be text of up to {MAX_REPLY_TO} characters or a whole number")
    return found


def _only(content: dict[str, Any], *fields: str) -> None:
    for name in content:
        if name not in ("type", "id", *fields):
            raise Invalid(f"Unknown field: {name[:100]}")
