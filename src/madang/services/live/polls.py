"""Polls: asked by a host, answered by everyone, counted while they watch, closed by a host.

A poll's options, counts and state stand in its message's metadata (`model.live.Poll`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import get_args

from madang.model.ids import uuid7
from madang.model.live import (
    Asked,
    Poll,
    PollKind,
    Room,
    poll_metadata,
    poll_of,
    voter_of,
    with_poll,
)
from madang.model.nouns import Message
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Invalid, NotFound
from madang.services.live import access, chat, content, counts, signs, words
from madang.services.live.questions import check_voter
from madang.services.sizes import SMALL, json_size

MIN_OPTIONS, MAX_OPTIONS = 2, 20
MAX_WORD = 30
"""Characters of one word of a cloud."""
WORDS_EACH = 3
"""Words that a seat may give, where the host says nothing else."""
MAX_WORDS = 500
"""Different words that a cloud counts while it is open: more than any screen shows, and every count
that is told carries them. Every answer is kept; where a new word finds no place, one that was given
once makes room. Once closed, the most given of all are counted."""


@dataclass(frozen=True, slots=True)
class OpenPoll:
    """A host asks all: `single` and `multiple` choice among `options`, or a word `cloud` without
    any. `most` is how many choices or words a seat may give. A repeated `client_id` gives the first
    poll again.

    Gives `Asked`, with the event `message.new`; the message's type is `poll`.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    question: str
    kind: PollKind
    options: tuple[str, ...] = ()
    most: int | None = None
    client_id: str | None = None

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.question) + json_size(self.options)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.participant_id, self.client_id))

    def apply(self, tx: Transaction) -> Asked:
        room, host = access.hosting(tx, self.conversation_id, self.participant_id)
        if self.client_id is not None:
            first = tx.sent(room.id, host.participant_id, self.client_id)
            if first is not None:
                return Asked(first, None)
        text = content.question(self.question)
        poll = self._poll()
        message = Message(
            uuid7(tx.now),
            self.org_id,
            room.id,
            tx.next_seq(room.id),
            host.participant_id,
            "user",
            "poll",
            text,
            poll_metadata(host.nickname, poll),
            None,
            (),
            self.client_id,
            tx.moment,
        )
        tx.add_message(message)
        tx.live.add_question(message)
        event = tx.append(room.id, "message.new", host.participant_id, message=message)
        return Asked(message, event)

    def _poll(self) -> Poll:
        if self.kind not in get_args(PollKind):
            raise Invalid("kind may not have this value")
        if self.kind == "cloud":
            if self.options:
                raise Invalid("A word cloud has no options")
            most = WORDS_EACH if self.most is None else self.most
            if not 1 <= most <= 10:
                raise Invalid("most must be 1 to 10")
            return Poll("cloud", "open", (), {}, 0, most)
        if not MIN_OPTIONS <= len(self.options) <= MAX_OPTIONS:
            raise Invalid(f"A poll has {MIN_OPTIONS} to {MAX_OPTIONS} options")
        options = tuple(content.option(option) for option in self.options)
        if len(set(map(signs.without_unseen, options))) < len(options):
            raise Invalid("Options must be different")
        if self.kind == "single" and self.most not in (None, 1):
            raise Invalid("most must be 1 of a single choice")
        most = 1 if self.kind == "single" else len(options) if self.most is None else self.most
        if not 1 <= most <= len(options):
            raise Invalid("most must be 1 to the number of options")
        counted = {str(number): 0 for number in range(len(options))}
        return Poll(self.kind, "open", options, counted, 0, most)


def _found(tx: Transaction, room: Room, message_id: str) -> tuple[Message, Poll]:
    message = tx.message(message_id)
    poll = None
    if message is not None and message.conversation_id == room.id:
        poll = poll_of(message)
    if message is None or poll is None:
        raise NotFound("Poll not found")
    return message, poll


@dataclass(frozen=True, slots=True)
class VotePoll:
    """What a seat answers: numbers of options, or words. It replaces what the seat answered before;
    the same again changes nothing, none at all takes the answer back.

    Gives `Asked`: the event `poll.changed` where it was time to tell the counts, else `tell_at`.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    message_id: str
    choices: tuple[int, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def counted(self) -> list[int] | list[str]:
        """What counts of the answer, if it is none that is refused: each once, in order."""
        return sorted(set(self.choices)) or sorted(set(map(_seen, self.words)))

    @property
    def size(self) -> int:
        return SMALL + json_size(self.choices) + json_size(self.words)

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.messages.add(self.message_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))
        needs.live.votes.add((self.conversation_id, self.message_id, self.participant_id))

    def apply(self, tx: Transaction) -> Asked:
        room, seat = access.writing(tx, self.conversation_id, self.participant_id)
        message, poll = _found(tx, room, self.message_id)
        if poll.state != "open":
            raise Conflict("Poll is closed")
        choices = self._choices(room, poll)
        before = tx.live.votes(message.id, seat.participant_id)
        if choices == before:
            return Asked(message, None)
        voter = voter_of(room, seat) if choices else None
        check_voter(tx, message.id, seat, voter)
        counted = dict(poll.counts)
        for choice in before - choices:
            if choice in counted:
                counted[choice] -= 1
                if poll.kind == "cloud" and not counted[choice]:
                    del counted[choice]
        for choice in sorted(choices - before):
            if choice in counted or _has_place(counted):
                counted[choice] = counted.get(choice, 0) + 1
        voters = poll.voters + bool(choices) - bool(before)
        changed = with_poll(message, replace(poll, counts=counted, voters=voters))
        tx.live.set_votes(message, seat.participant_id, voter, choices)
        tx.save_message(changed)
        tx.live.save_question(changed)
        event, tell_at = counts.voted(tx, room, changed)
        return Asked(changed, event, tell_at)

    def _choices(self, room: Room, poll: Poll) -> frozenset[str]:
        if poll.kind == "cloud":
            if self.choices:
                raise Invalid("A word cloud takes words")
            if len(self.words) > poll.most:
                raise Invalid(f"At most {poll.most} words")
            found = frozenset(_word(word) for word in self.words)
            for word in found:
                chat.check_words(room, word, "Word")
        else:
            if self.words:
                raise Invalid("This poll takes choices")
            if any(not 0 <= choice < len(poll.options) for choice in self.choices):
                raise Invalid("There is no such option")
            found = frozenset(str(choice) for choice in self.choices)
        if len(found) > poll.most:
            raise Invalid(f"At most {poll.most} choices")
        return found


def _has_place(counted: dict[str, int]) -> bool:
    """Whether a new word may be counted; one that was given once may have made room for it."""
    if len(counted) >= MAX_WORDS:
        once = next((word for word, times in counted.items() if times == 1), None)
        if once is None:
            return False
        del counted[once]
    return True


def _most_given(given: Mapping[str, int]) -> dict[str, int]:
    ranked = sorted(given.items(), key=lambda item: (-item[1], item[0]))
    return dict(ranked[:MAX_WORDS])


def _word(text: str) -> str:
    """A word of a cloud as it is counted: however it is cased or spaced, it is the same."""
    found = _seen(text)
    if not signs.shows(found):
        raise Invalid("A word cannot be empty")
    if len(found) > MAX_WORD:
        raise Invalid(f"A word is limited to {MAX_WORD} characters")
    return found


def _seen(text: str) -> str:
    return words.counted(signs.without_unseen(content.visible(text)))


@dataclass(frozen=True, slots=True)
class ClosePoll:
    """A host closes a poll: no more votes. The event `poll.closed` carries the final counts.

    Gives `Asked`; without an event where it is closed already.
    """

    org_id: str
    conversation_id: str
    participant_id: str
    message_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.messages.add(self.message_id)
        needs.live.rooms.add(self.conversation_id)
        needs.live.seats.add((self.conversation_id, self.participant_id))

    def apply(self, tx: Transaction) -> Asked:
        room, host = access.hosting(tx, self.conversation_id, self.participant_id)
        message, poll = _found(tx, room, self.message_id)
        if poll.state == "closed":
            return Asked(message, None)
        counted = poll.counts
        if poll.kind == "cloud":
            counted = _most_given(tx.live.tally(message.id))
        changed = with_poll(message, replace(poll, state="closed", counts=counted))
        tx.save_message(changed)
        tx.live.save_question(changed)
        tx.live.save_room(counts.told(room, message.id))
        event = tx.append(room.id, "poll.closed", host.participant_id, message=changed)
        return Asked(changed, event)
