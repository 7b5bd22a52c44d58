"""Places in lists: the `next` of a page, and what `before`, `after` and `around` may be."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from madang.model.identity import Identity
from madang.model.ids import is_user_id, parse_uuid
from madang.model.times import parse_iso
from madang.ports.store import Store
from madang.protocol.errors import Invalid, NotAParticipant, NotFound

_LARGEST_SEQ = 10**9
"""A larger number is a time."""
_TOO_MANY_DIGITS = 19
"""A number of fewer fits the database's integers."""


def write(updated_at: int, conversation_id: str) -> str:
    """The `next` of a page of conversations that ends with this one."""
    return urlsafe_b64encode(f"{updated_at}:{conversation_id}".encode()).decode().rstrip("=")


def read(page: str | None) -> tuple[int, str] | None:
    """(updated_at, id) of the last one of the page before. Raises `Invalid`."""
    if page is None:
        return None
    try:
        text = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
        updated_at, _, conversation_id = text.partition(":")
        if parse_uuid(conversation_id) is None or len(updated_at) >= _TOO_MANY_DIGITS:
            raise ValueError
        return int(updated_at), conversation_id
    except ValueError:
        raise Invalid("page: not one that was given out") from None


def write_person(joined_at: int, user_id: str) -> str:
    """The `next` of a page of participants that ends with this one."""
    return urlsafe_b64encode(f"{joined_at}:{user_id}".encode()).decode().rstrip("=")


def read_person(page: str | None) -> tuple[int, str] | None:
    """(joined_at, user_id) of the last one of the page before. Raises `Invalid`."""
    if page is None:
        return None
    try:
        text = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
        joined_at, _, user_id = text.partition(":")
        if not is_user_id(user_id) or len(joined_at) >= _TOO_MANY_DIGITS:
            raise ValueError
        return int(joined_at), user_id
    except ValueError:
        raise Invalid("page: not one that was given out") from None


@dataclass(frozen=True, slots=True)
class Seqs:
    """Where a page of messages begins, as seqs; one of them at most. `onward` is away from the
    oldest."""

    before: int | None
    after: int | None
    around: int | None
    onward: bool

    def following(self, first_seq: int, last_seq: int) -> str:
        """The `next` of a page with these ends."""
        return f"after-{last_seq}" if self.onward else f"before-{first_seq}"


@dataclass(frozen=True, slots=True)
class Places:
    """Places in one conversation, as `caller` names them.

    What is found here tells a stranger nothing: they get `NotAParticipant` for what exists and
    for what does not, here or with the page itself.
    """

    store: Store
    caller: Identity
    conversation_id: str

    async def seqs(
        self, before: str | None, after: str | None, around: str | None, page: str | None
    ) -> Seqs:
        """Raises `Invalid`, `NotFound` or `NotAParticipant`."""
        if sum(place is not None for place in (before, after, around, page)) > 1:
            raise Invalid("Only one of before, after, around and page can be given")
        if page is not None:
            direction, _, at = page.partition("-")
            if direction not in ("before", "after") or not at.isascii() or not at.isdecimal():
                raise Invalid("page: not one that was given out")
            before, after = (at, None) if direction == "before" else (None, at)
        return Seqs(
            await self._seq("before", before, beyond=1),
            await self._seq("after", after),
            await self._seq("around", around),
            onward=after is not None,
        )

    async def _seq(self, name: str, place: str | None, *, beyond: int = 0) -> int | None:
        """`beyond` is added where the place is a time, so that `before` includes what was said
        at the last moment before it."""
        if place is None:
            return None
        if place.isascii() and place.isdecimal() and len(place) < _TOO_MANY_DIGITS:
            number = int(place)
            return number if number <= _LARGEST_SEQ else await self._at(number) + beyond
        message_id = parse_uuid(place)
        if message_id is not None:
            return await self._of(message_id)
        time = parse_iso(place)
        if time is None:
            raise Invalid(f"{name}: must be a seq, a message id or a time")
        return await self._at(time) + beyond

    async def _at(self, time: int) -> int:
        found = await self.store.seq_of(
            self.caller.org, self.conversation_id, message_id=None, time=time
        )
        return found or 0

    async def _of(self, message_id: str) -> int:
        org_id, conversation_id = self.caller.org, self.conversation_id
        found = await self.store.seq_of(org_id, conversation_id, message_id=message_id, time=None)
        if found is not None:
            return found
        if await self.store.participant(org_id, conversation_id, self.caller.user_id) is None:
            raise NotAParticipant
        raise NotFound("Message not found")
