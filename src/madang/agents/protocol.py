"""What an agent is: a function that is given a run and yields what it says.

    async def agent(run: AgentRun) -> AsyncIterator[Said]:
        yield "Hello, "
        yield run.user_id

It yields text, in pieces of any length, and beside it steps, usage, and that a person should take
over. It may ask people and wait for their answer (`run.approve`). It ends by returning; by raising
`AgentFailed`, whose text people see; or by anything else, of which they only learn that it failed.
It is cancelled when the run is stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

TurnRole = Literal["user", "assistant", "system"]
StepStatus = Literal["running", "complete", "failed"]
STEP_STATUSES: tuple[StepStatus, ...] = ("running", "complete", "failed")


class AgentFailed(Exception):
    """The agent cannot answer; `text` is public. `retry_after` (seconds): it may be asked again
    after so long, as long as it has said nothing yet."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message: its name as people see it, what its bytes are, and how many. `file_url`
    is its path below the server's address, for whoever has a token of somebody in the session."""

    file_id: str
    name: str
    type: str
    size: int
    file_url: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the session before the run: who said it, to the agent, and what. A message
    may be its files alone: its `content` is empty then."""

    role: TurnRole
    content: str
    user_id: str
    message_id: str
    attachments: Sequence[Attachment] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something the agent does beside speaking: thinks (`thinking`), calls a tool (`tool_call`) or
    whatever `kind` says. Yielded again with the same `id`, it is the same step, further on: its
    `content` then goes on, everything else is as said last."""

    id: str
    kind: str = "tool_call"
    name: str | None = None
    status: StepStatus = "running"
    content: str | None = None
    input: Any = None
    output: Any = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used so far, by the model's own count."""

    tokens: int


@dataclass(frozen=True, slots=True)
class AskPerson:
    """A person should go on from here: the session is handed over."""

    note: str | None = None


Said = str | Step | Usage | AskPerson


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person has answered: one of the options, and perhaps a note."""

    answer: str
    user_id: str
    note: str | None = None


class Asking(Protocol):
    """How a run asks people."""

    async def __call__(
        self, question: str, options: Sequence[str], details: Mapping[str, Any] | None
    ) -> Answer: ...


@dataclass(frozen=True, slots=True)
class AgentRun:
    """What an agent is given: the question, what was said before it, and where it is.

    `turns` end with the question, whose files are `attachments`. `trace_id` are 32 hexadecimal
    digits (W3C Trace Context), the same for all of a session. `metadata` is the session's.
    """

    message_id: str
    session_id: str
    org: str
    agent_id: str
    user_id: str
    trace_id: str
    turns: Sequence[Turn]
    question: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    asking: Asking | None = None
    span_id: str = ""
    """Of the run's span, where one is recorded: 16 hexadecimal digits."""
    attachments: Sequence[Attachment] = ()

    async def approve(
        self,
        question: str,
        options: Sequence[str] = ("approve", "deny"),
        details: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Ask whoever is in the session and wait for the first answer, however long that takes."""
        if self.asking is None:
            raise AgentFailed("Nobody can be asked here")
        return await self.asking(question, options, details)

    @property
    def traceparent(self) -> str:
        """The header that passes the trace on (W3C Trace Context, 3.2)."""
        parent = self.span_id or self.message_id.replace("-", "")[-16:]
        return f"00-{self.trace_id}-{parent}-01"


class ToolFailed(Exception):
    """The tool has no result; the model, and people, are told `text`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a model calls a tool with, and where: the session, the answer that it is called for, and
    who has asked. `id` is the call's own."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    session_id: str
    message_id: str
    user_id: str
    org: str
    traceparent: str


class Tool(Protocol):
    """An async function does. It returns the result, as text or as what JSON can be made of, or
    raises `ToolFailed`."""

    async def __call__(self, call: ToolCall, /) -> Any: ...


class Agent(Protocol):
    """An async generator function does."""

    def __call__(self, run: AgentRun, /) -> AsyncIterator[Said]: ...
