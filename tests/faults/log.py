"""The log as a checker reads it: which event stands where, and who was in which conversation when.

Pure. The log is the whole org's, in the words of the events surface.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.history import Call, Frame

FOREVER = 2**62

Identity = tuple[Any, ...]
"""What an event is, however often and in whatever words it is told."""


@dataclass(slots=True)
class Stay:
    """From the event that brought a user into a conversation to the one that ended it."""

    entered: int
    left: int = FOREVER


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of the log."""

    cursor: int
    seq: int
    conversation_id: str
    type: str
    actor: str
    fields: Frame

    @property
    def message_id(self) -> str | None:
        if self.type == "message.new":
            return str(self.fields["data"]["id"])
        found = self.fields.get("message_id")
        return None if found is None else str(found)

    @property
    def user(self) -> str | None:
        found = self.fields.get("user_id")
        return None if found is None else str(found)


def identity(type: str, conversation_id: str, seq: int, fields: Frame) -> Identity:
    """Of an event by what surfaces say of it. What may change with the message is left out."""
    about: list[Any] = []
    if type == "message.new":
        data = fields["data"]
        about = [data["id"], data["client_id"], data["sender_id"]]
    else:
        names = ("message_id", "user_id", "emoji", "last_read_seq", "role", "by")
        about = [fields.get(name) for name in names]
    return (type, conversation_id, seq, *about)


class Log:
    """The log, with what is looked up in it.

    Args:
        events: as `GET /api/v1/events?scope=org` lists them.
        creations: every `create` that was asked for; the log does not say who was in a
            conversation at its beginning, its creator did.
    """

    def __init__(self, events: Sequence[Frame], creations: Iterable[Call]) -> None:
        self.entries = [
            Entry(
                event["cursor"],
                event["seq"],
                event["conversation_id"],
                event["type"],
                str(event.get("actor_id")),
                event["payload"] if isinstance(event["payload"], dict) else {},
            )
            for event in events
        ]
        self.head = self.entries[-1].cursor if self.entries else 0
        self.identities = {
            entry.cursor: identity(entry.type, entry.conversation_id, entry.seq, entry.fields)
            for entry in self.entries
        }
        self.at = {entry.cursor: entry for entry in self.entries}
        self.in_conversation: dict[str, list[Entry]] = defaultdict(list)
        self.messages: dict[str, Entry] = {}
        self.created: dict[str, Entry] = {}
        self.stays: dict[tuple[str, str], list[Stay]] = defaultdict(list)
        self.rooms_of: dict[str, set[str]] = defaultdict(set)
        self.wrong_stays: list[str] = []
        self._visible: dict[str, list[int]] = {}
        self._read: dict[tuple[str, str], int] = {}
        asked = {call.number: call for call in creations}
        for entry in self.entries:
            self.in_conversation[entry.conversation_id].append(entry)
            if entry.type == "message.new":
                self.messages.setdefault(str(entry.message_id), entry)
            elif entry.type == "conversation.created":
                self.created[entry.conversation_id] = entry
                self._begun(entry, asked.get(entry.fields["data"]["metadata"].get("call", -1)))
            elif entry.type == "message.read":
                place = (entry.conversation_id, str(entry.user))
                furthest = max(self._read.get(place, 0), entry.fields["last_read_seq"])
                self._read[place] = furthest
            elif entry.type in ("participant.joined", "participant.left"):
                self._moved(entry)

    def _begun(self, entry: Entry, call: Call | None) -> None:
        if call is None:
            self.wrong_stays.append(f"nobody created conversation {entry.conversation_id}")
            return
        for user in {call.user, *call.arguments["people"]}:
            self._enter(user, entry)

    def _enter(self, user: str, entry: Entry) -> None:
        self.stays[entry.conversation_id, user].append(Stay(entry.cursor))
        self.rooms_of[user].add(entry.conversation_id)

    def _moved(self, entry: Entry) -> None:
        user = str(entry.user)
        stays = self.stays[entry.conversation_id, user]
        inside = bool(stays) and stays[-1].left == FOREVER
        if entry.type == "participant.joined":
            if not inside:
                self._enter(user, entry)
        elif inside:
            stays[-1].left = entry.cursor
        else:
            self.wrong_stays.append(
                f"{user} left {entry.conversation_id} at cursor {entry.cursor} without being in it"
            )

    def inside(self, user: str, conversation_id: str, cursor: int) -> bool:
        """Whether the user was told of what happened there at this cursor, by the log alone: from
        the event that brought them in to the one that ended it, both included."""
        stays = self.stays.get((conversation_id, user), ())
        return any(stay.entered <= cursor <= stay.left for stay in stays)

    def enters_after(self, user: str, conversation_id: str, cursor: int) -> int | None:
        """The cursor of the next time that the user is brought in."""
        for stay in self.stays.get((conversation_id, user), ()):
            if stay.entered > cursor:
                return stay.entered
        return None

    def left_after(self, user: str, conversation_id: str, cursor: int) -> int:
        """Where the stay ends that this cursor is in."""
        for stay in self.stays.get((conversation_id, user), ()):
            if stay.entered <= cursor <= stay.left:
                return stay.left
        return cursor

    def furthest_read(self, conversation_id: str, user: str) -> int:
        """The largest seq up to which the user ever said to have read there."""
        return self._read.get((conversation_id, user), 0)

    def visible(self, user: str, after: int, until: int) -> Sequence[int]:
        """The cursors of all that a user who never drops is told between two cursors."""
        found = self._visible.get(user)
        if found is None:
            found = self._visible[user] = sorted(
                entry.cursor
                for conversation_id in self.rooms_of.get(user, ())
                for entry in self.in_conversation[conversation_id]
                if self.inside(user, conversation_id, entry.cursor)
            )
        return found[bisect_right(found, after) : bisect_right(found, until)]
