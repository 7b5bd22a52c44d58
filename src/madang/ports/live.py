"""Reading live rooms. What a commit reads and changes of them is in `ports.room_rows`.

The tables hold what a message does not: the room, its seats, who voted. A question's or poll's text
and counts are its message's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from madang.model.live import Counts, PollState, QuestionState, Room, Seat
from madang.model.nouns import Message
from madang.ports.paging import Page


class LiveStore(Protocol):
    """Reads. Every method but `room_by_code`, `taken_codes` and the two `due_…` is confined to one
    org."""

    async def taken_codes(self, codes: Sequence[str]) -> set[str]:
        """Those of the codes that are a room's."""
        ...

    async def room_by_code(self, code: str) -> Room | None:
        """The room of whatever org, as it is now; ended ones too, erased ones never."""
        ...

    async def room(self, org_id: str, conversation_id: str) -> Room | None: ...

    async def seat(self, org_id: str, conversation_id: str, participant_id: str) -> Seat | None:
        """The seat, gone or not."""
        ...

    async def seat_by_key(self, org_id: str, conversation_id: str, key: str) -> Seat | None:
        """The seat with this key, gone or not."""
        ...

    async def seats(
        self, org_id: str, conversation_id: str, *, after: tuple[int, str] | None, limit: int
    ) -> Page:
        """`Seat`s that are not gone, in order of joining, after (joined_at, participant_id)."""
        ...

    async def online_seats(self, org_id: str, conversation_id: str) -> list[str]:
        """The ids of seats that the log calls online, in order of joining."""
        ...

    async def room_counts(self, org_id: str, conversation_id: str) -> Counts: ...

    async def chat(
        self, org_id: str, conversation_id: str, *, before_seq: int | None, limit: int
    ) -> Page:
        """Chat `Message`s, newest last, without removed ones."""
        ...

    async def questions(
        self,
        org_id: str,
        conversation_id: str,
        *,
        seen_by: str | None,
        sort: Literal["top", "new"] = "top",
        state: QuestionState | None = None,
        after: tuple[int, int] | None = None,
        limit: int = 50,
    ) -> Page:
        """Question `Message`s without removed ones: most votes first and then the oldest, or the
        newest first. `seen_by` is a participant, who sees what is visible and their own; None is a
        host. `after` is the (votes, seq) of the last one of the page before."""
        ...

    async def question(
        self, org_id: str, conversation_id: str, message_id: str, *, seen_by: str | None
    ) -> Message | None: ...

    async def polls(
        self, org_id: str, conversation_id: str, *, state: PollState | None = None, limit: int = 50
    ) -> Sequence[Message]:
        """Polls without removed ones, the newest first."""
        ...

    async def votes_of(
        self, org_id: str, participant_id: str, message_ids: Sequence[str]
    ) -> dict[str, list[str]]:
        """What the seat has voted on each of these messages: choices of polls, `""` for a question.
        Messages that it has not voted on are not in it."""
        ...

    async def export(
        self, org_id: str, conversation_id: str, *, after_seq: int, limit: int
    ) -> Page:
        """All messages (chat, questions, polls), oldest first, without removed ones."""
        ...

    async def due_counts(self, until: int, limit: int = 1000) -> Sequence[tuple[str, str]]:
        """(org_id, conversation_id) of the rooms, of every org, whose counts wait to be told since
        before `until`."""
        ...

    async def due_for_erasure(self, now: int, limit: int = 100) -> Sequence[tuple[str, str]]:
        """(org_id, conversation_id) of the rooms, of every org, to be erased by now."""
        ...
