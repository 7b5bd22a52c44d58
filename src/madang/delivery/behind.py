"""Connections that are behind: live events are held for them until they have caught up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from madang.delivery.overtaken import without_overtaken
from madang.hub.connection import Connection
from madang.hub.frame import Outgoing, reply_beside
from madang.hub.hub import Hub, Member
from madang.model.nouns import Event

Work = Callable[[], Coroutine[Any, Any, None]]


class Behind:
    """What is known of a connection as long as it is behind.

    `expected`: it has yet to say where it stands. `waiting` are its catch-ups, which `task` does
    one after the other; `sending` is what was read for it and has not gone out, and `told` up to
    which seq it was told of each conversation.
    """

    __slots__ = ("expected", "sending", "task", "told", "waiting")

    def __init__(self) -> None:
        self.expected = False
        self.task: asyncio.Task[None] | None = None
        self.waiting: deque[Work] = deque()
        self.sending: Sequence[Outgoing] = ()
        self.told: dict[str, int] = {}


class Holding:
    """Holds live events back, and lets them go.

    Args:
        room: bytes of live events that are held for a connection, beyond which it is closed.
    """

    def __init__(self, hub: Hub, room: int) -> None:
        self._hub = hub
        self._room = room
        self._behind: dict[Connection, Behind] = {}

    def hold(self, connection: Connection) -> Behind:
        """From now on it is behind, if it was not."""
        connection.hold(self._room)
        behind = self._behind.get(connection)
        if behind is None:
            behind = self._behind[connection] = Behind()
        return behind

    def get(self, connection: Connection) -> Behind | None:
        return self._behind.get(connection)

    def release(self, connection: Connection) -> None:
        """It goes live, unless a catch-up is under way or to come."""
        behind = self._behind.get(connection)
        if behind is not None and (behind.task is not None or behind.expected):
            return
        self.drop_ended(connection)
        self._behind.pop(connection, None)
        detour = connection.detour
        if detour is not None and detour.held:
            detour.held = list(without_overtaken(detour.held, connection))
        self._hub.delivered += connection.release()

    def drop_ended(self, connection: Connection) -> None:
        """What was held of a conversation that its user has left since goes out no more where the
        catch-up before it told nothing of it either; that they left does. Where it was told up to
        what was held, that is told up to the leaving: nothing is missing in the middle."""
        member = connection.member
        if member is None or self._hub.members.get((member.org_id, member.user_id)) is not member:
            return
        behind = self._behind.get(connection)
        told = {} if behind is None else dict(behind.told)

        def over(event: Event) -> bool:
            if self.may_see(member, event):
                return False
            follows = told.get(event.conversation_id) == event.seq - 1
            if follows:
                told[event.conversation_id] = event.seq
            return not follows

        skip(connection, over)

    def may_see(self, member: Member, event: Event) -> bool:
        """Access may have ended since the event was read."""
        if self._hub.is_in(member, event.conversation_id):
            return True
        return event.type == "participant.left" and event.user_id == member.user_id

    def forget(self, connection: Connection) -> Behind | None:
        """The connection is gone; what was known of it."""
        return self._behind.pop(connection, None)

    def changed(self, event: Event) -> None:
        """What is still to be sent tells of what the event has changed as it is now."""
        for connection, behind in self._behind.items():
            for outgoing in behind.sending:
                outgoing.bring_up(event)
            for outgoing in held_of(connection):
                outgoing.bring_up(event)


def held_of(connection: Connection) -> Sequence[Outgoing]:
    """The live events that are held for it."""
    detour = connection.detour
    return () if detour is None or detour.held is None else detour.held


def skip(connection: Connection, had: Callable[[Event], bool]) -> None:
    """Drop held events that the client has had from elsewhere, or may not have any more. Where one
    is the answer to a request of its own, the request is answered, at no place in the log."""
    detour = connection.detour
    if detour is None or detour.held is None:
        return
    kept: list[Outgoing] = []
    for outgoing in detour.held:
        if outgoing.event is None or not had(outgoing.event):
            kept.append(outgoing)
            continue
        encode = None if outgoing.instead is None else outgoing.instead.get(connection)
        if encode is not None:
            connection.write(reply_beside(encode, outgoing.event))
    detour.held = kept
