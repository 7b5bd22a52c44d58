"""What an agent is given of its session."""

from __future__ import annotations

import asyncio

from madang.agents.history import turns_of
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

    Raises:
        Unavailable: the store is away.
    """
    session, question = await asyncio.gather(
        store.session(running.org_id, running.session_id, running.agent_id),
        _question(store, running, message),
    )
    until = message.seq if question is None else question.seq + 1
    page = await store.messages(
        running.org_id,
        running.session_id,
        running.agent_id,
        before_seq=until,
        limit=history,
    )
    choices = {} if session is None else session.session.choices or {}
    turns = turns_of([] if page is None else page.items, running.agent_id, choices)
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
    )


async def _question(store: Store, running: Running, message: Message) -> Message | None:
    if message.reply_to_id is None:
        return None
    return await store.message(running.org_id, message.reply_to_id, running.agent_id)
