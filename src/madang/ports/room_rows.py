"""A live room's rows inside one commit: a part of `ports.store.Transaction`, and of what a batch
announces (`ports.store.Needs`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from madang.model.live import Room, Seat
from madang.model.nouns import Message


@dataclass(frozen=True, slots=True)
class Crowd:
    """Seats of a room that were taken from one address, or one device."""

    seats: int
    """Those that are not gone."""
    banned: bool
    """Whether one of them is banned."""
    muted: bool
    """Whether one of those that are not gone is muted."""


@dataclass(slots=True)
class LiveNeeds:
    """What a batch is going to look at in rooms: a part of `ports.store.Needs`."""

    rooms: set[str] = field(default_factory=set)
    seats: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, participant_id)"""
    together: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, participant_id) of seats, with all seats of their devices"""
    keys: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, key)"""
    names: set[tuple[str, str, int]] = field(default_factory=set)
    """(conversation_id, skeleton, number)"""
    addresses: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, address)"""
    devices: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, device)"""
    askers: set[tuple[str, str]] = field(default_factory=set)
    """(conversation_id, participant_id)"""
    votes: set[tuple[str, str, str]] = field(default_factory=set)
    """(conversation_id, message_id, participant_id)"""


class LiveTransaction(Protocol):
    """A room's rows inside one commit: `Transaction.live`. What a batch announced is read with one
    query a kind, and written with one statement a table and kind of change."""

    def room(self, conversation_id: str) -> Room | None: ...
    def add_room(self, room: Room) -> None: ...
    def save_room(self, room: Room) -> None: ...
    def seat(self, conversation_id: str, participant_id: str) -> Seat | None:
        """The seat, gone or not."""
        ...

    def seat_by_key(self, conversation_id: str, key: str) -> Seat | None: ...
    def add_seat(self, seat: Seat) -> None: ...
    def save_seat(self, seat: Seat) -> None: ...
    def name_taken(self, conversation_id: str, skeleton: str, number: int) -> bool: ...
    def free_number(self, conversation_id: str, skeleton: str, above: int) -> int:
        """The lowest number above this one that is not taken with this skeleton in the room."""
        ...

    def at_address(self, conversation_id: str, address: str) -> Crowd: ...
    def at_device(self, conversation_id: str, device: str) -> Crowd: ...
    def seats_at_device(self, conversation_id: str, device: str) -> Sequence[Seat]:
        """Those that are not gone, in order of joining."""
        ...

    def asked(self, conversation_id: str, participant_id: str) -> int:
        """How many questions of this seat are neither answered nor dismissed, nor removed. What
        this commit does to those that were there before is not counted yet."""
        ...

    def votes(self, message_id: str, participant_id: str) -> frozenset[str]:
        """The choices of this seat."""
        ...

    def tally(self, message_id: str) -> Mapping[str, int]:
        """How often each choice was given, of all seats: every vote is read."""
        ...

    def voter(self, message_id: str, voter: str) -> str | None:
        """The seat that has voted as this device or address."""
        ...

    def set_votes(
        self, message: Message, participant_id: str, voter: str | None, choices: frozenset[str]
    ) -> None:
        """These are the seat's choices now, and no others. `voter` where the vote is also a
        device's or an address's only one."""
        ...

    def add_question(self, message: Message) -> None:
        """Put a question or poll into the room's lists; after `add_message`."""
        ...

    def save_question(self, message: Message) -> None:
        """Keep the lists in step with the message's metadata; after `save_message`. A deleted one
        goes out of them, with its votes."""
        ...

    def questions(self, conversation_id: str) -> Sequence[Message]:
        """All questions and polls of the room, oldest first, as they are now."""
        ...

    def erase(self, conversation_id: str) -> None:
        """Delete the room with everything that was ever said or done in it: messages, questions,
        votes, seats, the events themselves. The conversation stays, empty, as the place of the
        events that are numbered after them."""
        ...
