"""Between nodes: what a node tells the others, hears from them, and shares with them.

A bus may lose, repeat and reorder, be flushed, restarted or away for minutes; the log may not.
Everything told here is either in the log, and read from there where it did not arrive, or a
signal, which may be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from madang.model.nouns import Batch, Event
from madang.model.presence import Status

NO_ORG = "*"
"""The org of leases that are not a user's presence, but something else that may be so on several
nodes: no org is called so. Their `user_id` is whatever their holder names them; `online` does not
list them."""


@dataclass(frozen=True, slots=True)
class Note:
    """That another node has committed: the place in the log, and whom it concerns. Told after the
    events themselves, so that who has them all may tell them on, and who has not knows it.

    `conversations` are (conversation_id, how many of the events are in it); `users` are (user_id,
    cursor of an event that was told to the user by name, because it brings them into or out of a
    conversation that their node may not follow).
    """

    org_id: str
    after: int
    until: int
    conversations: Sequence[tuple[str, int]]
    users: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class SignalTold:
    """Something said in a conversation that is not kept: its frame, whom not to tell, or whom
    alone, and the dialect of those who are told (None: everybody who is told signals). `at`, where
    it is a turn of the one who is not told, its place among these: see `Turn`."""

    conversation_id: str
    text: bytes
    omit_user_id: str | None = None
    only_user_id: str | None = None
    dialect: int | None = None
    at: int = 0


@dataclass(frozen=True, slots=True)
class RunTold:
    """More of an agent's answer: a chunk with its number and the offset (characters) where it
    begins, or a step as it is now with the number of its telling and how much text was told before
    it. A chunk that is lost leaves a gap between offsets, a step one between numbers."""

    conversation_id: str
    message_id: str
    index: int
    offset: int
    text: str
    step: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class PresenceTold:
    """How a user is now, all nodes together, and the conversations whose people hear of it. `at` is
    that of its `Turn`."""

    user_id: str
    text: bytes
    conversation_ids: Sequence[str]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """How a user is on one node: the best of the devices there, how many they are (0: none, which
    ends the lease), and the zones they are in."""

    org_id: str
    user_id: str
    status: Status
    devices: int
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What a changed lease made of a user, all nodes together. `at` is its place among the turns of
    the same user, whichever node's leases they come from (0: not known)."""

    org_id: str
    user_id: str
    before: Status
    now: Status
    at: int = field(default=0, compare=False)


class Listener(Protocol):
    """Who hears what other nodes tell. Called on the event loop; never with what this node told."""

    def heard_events(self, org_id: str, events: Sequence[Event]) -> None:
        """Some of a commit's events, of a conversation or for a user that this node follows."""
        ...

    def heard_note(self, note: Note) -> None:
        """The commit that the events belong to."""
        ...

    def heard_signals(self, org_id: str, signals: Sequence[SignalTold]) -> None: ...

    def heard_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None: ...

    def heard_run(self, org_id: str, told: RunTold) -> None: ...

    def asked(self, topic: str, content: Any) -> Any:
        """Another node asks this one; the answer, as JSON. Raises `MadangError`: it has none."""
        ...

    def lost_touch(self) -> None:
        """The bus went away: what is told until `in_touch` is not heard."""
        ...

    def in_touch(self) -> None:
        """The bus is back and everything is followed again. What was told meanwhile is lost."""
        ...


class Bus(Protocol):
    """One node's end of the bus. Nothing here blocks or raises, except where it says so."""

    @property
    def node(self) -> str:
        """This node's id, new with every start."""
        ...

    @property
    def shared(self) -> bool:
        """Whether there may be another node. One that is alone pays nothing."""
        ...

    @property
    def away(self) -> bool:
        """Whether the bus is out of reach now."""
        ...

    async def start(self, listener: Listener) -> None:
        """Raises:
        Unavailable: there is no bus to be had; the text says what was tried.
        """
        ...

    async def close(self) -> None:
        """Send what was told and hear nothing more. This node's leases end by themselves soon
        after, so that its users may go to another without anybody noticing."""
        ...

    # Following. What is followed already or not yet is no error.

    async def follow_org(self, org_id: str) -> None:
        """Hear the org's notes and presence. Returns when this is so, or the bus is away."""
        ...

    def unfollow_org(self, org_id: str) -> None: ...
    def follow_conversation(self, conversation_id: str) -> None: ...
    def unfollow_conversation(self, conversation_id: str) -> None: ...
    def follow_user(self, org_id: str, user_id: str) -> None: ...
    def unfollow_user(self, org_id: str, user_id: str) -> None: ...

    # Telling. All of a turn goes out together.

    def tell_commit(self, batch: Batch, users: Sequence[tuple[str, Event]]) -> None:
        """Tell each conversation its events, each user the event that concerns them, and then
        the org the note of it all."""
        ...

    def tell_signal(self, org_id: str, signal: SignalTold) -> None: ...
    def tell_presence(self, org_id: str, changes: Sequence[PresenceTold]) -> None: ...
    def tell_run(self, org_id: str, told: RunTold) -> None: ...

    # Asking one node.

    async def ask(self, node: str, topic: str, content: Any, seconds: float) -> Any:
        """What the listener of another node answers, as JSON.

        Raises:
            Unavailable: the bus is away, or there is no such node, or it has not answered within
                so many seconds, or it has no answer.
        """
        ...

    # Shared by all nodes. These raise `Unavailable` while the bus is away.

    async def hold(self, leases: Sequence[Lease]) -> Sequence[Turn]:
        """Set this node's leases on users. They are renewed until they are ended by a lease of no
        devices, and end by themselves soon after the node does; the turns that this brings come
        to one of the other nodes through `expired`.

        Returns one turn for each lease, in order: atomic a user, whoever else sets one.
        """
        ...

    async def expired(self) -> Sequence[Turn]:
        """Ends leases whose nodes are gone, and tells what that made of their users. Asked every
        few seconds by every node; each turn is given to one of them."""
        ...

    async def present(self, org_id: str, user_ids: Sequence[str]) -> Mapping[str, Lease]:
        """How users are on all nodes together; who has no lease is not in it."""
        ...

    async def online(self, org_id: str) -> Mapping[str, Lease]:
        """All who have a lease in the org, as `present` tells of them."""
        ...

    async def spend(self, amounts: Mapping[str, int], interval: float) -> Mapping[str, float]:
        """Count uses against limits that all nodes share, by the generic cell rate algorithm:
        each use moves the key's due time by `interval` seconds. Below 0 they are given back.

        Returns how far each key's due time now lies ahead, in seconds (0: its allowance is full).
        """
        ...

    async def agree(self, name: str, value: str, seconds: float) -> bool:
        """Say that `name` is `value`, for so long, unless some node says otherwise now. Whether
        that is what is said; who finds it so keeps it so."""
        ...

    async def acquire(self, name: str, seconds: float) -> bool:
        """Become or stay the one node that owns `name` for so long."""
        ...

    async def acquire_all(self, names: Sequence[str], seconds: float) -> Sequence[bool]:
        """The same of many at once, in order: each is one step, all of them are not."""
        ...

    async def release(self, name: str) -> None:
        """Give up what this node owns; what another owns stays."""
        ...

    async def owner(self, name: str) -> str | None:
        """The node that owns it now."""
        ...
