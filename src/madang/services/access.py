"""Who may see and do what inside a commit. Every rule answers allowed, not found or forbidden,
and what one may not see answers exactly as what does not exist."""

from __future__ import annotations

from madang.model.nouns import Conversation, Message, Participant
from madang.ports.store import Transaction
from madang.protocol.errors import Conflict, Forbidden, NotAParticipant, NotFound


def participant_in(
    tx: Transaction, conversation_id: str, user_id: str
) -> tuple[Conversation, Participant]:
    """The conversation and the user's place in it.

    Raises:
        NotAParticipant: it does not exist, or the user is not in it.
    """
    conversation = tx.conversation(conversation_id)
    participant = tx.participant(conversation_id, user_id)
    if conversation is None or participant is None:
        raise NotAParticipant
    return conversation, participant


def open_to(
    tx: Transaction, conversation_id: str, user_id: str
) -> tuple[Conversation, Participant]:
    """As `participant_in`, of a conversation that may still be written to."""
    conversation, participant = participant_in(tx, conversation_id, user_id)
    check_open(conversation)
    return conversation, participant


def check_open(conversation: Conversation) -> None:
    """Raises `Conflict` for an archived conversation, which is read-only."""
    if conversation.status != "active":
        raise Conflict("Conversation is archived")


def admin_of(
    tx: Transaction, conversation_id: str, user_id: str, *, archived: bool = False
) -> tuple[Conversation, Participant]:
    """As `open_to` (or `participant_in` if it may be archived), for its admins only."""
    allowed = participant_in if archived else open_to
    conversation, participant = allowed(tx, conversation_id, user_id)
    if participant.role != "admin":
        raise Forbidden("Only an admin of the conversation can do this")
    return conversation, participant


def message_seen_by(
    tx: Transaction, message_id: str, user_id: str
) -> tuple[Message, Conversation, Participant]:
    """A message, deleted or not, its conversation and the user's place in it.

    Raises:
        NotFound: there is no such message, or the user is not in its conversation.
    """
    message = tx.message(message_id)
    if message is not None:
        conversation = tx.conversation(message.conversation_id)
        participant = tx.participant(message.conversation_id, user_id)
        if conversation is not None and participant is not None:
            return message, conversation, participant
    raise NotFound("Message not found")


def living_message(
    tx: Transaction, message_id: str, user_id: str
) -> tuple[Message, Conversation, Participant]:
    """As `message_seen_by`, of a message that is not deleted in a conversation not archived."""
    message, conversation, participant = message_seen_by(tx, message_id, user_id)
    if message.deleted_at is not None:
        raise NotFound("Message not found")
    check_open(conversation)
    return message, conversation, participant
