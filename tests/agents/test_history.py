"""What an agent is told of its session: in the order of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from madang.agents.history import turns_of
from madang.model.nouns import Message, MessageType, SenderType


def said(
    seq: int,
    name: str,
    answers: str | None = None,
    *,
    content: str | None = None,
    sender: str = "ann",
    sender_type: SenderType = "user",
    attachments: Sequence[Mapping[str, Any]] = (),
    deleted: bool = False,
) -> Message:
    """A person's message; an agent's where it answers one."""
    kind: MessageType = "text"
    if answers is not None:
        kind, sender_type = "stream", "agent"
        sender = "agent:a" if sender == "ann" else sender
    return Message(
        name,
        "default",
        "room",
        seq,
        sender,
        sender_type,
        kind,
        name if content is None else content,
        {},
        answers,
        tuple(attachments),
        None,
        seq,
        deleted_at=seq if deleted else None,
    )


def told(*messages: Message, **choices: str) -> str:
    turns = turns_of(messages, "agent:a", choices)
    return " ".join(turn.content for turn in turns)


def test_each_question_is_followed_by_its_answers() -> None:
    late = (said(8, "A1", "Q1"), said(9, "B1", "Q1", sender="agent:b"), said(10, "A2", "Q2"))
    questions = (said(1, "Q1"), said(2, "chat"), said(3, "Q2"), said(7, "Q3"))
    assert told(*questions, *late) == "Q1 A1 B1 chat Q2 A2 Q3"
    assert told(questions[2], questions[3], late[2]) == "Q2 A2 Q3"
    # An agent outside may answer an answer.
    chain = (said(11, "C1", "A1", sender="bot"), said(12, "D1", "C1", sender="bot"))
    assert told(*questions, *late, *chain) == "Q1 A1 C1 D1 B1 chat Q2 A2 Q3"
    # What it answers is not known here, or not any more.
    assert told(said(1, "A0", "Q0"), *questions, *late) == "A0 Q1 A1 B1 chat Q2 A2 Q3"
    gone = said(1, "Q1", content="", deleted=True)
    assert told(gone, *questions[1:], *late) == "A1 B1 chat Q2 A2 Q3"


def test_one_answer_of_several_counts() -> None:
    question, last = said(1, "Q"), said(9, "Q2")
    answers = [said(2, "A", "Q"), said(3, "B", "Q"), said(4, "C", "Q")]
    assert told(question, *answers, last) == "Q C Q2"
    assert told(question, *answers, last, Q="A") == "Q A Q2"
    assert told(question, *answers, last, Q="B") == "Q B Q2"
    assert told(question, *answers, last, Q="one that is not there") == "Q C Q2"
    # Another agent's is its own.
    other = said(5, "O", "Q", sender="agent:b")
    assert told(question, *answers, other, last, Q="A") == "Q A O Q2"


def test_what_was_deleted_or_says_nothing_does_not_count() -> None:
    question, first = said(1, "Q"), said(2, "A", "Q")
    for gone in (said(3, "B", "Q", content="", deleted=True), said(3, "B", "Q", content="")):
        for choices in ({}, {"Q": "B"}, {"Q": "A"}):
            assert told(question, first, gone, **choices) == "Q A"
    assert told(question, said(2, "S", sender_type="system"), said(3, "T", content="")) == "Q"


def test_files_are_turns_too() -> None:
    file = {"file_id": "f", "name": "a.pdf", "type": "application/pdf", "size": 7}
    sent = said(1, "Q", content="", attachments=[{**file, "file_url": "/f"}, {"own": "JSON"}])
    (turn,) = turns_of([sent, said(2, "X", content="", attachments=[{"own": 1}])], "agent:a", {})
    assert turn.content == ""
    (attached,) = turn.attachments
    assert (attached.file_id, attached.name, attached.type) == ("f", "a.pdf", "application/pdf")
    assert (attached.size, attached.file_url) == (7, "/f")
