"""Several answers to one question: another is made, and one of them counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from madang.model.nouns import Event, Message
from madang.model.runs import Run, is_own_agent
from madang.ports.store import Needs, Transaction
from madang.protocol.errors import Conflict, Forbidden, NotFound
from madang.services import access, asking
from madang.services.asking import USUAL_LIMITS, RunLimits
from madang.services.sizes import SMALL


@dataclass(frozen=True, slots=True)
class Regenerated:
    """The other answer, and whether an earlier call had asked for it."""

    run: Run
    repeated: bool


@dataclass(frozen=True, slots=True)
class Regenerate:
    """Another answer to the same question, beside the first. It counts from now on. A repeated
    `client_id` gives the first that it made, and asks nobody again."""

    org_id: str
    message_id: str
    user_id: str
    client_id: str | None = None
    run_limits: RunLimits = USUAL_LIMITS

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))
        if self.client_id is not None:
            needs.asked_again.add((self.message_id, self.user_id, self.client_id))

    def apply(self, tx: Transaction) -> Regenerated:
        message, _, _ = access.message_seen_by(tx, self.message_id, self.user_id)
        if self.client_id is not None:
            first = tx.asked_again(message.conversation_id, self.user_id, self.client_id)
            if first is not None:
                return Regenerated(first, True)
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        run = tx.run(self.message_id)
        session = tx.session(message.conversation_id)
        if run is None or session is None or run.question_id is None:
            raise NotFound("Message not found")
        if not is_own_agent(run.agent_id):
            raise Forbidden("Only answers of the server's agents can be made again")
        if not run.over:
            raise Conflict("The run has not ended")
        if tx.participant(message.conversation_id, run.agent_id) is None:
            raise NotFound("Agent not found")
        self.run_limits.check(tx, self.user_id, 1)
        again = asking.ask_agent(
            tx,
            session,
            run.agent_id,
            self.user_id,
            run.question_id,
            run.alternative_of or message.id,
            self.client_id,
        )
        _choose(tx, message.conversation_id, run.question_id, again.message_id)
        return Regenerated(again, False)


MOST_CHOICES = 200
"""Of a session: the oldest are forgotten, and the latest answer counts there."""


def _choose(tx: Transaction, conversation_id: str, question_id: str, message_id: str) -> None:
    session = tx.session(conversation_id)
    assert session is not None, "runs are in sessions"
    choices = dict(session.choices or {})
    choices.pop(question_id, None)
    choices[question_id] = message_id
    for oldest in list(choices)[: max(0, len(choices) - MOST_CHOICES)]:
        del choices[oldest]
    tx.save_session(replace(session, choices=choices))


def forget(tx: Transaction, message: Message) -> None:
    """The message was deleted: it counts no more, and no answer to it does."""
    session = tx.session(message.conversation_id)
    if session is None or not session.choices:
        return
    choices = {
        question_id: answer_id
        for question_id, answer_id in session.choices.items()
        if message.id not in (question_id, answer_id)
    }
    if len(choices) < len(session.choices):
        tx.save_session(replace(session, choices=choices))


@dataclass(frozen=True, slots=True)
class ChooseAnswer:
    """Of several answers to a question, this one counts: for the agent, and on every device."""

    org_id: str
    message_id: str
    user_id: str

    @property
    def size(self) -> int:
        return SMALL

    def needs(self, needs: Needs) -> None:
        needs.messages.add(self.message_id)
        needs.runs.add(self.message_id)
        needs.message_actors.add((self.message_id, self.user_id))

    def apply(self, tx: Transaction) -> Event | None:
        message, _, _ = access.living_message(tx, self.message_id, self.user_id)
        run = tx.run(self.message_id)
        session = tx.session(message.conversation_id)
        if run is None or session is None or run.question_id is None:
            raise NotFound("Message not found")
        if (session.choices or {}).get(run.question_id) == message.id:
            return None
        _choose(tx, message.conversation_id, run.question_id, message.id)
        return tx.append(
            message.conversation_id,
            "run.chosen",
            self.user_id,
            message=message,
            data={"question_id": run.question_id},
        )
