"""What was said before a run, as its agent is told it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from madang.agents.protocol import Attachment, Turn
from madang.model.nouns import Message


def turns_of(messages: Sequence[Message], agent_id: str, choices: Mapping[str, str]) -> list[Turn]:
    """The messages of a session, by their seq, as turns: each question is followed by the answers
    to it, although others may have been asked before those came.

    Of several answers of one agent to a question the one counts that was chosen, else the latest;
    one that was deleted or says nothing does not count. Deleted and empty messages, and those of
    the system, are no turns.
    """
    counts: dict[tuple[str, str], str] = {}
    for message in filter(_says_something, messages):
        if message.message_type == "stream" and message.reply_to_id is not None:
            place = (message.reply_to_id, message.sender_id)
            if counts.get(place) != choices.get(message.reply_to_id, ""):
                counts[place] = message.id
    return [
        Turn(
            "assistant" if message.sender_id == agent_id else "user",
            message.content,
            message.sender_id,
            message.id,
            attachments_of(message),
        )
        for message in filter(_says_something, _in_order(messages))
        if message.message_type != "stream"
        or counts.get((message.reply_to_id or "", message.sender_id), message.id) == message.id
    ]


def attachments_of(message: Message) -> tuple[Attachment, ...]:
    """The files in a message. What else is attached is its sender's own."""
    return tuple(
        Attachment(
            str(given["file_id"]),
            str(given.get("name", "")),
            str(given.get("type", "")),
            int(given.get("size") or 0),
            str(given.get("file_url", "")),
        )
        for given in message.attachments
        if isinstance(given.get("file_id"), str)
    )


def _says_something(message: Message) -> bool:
    return (
        message.deleted_at is None
        and message.sender_type != "system"
        and bool(message.content or attachments_of(message))
    )


def _in_order(messages: Sequence[Message]) -> Iterator[Message]:
    """Each message, then the answers to it, then the next."""
    there = {message.id for message in messages}
    answers: dict[str, list[Message]] = {}
    first = []
    for message in messages:
        question = message.reply_to_id
        if message.message_type == "stream" and question is not None and question in there:
            answers.setdefault(question, []).append(message)
        else:
            first.append(message)
    waiting = first[::-1]
    while waiting:
        message = waiting.pop()
        yield message
        waiting += reversed(answers.get(message.id, ()))
