"""Who may come into a room, by its code and a token, and what those are told who may not.

A code is short: it can be guessed. So an address gets only so many wrong ones, a room that has
ended answers as one that never was, and both take as long. Whoever shows a seat's token is not
limited, and still comes into a room that has ended.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from madang.clock import Clock
from madang.model.ids import parse_uuid
from madang.model.live import Room, Seat
from madang.ports.live import LiveStore
from madang.ports.store import Writer
from madang.protocol.errors import Invalid, MadangError, NotFound
from madang.services.limits import RateLimit
from madang.services.live import codes, tokens
from madang.services.live.seats import ComeBack

HOST = "host"
"""Stands in a WebSocket's path for the seat of whoever opened the room."""
_NOBODY = "00000000-0000-0000-0000-000000000000"
_NETWORK_BITS = 64
"""Of an IPv6 address: a household or a phone has all the rest to itself."""


def network(address: str | None) -> str | None:
    """The address that clients are counted by; None where it is unknown."""
    if address is None:
        return None
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if found.version == 6:
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _NETWORK_BITS), strict=False).network_address)
    return str(found)


def is_own_machine(address: str | None) -> bool:
    """Whether it tells nobody apart: a proxy that is not trusted, or the server itself."""
    return address is None or ipaddress.ip_address(address).is_loopback


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a seat of the room, or (None) somebody who knows its code."""

    room: Room
    seat: Seat | None

    @property
    def is_host(self) -> bool:
        return self.seat is not None and self.seat.is_host

    @property
    def seen_by(self) -> str | None:
        """As `LiveStore.questions` takes it: None is a host, who sees all."""
        if self.is_host:
            return None
        return _NOBODY if self.seat is None else self.seat.participant_id


class Door:
    """Finds rooms and seats.

    Args:
        guesses: wrong codes and tokens that one address may try.
        joins: seats that one address may take.
    """

    def __init__(
        self,
        store: LiveStore,
        writer: Writer,
        clock: Clock,
        *,
        guesses: RateLimit,
        joins: RateLimit,
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._guesses = guesses
        self._joins = joins

    async def calling(self, code: str, token: str | None, address: str | None) -> Caller:
        """Who asks over REST.

        Raises:
            NotFound: there is no such room, or no such seat in it.
            RateLimited: too many wrong ones from this address.
        """
        room = await self._room(code)
        seat = None if token is None else await self._seat_of(room, token)
        if room is None or (room.status == "ended" and seat is None):
            raise self._wrong(address, "Session not found")
        if seat is None:
            if token is not None:
                raise self._wrong(address, "Participant not found")
            self._guesses.look("", _counted(address), self._clock.monotonic())
        return Caller(room, seat)

    async def joining(
        self, code: str, token: str | None, address: str | None
    ) -> tuple[Room, Seat | None]:
        """The room, and the seat that a token brings back. A token of no seat here is none.

        Raises:
            NotFound: there is no such room.
            RateLimited: too many joins or wrong codes from this address.
        """
        room = await self._room(code)
        seat = None if token is None else await self._seat_of(room, token)
        if room is None or (room.status == "ended" and seat is None):
            raise self._wrong(address, "Session not found")
        if seat is None:
            self._guesses.look("", _counted(address), self._clock.monotonic())
            self._joins.check("", _counted(address), self._clock.monotonic())
        return room, seat

    async def connecting(
        self, code: str, participant: str, token: str | None, address: Callable[[], str | None]
    ) -> tuple[Room, Seat]:
        """The seat that a connection is for. `address` is asked for only where it was wrong.

        Raises:
            NotFound: no such room; no such seat, or not with this token.
            Invalid: the seat's id is none.
            RateLimited: too many wrong ones from this address.
        """
        room = await self._room(code)
        claimed = parse_uuid(participant)
        if participant == HOST and room is not None:
            claimed = room.host_id
        seat = await self._store.seat(
            "" if room is None else room.org_id,
            _NOBODY if room is None else room.id,
            _NOBODY if claimed is None else claimed,
        )
        opens = False
        if room is not None:
            opens = tokens.may_connect(room, seat, token or "")
            if not opens and seat is not None and token is not None:
                seat = await self._made_host(room, seat, token)
                opens = seat is not None
        if room is None or (room.status == "ended" and not opens):
            raise self._wrong(address(), "Session not found")
        if claimed is None:
            raise self._wrong(address(), "Invalid participant ID", Invalid)
        if seat is None or not opens:
            raise self._wrong(address(), "Participant not found")
        return room, seat

    async def _made_host(self, room: Room, seat: Seat, token: str) -> Seat | None:
        """A seat that nobody has connected to yet becomes a host's by the room's host token."""
        if seat.gone is not None or seat.used_at is not None or room.status == "ended":
            return None
        if not tokens.is_host_token(room, token):
            return None
        write = ComeBack(room.org_id, room.id, room.host_key, seat.participant_id)
        try:
            done = await self._writer.write(write)
        except NotFound:
            return None
        found: Seat = done.seat
        return found

    async def _room(self, code: str) -> Room | None:
        parsed = codes.parse(code)
        return None if parsed is None else await self._store.room_by_code(parsed)

    async def _seat_of(self, room: Room | None, token: str) -> Seat | None:
        """The seat that this token opens."""
        key = tokens.key_of(token)
        org_id, room_id = ("", _NOBODY) if room is None else (room.org_id, room.id)
        if room is not None and tokens.is_host_token(room, token):
            seat = await self._store.seat(org_id, room_id, room.host_id)
        else:
            seat = await self._store.seat_by_key(org_id, room_id, key)
        return None if seat is None or seat.gone is not None else seat

    def _wrong(
        self, address: str | None, text: str, kind: type[MadangError] = NotFound
    ) -> MadangError:
        """Count it, and say what was wrong; or, after too many, nothing of it."""
        self._guesses.check("", _counted(address), self._clock.monotonic())
        return kind(text)


def _counted(address: str | None) -> str:
    """As limits know an address, on the bus too."""
    return blake2b((address or "").encode(), digest_size=12).hexdigest()
