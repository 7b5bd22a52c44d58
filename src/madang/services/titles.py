"""Titles that the server makes: a session without one is called as the first line of what a person
says in it. They are that message's words, so they change and go with it."""

from __future__ import annotations

from dataclasses import replace

from madang.model.nouns import Conversation, Message
from madang.ports.store import Transaction
from madang.services.viewing import seen_by_all

TITLE_LENGTH = 60


def title_of(content: str) -> str | None:
    """The first line of a text, shortened; None where there is none."""
    line = " ".join((content.strip().splitlines() or [""])[0].split())
    if len(line) > TITLE_LENGTH:
        return line[: TITLE_LENGTH - 1].rstrip() + "…"
    return line or None


def give_title(tx: Transaction, conversation: Conversation, message: Message) -> None:
    """A person has said this in a session that has no title."""
    title = title_of(message.content)
    if title is not None:
        now = tx.conversation(conversation.id) or conversation
        _call(tx, replace(now, title=title, updated_at=tx.now), message.id, message.sender_id)


def make_anew(tx: Transaction, message: Message, changed_by: str) -> None:
    """The message was edited or deleted. Where it gave its session the title, that is made of what
    is there now: of the message, else of what a person said next, else there is none."""
    conversation = tx.conversation(message.conversation_id)
    if conversation is None or conversation.kind != "agent":
        return
    session = tx.session(conversation.id)
    if session is None or session.titled_by != message.id:
        return
    title, titled_by = None, None
    for said in (message, *tx.said_after(conversation.id, message.seq)):
        title = title_of(said.content) if said.deleted_at is None else None
        if title is not None:
            titled_by = said.id
            break
    _call(tx, replace(conversation, title=title), titled_by, changed_by)


def keep_title(tx: Transaction, conversation: Conversation) -> None:
    """Somebody has set the title, or cleared it: it is no message's any more."""
    session = tx.session(conversation.id) if conversation.kind == "agent" else None
    if session is not None and session.titled_by is not None:
        tx.save_session(replace(session, titled_by=None))


def _call(
    tx: Transaction, conversation: Conversation, titled_by: str | None, changed_by: str
) -> None:
    session = tx.session(conversation.id)
    assert session is not None, "only sessions are given titles"
    tx.save_session(replace(session, titled_by=titled_by))
    tx.save_conversation(conversation)
    view = seen_by_all(replace(conversation, last_seq=tx.next_seq(conversation.id)), tx)
    tx.append(conversation.id, "conversation.updated", changed_by, conversation=view)
