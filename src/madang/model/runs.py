"""The nouns of agents: a session (a conversation of the kind `agent`), and a run in it (one answer
of an agent). Times are microseconds since the epoch; offsets count characters (code points)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from madang.model.nouns import ConversationView

RunStatus = Literal["waiting", "streaming", "complete", "cancelled", "failed", "interrupted"]
"""`waiting`: for the run before it in the same session. The last four are ends, and durable."""
RunEnd = Literal["complete", "cancelled", "failed", "interrupted"]
WhenBusy = Literal["queue", "cancel", "parallel"]
"""What a question does while the agent still answers the one before: wait for its end, end it, or
be answered beside it."""
Answers = Literal["always", "mentioned"]
"""Which messages of people the session's agent answers: all, or those with its `@name`."""

ANYBODY = "*"
"""The handler of a session that was handed over to whichever person comes first."""

AGENT_PREFIX = "agent:"
"""What the user id of an agent that the server itself runs begins with."""


def own_agent(name: str) -> str:
    """The user id, as a participant, of the agent that the server runs under this name."""
    return AGENT_PREFIX + name


def is_own_agent(user_id: str) -> bool:
    """Whether a participant is an agent that the server runs."""
    return user_id.startswith(AGENT_PREFIX)


def lease_name(message_id: str) -> str:
    """Under which the bus knows whose a run is."""
    return f"run:{message_id}"


def agent_name(user_id: str) -> str:
    """What `agent_id` says on the wire: the name of one's own, the user id of one outside."""
    return user_id.removeprefix(AGENT_PREFIX)


@dataclass(frozen=True, slots=True)
class Session:
    """What a conversation of the kind `agent` has besides.

    `agent_id` is the agent's user id as a participant. `handler` is the person who has taken over
    from it (`ANYBODY`: it asked for one), None while the agent answers. `choices` name, for each
    question with several answers, the one that counts (not in it: the latest). `trace_id` are 32
    hexadecimal digits (W3C Trace Context). `titled_by` is the message that the title was made of;
    None where somebody set it, or there is none.
    """

    conversation_id: str
    org_id: str
    agent_id: str
    trace_id: str
    handler: str | None = None
    when_busy: WhenBusy = "queue"
    answers: Answers = "always"
    choices: Mapping[str, str] | None = None
    titled_by: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One answer of an agent; `message_id` is its message, and its own name.

    `ends` are the offsets at which its chunks end, as far as they are on disk: they tell from
    which offset on somebody who has had chunk N goes on. `alternative_of` is the first answer to
    the same question, where this is another one; `client_id` what that was asked for by.
    """

    message_id: str
    org_id: str
    conversation_id: str
    agent_id: str
    asked_by: str
    question_id: str | None
    status: RunStatus
    created_at: int
    checked_at: int
    ended_at: int | None = None
    tokens_used: int | None = None
    latency_ms: int | None = None
    ends: tuple[int, ...] = ()
    alternative_of: str | None = None
    client_id: str | None = None

    @property
    def over(self) -> bool:
        return self.ended_at is not None


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as one of its participants sees it."""

    session: Session
    view: ConversationView
