"""What a run asks people, and their answer. Both stand in the run's message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from sys import getsizeof
from typing import Any

from madang.model.nouns import Event, Message, SenderType
from madang.model.runs import Run, is_own_agent
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, Invalid, NotFound
from madang.services import access
from madang.services.sizes import SMALL, json_size

MOST_APPROVALS = 20
"""Of one run."""
MOST_QUESTION = 2_000
"""Characters of what is asked."""
MOST_OPTIONS = 20
MOST_OPTION = 100
"""Characters of one."""
MOST_DETAILS = 64 * 1024
"""Bytes of what is told beside a question, as JSON."""


def approvals_of(message: Message) -> Mapping[str, Mapping[str, Any]]:
    """What a run has asked people, by request id."""
    found: Mapping[str, Mapping[str, Any]] = message.metadata.get("approvals", {})
    return found


@dataclass(frozen=True, slots=True)
class AskApproval:
    """A run asks whoever is there, and goes on with the answer. The words stand in its message."""

    org_id: str
    message_id: str
    agent_id: str
    request_id: str
    question: str
    options: tuple[str, ...] = ("approve", "deny")
    details: Mapping[str, Any] | None = None
    at: int | None = None
    """Characters of the answer before it; None where that is not known."""

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.question) + json_size(self.details)

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)

    def apply(self, tx: Transaction) -> Event:
        run, message = tx.run(self.message_id), tx.message(self.message_id)
        if run is None or message is None or run.agent_id != self.agent_id:
            raise NotFound("Message not found")
        if run.over or message.deleted_at is not None:
            raise Conflict("The run has ended")
        asked = dict(approvals_of(message))
        if self.request_id in asked:
            raise Conflict("This was asked before")
        if len(asked) >= MOST_APPROVALS:
            raise Invalid(f"A run asks for at most {MOST_APPROVALS} approvals")
        asked[self.request_id] = {
            "question": self.question,
            "options": list(self.options),
            "details": self.details or {},
            **({} if self.at is None else {"at": self.at}),
        }
        changed = replace(message, metadata={**message.metadata, "approvals": asked})
        tx.save_message(changed)
        return tx.append(
            message.conversation_id,
            "approval_request",
            self.agent_id,
            message=changed,
            data={"request_id": self.request_id},
        )


@dataclass(frozen=True, slots=True)
class AnswerApproval:
    """A person's answer; the first one counts. Gives the run's message and the event (None where
    the same person has said the same before). `sender_type`: as what they appear."""

    org_id: str
    message_id: str
    request_id: str
    user_id: str
    answer: str
    note: str | None = None
    sender_type: SenderType = "user"

    @property
    def size(self) -> int:
        return SMALL + getsizeof(self.note or "")

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))

    def apply(self, tx: Transaction) -> tuple[Message, Event | None]:
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        run = tx.run(self.message_id)
        asked = dict(approvals_of(message))
        found = asked.get(self.request_id)
        if run is None or found is None:
            raise NotFound("Approval not found")
        if self.sender_type != "user" or self._is_agent(tx, run):
            raise Forbidden("Only people answer approvals")
        if "answer" in found:
            if (found["answer"], found["by"]) == (self.answer, self.user_id):
                return message, None
            raise Conflict("Already answered")
        if run.over:
            raise Conflict("The run has ended")
        if self.answer not in found["options"]:
            raise Invalid("answer: must be one of the options")
        asked[self.request_id] = {
            **found,
            "answer": self.answer,
            "by": self.user_id,
            "note": self.note,
        }
        changed = replace(message, metadata={**message.metadata, "approvals": asked})
        tx.save_message(changed)
        event = tx.append(
            message.conversation_id,
            "approval_answer",
            self.user_id,
            message=changed,
            data={"request_id": self.request_id},
        )
        return changed, event

    def _is_agent(self, tx: Transaction, run: Run) -> bool:
        """Whether who answers is an agent in this session, whatever their token says."""
        session = tx.session(run.conversation_id)
        agents = {one.agent_id for one in tx.runs_under_way(run.conversation_id)}
        agents |= {run.agent_id, *(() if session is None else (session.agent_id,))}
        return self.user_id in agents or is_own_agent(self.user_id)
