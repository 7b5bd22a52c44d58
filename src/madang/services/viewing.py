"""How an event tells of a conversation."""

from __future__ import annotations

from madang.model.nouns import PARTICIPANTS_TOLD, Conversation, ConversationView
from madang.ports.store import Transaction


def seen_by_all(conversation: Conversation, tx: Transaction) -> ConversationView:
    """The conversation as an event tells of it: nobody's view in particular."""
    last_message_id = conversation.last_message_id
    last_message = tx.message(last_message_id) if last_message_id is not None else None
    people = tuple(tx.longest_there(conversation.id, PARTICIPANTS_TOLD))
    count = len(people)
    if count == PARTICIPANTS_TOLD:
        count = tx.participant_count(conversation.id)
    return ConversationView(conversation, people, last_message, 0, False, count)
