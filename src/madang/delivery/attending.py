"""Who watches a session, all nodes together: a user has come with the first connection on any node,
and gone with the last.

Each node holds a lease for each of its users in each session, as presence does; what a lease turns
is told once, by the node that is given the turn, also where the other one was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import orjson

from madang.ports.bus import NO_ORG, Bus, Lease, Turn
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks


class Place(NamedTuple):
    """A user in a session."""

    org_id: str
    conversation_id: str
    user_id: str


Tell = Callable[[Place, bool, int], None]
"""Say, on every node, that somebody has come (or gone), and which turn of theirs that is (0: there
is no other node)."""


class Attending:
    """This node's part in it."""

    def __init__(self, bus: Bus, tell: Tell) -> None:
        self._bus = bus
        self._tell = tell
        self._here: set[Place] = set()
        self._changed: dict[Place, bool] = {}
        self._sharing = False
        self._tasks = Tasks()

    def changed(self, place: Place, here: bool) -> None:
        """Whether the user has a connection in the session on this node now."""
        if self._bus.shared:
            self._changed[place] = here
            if not self._sharing:
                self._sharing = True
                self._tasks.start(self._share(), "who watches sessions")
        elif here != (place in self._here):
            self._keep(place, here)
            self._tell(place, here, 0)

    def _keep(self, place: Place, here: bool) -> None:
        if here:
            self._here.add(place)
        else:
            self._here.discard(place)

    async def _share(self) -> None:
        try:
            while self._changed:
                changed, self._changed = self._changed, {}
                leases = []
                for place, here in changed.items():
                    if here != (place in self._here):
                        self._keep(place, here)
                        leases.append(_lease(place, here))
                try:
                    turns = await self._bus.hold(leases) if leases else ()
                except Unavailable:
                    continue  # When the bus is back, some node is given the turns.
                for turn in turns:
                    self.turned(turn)
        finally:
            self._sharing = False

    def turned(self, turn: Turn) -> None:
        """What a lease, on this node or one that is gone, made of all of them."""
        was, now = turn.before != "offline", turn.now != "offline"
        if was != now:
            self._tell(Place(*orjson.loads(turn.user_id)), now, turn.at)

    async def close(self) -> None:
        await self._tasks.close()


def _lease(place: Place, here: bool) -> Lease:
    name = orjson.dumps(tuple(place)).decode()
    return Lease(NO_ORG, name, "online" if here else "offline", int(here))
