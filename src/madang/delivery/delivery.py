"""Committed events into the hub and onto the bus, in the order of the log, with gaps healed from
the store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from madang import logs
from madang.clock import Clock, Timer
from madang.delivery.entering import Unnamed, concerned, entering
from madang.delivery.heads import Heads
from madang.delivery.members import Members
from madang.delivery.orglog import OrgLog
from madang.delivery.presence import Presence
from madang.delivery.replies import Replies
from madang.delivery.turns import LastTurns
from madang.hub.connection import Connection
from madang.hub.frame import Frame, Reply, reply_beside
from madang.hub.hub import Channel, Hub, Member
from madang.metrics import SECONDS, Histogram
from madang.model.nouns import Batch, Event
from madang.model.times import MICROSECONDS
from madang.ports.bus import Bus, Note, PresenceTold, RunTold, SignalTold
from madang.ports.store import Store
from madang.protocol.codes import CloseCode
from madang.protocol.errors import NotFound, Unavailable
from madang.tasks import Tasks

log = logs.get_logger(__name__)

HEAL_PAGE = 500
LATE_SECONDS = 0.05
"""How long a commit waits for what the bus has not brought yet, before the log is read."""
HEAD_CHECK_SECONDS = 3.0
"""How long the loss of what came last on the bus can go unnoticed."""
MOST_SIGNALS = 1_000
"""Signals of an org that wait until its log is told as far as it is known."""
FARTHEST_MICROSECONDS = 24 * 3600 * 1_000_000
"""How far ahead of this node's clock a cursor may be: clocks differ by hours, not by more."""
AWAY_CHECK_SECONDS = 0.3
"""How often heads are checked while there is no bus."""


class HearsRuns(Protocol):
    """Who hears of runs on other nodes."""

    def heard(self, org_id: str, told: RunTold) -> None: ...
    def left(self, conversation_id: str) -> None: ...


class Delivery:
    """What happens after a commit, of this node or another.

    Guarantees: everybody here is told an org's events in the order of their cursors, each once,
    with nothing left out, whatever the bus loses, repeats or swaps; membership changes take effect
    at their own place in that order.
    """

    def __init__(self, hub: Hub, store: Store, bus: Bus, members: Members, clock: Clock) -> None:
        self.gaps_healed = 0
        self.lag_seconds = Histogram(SECONDS)
        """From a commit on another node until its note came here: a cursor tells the time."""
        self._hub = hub
        self._store = store
        self._bus = bus
        self._members = members
        self._clock = clock
        self._logs: dict[str, OrgLog] = {}
        # Those whose head is being read; what comes meanwhile waits in them.
        self._opening: dict[str, OrgLog] = {}
        self._heads = Heads(store)
        self._reaching: dict[str, list[tuple[int, asyncio.Future[None]]]] = {}
        self._late: dict[str, Timer] = {}
        self._healing: dict[str, asyncio.Task[None]] = {}
        self._signals: dict[str, list[SignalTold]] = {}
        self._unnamed = Unnamed(hub, store)
        self.replies = Replies()
        self._turns = LastTurns(clock)
        self._tasks = Tasks()
        self._watchers: list[Callable[[Event], None]] = []
        self._presence: Presence | None = None
        self._runs: HearsRuns | None = None
        self._answers: dict[str, Callable[[Any], Any]] = {}
        hub.watch_channels(bus.follow_conversation, self._left)
        members.watch_orgs(self)

    def pass_on(self, presence: Presence) -> None:
        """Who hears what other nodes tell of users."""
        self._presence = presence

    def pass_runs_on(self, runs: HearsRuns) -> None:
        """Who hears what other nodes tell of runs."""
        self._runs = runs

    def _left(self, conversation_id: str) -> None:
        """Nobody here is in the conversation any more."""
        self._bus.unfollow_conversation(conversation_id)
        if self._runs is not None:
            self._runs.left(conversation_id)

    def answer(self, topic: str, answer: Callable[[Any], Any]) -> None:
        """What other nodes ask about `topic` is answered so; it may raise `MadangError`."""
        self._answers[topic] = answer

    def watch(self, watcher: Callable[[Event], None]) -> None:
        """Call `watcher` with every event, in log order, before it is delivered here."""
        self._watchers.append(watcher)

    def reply(self, event: Event, connection: Connection, encode: Reply) -> None:
        """When `event` is delivered, `connection` gets it as `encode` writes it. Where the log was
        read and told before the commit was known to be one, it gets an answer beside it."""
        if event.cursor <= self._hub.heads.get(event.org_id, 0):
            connection.write(reply_beside(encode, event))
            return
        self.replies.to_event(event, connection, encode)

    # Which orgs have somebody here.

    async def open_org(self, org_id: str) -> None:
        """Tell of the org from here on. Returns when this node knows where its log stands."""
        if org_id in self._logs:
            return
        opening = self._opening[org_id] = OrgLog(org_id, 0)
        try:
            await self._bus.follow_org(org_id)
            head = await self._store.head(org_id)
        except BaseException:
            self._bus.unfollow_org(org_id)
            raise
        finally:
            del self._opening[org_id]
        # What was committed here meanwhile concerned nobody.
        opening.reach(max(head, self._hub.heads.get(org_id, 0)))
        self._hub.heads[org_id] = opening.head
        self._logs[org_id] = opening
        self._go_on(opening)

    def keep_orgs(self, here: AbstractSet[str]) -> None:
        """These are the orgs that somebody here belongs to: the others are no longer told of."""
        for org_id in [org_id for org_id in self._logs if org_id not in here]:
            if not self._hub.is_followed(org_id):
                del self._logs[org_id]
                self._bus.unfollow_org(org_id)
                self._signals.pop(org_id, None)
                late = self._late.pop(org_id, None)
                if late is not None:
                    late.cancel()
                self._reached(org_id, math.inf)

    @property
    def alone(self) -> bool:
        """Whether all that is committed was told here in the same turn."""
        return not self._bus.shared

    async def reach(self, org_id: str, cursor: int | None = None) -> None:
        """Return when everything up to `cursor`, or all that the store has now, was told here.

        Raises:
            Unavailable: the store is away.
        """
        if cursor is None:
            if self.alone:
                return
            cursor = await self._heads.now(org_id)
        orglog = self._logs.get(org_id)
        if orglog is not None and orglog.head < cursor:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._reaching.setdefault(org_id, []).append((cursor, told))
            orglog.seen = max(orglog.seen, cursor)
            self._go_on(orglog)
            await told

    def _reached(self, org_id: str, head: float) -> None:
        waiting = self._reaching.pop(org_id, None)
        for cursor, told in waiting or ():
            if cursor > head:
                self._reaching.setdefault(org_id, []).append((cursor, told))
            elif not told.done():
                told.set_result(None)

    # What comes.

    def committed(self, batch: Batch) -> None:
        """Deliver what this node's writer has committed."""
        orglog = self._logs.get(batch.org_id)
        if orglog is None:
            self._hub.heads[batch.org_id] = batch.until
        elif orglog.follows(batch) and batch.org_id not in self._healing:
            self._tell_all(orglog, batch.events, batch.until)
        else:
            orglog.put(batch)
            self._go_on(orglog)
        if self._bus.shared:
            named = [(user, event) for event in batch.events for user in concerned(event)]
            self._bus.tell_commit(batch, named)

    def heard_events(self, org_id: str, events: Sequence[Event]) -> None:
        """See `ports.bus.Listener`."""
        orglog = self._logs.get(org_id) or self._opening.get(org_id)
        if orglog is not None:
            orglog.hear(events)
            self._go_on(orglog)

    def heard_note(self, note: Note) -> None:
        """See `ports.bus.Listener`."""
        self.lag_seconds.observe(max(0, self._clock.now() - note.until) / MICROSECONDS)
        if note.until > self._clock.now() + FARTHEST_MICROSECONDS:
            log.error("a note of the bus is of another time", org=note.org_id, until=note.until)
            return
        orglog = self._logs.get(note.org_id) or self._opening.get(note.org_id)
        if orglog is not None:
            orglog.put(note)
            self._go_on(orglog)

    def heard_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None:
        """See `ports.bus.Listener`."""
        if self._presence is not None:
            self._presence.heard(org_id, changes)

    def heard_run(self, org_id: str, told: RunTold) -> None:
        """See `ports.bus.Listener`."""
        if self._runs is not None:
            self._runs.heard(org_id, told)

    def asked(self, topic: str, content: Any) -> Any:
        """See `ports.bus.Listener`."""
        answer = self._answers.get(topic)
        if answer is None:
            raise NotFound("Nothing is known of that here")
        return answer(content)

    def lost_touch(self) -> None:
        """See `ports.bus.Listener`. Heads are checked more often meanwhile."""
        self._tasks.start(self._check_soon())

    def in_touch(self) -> None:
        """See `ports.bus.Listener`. What was told meanwhile is lost."""
        self._tasks.start(self._check_soon())
        if self._presence is not None:
            self._presence.share_again()

    def _go_on(self, orglog: OrgLog) -> None:
        """Tell what can be told; if anything is left, wait for the bus a moment and then read."""
        org_id = orglog.org_id
        if not orglog.waits or org_id in self._healing or self._logs.get(org_id) is not orglog:
            return
        while (events := orglog.next(self)) is not None:
            self._tell_all(orglog, events, orglog.head)
        late = self._late.get(org_id)
        if not orglog.waits:
            if late is not None:
                late.cancel()
                del self._late[org_id]
        elif self._reads_on(org_id):
            self._heal_soon(orglog, orglog.seen)
        elif late is None:
            known = orglog.seen
            self._late[org_id] = self._clock.call_later(
                LATE_SECONDS, lambda: self._is_late(orglog, known)
            )

    def _tell_all(self, orglog: OrgLog, events: Sequence[Event], until: int) -> None:
        for event in events:
            try:
                self._tell(event)
            except Exception:
                log.exception("an event was not delivered", type=event.type, cursor=event.cursor)
                # Better cut off than a silent gap: who resumes gets it from the log.
                self._hub.cut_off(event.conversation_id)
        orglog.reach(until)
        self._hub.heads[orglog.org_id] = max(orglog.head, self._hub.heads.get(orglog.org_id, 0))
        if self._signals and not orglog.waits:
            for signal in self._signals.pop(orglog.org_id, ()):
                self._signal(orglog.org_id, signal)
        if self._reaching:
            self._reached(orglog.org_id, orglog.head)

    def _tell(self, event: Event) -> None:
        channel = self._hub.channels.get(event.conversation_id)
        if channel is not None and channel.org_id != event.org_id:
            raise ValueError("an event of another org's conversation")
        if channel is not None and _known(channel, event):
            return  # A repeat: who came or went by it may have gone or come again since.
        for watcher in self._watchers:
            watcher(event)
        for user_id in (
            *entering(event),
            *self._unnamed.entering.pop((event.org_id, event.cursor), ()),
        ):
            self._members.entered(event, user_id)
        outgoing = self._hub.tell(event, self.replies.take(event))
        if event.type == "participant.left" and event.user_id is not None:
            self._send_back(event, event.user_id)
            self._members.left(event, event.user_id, outgoing)

    def _send_back(self, event: Event, user_id: str) -> None:
        """Who leaves what this node never knew them to be in has missed all of it: a log that is
        read late tells who is in a conversation now, not who was at its creation. They come back
        and get from the log what is theirs."""
        member = self._hub.members.get((event.org_id, user_id))
        if member is not None and not self._hub.is_in(member, event.conversation_id):
            for connection in member.connections:
                connection.close(CloseCode.TRY_LATER, "Reconnect and resume")

    # Whom this node tells: `orglog.Here`.

    def has_conversation(self, conversation_id: str) -> bool:
        return conversation_id in self._hub.channels

    def has_user(self, org_id: str, user_id: str) -> bool:
        return self._members.has(org_id, user_id)

    def has_followers(self, org_id: str) -> bool:
        return self._hub.is_followed(org_id)

    # Signals.

    def behind(self, org_id: str) -> bool:
        """Whether there is more of the org's log than was told here: somebody may have been
        removed by it, so signals wait."""
        orglog = self._logs.get(org_id)
        return orglog is not None and orglog.waits

    def signal(self, org_id: str, signal: SignalTold) -> None:
        """Say something in a conversation that is not kept, on every node."""
        self._signal(org_id, signal)
        if self._bus.shared:
            self._bus.tell_signal(org_id, signal)

    def heard_signals(self, org_id: str, signals: Sequence[SignalTold]) -> None:
        """See `ports.bus.Listener`."""
        for signal in signals:
            self._signal(org_id, signal)

    def _signal(self, org_id: str, signal: SignalTold) -> None:
        channel = self._hub.channels.get(signal.conversation_id)
        orglog = self._logs.get(org_id)
        if channel is None or channel.org_id != org_id or orglog is None:
            return
        if orglog.waits:
            # Somebody may have been removed by what is not told yet.
            waiting = self._signals.setdefault(org_id, [])
            if len(waiting) < MOST_SIGNALS:
                waiting.append(signal)
            return
        turn = (org_id, signal.conversation_id, signal.omit_user_id)
        if signal.at and self._turns.is_old(turn, signal.at):
            return
        if signal.only_user_id is not None:
            self._signal_one(org_id, signal, signal.only_user_id)
            return
        omit: tuple[Member, ...] = ()
        if signal.omit_user_id is not None:
            member = self._hub.members.get((org_id, signal.omit_user_id))
            omit = () if member is None else (member, *member.beside)
        frame = Frame(signal.text)
        self._hub.signal(signal.conversation_id, frame, omit=omit, dialect=signal.dialect)

    def _signal_one(self, org_id: str, signal: SignalTold, user_id: str) -> None:
        member = self._hub.members.get((org_id, user_id))
        if member is None or not self._hub.is_in(member, signal.conversation_id):
            return
        frame = Frame(signal.text)
        for each in (member, *self._hub.beside_in(member, signal.conversation_id)):
            for connection in each.connections:
                if not connection.mutes(signal.conversation_id):
                    connection.write(frame)

    # Healing.

    def _reads_on(self, org_id: str) -> bool:
        """Whether the log is read at once: nothing comes by the bus, or not all that is wanted."""
        return self._bus.away or self._hub.is_followed(org_id)

    def _is_late(self, orglog: OrgLog, known: int) -> None:
        self._late.pop(orglog.org_id, None)
        if orglog.waits:
            self._heal_soon(orglog, known)

    def _heal_soon(self, orglog: OrgLog, late: int) -> None:
        if orglog.org_id not in self._healing:
            healing = self._tasks.start(self._heal(orglog, late), "healing")
            self._healing[orglog.org_id] = healing

    async def _heal(self, orglog: OrgLog, late: int) -> None:
        """Read what is missing, once for all who are here, and tell it. All that is missing up to
        the cursor `late` has had its time to come by the bus, gap after gap: waiting for each anew
        a node would fall behind one that loses much."""
        org_id = orglog.org_id
        delay = 0.05
        try:
            while orglog.waits and self._logs.get(org_id) is orglog:
                until = orglog.seen if self._reads_on(org_id) else orglog.until
                try:
                    page = await self._store.events_of_org(org_id, orglog.head, until, HEAL_PAGE)
                    await self._unnamed.find(org_id, page)
                except Exception as failure:
                    if not isinstance(failure, Unavailable):
                        log.exception("a gap could not be read", org=org_id)
                    await self._clock.sleep(delay)
                    delay = min(delay * 2, 2.0)
                    continue
                if self._logs.get(org_id) is not orglog:
                    break
                self.gaps_healed += 1
                whole = len(page) < HEAL_PAGE
                self._tell_all(orglog, page, until if whole else page[-1].cursor)
                while (events := orglog.next(self)) is not None:
                    self._tell_all(orglog, events, orglog.head)
                if whole and not self._reads_on(org_id) and orglog.head >= late:
                    break  # What else waits may still come by the bus.
        finally:
            del self._healing[org_id]
        current = self._logs.get(org_id)
        if current is not None:
            self._go_on(current)

    async def check_heads(self) -> None:
        """Find what the bus lost last: one query for all orgs. What is only on its way has
        `LATE_SECONDS` to come."""
        if not self._logs:
            return
        for org_id, head in (await self._store.heads(list(self._logs))).items():
            orglog = self._logs.get(org_id)
            if orglog is not None:
                orglog.seen = max(orglog.seen, head)
                self._go_on(orglog)

    async def _check_soon(self) -> None:
        try:
            await self.check_heads()
        except Unavailable:
            log.warning("head check found the store away")

    async def run(self) -> None:
        """Check heads every few seconds while there may be other nodes."""
        since = 0.0
        while True:
            await self._clock.sleep(AWAY_CHECK_SECONDS)
            since += AWAY_CHECK_SECONDS
            if self._bus.shared and (self._bus.away or since >= HEAD_CHECK_SECONDS):
                since = 0.0
                try:
                    await self.check_heads()
                except Unavailable:
                    log.warning("head check found the store away")
                except Exception:
                    log.exception("head check failed")

    async def close(self) -> None:
        for late in self._late.values():
            late.cancel()
        await self._tasks.close()
        await self._heads.close()


def _known(channel: Channel, event: Event) -> bool:
    """Whether the channel has told the event, or everybody in it has it from the log."""
    if channel.last_seq:
        return event.seq <= channel.last_seq
    return event.cursor <= channel.since
