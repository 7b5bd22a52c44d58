"""Whose token may not name whom: a seat of a live room is a user too, but has a token of its own,
and its id stands in every list of who is here. A token, or a development address, that names it
elsewhere would read and write past the room's rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

from madang.model.ids import parse_uuid
from madang.protocol.errors import Unauthorized

MOST_KNOWN = 50_000
"""Users remembered not to be seats."""

SeatsAmong = Callable[[str, Sequence[str]], Awaitable[AbstractSet[str]]]
"""Which of an org's users are seats: `Store.seats_among`."""


class Impostors:
    """Tells users from seats. Asked of the store once a user: an id that is somebody's is never
    given to a seat later."""

    def __init__(self, seats_among: SeatsAmong) -> None:
        self._seats_among = seats_among
        self._known: set[tuple[str, str]] = set()

    def may_be_one(self, org_id: str, user_id: str) -> bool:
        """Whether the store must be asked: seats' ids are UUIDs."""
        return parse_uuid(user_id) is not None and (org_id, user_id) not in self._known

    async def check(self, org_id: str, user_id: str) -> None:
        """Raises:
        Unauthorized: the user is a seat of a live room.
        Unavailable: the store is away.
        """
        if not self.may_be_one(org_id, user_id):
            return
        # As seats are written: another spelling is another user.
        if user_id in await self._seats_among(org_id, [user_id]):
            raise Unauthorized("Invalid token")
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add((org_id, user_id))
