"""What the hub knows of a user and of a conversation: who is here, and what was told lately."""

from __future__ import annotations

from collections import deque

from madang.hub.connection import Connection
from madang.hub.frame import Outgoing
from madang.model.nouns import Event
from madang.model.presence import Status

RECENT_EVENTS = 256
"""Events a channel keeps in memory for those who come back soon."""
CHANGES = frozenset(
    {
        "message.edited",
        "message.deleted",
        "question.shown",
        "question.changed",
        "poll.changed",
        "poll.closed",
        "run.ended",
    }
)
"""Events after which their message is told as it is now, wherever it is still to be told."""


class Member:
    """A user on this node: the conversations they are in and the connections they hold.

    `since` is the cursor from which on this node has seen every event about the user; `departed`
    are the events since then that ended a membership. `presence` is what others were told.
    `beside` stand for those of the user's connections that hear one conversation only.
    """

    __slots__ = (
        "beside",
        "channels",
        "connections",
        "departed",
        "org_id",
        "presence",
        "since",
        "stamp",
        "user_id",
    )

    def __init__(self, org_id: str, user_id: str, since: int) -> None:
        self.org_id = org_id
        self.user_id = user_id
        self.since = since
        self.connections: tuple[Connection, ...] = ()
        self.channels: tuple[Channel, ...] | set[Channel] = ()
        self.departed: tuple[Outgoing, ...] = ()
        self.beside: tuple[Member, ...] = ()
        self.presence: Status = "offline"
        self.stamp = 0


class Channel:
    """The hub's side of a conversation: who of its participants is known on this node.

    `recent` are its latest events without a gap: all those with a cursor above `since`.
    """

    __slots__ = ("conversation_id", "last_seq", "members", "org_id", "pending", "recent", "since")

    def __init__(self, org_id: str, conversation_id: str, since: int) -> None:
        self.org_id = org_id
        self.conversation_id = conversation_id
        self.since = since
        self.last_seq = 0
        # In order of arrival: that is about the order in which their memory lies, which a flush
        # to many feels. A dictionary of ten is also half the size of a set of ten.
        self.members: dict[Member, None] = {}
        self.pending: list[Outgoing] | None = None
        self.recent: deque[Outgoing] | None = None

    def remember(self, outgoing: Outgoing, event: Event) -> None:
        """Keep an event for those who come back soon, and bring those kept before up to date:
        what is told late tells a message and a conversation as they are now, and nothing of a
        deleted one."""
        if self.recent is None:
            self.recent = deque()
        elif event.type in CHANGES or event.conversation is not None:
            for earlier in self.recent:
                earlier.bring_up(event)
        if len(self.recent) >= RECENT_EVENTS:
            self.drop_oldest()
        self.recent.append(outgoing)

    def drop_oldest(self) -> None:
        """Remember one event less."""
        if self.recent:
            oldest = self.recent.popleft()
            assert oldest.event is not None
            self.since = oldest.event.cursor

    def drop(self, outgoing: Outgoing) -> None:
        """Forget this one, if it is still remembered; it can only be the oldest then."""
        if self.recent and self.recent[0] is outgoing:
            self.drop_oldest()
