"""The index of what was said, as a Protocol: kept behind the log by its own cursor, asked for
candidates.

Messages have numbers in the index, by the org and in the order of the log, and stand under terms:
what their words come to, and `sender_term`, `place_term` and `FILE_TERM`. A generation is one
index from the first message to the last; another is made beside it and takes its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from madang.model.nouns import Message

# No text is cut into terms like these.
FILE_TERM = "@has:file"


def sender_term(user_id: str) -> str:
    """What all messages of a sender stand under."""
    return f"@from:{user_id}"


def place_term(conversation_id: str) -> str:
    """What all messages of a conversation stand under."""
    return f"@in:{conversation_id}"


LONGEST_TEXT = 65_536
"""Characters of a message that an index reads: what is in memory for it is bounded."""

IndexState = Literal["serving", "building", "old"]
"""Asked, becoming the one that is asked, or only waiting to be deleted."""


@dataclass(frozen=True, slots=True)
class Index:
    """One generation of an org's index: it has followed the log up to `cursor`, and given out the
    numbers below `documents`."""

    org_id: str
    generation: int
    state: IndexState
    cursor: int
    documents: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Behind:
    """An org whose log has gone on: where its index stands (None: it has none) and the log."""

    org_id: str
    generation: int | None
    cursor: int
    head: int


@dataclass(frozen=True, slots=True)
class Said:
    """A message as an indexer reads it, as it is now: of its text the first `LONGEST_TEXT`
    characters."""

    id: str
    conversation_id: str
    sender_id: str
    content: str
    attachments: tuple[Mapping[str, Any], ...]
    created_at: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """What a part of the log tells an indexer: the messages that are to be found (again) as they
    are now, those that are not to be found any more, and the cursor this leads up to; and whether
    it is the log's end. Of the conversations `erased` no message is left that could be named."""

    said: Sequence[Said]
    gone: Sequence[str]
    cursor: int
    events: int
    is_last: bool
    erased: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A message and all it is to be found by."""

    message_id: str
    created_at: int
    terms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What candidates stand under: all of `terms`, one of each of `any_of`, and none of `without`;
    said at after <= created_at < before; number <= `newest`."""

    terms: Sequence[str]
    any_of: Sequence[Sequence[str]]
    without: Sequence[str]
    after: int | None
    before: int | None
    newest: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message that may answer, as it is now."""

    number: int
    message_id: str
    conversation_id: str
    sender_id: str
    content: str
    attachments: tuple[Mapping[str, Any], ...]
    created_at: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """Those that were found, newest first. All with numbers of `oldest` and above are here;
    nothing is below 0."""

    generation: int
    newest: int
    oldest: int
    items: Sequence[Candidate]


class SearchIndex(Protocol):
    """Every method is confined to one org; those that take `user_id` return only what that user
    may see now: messages that are not deleted, of conversations the user is in; inboxes never, live
    rooms to their hosts only."""

    @property
    def most_terms(self) -> int:
        """Different terms that one `add` should write at most, about."""
        ...

    async def candidates(
        self, org_id: str, user_id: str, wanted: Wanted, most: int
    ) -> Candidates | None:
        """The newest `most` or a few more, or fewer where a look has cost as much as it may; then
        `oldest` is above 0. None while there is no index."""
        ...

    async def found(
        self, org_id: str, user_id: str, message_ids: Sequence[str]
    ) -> dict[str, Message]:
        """Those of the messages that the user may see, whole."""
        ...

    async def may_search(self, org_id: str, user_id: str, conversation_ids: Sequence[str]) -> bool:
        """Whether the user may see all of these conversations in a search."""
        ...

    async def behind(self, most: int) -> Sequence[Behind]:
        """Orgs whose log has gone on past the index that serves them."""
        ...

    async def indexes(self, org_id: str) -> Sequence[Index]:
        """All generations of an org's index."""
        ...

    async def orgs(self) -> dict[str, int]:
        """The head of every org's log."""
        ...

    async def to_sweep(self, abandoned: int) -> Sequence[str]:
        """Orgs for which `sweep` has something to do."""
        ...

    async def log_page(self, org_id: str, after: int, limit: int) -> LogPage:
        """The next `limit` events, or fewer where their texts are long."""
        ...

    async def begin(self, org_id: str, state: IndexState) -> Index:
        """A new, empty generation. A second that would serve is not made: the first is returned;
        one that was being built is given up for it."""
        ...

    async def add(
        self,
        org_id: str,
        generation: int,
        after: int,
        cursor: int,
        entries: Sequence[Entry],
        gone: Sequence[str],
        erased: Sequence[str] = (),
    ) -> bool:
        """In one transaction: these messages are found by these terms and no others, those that
        are gone and all of the conversations `erased` by none, and the generation's cursor is
        `cursor`. Nothing happens, and it says False, where the cursor is not `after` any more or
        the generation is old."""
        ...

    async def serve(self, org_id: str, generation: int) -> bool:
        """Let a generation that was built take the place of the one that served. False where it
        was given up meanwhile."""
        ...

    async def sweep(self, org_id: str, abandoned: int, most: int) -> bool:
        """Delete up to `most` blocks of one generation that is old, or was being built and has not
        been touched since `abandoned` (a time). True while there may be more."""
        ...
