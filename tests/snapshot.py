"""What a client knows, as plain data: a snapshot read over REST, and how events change it.

`merge` is what any client does: a pure function, small enough to be believed. Events may repeat
what the snapshot holds already; merging them again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import httpx

Snapshot = dict[str, dict[str, Any]]
"""For each conversation its CONVERSATION, and under `messages` each MESSAGE by id."""

API = "/api/v1/messenger"


async def snapshot(rest: httpx.AsyncClient) -> Snapshot:
    """All conversations of a user with all their messages.

    Raises:
        httpx.HTTPStatusError: the user left one of them meanwhile, or the store is away.
    """
    found: Snapshot = {}
    page: dict[str, str] = {}
    while True:
        asked = await rest.get(f"{API}/conversations", params={"limit": "200", **page})
        answer = asked.raise_for_status().json()
        for conversation in answer["conversations"]:
            found[conversation["id"]] = conversation
        if not answer["has_more"]:
            break
        page = {"page": answer["next"]}
    for conversation in found.values():
        conversation["messages"] = await _messages(rest, conversation["id"])
    return found


async def _messages(rest: httpx.AsyncClient, conversation_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    params = {"limit": "200", "after": "0"}
    while True:
        url = f"{API}/conversations/{conversation_id}/messages"
        answer = (await rest.get(url, params=params)).raise_for_status().json()
        found.update((message["id"], message) for message in answer["messages"])
        if not answer["has_more"]:
            return found
        params = {"limit": "200", "page": answer["next"]}


def merge(before: Snapshot, events: Iterable[dict[str, Any]], me: Any) -> tuple[Snapshot, set[str]]:
    """The snapshot after the events, and the conversations that must be loaded because `me` was
    taken into them and their past is not among the events."""
    now = deepcopy(before)
    to_load: set[str] = set()
    for event in events:
        conversation_id = event["conversation_id"]
        if event["type"] == "conversation.created":
            messages = now.get(conversation_id, {}).get("messages", {})
            now[conversation_id] = {**deepcopy(event["data"]), "messages": messages}
            to_load.discard(conversation_id)
        elif event["type"] == "participant.left" and event["user_id"] == me:
            now.pop(conversation_id, None)
            to_load.discard(conversation_id)
        elif conversation_id in now:
            _change(now[conversation_id], event)
        elif event["type"] == "participant.joined" and event["user_id"] == me:
            to_load.add(conversation_id)
    for conversation in now.values():
        _derive(conversation, me)
    return now, to_load


def _change(conversation: dict[str, Any], event: dict[str, Any]) -> None:
    messages = conversation["messages"]
    message = messages.get(event.get("message_id"))
    conversation["last_seq"] = max(conversation["last_seq"], event["seq"])
    match event["type"]:
        case "message.new":
            messages[event["data"]["id"]] = deepcopy(event["data"])
            _touch(conversation, event)
        case "message.edited":
            messages[event["message_id"]] = deepcopy(event["data"])
        case "message.deleted":
            empty = {"content": "", "metadata": {}, "attachments": [], "reactions": {}}
            message.update(empty, deleted_at=event["timestamp"])
        case "message.read":
            for person in conversation["participants"]:
                if person["user_id"] == event["user_id"]:
                    person["last_read_seq"] = max(person["last_read_seq"], event["last_read_seq"])
        case "reaction.added":
            _unreact(message, event)
            if message["deleted_at"] is None:
                message["reactions"].setdefault(event["emoji"], []).append(event["user_id"])
        case "reaction.removed":
            _unreact(message, event)
        case "participant.joined":
            _join(conversation, event)
        case "participant.left":
            conversation["participants"] = [
                person
                for person in conversation["participants"]
                if person["user_id"] != event["user_id"]
            ]
        case "conversation.updated" | "conversation.archived":
            for name in ("title", "metadata", "status"):
                conversation[name] = deepcopy(event["data"][name])
            conversation["updated_at"] = max(
                conversation["updated_at"], event["data"]["updated_at"]
            )
        case _:
            _touch(conversation, event)


def _touch(conversation: dict[str, Any], event: dict[str, Any]) -> None:
    conversation["updated_at"] = max(conversation["updated_at"], event["timestamp"])


def _unreact(message: dict[str, Any], event: dict[str, Any]) -> None:
    users = message["reactions"].get(event["emoji"], [])
    if event["user_id"] in users:
        users.remove(event["user_id"])
    if not users:
        message["reactions"].pop(event["emoji"], None)


def _join(conversation: dict[str, Any], event: dict[str, Any]) -> None:
    for person in conversation["participants"]:
        if person["user_id"] == event["user_id"]:
            person["role"] = event["role"]
            return
    conversation["participants"].append(
        {
            "user_id": event["user_id"],
            "role": event["role"],
            "nickname": None,
            "last_read_seq": 0,
            "joined_at": event["timestamp"],
        }
    )


def _derive(conversation: dict[str, Any], me: Any) -> None:
    """What follows from the rest."""
    people = conversation["participants"]
    conversation["participant_count"] = len(people)
    people.sort(key=lambda person: (person["joined_at"], str(person["user_id"])))
    read = next((person["last_read_seq"] for person in people if person["user_id"] == me), 0)
    messages = sorted(conversation["messages"].values(), key=lambda message: message["seq"])
    conversation["messages"] = {message["id"]: message for message in messages}
    conversation["last_message"] = deepcopy(messages[-1]) if messages else None
    conversation["unread_count"] = sum(
        message["seq"] > read and message["sender_id"] != me and message["deleted_at"] is None
        for message in messages
    )
