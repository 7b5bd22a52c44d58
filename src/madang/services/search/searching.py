"""Finding a page: candidates out of the index, judged as they are now, the best of the newest.

What is ranked is a window: the newest messages that answer, so that a page costs the same whether
a word stands in ten messages or in ten million. The pages after it show the rest of the window, and
then the windows below it: whoever goes on to the end has seen every answer once.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field
from typing import NamedTuple

from madang.clock import Clock
from madang.model.identity import Identity
from madang.model.nouns import Message
from madang.ports.search import (
    FILE_TERM,
    Candidate,
    SearchIndex,
    Wanted,
    place_term,
    sender_term,
)
from madang.protocol.errors import Invalid, NotAParticipant, Unavailable
from madang.services.limits import RateLimit
from madang.services.search import query as language
from madang.services.search.matching import Highlight, Text, highlights, judging, rank
from madang.services.search.query import Query

WINDOW = 200
"""Answers that are ranked together."""
MOST_TERMS = 32
"""Terms the index is asked for; the others of a long query only judge the candidates."""
MOST_LOOKS = 10
"""Times the index is asked for one page."""
MORE_EACH_LOOK, MOST_EACH_LOOK = 2, 8
"""So many times as many candidates as before are asked for where too few of them answered: at
least, and at most, where it takes as many by what came of those before."""
ENOUGH_JUDGED = 600
"""Candidates after which a window that fills the page is large enough."""
AGAIN_SECONDS = 5.0
"""How long a window may be looked through again. The first page of it took `Search.seconds` for
that: only a cursor that somebody made takes much more."""
SLICE = 8192
"""Characters judged in one turn of the loop: one or two milliseconds."""
EACH = 256
"""And so many more for each message, however short."""


class Place(NamedTuple):
    """Where a page ends: in which window, and after which rank and number (None: at its end)."""

    generation: int
    newest: int
    oldest: int
    rank: int | None
    number: int


@dataclass(frozen=True, slots=True)
class Result:
    """An answer: the message as it is now, how well it answers, and where."""

    message: Message
    relevance: float
    highlights: Sequence[Highlight]


@dataclass(frozen=True, slots=True)
class ResultPage:
    """A page of answers. `next` is where it goes on, None where there is nothing more; a page may
    be empty and go on, where much had to be looked through."""

    results: Sequence[Result]
    next: str | None


class _Answer(NamedTuple):
    rank: int
    number: int
    message_id: str


@dataclass(frozen=True, slots=True)
class _Window:
    """The newest answers up to a number, best first, and down to where they are all."""

    generation: int
    newest: int
    oldest: int
    answers: Sequence[_Answer]


@dataclass(frozen=True, slots=True)
class Search:
    """What surfaces ask. `seconds` is how long a page may look before it ends where it is. All
    searches of a node take turns, a slice each, so that one turn of the loop holds one of them."""

    index: SearchIndex
    clock: Clock
    limit: RateLimit
    seconds: float = 1.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def find(
        self,
        caller: Identity,
        text: str,
        *,
        conversation_id: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> ResultPage:
        """A page of what the caller may see and the text asks for, best first.

        Raises:
            Invalid, InvalidId: the query or the cursor is none.
            NotAParticipant: a conversation it names does not exist, or the caller may not see it.
            RateLimited: too many searches.
            Unavailable: the store is away.
        """
        query = language.read(text, conversation_id)
        place = _read_place(cursor)
        self.limit.check(caller.org, caller.user_id, self.clock.monotonic())
        if query.conversations and not await self.index.may_search(
            caller.org, caller.user_id, sorted(query.conversations)
        ):
            raise NotAParticipant
        window = await self._window(caller, query, place, limit)
        if window is None:
            return ResultPage((), None)
        left = window.answers
        if place is not None and place.rank is not None:
            left = [each for each in left if (each.rank, each.number) < (place.rank, place.number)]
        results, read = await self._results(caller, query, left[:limit])
        following = None
        if read < len(left):
            last = left[read - 1]
            following = Place(
                window.generation, window.newest, window.oldest, last.rank, last.number
            )
        elif window.oldest > 0:
            following = Place(window.generation, window.oldest - 1, 0, None, 0)
        return ResultPage(results, None if following is None else _write_place(following))

    async def _window(
        self, caller: Identity, query: Query, place: Place | None, page: int
    ) -> _Window | None:
        most = max(WINDOW, page)
        newest = None if place is None else place.newest
        # A window that was shown in part is looked through again whole, down to where it was.
        again = place is not None and place.rank is not None
        seconds = max(AGAIN_SECONDS, self.seconds) if again else self.seconds
        give_up_at = self.clock.monotonic() + seconds
        end = place.oldest if place is not None and again else 0
        answers: list[_Answer] = []
        first: int | None = None
        looks = judged = 0
        wanted = most
        while True:
            found = await self.index.candidates(
                caller.org, caller.user_id, _wanted(query, newest), wanted
            )
            if found is None:
                return None
            if place is not None and place.generation != found.generation:
                raise Invalid("cursor: the index was made anew, search again")
            if first is None:
                first = found.newest
            items = [each for each in found.items if each.number >= end]
            some, count = await self._judged(query, items, give_up_at)
            answers += some
            looks += 1
            judged += count
            oldest = found.oldest
            if count < len(items):
                if again:
                    raise Unavailable("The search takes too long now")
                oldest = items[count - 1].number
                break
            if oldest <= end or len(answers) >= most or looks == MOST_LOOKS:
                break
            will_do = judged >= ENOUGH_JUDGED and len(answers) >= page
            if not again and (will_do or self.clock.monotonic() >= give_up_at):
                break
            newest = oldest - 1
            missing = min(most, max(page - len(answers), 0)) * judged // max(1, len(answers))
            wanted = min(
                max(missing, MORE_EACH_LOOK * wanted, ENOUGH_JUDGED - judged),
                MOST_EACH_LOOK * wanted,
            )
        oldest = max(oldest, end)
        if len(answers) > most:
            # They came newest first.
            del answers[most:]
            oldest = answers[-1].number
        answers.sort(reverse=True)
        return _Window(found.generation, first, oldest, answers)

    async def _judged(
        self, query: Query, candidates: Sequence[Candidate], give_up_at: float
    ) -> tuple[list[_Answer], int]:
        """Those of the candidates that answer, and how many were judged: one at least."""
        scores: list[float | None] = []
        await self._take(_judging(query, candidates, scores), scores, len(candidates), give_up_at)
        answers = [
            _Answer(rank(score, each.created_at), each.number, each.message_id)
            for each, score in zip(candidates, scores, strict=False)
            if score is not None
        ]
        return answers, len(scores)

    async def _results(
        self, caller: Identity, query: Query, answers: Sequence[_Answer]
    ) -> tuple[list[Result], int]:
        """The answers whole, as they are now, and how many were read for it, one at least: what
        was deleted or is no longer so in the meantime is left out."""
        if not answers:
            return [], 0
        give_up_at = self.clock.monotonic() + self.seconds
        found = await self.index.found(
            caller.org, caller.user_id, [each.message_id for each in answers]
        )
        messages = [found.get(each.message_id) for each in answers]
        read: list[Result | None] = []
        await self._take(_showing(query, messages, read), read, len(messages), give_up_at)
        return [each for each in read if each is not None], len(read)

    async def _take(self, steps: Iterator[None], done: Sized, most: int, give_up_at: float) -> None:
        """Take the steps, one in each turn of the loop, until as much is done or the time is over
        and something is done."""
        while len(done) < most:
            async with self.turn:
                if len(done) and self.clock.monotonic() >= give_up_at:
                    break
                next(steps, None)
                await self.clock.sleep(0)


def _judging(
    query: Query, candidates: Sequence[Candidate], scores: list[float | None]
) -> Iterator[None]:
    """Note how well each candidate answers, as many in a step as make a slice."""
    done = 0
    for each in candidates:
        text = _text_of(each)
        scores.append((yield from judging(query, text)))
        done += EACH + len(text.content) + sum(map(len, text.names))
        if done >= SLICE:
            done = 0
            yield


def _showing(
    query: Query, messages: Sequence[Message | None], results: list[Result | None]
) -> Iterator[None]:
    """Note what is shown of each message that is there and answers, one in a step."""
    for message in messages:
        if message is None:
            results.append(None)
            continue
        text = _text_of(message)
        score = yield from judging(query, text)
        shown = None if score is None else Result(message, score, highlights(query, text))
        results.append(shown)
        yield


def _text_of(said: Candidate | Message) -> Text:
    return Text(
        said.sender_id, said.conversation_id, said.created_at, said.content, said.attachments
    )


def _wanted(query: Query, newest: int | None) -> Wanted:
    # Each once, in the order they are asked in: the first ones, where they are many.
    terms = list(dict.fromkeys(term for each in query.phrases for term, _ in each))[:MOST_TERMS]
    if query.with_file:
        terms.append(FILE_TERM)
    any_of = []
    for group, term_of in ((query.senders, sender_term), (query.conversations, place_term)):
        if len(group) == 1:
            terms += map(term_of, group)
        elif group:
            any_of.append(sorted(map(term_of, group)))
    # A phrase of several words is not excluded by its words.
    without = [each[0][0] for each in query.without if len(each) == 1]
    return Wanted(terms, any_of, without, query.after, query.before, newest)


def _write_place(place: Place) -> str:
    parts = ("" if part is None else str(part) for part in place)
    return urlsafe_b64encode(":".join(parts).encode()).decode().rstrip("=")


_PARTS = 5
_TOO_MANY_DIGITS = 19
"""A number of fewer fits the database's integers."""


def _read_place(cursor: str | None) -> Place | None:
    """Raises `Invalid`."""
    if cursor is None:
        return None
    try:
        parts = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii").split(":")
        if len(parts) != _PARTS or any(len(part) >= _TOO_MANY_DIGITS for part in parts):
            raise ValueError
        generation, newest, oldest, last, number = parts
        place = Place(
            int(generation), int(newest), int(oldest), int(last) if last else None, int(number)
        )
        if min(place.newest, place.oldest) < 0:
            raise ValueError
        return place
    except ValueError:
        raise Invalid("cursor: not one that was given out") from None
