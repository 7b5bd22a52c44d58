"""Telling counts without flooding: a vote is kept at once, and told at most ten times a second a
room, whatever the number of votes, questions and nodes. The room's row decides, so a count that is
told is an ordinary event: in order, once, and replayed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from madang import logs
from madang.clock import Clock, Timer
from madang.model.live import Room, question_of
from madang.model.nouns import Event, Message
from madang.ports.live import LiveStore
from madang.ports.store import Needs, Transaction, Writer
from madang.protocol.errors import MadangError
from madang.services.sizes import SMALL

INTERVAL = 125_000
"""Microseconds between two counts told in a room. Eight a second are at most ten in any second on a
phone, whatever commits, loops and networks add to or take from the time between two."""
LEFT_ALONE = 2_000_000
"""Microseconds after which a count that nobody told is told by whoever finds it."""
SWEEP_SECONDS = 3.0

_log = logs.get_logger(__name__)


def tell(tx: Transaction, room: Room, message: Message, *, was_visible: bool = True) -> Event:
    """Append what tells of a question's or poll's votes and state, now: of a question that
    participants have not seen before, first that it is shown. Nobody is its actor but the room's
    host: who votes and who asks is not told."""
    question = question_of(message)
    if message.message_type == "poll":
        return tx.append(room.id, "poll.changed", room.host_id, message=message)
    visible = question is not None and question.visible
    data = {} if visible else {"hides": True} if was_visible else {"hidden": True}
    if visible and not was_visible:
        tx.append(room.id, "question.shown", room.host_id, message=message)
    return tx.append(room.id, "question.changed", room.host_id, message=message, data=data)


def voted(tx: Transaction, room: Room, message: Message) -> tuple[Event | None, int | None]:
    """Tell a count that has changed, if it is time; else say when it will be (microseconds)."""
    due = _due(tx, room)
    if not room.untold and tx.now >= due:
        tx.live.save_room(replace(room, counts_told_at=tx.now))
        return tell(tx, room, message, was_visible=_is_visible(message)), None
    if message.id not in room.untold:
        tx.live.save_room(replace(room, untold=(*room.untold, message.id)))
    return None, max(due, tx.now)


def _due(tx: Transaction, room: Room) -> int:
    # Told in the future: by a node whose clock is ahead, or before this one's was put back.
    return min(room.counts_told_at, tx.now) + INTERVAL


def told(room: Room, message_id: str) -> Room:
    """The room, whose message has been told of now for another reason."""
    if message_id not in room.untold:
        return room
    return replace(room, untold=tuple(i for i in room.untold if i != message_id))


@dataclass(frozen=True, slots=True)
class Told:
    """The event, if it was time and anything was left to tell, and when to come again for what is
    still left (microseconds)."""

    event: Event | None
    tell_at: int | None


@dataclass(frozen=True, slots=True)
class TellCounts:
    """Tell what has waited longest of a room's counts. Too early or too late it changes nothing."""

    org_id: str
    conversation_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.live.rooms.add(self.conversation_id)
        needs.conversations.add(self.conversation_id)

    def apply(self, tx: Transaction) -> Told:
        room = tx.live.room(self.conversation_id)
        if room is None or not room.untold:
            return Told(None, None)
        due = _due(tx, room)
        if tx.now < due:
            return Told(None, due)
        first, *left = room.untold
        message = tx.message(first)
        event = None
        if message is not None and message.deleted_at is None:
            event = tell(tx, room, message, was_visible=_is_visible(message))
            due = tx.now + INTERVAL
        tx.live.save_room(replace(room, untold=tuple(left), counts_told_at=tx.now))
        return Told(event, due if left else None)


def _is_visible(message: Message) -> bool:
    question = question_of(message)
    return question is None or question.visible


class CountTeller:
    """Writes `TellCounts` for this node's votes when it is time, once a room; and `sweep` what a
    node that died has left."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._timers: dict[str, Timer] = {}

    def at(self, org_id: str, conversation_id: str, tell_at: int | None) -> None:
        """The `tell_at` of a vote, or of what was told: when to tell what is left."""
        if tell_at is None or conversation_id in self._timers:
            return
        seconds = max(0, tell_at - self._clock.now()) / 1_000_000
        self._timers[conversation_id] = self._clock.call_later(
            seconds, lambda: self._tell(org_id, conversation_id)
        )

    def _tell(self, org_id: str, conversation_id: str) -> None:
        def done(result: Told | None, error: MadangError | None) -> None:
            self._timers.pop(conversation_id, None)
            if result is not None:
                self.at(org_id, conversation_id, result.tell_at)
            elif error is not None:
                # The sweep tells it when the store is back.
                _log.warning("counts could not be told", code=error.code)

        # Until then the timer stands for it: one at a time.
        self._writer.submit(TellCounts(org_id, conversation_id), done)

    async def sweep(self, store: LiveStore) -> None:
        """Tell what has been left untold for `LEFT_ALONE`, of every org; to be called every few
        seconds. Raises `Unavailable`."""
        now = self._clock.now()
        for org_id, conversation_id in await store.due_counts(now - LEFT_ALONE):
            self.at(org_id, conversation_id, now)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
