"""Whose answer a question waits for where the session's agent is outside: it begins to answer when
it likes, from whichever node it is connected to, so whoever watches waits for it to begin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from madang.model.nouns import Message
from madang.model.runs import Run, is_own_agent
from madang.ports.store import Store
from madang.protocol.errors import NotFound
from madang.services.asking import asked

LOOKED_THROUGH = 100
"""Messages behind a question that are looked through for an answer that does not say what it
replies to."""
LOOKED_THROUGH_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Awaited:
    """The answer of this agent to this question, which has not begun."""

    question_id: str
    agent_id: str

    def is_begun_by(self, start: Mapping[str, Any]) -> bool:
        """Whether this `stream_start` is its beginning: of an answer to the question, or of the
        agent's first that does not say what it replies to."""
        if is_own_agent(start["sender_id"]):
            return False
        if start["reply_to_id"] is None:
            return bool(start["sender_id"] == self.agent_id)
        return bool(start["reply_to_id"] == self.question_id)

    def is_off_after(self, told: Mapping[str, Any]) -> bool:
        """Whether nobody is going to answer after this: a person has taken over, the agent was sent
        out, the session is archived, the question deleted."""
        match told.get("type"), told.get("event"):
            case "message_deleted", _:
                return bool(told["message_id"] == self.question_id)
            case "handover", _:
                return told["to"] is not None
            case "system", "participant_left":
                return bool(told["user_id"] == self.agent_id)
            case "system", "session_updated":
                return bool(told["status"] != "active")
        return False


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to a question that have begun, oldest first, and the one that has not."""

    runs: tuple[Run, ...]
    awaited: Awaited | None


async def answers_to(store: Store, question: Message, user_id: str) -> Answers:
    """As it is on disk now.

    Raises:
        NotFound: the user is not in its session.
        Unavailable: the store is away.
    """
    org_id, room = question.org_id, question.conversation_id
    runs = tuple(await store.runs_answering(org_id, room, question.id))
    seen = await store.session(org_id, room, user_id)
    if seen is None:
        raise NotFound("Session not found")
    agent_id = seen.session.agent_id
    if is_own_agent(agent_id) or not all(is_own_agent(run.agent_id) for run in runs):
        return Answers(runs, None)
    first = await _first_behind(store, question, user_id, agent_id)
    if first is not None:
        return Answers((*runs, first), None)
    people = {person.user_id for person in seen.view.participants}
    whom = asked(seen.session, question.content, people.__contains__)
    may_answer = (
        agent_id in whom
        and agent_id in people
        and agent_id != question.sender_id
        and question.sender_type == "user"
        and question.deleted_at is None
        and seen.view.conversation.status == "active"
    )
    return Answers(runs, Awaited(question.id, agent_id) if may_answer else None)


async def _first_behind(store: Store, question: Message, user_id: str, agent_id: str) -> Run | None:
    """The agent's first answer behind the question that does not say what it replies to."""
    behind = await store.messages(
        question.org_id,
        question.conversation_id,
        user_id,
        after_seq=question.seq,
        limit=LOOKED_THROUGH,
        most_bytes=LOOKED_THROUGH_BYTES,
    )
    for message in () if behind is None else behind.items:
        by_it = message.sender_id == agent_id and message.message_type == "stream"
        if by_it and message.reply_to_id is None:
            return await store.run(question.org_id, message.id, user_id)
    return None
