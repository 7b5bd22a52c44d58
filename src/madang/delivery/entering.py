"""Whom an event brings into its conversation, and who is to hear of it wherever they are."""

from __future__ import annotations

from collections.abc import Sequence

from madang.hub.hub import Hub
from madang.model.nouns import Event
from madang.ports.store import Store


def entering(event: Event) -> Sequence[str]:
    """Whom an event makes hear its conversation from here on."""
    if event.type == "participant.joined":
        return () if event.user_id is None else (event.user_id,)
    if event.type == "conversation.created" and event.conversation is not None:
        # Read late, it tells of those who came since, too; their own events bring them in.
        return [
            person.user_id
            for person in event.conversation.participants
            if person.joined_at <= event.created_at
        ]
    if event.user_id is not None and "payload" in event.data:
        return (event.user_id,)
    return ()


def concerned(event: Event) -> Sequence[str]:
    """Who is told of an event by name, on a node that may not follow its conversation: whom it
    brings in, and whom it sends out. The latter's memberships may just be being read there, and
    were read too early."""
    if event.type == "participant.left":
        return () if event.user_id is None else (event.user_id,)
    return entering(event)


class Unnamed:
    """Those whom a `conversation.created` brings in and does not name: of a large group it tells
    some participants only when it is read late. Who of the others is here is asked.

    `entering` has those that were found, by org and cursor of the event.
    """

    def __init__(self, hub: Hub, store: Store) -> None:
        self.entering: dict[tuple[str, int], list[str]] = {}
        self._hub = hub
        self._store = store

    async def find(self, org_id: str, page: Sequence[Event]) -> None:
        """Look for them, before the page is told.

        Raises:
            Unavailable: the store is away.
        """
        large = {
            event.conversation_id: event
            for event in page
            if event.type == "conversation.created"
            and event.conversation is not None
            and event.conversation.participant_count > len(event.conversation.participants)
        }
        if not large:
            return
        here = [user_id for org, user_id in self._hub.members if org == org_id]
        for user_id, conversations in (await self._store.memberships(org_id, here)).items():
            for conversation_id in large.keys() & set(conversations):
                key = (org_id, large[conversation_id].cursor)
                self.entering.setdefault(key, []).append(user_id)
