"""Whom a message asks: in a session, a person's message starts the run that answers it, in the
same commit. So nobody's question stays without its run, and no repeat of it starts another.

`plan` looks and refuses, `begin` changes: between the two the message itself is written. Stands
below messages, for every surface's messages ask alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from madang.model.ids import uuid7
from madang.model.nouns import Conversation, Event, Message, SenderType
from madang.model.runs import Run, RunEnd, Session, agent_name, is_own_agent, own_agent
from madang.ports.store import Transaction
from madang.protocol.errors import RateLimited
from madang.services.titles import give_title

MOST_MENTIONS = 10
_MENTION = re.compile(r"(?<![\w@])@(\w[\w.:-]{0,98}\w|\w)")
SAID_BY_SERVER = frozenset(
    {
        "status",
        "agent_id",
        "trace_id",
        "alternative_of",
        "steps",
        "first_token_ms",
        "tokens_used",
        "latency_ms",
        "error",
        "approvals",
    }
)
"""What the metadata of an answer's message say of it: true for whoever reads them."""
RETRY_RUNS = 1000
"""Milliseconds after which to ask again where too many runs are under way."""


@dataclass(frozen=True, slots=True)
class RunLimits:
    """How many runs may be under way at once, those that wait included; None is any number."""

    of_user: int | None = 10
    of_org: int | None = 1000

    def check(self, tx: Transaction, asked_by: str | None, more: int) -> None:
        """Raises `RateLimited` where `more` runs of this user (None: of nobody in particular)
        would be too many."""
        of_user, of_org = tx.run_counts(asked_by or "")
        if asked_by is not None and self.of_user is not None and of_user + more > self.of_user:
            raise RateLimited("Too many runs at once", retry_after=RETRY_RUNS)
        if self.of_org is not None and of_org + more > self.of_org:
            raise RateLimited("Too many runs at once", retry_after=RETRY_RUNS)


USUAL_LIMITS = RunLimits()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a message is going to set off: runs of these agents, after others were stopped.
    `outside`: the session's agent is asked, and answers by itself."""

    session: Session
    agents: tuple[str, ...]
    stop: tuple[str, ...] = ()
    outside: bool = False

    @property
    def data(self) -> Mapping[str, Any]:
        """What the message's event says of it: whoever commits it stops those runs."""
        return {"stop": list(self.stop)} if self.stop else {}


def plan(
    tx: Transaction,
    conversation: Conversation,
    sender_id: str,
    sender_type: SenderType,
    content: str,
    limits: RunLimits,
) -> Plan | None:
    """What a message into this session sets off; None where the conversation is no session.

    Raises:
        RateLimited: too many runs are under way.
    """
    session = tx.session(conversation.id)
    if session is None:
        return None
    if sender_type != "user":
        return Plan(session, ())
    room = conversation.id
    whom = asked(session, content, lambda user_id: tx.participant(room, user_id) is not None)
    agents = tuple(filter(is_own_agent, whom))
    if agents:
        limits.check(tx, sender_id, len(agents))
    stop: tuple[str, ...] = ()
    if session.when_busy == "cancel":
        under_way = tx.runs_under_way(conversation.id)
        stop = tuple(run.message_id for run in under_way if run.agent_id in agents)
    return Plan(session, agents, stop, len(whom) > len(agents))


def asked(session: Session, content: str, is_in: Callable[[str], bool]) -> tuple[str, ...]:
    """Whom a person's message asks: those it mentions. Where it mentions nobody who is here, the
    session's own agent, unless a person has taken over from it or it answers only when it is
    mentioned. Of agents outside only the session's own is known for one; whether it is still in the
    session is for those to see who wait for it.

    Args:
        is_in: whether a user is in the session.
    """
    agents: dict[str, None] = {}
    somebody = False
    for name in dict.fromkeys(_MENTION.findall(content)[:MOST_MENTIONS]):
        if is_in(own_agent(name)):
            agents[own_agent(name)] = None
        elif is_in(name):
            somebody = True
            if name == session.agent_id:
                agents[name] = None
    if agents or somebody or session.handler is not None or session.answers == "mentioned":
        return tuple(agents)
    agent = session.agent_id
    return (agent,) if not is_own_agent(agent) or is_in(agent) else ()


def begin(
    tx: Transaction, conversation: Conversation, planned: Plan, message: Message
) -> tuple[str, ...]:
    """Start what was planned, after the message: give the session its title if it has none, and
    start the runs, or have them wait. Their message ids."""
    if conversation.title is None and message.sender_type == "user":
        give_title(tx, conversation, message)
    stop_waiting(tx, conversation.id, planned.stop)
    return tuple(
        ask_agent(tx, planned.session, agent_id, message.sender_id, message.id).message_id
        for agent_id in planned.agents
    )


def stop_waiting(tx: Transaction, conversation_id: str, stop: tuple[str, ...]) -> None:
    """Of the runs to be stopped end those that have not started."""
    for run in tx.runs_under_way(conversation_id):
        if run.message_id in stop and run.status == "waiting":
            end_waiting(tx, run)


def end_waiting(tx: Transaction, run: Run, status: RunEnd = "cancelled") -> tuple[Run, Event]:
    """The end of a run that has not started: the only one, so whoever waits for it hears of it.
    There is no message that its event could carry."""
    waited = max(0, tx.now - run.created_at) // 1000
    ended = replace(
        run,
        status=status,
        ended_at=tx.now,
        checked_at=tx.now,
        tokens_used=0,
        latency_ms=waited,
    )
    tx.save_run(ended)
    return ended, tell_end(tx, ended, None)


def tell_end(tx: Transaction, run: Run, message: Message | None) -> Event:
    """The event of a run's end. `index` is the number of its last chunk."""
    return tx.append(
        run.conversation_id,
        "run.ended",
        run.agent_id,
        message=message,
        data={
            "message_id": run.message_id,
            "status": run.status,
            "tokens_used": run.tokens_used,
            "latency_ms": run.latency_ms,
            "index": max(0, len(run.ends) - 1),
        },
    )


def ask_agent(
    tx: Transaction,
    session: Session,
    agent_id: str,
    asked_by: str,
    question_id: str | None,
    alternative_of: str | None = None,
    client_id: str | None = None,
) -> Run:
    """A run of one of the server's agents: started, or waiting for the one before it."""
    room = session.conversation_id
    under_way = tx.runs_under_way(room)
    busy = any(run.agent_id == agent_id for run in under_way)
    waits = busy and session.when_busy != "parallel"
    run = Run(
        # Those of one commit sort in the order in which they were asked for.
        uuid7(tx.now + len(under_way)),
        tx.org_id,
        room,
        agent_id,
        asked_by,
        question_id,
        "waiting" if waits else "streaming",
        tx.now,
        tx.now,
        alternative_of=alternative_of,
        client_id=client_id,
    )
    tx.add_run(run)
    if not waits:
        start(tx, session, run)
    return run


def start(
    tx: Transaction,
    session: Session,
    run: Run,
    client_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Event:
    """The run's message, without a word yet, and the event that tells of it. Of the agent's own
    `metadata` what the server says itself is left out."""
    alternative = {} if run.alternative_of is None else {"alternative_of": run.alternative_of}
    message = Message(
        run.message_id,
        tx.org_id,
        run.conversation_id,
        tx.next_seq(run.conversation_id),
        run.agent_id,
        "agent",
        "stream",
        "",
        {
            **{name: said for name, said in (metadata or {}).items() if name not in SAID_BY_SERVER},
            "status": "streaming",
            "agent_id": agent_name(run.agent_id),
            "trace_id": session.trace_id,
            **alternative,
        },
        run.question_id,
        (),
        client_id,
        tx.moment,
    )
    tx.add_message(message)
    return tx.append(run.conversation_id, "message.new", run.agent_id, message=message)


def start_next(tx: Transaction, conversation_id: str, agent_id: str) -> Run | None:
    """After a run has ended: start the one of the same agent that has waited the longest."""
    session = tx.session(conversation_id)
    under_way = [run for run in tx.runs_under_way(conversation_id) if run.agent_id == agent_id]
    if session is None or any(run.status == "streaming" for run in under_way):
        return None
    conversation = tx.conversation(conversation_id)
    for run in under_way:
        if conversation is None or conversation.status != "active":
            end_waiting(tx, run)
            continue
        started = replace(run, status="streaming", checked_at=tx.now)
        tx.save_run(started)
        start(tx, session, started)
        return started
    return None
