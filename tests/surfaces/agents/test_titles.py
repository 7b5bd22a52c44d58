"""Titles that the server makes go with the words that they are made of."""

from __future__ import annotations

import json

import pytest

from tests.surfaces.agents.sessions import LONG, Chat
from tests.surfaces.people import House


async def title(chat: Chat, session: str) -> str | None:
    found: str | None = (await chat.rest("ann").get(f"/sessions/{session}")).json()["title"]
    return found


async def say(chat: Chat, session: str, content: str) -> str:
    answer = await chat.rest("ann").post(f"/sessions/{session}/messages", {"content": content})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["message_id"])


@pytest.fixture
async def session(chat: Chat) -> str:
    """One with an agent that answers nobody who does not mention it."""
    return await chat.session("ann", answers="mentioned", participant_ids=["bob"])


async def test_the_title_changes_and_goes_with_its_message(chat: Chat, session: str) -> None:
    rest = chat.house.rest("ann")
    ann = await chat.join("ann", session)
    first = await say(chat, session, "the secret plan\nand more")
    second = await say(chat, session, "the open plan")
    assert await title(chat, session) == "the secret plan"
    await rest.patch(f"/messages/{first}", {"content": "  the better   plan "})
    assert await title(chat, session) == "the better plan"
    told = await ann.next("system", event="session_updated", title="the better plan")
    edited = await ann.next("message_edited", message_id=first)
    assert told["seq"] == edited["seq"] + 1
    await rest.delete(f"/messages/{first}")
    assert await title(chat, session) == "the open plan"
    await ann.next("system", event="session_updated", title="the open plan")
    await rest.delete(f"/messages/{second}")
    assert await title(chat, session) is None
    await ann.next("system", event="session_updated", title=None)
    third = await say(chat, session, "the third plan")
    assert await title(chat, session) == "the third plan"
    # What is deleted twice, or gave no title, changes none.
    for other in (first, second):
        await rest.delete(f"/messages/{other}")
    assert await title(chat, session) == "the third plan"
    await rest.delete(f"/messages/{third}")
    assert await title(chat, session) is None


async def test_a_title_that_somebody_set_stays(chat: Chat, session: str) -> None:
    rest, api = chat.house.rest("ann"), chat.rest("ann")
    first = await say(chat, session, "one")
    await api.patch(f"/sessions/{session}", {"metadata": {"a": 1}})
    await rest.patch(f"/messages/{first}", {"content": "uno"})
    assert await title(chat, session) == "uno"
    await api.patch(f"/sessions/{session}", {"title": "uno"})
    await rest.patch(f"/messages/{first}", {"content": "eins"})
    assert await title(chat, session) == "uno"
    # Cleared, the next message gives one again; and the messenger sets one as well.
    await api.patch(f"/sessions/{session}", {"title": None})
    await rest.delete(f"/messages/{first}")
    assert await title(chat, session) is None
    second = await say(chat, session, "two")
    assert await title(chat, session) == "two"
    await rest.patch(f"/conversations/{session}", {"title": "ours"})
    await rest.delete(f"/messages/{second}")
    assert await title(chat, session) == "ours"
    named = await chat.session("ann", title="mine")
    first = await say(chat, named, "three")
    await rest.delete(f"/messages/{first}")
    assert await title(chat, named) == "mine"


async def test_nothing_of_a_deleted_title_is_told_again(
    chat: Chat, house: House, session: str
) -> None:
    """Neither from the log nor from a node's memory, on any surface."""
    bob = await house.device("bob")
    before = bob.connected["cursor"]
    watching = await chat.join("bob", session)
    first = await say(chat, session, "the secret plan")
    await watching.next("system", event="session_updated", title="the secret plan")
    await house.rest("ann").delete(f"/messages/{first}")
    await watching.next("message_deleted", patience=LONG)
    await watching.next("system", event="session_updated", title=None, patience=LONG)
    await house.nodes_agree()
    back = await chat.join("bob", session, after=0)
    again = await house.connect("bob")
    replayed = await again.ask("resume", cursor=before)
    assert replayed["recovered"] is True
    subscribed = await again.ask("subscribe", conversation_id=session, after=0)
    assert subscribed["recovered"] is True
    events = house.server.rest("bob", org=house.org)
    async with events:
        log = await events.get("/api/v1/events", params={"cursor": before})
    assert log.status_code == 200
    told = [*await back.so_far(), *await again.so_far(), log.json()]
    assert "session_updated" in json.dumps(told) and "conversation.updated" in json.dumps(told)
    assert "secret" not in json.dumps(told)
