"""What an agent is given of its session."""

from __future__ import annotations

import asyncio

from madang.agents.history import attachments_of, turns_of
from madang.agents.protocol import AgentRun, Asking
from madang.agents.running import Running
from madang.agents.tracing import span_id
from madang.model.nouns import Message
from madang.model.runs import agent_name
from madang.ports.store import Store


async def given(
    store: Store, running: Running, message: Message, history: int, asking: Asking
) -> AgentRun:
    """The run as its agent sees it: the question, and up to `history` messages that end with it.
    They are all that was said before it, and the answers to that, however late those came.

    Raises:
        Unavailable: the store is away.
    """
    session, question = await asyncio.gather(
        store.session(running.org_id, running.session_id, running.agent_id),
        _question(store, running, message),
    )
    said = await _said(store, running, message, question, history)
    choices = {} if session is None else session.session.choices or {}
    turns = turns_of(said, running.agent_id, choices)[-history:]
    return AgentRun(
        running.message_id,
        running.session_id,
        running.org_id,
        agent_name(running.agent_id),
        "" if question is None else question.sender_id,
        running.trace_id,
        turns,
        "" if question is None else question.content,
        {} if session is None else session.view.conversation.metadata,
        asking,
        span_id(),
        () if question is None else attachments_of(question),
    )


async def _said(
    store: Store, running: Running, message: Message, question: Message | None, history: int
) -> list[Message]:
    """What was said before the question, and it; what was said after it is left out, but for
    answers to what was said before."""
    where = (running.org_id, running.session_id, running.agent_id)
    until = message.seq if question is None else question.seq + 1
    page = await store.messages(*where, before_seq=until, limit=history)
    said: list[Message] = [] if page is None else list(page.items)
    if said and question is not None and message.seq > until:
        said += await store.late_answers(
            *where,
            oldest_seq=said[0].seq,
            question_seq=question.seq,
            before_seq=message.seq,
            limit=history,
        )
    return said


async def _question(store: Store, running: Running, message: Message) -> Message | None:
    if message.reply_to_id is None:
        return None
    return await store.message(running.org_id, message.reply_to_id, running.agent_id)
