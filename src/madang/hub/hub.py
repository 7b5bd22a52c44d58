"""The hub: channels, members and their connections on this node, and the flush of a loop turn.

Order. Everything that goes out has a place in one order, the order of the log. A connection gets
its frames in that order also across conversations, because a client shows only one cursor: had it
seen cursor 3 of one conversation before cursor 2 of another and then dropped, it would never get 2.
So whoever is in more than one of the channels that are flushed together is served from the merged
list; everybody else, by far the most, gets the channel's joined bytes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence

from madang import logs
from madang.hub.channel import CHANGES, RECENT_EVENTS, Channel, Member
from madang.hub.connection import Connection
from madang.hub.frame import Asides, Batch, Dialect, Encoder, Frame, Outgoing, Reply
from madang.metrics import SECONDS, Histogram
from madang.model.nouns import Event
from madang.model.times import MICROSECONDS
from madang.protocol.codes import CloseCode

__all__ = ["CHANGES", "RECENT_EVENTS", "Channel", "Hub", "Member"]

log = logs.get_logger(__name__)

RECENT_BYTES = 48 * 1024 * 1024
"""What all channels together may take for the events they remember: some 20,000 messages of a line
or two."""
_TUPLE_LIMIT = 24
"""Up to this many channels a member keeps a tuple: a set of ten takes 700 bytes, a tuple 120."""


class Hub:
    """All that this node delivers to.

    Args:
        encoders: for each `Dialect` the function that writes an event as JSON text.
        now: the time of day in microseconds, to measure by; without it nothing is.
        asides: whom an event is told otherwise than the others.
    """

    def __init__(
        self,
        encoders: Sequence[Encoder],
        now: Callable[[], int] | None = None,
        asides: Asides | None = None,
    ) -> None:
        self.encoders = encoders
        self._now = now
        self._asides = asides
        self.channels: dict[str, Channel] = {}
        self.members: dict[tuple[str, str], Member] = {}
        self.heads: dict[str, int] = {}
        self.connections = 0
        self.delivered = 0
        """Events handed to connections: one of a room of ten is ten."""
        self.signals = 0
        """Signals told to conversations."""
        self.told_seconds = Histogram(SECONDS)
        """From the beginning of an event's commit, wherever that was, until it is sent here."""
        self._order = 0
        self._turn = 0
        self._dirty: list[Channel] = []
        self._waiting: list[Connection] = []
        self._scheduled = False
        self._remembering: deque[tuple[Channel, Outgoing]] = deque()
        self._remembered_bytes = 0
        self._sent: list[tuple[Channel, Outgoing]] = []
        self._orgs: dict[str, Channel] = {}
        self._opened: Callable[[str], None] = _nobody
        self._closed: Callable[[str], None] = _nobody

    # Who is where.

    def watch_channels(self, opened: Callable[[str], None], closed: Callable[[str], None]) -> None:
        """Tell which conversations begin and cease to have somebody here."""
        self._opened, self._closed = opened, closed

    def is_followed(self, org_id: str) -> bool:
        """Whether somebody here gets every event of the org."""
        return org_id in self._orgs

    def channel(self, org_id: str, conversation_id: str) -> Channel:
        """The channel of a conversation, made if this node did not have it."""
        channel = self.channels.get(conversation_id)
        if channel is None:
            channel = Channel(org_id, conversation_id, self.heads.get(org_id, 0))
            self.channels[conversation_id] = channel
            self._opened(conversation_id)
        return channel

    def join(self, member: Member, conversation_id: str) -> None:
        """The member gets what the conversation is told from now on, and not what is pending."""
        channel = self.channel(member.org_id, conversation_id)
        if member in channel.members:
            return
        if channel.pending is not None:
            self.flush()
        channel.members[member] = None
        joined = member.channels
        if isinstance(joined, set):
            joined.add(channel)
        elif len(joined) < _TUPLE_LIMIT:
            member.channels = (*joined, channel)
        else:
            member.channels = {*joined, channel}

    def leave(self, member: Member, conversation_id: str) -> None:
        """The member gets nothing more of it. What is pending goes out before."""
        channel = self.channels.get(conversation_id)
        if channel is None or member not in channel.members:
            return
        self.flush()
        self._drop(channel, member)
        if isinstance(member.channels, set):
            member.channels.discard(channel)
        else:
            member.channels = tuple(kept for kept in member.channels if kept is not channel)

    def forget(self, member: Member) -> None:
        """A member without connections is no longer kept current."""
        self.flush()
        for channel in member.channels:
            self._drop(channel, member)
        member.channels = ()
        key = (member.org_id, member.user_id)
        if self.members.get(key) is member:
            del self.members[key]

    def _drop(self, channel: Channel, member: Member) -> None:
        channel.members.pop(member, None)
        if not channel.members and self.channels.pop(channel.conversation_id, None) is not None:
            self._closed(channel.conversation_id)

    def is_in(self, member: Member, conversation_id: str) -> bool:
        """Whether the member is in the conversation, as far as the log has been delivered."""
        channel = self.channels.get(conversation_id)
        return channel is not None and member in channel.members

    def attach(self, member: Member, connection: Connection) -> None:
        """The connection gets all that the member is told from now on."""
        self.flush()
        connection.member = member
        connection.floor = self.heads.get(member.org_id, 0)
        member.connections = (*member.connections, connection)
        self.connections += 1

    def detach(self, connection: Connection) -> None:
        member = connection.member
        if member is None or connection not in member.connections:
            return
        followed = self._orgs.get(member.org_id)
        if followed is not None and member in followed.members:
            followed.members.pop(member, None)
            if not followed.members:
                del self._orgs[member.org_id]
        member.connections = tuple(kept for kept in member.connections if kept is not connection)
        self.connections -= 1
        user = self.members.get((member.org_id, member.user_id))
        if user is not None and member in user.beside:
            user.beside = tuple(kept for kept in user.beside if kept is not member)
            self.forget(member)

    def attach_beside(self, user: Member, connection: Connection) -> Member:
        """The connection hears what its own member, which this returns, is made to `join`: one of
        the user's conversations instead of all."""
        member = Member(user.org_id, user.user_id, user.since)
        user.beside = (*user.beside, member)
        self.attach(member, connection)
        return member

    def beside_in(self, user: Member, conversation_id: str) -> Sequence[Member]:
        """Those beside the user that hear this conversation."""
        return [member for member in user.beside if self.is_in(member, conversation_id)]

    def follow_org(self, connection: Connection) -> None:
        """The connection gets every event of its org, instead of its user's own."""
        user = connection.member
        assert user is not None
        self.detach(connection)
        follower = Member(user.org_id, user.user_id, user.since)
        channel = self._orgs.get(user.org_id)
        if channel is None:
            channel = self._orgs[user.org_id] = Channel(user.org_id, "", 0)
        channel.members[follower] = None
        self.attach(follower, connection)

    # What goes out.

    def outgoing(self, event: Event) -> Outgoing:
        """An event as it goes out to who catches up: at no place among what is told now."""
        asides = self._asides
        return Outgoing(
            0,
            event.conversation_id,
            event=event,
            encoders=self.encoders,
            aside=None if asides is None else asides(event),
        )

    def tell(
        self, event: Event, instead: Mapping[Connection, Reply] | None = None
    ) -> Outgoing | None:
        """Put an event on its way to the members of its conversation.

        Events must come in the order of the log. One that was told before is dropped.
        """
        if event.cursor > self.heads.get(event.org_id, 0):
            self.heads[event.org_id] = event.cursor
        channel = self.channels.get(event.conversation_id)
        followed = self._orgs.get(event.org_id) if self._orgs else None
        if channel is not None:
            if 0 < event.seq <= channel.last_seq:
                return None
            channel.last_seq = event.seq
        elif followed is None:
            return None
        self._order += 1
        asides = self._asides
        outgoing = Outgoing(
            self._order,
            event.conversation_id,
            event=event,
            encoders=self.encoders,
            instead=instead,
            aside=None if asides is None else asides(event),
        )
        if followed is not None:
            self._enqueue(followed, outgoing)
        if channel is not None:
            channel.remember(outgoing, event)
            self._enqueue(channel, outgoing)
        return outgoing

    def remember_before(self, channel: Channel, outgoing: Sequence[Outgoing], since: int) -> None:
        """Remember events older than those a channel remembers: without a gap to them, and all
        those after the cursor `since`."""
        if channel.recent is None:
            channel.recent = deque()
        channel.recent.extendleft(reversed(outgoing))
        channel.since = since
        listening = (one.dialect for member in channel.members for one in member.connections)
        dialect = next(listening, Dialect.MESSENGER)
        for one in reversed(outgoing):
            one.frame(dialect)  # Encoded for the first who asks, and counted.
            self._remembered_bytes += one.remembered()
            self._remembering.appendleft((channel, one))
        self._forget_too_much()

    def signal(
        self,
        conversation_id: str,
        frame: Frame,
        *,
        omit: Collection[Member] = (),
        dialect: int | None = None,
    ) -> None:
        """Tell the members of a conversation something that is not kept: those of one dialect, or
        (None) all who are told signals."""
        channel = self.channels.get(conversation_id)
        if channel is not None:
            self._order += 1
            self.signals += 1
            self._enqueue(
                channel,
                Outgoing(self._order, conversation_id, signal=frame, dialect=dialect, omit=omit),
            )

    def _enqueue(self, channel: Channel, outgoing: Outgoing) -> None:
        if channel.pending is None:
            channel.pending = [outgoing]
            self._dirty.append(channel)
            self._end_turn_soon()
        else:
            channel.pending.append(outgoing)

    def flush_later(self, connection: Connection) -> None:
        """The connection has written something and waits for the end of the turn to send it."""
        self._waiting.append(connection)
        self._end_turn_soon()

    def _end_turn_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        """Replies first, then events, as they were written: one system call for each socket."""
        self._scheduled = False
        self.flush()
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.flush()

    def flush(self) -> None:
        """Send what is pending: one write for each connection."""
        dirty = self._dirty
        if not dirty:
            return
        self._dirty = []
        apart = self._apart(dirty)
        for channel in dirty:
            batch = Batch(channel.pending or ())
            channel.pending = None
            try:
                self._send(channel, batch, apart)
            except Exception:
                log.exception("a batch could not be sent", conversation=channel.conversation_id)
                self._cut_off(channel)
        for member, outgoing in apart.items():
            outgoing.sort(key=_order)
            for connection in member.connections:
                self.delivered += connection.deliver_each(outgoing)
        self._count_remembered()

    def cut_off(self, conversation_id: str) -> None:
        """Close the connections of a conversation that something could not be told: better than
        a silent gap, for who resumes gets it from the log."""
        channel = self.channels.get(conversation_id)
        if channel is not None:
            self._cut_off(channel)

    def _cut_off(self, channel: Channel) -> None:
        for member in channel.members:
            for connection in member.connections:
                connection.close(CloseCode.INTERNAL, "Internal error")

    def _send(self, channel: Channel, batch: Batch, apart: dict[Member, list[Outgoing]]) -> None:
        delivered = 0
        for member in channel.members:
            if apart and member in apart:
                apart[member].extend(batch.outgoing)
                continue
            for connection in member.connections:
                delivered += connection.deliver(batch)
        self.delivered += delivered
        for outgoing in batch.outgoing:
            if outgoing.event is not None and outgoing.conversation_id == channel.conversation_id:
                self._sent.append((channel, outgoing))

    def _count_remembered(self) -> None:
        """Bound what is remembered, now that it is encoded and its size known."""
        sent, self._sent = self._sent, []
        if sent and self._now is not None:
            self._count_waits(sent, self._now())
        for entry in sent:
            self._remembered_bytes += entry[1].remembered()
            self._remembering.append(entry)
        self._forget_too_much()

    def _forget_too_much(self) -> None:
        while self._remembered_bytes > RECENT_BYTES:
            channel, outgoing = self._remembering.popleft()
            self._remembered_bytes -= outgoing.size
            channel.drop(outgoing)

    def _count_waits(self, sent: list[tuple[Channel, Outgoing]], now: int) -> None:
        """Told once for all events of a commit, which all began when it did."""
        begun, events = 0, 0
        for _, outgoing in sent:
            assert outgoing.event is not None
            if outgoing.event.created_at != begun:
                if events:
                    self.told_seconds.observe(max(0, now - begun) / MICROSECONDS, events)
                begun, events = outgoing.event.created_at, 0
            events += 1
        self.told_seconds.observe(max(0, now - begun) / MICROSECONDS, events)

    def _apart(self, dirty: list[Channel]) -> dict[Member, list[Outgoing]]:
        """Those who cannot be served from a channel's joined bytes: members of several of these
        channels, and those whom some frame names."""
        apart: dict[Member, list[Outgoing]] = {}
        for channel in dirty:
            for outgoing in channel.pending or ():
                for member in outgoing.omit:
                    apart[member] = []
                if outgoing.aside is not None:
                    named = self.members.get((channel.org_id, outgoing.aside.user_id))
                    if named is not None:
                        apart[named] = []
                for connection in outgoing.instead or ():
                    if connection.member is not None:
                        apart[connection.member] = []
        if len(dirty) > 1:
            self._turn += 1
            turn = self._turn
            for channel in dirty:
                for member in channel.members:
                    if member.stamp == turn:
                        apart[member] = []
                    else:
                        member.stamp = turn
        return apart


def _nobody(_: str) -> None:
    """Nobody watches."""


def _order(outgoing: Outgoing) -> int:
    return outgoing.order
