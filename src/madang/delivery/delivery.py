"""Committed events into the hub and onto the bus, in order, with gaps healed from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from madang.clock import Clock
from madang.delivery.members import Members
from madang.hub.connection import Connection
from madang.hub.frame import Encoder, Frame
from madang.hub.hub import Channel, Hub, Member
from madang.model.ids import uuid7
from madang.model.nouns import Event
from madang.ports.store import Bus, Envelope, SignalTold, Store
from madang.protocol.errors import Unavailable
from madang.tasks import Tasks

log = structlog.get_logger(__name__)

HEAL_PAGE = 500
HEAD_CHECK_SECONDS = 3.0
"""How long the loss of a conversation's last event on the bus can go unnoticed."""


class Delivery:
    """What happens after a commit.

    Guarantees: every channel of this hub is told its conversation's events in `seq` order, each
    once; membership changes take effect at their own place in that order.
    """

    def __init__(self, hub: Hub, store: Store, bus: Bus, members: Members, clock: Clock) -> None:
        self.node = uuid7(clock.now())
        self.gaps_healed = 0
        self._hub = hub
        self._store = store
        self._bus = bus
        self._members = members
        self._clock = clock
        self._replies: dict[tuple[str, int], dict[Connection, Encoder]] = {}
        self._waiting: dict[str, list[Event]] = {}
        self._tasks = Tasks()
        self._stop_listening = bus.listen(self.node, self.arrived)
        self._watchers: list[Callable[[Event], None]] = []

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call `watcher` with every event, in log order, before it is delivered here."""
        self._watchers.append(watcher)

    def reply(self, event: Event, connection: Connection, encode: Encoder) -> None:
        """When `event` is delivered, `connection` gets it as `encode` writes it."""
        self._replies.setdefault((event.org_id, event.cursor), {})[connection] = encode

    def committed(self, events: Sequence[Event]) -> None:
        """Deliver what this node's writer has committed, in log order."""
        if not events:
            return
        for event in events:
            try:
                self._arrive(event)
            except Exception:
                log.exception("an event was not delivered", type=event.type, cursor=event.cursor)
                self._tasks.start(self.check_heads())
        if self._bus.shared:
            self._bus.publish(Envelope(self.node, events[0].org_id, events=tuple(events)))

    def arrived(self, envelope: Envelope) -> None:
        """Deliver what another node told."""
        for event in envelope.events:
            self._arrive(event)
        for signal in envelope.signals:
            self._signal(envelope.org_id, signal)

    def signal(self, org_id: str, signal: SignalTold) -> None:
        """Say something in a conversation that is not kept, on every node."""
        self._signal(org_id, signal)
        if self._bus.shared:
            self._bus.publish(Envelope(self.node, org_id, signals=(signal,)))

    def _signal(self, org_id: str, signal: SignalTold) -> None:
        omit: tuple[Member, ...] = ()
        if signal.omit_user_id is not None:
            member = self._hub.members.get((org_id, signal.omit_user_id))
            omit = () if member is None else (member,)
        self._hub.signal(signal.conversation_id, Frame(signal.text), omit=omit)

    def _arrive(self, event: Event) -> None:
        waiting = self._waiting.get(event.conversation_id)
        if waiting is not None:
            waiting.append(event)
            return
        channel = self._hub.channels.get(event.conversation_id)
        if channel is not None and channel.last_seq < event.seq - 1 and self._counted(channel):
            self._waiting[event.conversation_id] = [event]
            self._tasks.start(self._heal(channel))
            return
        self._tell(event)

    def _counted(self, channel: Channel) -> bool:
        """Whether a jump means a loss. A channel that was told nothing yet does not know where its
        conversation stood; what this node alone commits cannot jump there either."""
        return channel.last_seq > 0 or self._bus.shared

    def _tell(self, event: Event) -> None:
        channel = self._hub.channels.get(event.conversation_id)
        if channel is not None and _known(channel, event):
            return  # A repeat: who came or went by it may have gone or come again since.
        for watcher in self._watchers:
            watcher(event)
        for user_id in _entering(event):
            self._members.entered(event, user_id)
        instead = self._replies.pop((event.org_id, event.cursor), None)
        outgoing = self._hub.tell(event, instead)
        if event.type == "participant.left" and event.user_id is not None:
            self._members.left(event, event.user_id, outgoing)

    # Healing.

    async def _heal(self, channel: Channel) -> None:
        """Read what is missing before the events that wait, then tell all of them."""
        conversation_id = channel.conversation_id
        delay = 0.05
        while (
            (waiting := self._waiting[conversation_id])
            and channel.last_seq < max(event.seq for event in waiting)
            and self._hub.channels.get(conversation_id) is channel
        ):
            try:
                if channel.last_seq == 0:
                    # Nothing was told yet: all since the channel is here, and nothing from before.
                    channel.last_seq = await self._store.seq_at(
                        channel.org_id, conversation_id, channel.since
                    )
                missing = await self._store.events_of_conversation(
                    channel.org_id, conversation_id, channel.last_seq, None, HEAL_PAGE
                )
            except Exception as failure:
                if not isinstance(failure, Unavailable):
                    log.exception("a gap could not be read", conversation=conversation_id)
                await self._clock.sleep(delay)
                delay = min(delay * 2, 2.0)
                continue
            self.gaps_healed += 1
            if not missing:
                break
            for event in missing:
                self._tell(event)
        for event in sorted(self._waiting.pop(conversation_id), key=_seq):
            self._tell(event)

    async def check_heads(self) -> None:
        """Find what the bus lost last: one query for all channels."""
        known = [channel for channel in self._hub.channels.values() if channel.last_seq]
        if not known:
            return
        heads = await self._store.last_seqs([channel.conversation_id for channel in known])
        for channel in known:
            behind = channel.last_seq < heads.get(channel.conversation_id, 0)
            if behind and channel.conversation_id not in self._waiting:
                self._waiting[channel.conversation_id] = []
                self._tasks.start(self._heal_to_head(channel))

    async def _heal_to_head(self, channel: Channel) -> None:
        missing: Sequence[Event] = ()
        try:
            missing = await self._store.events_of_conversation(
                channel.org_id, channel.conversation_id, channel.last_seq, None, HEAL_PAGE
            )
        except Unavailable:
            log.warning("head check found the store away")
        finally:
            waiting = self._waiting.pop(channel.conversation_id)
        if missing:
            self.gaps_healed += 1
        for event in (*missing, *waiting):
            self._arrive(event)

    async def run(self) -> None:
        """Check heads every few seconds while there may be other nodes."""
        while True:
            await self._clock.sleep(HEAD_CHECK_SECONDS)
            if self._bus.shared:
                try:
                    await self.check_heads()
                except Unavailable:
                    log.warning("head check found the store away")
                except Exception:
                    log.exception("head check failed")

    async def close(self) -> None:
        self._stop_listening()
        await self._tasks.close()


def _known(channel: Channel, event: Event) -> bool:
    """Whether the channel has told the event, or everybody in it has it from the log."""
    if channel.last_seq:
        return event.seq <= channel.last_seq
    return event.cursor <= channel.since


def _seq(event: Event) -> int:
    return event.seq


def _entering(event: Event) -> Sequence[str]:
    """Whom an event makes hear its conversation from here on."""
    if event.type == "participant.joined":
        return () if event.user_id is None else (event.user_id,)
    if event.type == "conversation.created" and event.conversation is not None:
        return [person.user_id for person in event.conversation.participants]
    if event.user_id is not None and "payload" in event.data:
        return (event.user_id,)
    return ()
