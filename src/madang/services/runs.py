"""What befalls a run: it is begun outside, checked on, left, taken up, ended.

A run is ended once, by whichever node is first: whoever comes later changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Any

from madang.model.ids import uuid7
from madang.model.nouns import Event, Message
from madang.model.runs import Run, RunEnd, is_own_agent
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, MadangError, NotAParticipant, NotFound
from madang.services import access, asking
from madang.services.asking import USUAL_LIMITS, RunLimits
from madang.services.sizes import SMALL, json_size

LEFT = 0
"""When a run was checked last that was started and left to whoever finds it: never. Its agent was
not asked yet, so whoever takes it up asks it for the first time."""


@dataclass(frozen=True, slots=True)
class Sofar:
    """How far a run is: its text, where its chunks end, what its message's metadata say besides
    (its steps), and the tokens so far."""

    message_id: str
    text: str
    ends: tuple[int, ...]
    metadata: Mapping[str, Any]
    tokens_used: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Several runs of a node, that they go on and how far they are. No event tells of it.

    Gives the ids of those that are over, or whose message was deleted.
    """

    org_id: str
    runs: Sequence[Sofar]

    @property
    def size(self) -> int:
        return SMALL + sum(getsizeof(one.text) for one in self.runs)

    def needs(self, needs: Needs) -> None:
        for one in self.runs:
            needs.messages.add(one.message_id)
            needs.runs.add(one.message_id)

    def apply(self, tx: Transaction) -> set[str]:
        over = set()
        for one in self.runs:
            run, message = tx.run(one.message_id), tx.message(one.message_id)
            if run is None or run.over or message is None or message.deleted_at is not None:
                over.add(one.message_id)
                continue
            if message.content != one.text or one.metadata:
                metadata = {**message.metadata, **one.metadata}
                tx.save_message(replace(message, content=one.text, metadata=metadata))
            checked = replace(run, checked_at=tx.now, ends=one.ends, tokens_used=one.tokens_used)
            tx.save_run(checked)
        return over


@dataclass(frozen=True, slots=True)
class Ended:
    """The run as it is now, its message (None: it had not started), and its end's event: None
    where it had ended before."""

    run: Run
    message: Message | None
    event: Event | None


@dataclass(frozen=True, slots=True)
class EndRun:
    """The end of a run. What waited for it starts.

    `text` and `tokens_used` None keep what was checked last. Whoever asks for it was found to be
    in the session.
    """

    org_id: str
    message_id: str
    status: RunEnd
    text: str | None = None
    ends: tuple[int, ...] | None = None
    tokens_used: int | None = None
    latency_ms: int | None = None
    metadata: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.text or "") + json_size(self.metadata)

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> Ended:
        run = tx.run(self.message_id)
        if run is None:
            raise NotFound("Message not found")
        message = tx.message(self.message_id)
        if run.over:
            return Ended(run, message, None)
        if message is None:
            ended, event = asking.end_waiting(tx, run, self.status)
            return Ended(ended, None, event)
        latency = self.latency_ms
        if latency is None:
            latency = max(0, tx.now - run.created_at) // 1000
        tokens = self.tokens_used if self.tokens_used is not None else run.tokens_used or 0
        ends = run.ends if self.ends is None else self.ends
        if (
            self.ends is None
            and message is not None
            and len(message.content) > max(ends, default=0)
        ):
            # What was said and not told before it ended here is told with the end, as a chunk.
            ends = (*ends, len(message.content))
        ended = replace(
            run,
            status=self.status,
            ended_at=tx.now,
            checked_at=tx.now,
            tokens_used=tokens,
            latency_ms=latency,
            ends=ends,
        )
        tx.save_run(ended)
        if message.deleted_at is None:
            told = {"status": self.status, "tokens_used": tokens, "latency_ms": latency}
            message = replace(
                message,
                content=message.content if self.text is None else self.text,
                metadata={**message.metadata, **(self.metadata or {}), **told},
            )
            tx.save_message(message)
        event = asking.tell_end(tx, ended, message)
        asking.start_next(tx, run.conversation_id, run.agent_id)
        return Ended(ended, message, event)


@dataclass(frozen=True, slots=True)
class EndAbandoned:
    """The end of a run that nobody goes on with, as `interrupted`: so long as it took until the
    last sign of it, with what was checked last, or with the text of it that people were told, where
    that is more.

    Nothing happens where somebody went on with it since `unless_checked_since` (microseconds), or,
    with an agent outside, which may come back, since `unless_outside_since`.
    """

    org_id: str
    message_id: str
    unless_checked_since: int
    unless_outside_since: int
    told: str = ""
    told_ends: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.told)

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> Ended:
        run, message = tx.run(self.message_id), tx.message(self.message_id)
        if run is None:
            raise NotFound("Message not found")
        own = is_own_agent(run.agent_id)
        since = self.unless_checked_since if own else self.unless_outside_since
        if run.over or run.checked_at >= since:
            return Ended(run, message, None)
        told, ends = (self.told, self.told_ends) if self._is_more(message) else (None, None)
        latency = max(0, run.checked_at - run.created_at) // 1000
        end = EndRun(self.org_id, self.message_id, "interrupted", told, ends, latency_ms=latency)
        return end.apply(tx)

    def _is_more(self, message: Message | None) -> bool:
        return message is not None and len(self.told) > len(message.content)


@dataclass(frozen=True, slots=True)
class LeaveRun:
    """A run that this node has started and does not run, for it is going away: another takes it
    up, or this one when it is back. No event tells of it."""

    org_id: str
    message_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> None:
        run = tx.run(self.message_id)
        if run is not None and run.status == "streaming":
            tx.save_run(replace(run, checked_at=LEFT))


@dataclass(frozen=True, slots=True)
class TakeUp:
    """Take up a run that was left: its message, for the one node that does; None where it was not
    left, or is over."""

    org_id: str
    message_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> Message | None:
        run, message = tx.run(self.message_id), tx.message(self.message_id)
        if run is None or run.status != "streaming" or run.checked_at != LEFT:
            return None
        if message is None or message.deleted_at is not None:
            return None
        tx.save_run(replace(run, checked_at=tx.now))
        return message


@dataclass(frozen=True, slots=True)
class StartOutside:
    """An agent that is not the server's begins an answer. A repeat, by `client_id` or by
    `message_id`, gives the first.

    It counts for the person whose message it answers; what answers nobody for the org alone.
    """

    org_id: str
    conversation_id: str
    agent_id: str
    reply_to_id: str | None = None
    client_id: str | None = None
    message_id: str | None = None
    """What the agent calls it; nothing else may be called so."""
    run_limits: RunLimits = USUAL_LIMITS
    metadata: Mapping[str, Any] | None = None
    """Of the message, beside what the server says there."""

    @property
    def size(self) -> int:
        return SMALL + json_size(self.metadata)

    @property
    def taken(self) -> MadangError | None:
        """What it is refused with where its id is another org's."""
        return None if self.message_id is None else _taken()

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(self.conversation_id)
        needs.participants.add((self.conversation_id, self.agent_id))
        if self.reply_to_id is not None:
            needs.messages.add(self.reply_to_id)
        if self.message_id is not None:
            needs.messages.add(self.message_id)
            needs.runs.add(self.message_id)
        if self.client_id is not None:
            needs.sends.add((self.conversation_id, self.agent_id, self.client_id))

    def apply(self, tx: Transaction) -> tuple[Message, Event | None]:
        conversation, _ = access.participant_in(tx, self.conversation_id, self.agent_id)
        session = tx.session(self.conversation_id)
        if session is None:
            raise NotAParticipant
        if self.client_id is not None:
            first = tx.sent(self.conversation_id, self.agent_id, self.client_id)
            if first is not None:
                return first, None
        if self.message_id is not None and (before := self._begun(tx)) is not None:
            return before, None
        access.check_open(conversation)
        asked_by: str | None = None
        if self.reply_to_id is not None:
            parent = tx.message(self.reply_to_id)
            if parent is None or parent.conversation_id != self.conversation_id:
                raise NotFound("Message not found")
            asked_by = parent.sender_id if parent.sender_type == "user" else None
        if self.message_id is not None and (tx.message(self.message_id) or tx.run(self.message_id)):
            raise _taken()
        self.run_limits.check(tx, asked_by, 1)
        run = Run(
            self.message_id or uuid7(tx.now),
            self.org_id,
            self.conversation_id,
            self.agent_id,
            asked_by or self.agent_id,
            self.reply_to_id,
            "streaming",
            tx.now,
            tx.now,
        )
        tx.add_run(run)
        event = asking.start(tx, session, run, client_id=self.client_id, metadata=self.metadata)
        assert event.message is not None
        return event.message, event

    def _begun(self, tx: Transaction) -> Message | None:
        """The answer of this id, where it is one of this agent's in this session."""
        assert self.message_id is not None
        run, message = tx.run(self.message_id), tx.message(self.message_id)
        if run is None or message is None or run.agent_id != self.agent_id:
            return None
        return message if run.conversation_id == self.conversation_id else None


def _taken() -> Conflict:
    return Conflict("There is a message of this id")
