"""What was said before a run, as its agent is told it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from madang.agents.protocol import Turn
from madang.model.nouns import Message


def turns_of(messages: Sequence[Message], agent_id: str, choices: Mapping[str, str]) -> list[Turn]:
    """The messages of a session, oldest first, as turns.

    Of several answers of one agent to a question the one counts that was chosen, else the latest.
    Deleted and empty ones, and those of the system, are no turns.
    """
    latest: dict[tuple[str, str], str] = {}
    for message in messages:
        if message.message_type == "stream" and message.reply_to_id is not None:
            latest[message.reply_to_id, message.sender_id] = message.id
    for question, chosen in choices.items():
        for message in messages:
            if message.id == chosen:
                latest[question, message.sender_id] = chosen
    turns = []
    for message in messages:
        if message.deleted_at is not None or message.sender_type == "system":
            continue
        if not message.content:
            continue
        key = (message.reply_to_id or "", message.sender_id)
        if message.message_type == "stream" and latest.get(key, message.id) != message.id:
            continue
        own = message.sender_id == agent_id
        turns.append(
            Turn("assistant" if own else "user", message.content, message.sender_id, message.id)
        )
    return turns
