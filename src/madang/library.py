"""What a program that mounts Madang calls in its own code: publish an event, send a message. The
same rules as over the network, without the network. May import services and what is below."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from madang.model.identity import DEFAULT_ORG
from madang.model.nouns import Event, Message
from madang.ports.store import Writer
from madang.services.asking import RunLimits
from madang.services.messages import SendMessage
from madang.services.publishing import PublishEvent, check_type


class Library(ABC):
    """A server's side that faces the program it runs in. Both calls start it if need be."""

    writer: Writer
    run_limits: RunLimits

    @abstractmethod
    async def start(self) -> None:
        """Begin to serve, if that has not been done. Raises `Unavailable` once it was stopped."""

    async def publish(
        self,
        type: str,
        payload: Any = None,
        *,
        conversation_id: str | None = None,
        user_id: str | None = None,
        idempotency_key: str | None = None,
        publisher: str = "server",
        org: str = DEFAULT_ORG,
    ) -> Event:
        """Publish an event to a conversation or into a user's inbox, as `POST /api/v1/events`
        does; on disk when this returns.

        Raises:
            MadangError: refused, with a `code` and a public `text`.
        """
        await self.start()
        check_type(type)
        if (conversation_id is None) == (user_id is None):
            raise ValueError("one of conversation_id and user_id says to whom")
        write = PublishEvent(
            org, publisher, type, payload, conversation_id, user_id, idempotency_key
        )
        published = await self.writer.write(write)
        event: Event = published.event
        return event

    async def send(
        self,
        conversation_id: str,
        sender_id: str,
        content: str,
        *,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        sender_type: Literal["user", "agent", "system"] = "user",
        org: str = DEFAULT_ORG,
    ) -> Message:
        """Send a message as one of the conversation's participants; on disk when this returns."""
        await self.start()
        done = await self.writer.write(
            SendMessage(
                org,
                conversation_id,
                sender_id,
                content,
                sender_type,
                client_id=client_id,
                metadata=metadata,
                run_limits=self.run_limits,
            )
        )
        message: Message = done.message
        return message
