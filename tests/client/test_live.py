"""The client against a real server, on every call it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from madang.client import (
    AuthError,
    Client,
    EventLog,
    Forbidden,
    Invalid,
    NotAParticipant,
    NotFound,
    Rest,
    connect,
)
from tests.client.scripted import PATIENCE, take


class Server(Protocol):
    """What these tests need of the `server` fixture."""

    url: str

    def token(self, user: str, **claims: Any) -> str: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...


async def until(me: Client, wanted: Callable[[Any], bool], *, signals: bool = False) -> Any:
    """The next event that is wanted."""
    events = me.events(signals=signals)
    async with asyncio.timeout(PATIENCE):
        while not wanted(happening := await anext(events)):
            pass
        return happening


async def test_two_people_talk(server: Server) -> None:
    async with (
        connect(server.url, token=server.token("alice")) as alice,
        connect(server.url, token=server.token("42")) as other,
    ):
        assert (alice.user_id, other.user_id) == ("alice", "42")
        team = await alice.create_conversation(kind="group", title="Team", participant_ids=["42"])
        assert {one.user_id: one.role for one in team.participants} == {
            "alice": "admin",
            "42": "member",
        }
        sent = await alice.send(team.id, "Hello, courtyard!", metadata={"mood": "good"})
        again = await alice.send(team.id, "Hello, courtyard!", client_id=sent.client_id)
        assert again.id == sent.id

        created, new = await take(other.events(), 2)
        assert created.conversation.title == "Team"
        assert (new.type, new.message, new.seq) == ("message.new", sent, sent.seq)

        edited = await alice.edit(sent.id, "Hello!")
        assert edited.edited_at is not None
        await other.react(sent.id, "👍")
        await other.read(sent.id)
        await other.unreact(sent.id, "👍")
        await alice.delete(sent.id)
        kinds = [event.type for event in await take(alice.events(), 7)]
        assert kinds == [
            "conversation.created",
            "message.new",
            "message.edited",
            "reaction.added",
            "message.read",
            "reaction.removed",
            "message.deleted",
        ]
        assert [event.type for event in await take(other.events(), 5)] == kinds[2:]
        gone = await other.message(sent.id)
        assert gone.deleted_at is not None
        assert gone.content == ""


async def test_signals_and_presence(server: Server) -> None:
    async with connect(server.url, token=server.token("alice")) as alice:
        talk = await alice.create_conversation(kind="direct", participant_ids=["bob"])
        async with connect(server.url, token=server.token("bob")) as bob:
            await until(alice, lambda one: one.type == "user.online", signals=True)
            bob.typing(talk.id)
            typing = await until(alice, lambda one: one.type == "typing.start", signals=True)
            assert (typing.user_id, typing.conversation_id) == ("bob", talk.id)
            await bob.set_presence("away")
            await until(alice, lambda one: one.type == "user.away", signals=True)
            [seen] = await alice.presence(["bob"])
            assert (seen.user_id, seen.status, seen.devices) == ("bob", "away", 1)
            assert "bob" in [one.user_id for one in await alice.online()]
            assert await bob.ping() < PATIENCE
            assert await bob.refresh_token(server.token("bob")) is not None


async def test_conversations_over_rest(server: Server) -> None:
    async with (
        connect(server.url, token=server.token("alice")) as alice,
        connect(server.url, token=server.token("bob")) as bob,
    ):
        made = [
            await alice.create_conversation(["bob"], title=f"Room {number}") for number in range(5)
        ]
        listed = [one.id async for one in alice.conversations(limit=2)]
        assert listed == [one.id for one in reversed(made)]
        page = await alice.conversations(limit=2)
        assert (len(page), page.has_more) == (2, True)

        room = made[0]
        changed = await alice.update_conversation(room.id, title="Renamed", metadata={"a": 1})
        assert (changed.title, changed.metadata) == ("Renamed", {"a": 1})
        with pytest.raises(Forbidden):
            await bob.update_conversation(room.id, title="Mine")
        await alice.add_participants(room.id, ["carol"], role="admin")
        carol = (await bob.conversation(room.id)).participant("carol")
        assert carol is not None
        assert carol.role == "admin"
        await alice.remove_participant(room.id, "carol")
        await bob.leave(room.id)
        with pytest.raises(NotAParticipant):
            await bob.conversation(room.id)
        with pytest.raises(NotAParticipant, match="Not a participant of this conversation"):
            await bob.send(room.id, "still here?")

        later = datetime.now(UTC) + timedelta(hours=1)
        await alice.set_notification_settings(room.id, "mentions", muted_until=later)
        settings = await alice.notification_settings(room.id)
        assert settings.level == "mentions"
        assert settings.muted_until is not None
        assert abs(settings.muted_until - later) < timedelta(milliseconds=1)
        assert (await alice.conversation(room.id)).muted
        await alice.archive_conversation(room.id)
        assert (await alice.conversation(room.id)).status == "archived"


async def test_history_in_pages(server: Server) -> None:
    async with connect(server.url, token=server.token("alice")) as alice:
        room = await alice.create_conversation(["bob"])
        sent = [await alice.send(room.id, f"line {number}") for number in range(7)]
        texts = [message.content for message in sent]

        newest = await alice.messages(room.id, limit=3)
        assert [one.content for one in newest] == texts[-3:]
        assert newest.has_more
        back = [one.content async for one in alice.messages(room.id, limit=3)]
        assert back == [*texts[4:], *texts[1:4], texts[0]]
        onward = alice.messages(room.id, after=sent[1].id, limit=2)
        assert [one.content async for one in onward] == texts[2:]
        around = await alice.messages(room.id, around=sent[3].seq, limit=3)
        assert sent[3].content in [one.content for one in around]
        earlier = await alice.messages(room.id, before=sent[2].seq)
        assert [one.content for one in earlier] == texts[:2]

        posted = await alice.post_message(room.id, "over rest", client_id="once")
        assert await alice.post_message(room.id, "over rest", client_id="once") == posted
        assert (await alice.edit_message(posted.id, "changed")).content == "changed"
        async with Rest(server.url, token=server.token("bob")) as bob:
            assert (await bob.conversation(room.id)).unread_count == 8
            await bob.mark_read(room.id, posted.id)
            assert (await bob.conversation(room.id)).unread_count == 0
        assert "bob" in [one.user_id for one in await alice.receipts(posted.id)]
        await alice.delete_message(posted.id)
        assert (await alice.message(posted.id)).deleted_at is not None


async def test_errors_come_as_they_are(server: Server) -> None:
    unknown = "0197f000-0000-7000-8000-000000000000"
    async with connect(server.url, token=server.token("alice")) as alice:
        with pytest.raises(Invalid, match="Invalid conversation_id format"):
            await alice.send("not an id", "hello")
        with pytest.raises(NotFound, match="Message not found"):
            await alice.edit(unknown, "hello")
        with pytest.raises(NotFound, match="Message not found"):
            await alice.message(unknown)
        with pytest.raises(Forbidden):
            await alice.stats()
        room = await alice.create_conversation(["bob"])
        with pytest.raises(Invalid, match="Message content cannot be empty"):
            await alice.send(room.id, "")
    with pytest.raises(AuthError):
        async with connect(server.url, token=server.token("alice")[:-4]):
            pass
    async with Rest(server.url, token="nonsense") as nobody:
        with pytest.raises(AuthError):
            await nobody.conversations()
    async with Rest(server.url, token=server.token("root", roles=["admin"])) as admin:
        assert (await admin.stats())["online_users"] >= 0


async def test_a_killed_server_loses_nothing_and_doubles_nothing(server: Server) -> None:
    async with (
        connect(server.url, token=server.token("alice"), timeout=30) as alice,
        connect(server.url, token=server.token("bob"), timeout=30) as bob,
    ):
        room = await alice.create_conversation(["bob"])
        sent = [asyncio.create_task(alice.send(room.id, f"{n}")) for n in range(100)]
        await asyncio.wait(sent, return_when=asyncio.FIRST_COMPLETED)
        server.kill()
        await bob.wait_for("waiting", timeout=PATIENCE)
        late = [alice.post(room.id, f"{n}") for n in range(100, 110)]
        server.restart()
        await asyncio.gather(*sent)
        await alice.flush(PATIENCE)
        expected = [str(number) for number in range(110)]
        for person in (alice, bob):
            events = await take(person.events(), 111)
            texts = [event.message.content for event in events if event.type == "message.new"]
            assert texts == expected
            assert [event.seq for event in events] == list(range(1, 112))
        assert [message.client_id async for message in alice.messages(room.id, limit=10)][
            :10
        ] == late


async def test_a_stored_cursor_brings_what_happened_in_between(server: Server) -> None:
    async with connect(server.url, token=server.token("alice")) as alice:
        room = await alice.create_conversation(["bob"])
        async with connect(server.url, token=server.token("bob")) as bob:
            await alice.send(room.id, "seen")
            await take(bob.events(), 1)
            cursor, epoch = bob.cursor, bob.epoch
        missed = [await alice.send(room.id, f"missed {number}") for number in range(3)]
        await alice.delete(missed[1].id)
        server.kill()
        server.restart()
        async with connect(
            server.url, token=server.token("bob"), cursor=cursor, epoch=epoch
        ) as bob:
            events = await take(bob.events(), 4)
            assert [one.type for one in events] == ["message.new"] * 3 + ["message.deleted"]
            assert events[1].message.content == ""
        async with connect(server.url, token=server.token("bob"), cursor=cursor, epoch="x") as bob:
            [gap] = await take(bob.events(), 1)
            assert gap.type == "gap"


async def test_the_event_log_reaches_who_was_away(server: Server) -> None:
    backend = Rest(server.url, token=server.token("billing", roles=["service"]))
    reader = {"token": server.token("alice"), "client_id": "phone"}
    async with backend:
        first = await backend.publish_event("invoice.paid", {"number": 1}, user_id="alice")
        async with EventLog(server.url, cursor=first.cursor - 1, **reader) as log:  # type: ignore[arg-type]
            [one] = await take(log.events(), 1)
            assert (one.type, one.payload, one.cursor) == (
                "invoice.paid",
                {"number": 1},
                first.cursor,
            )
            second = await backend.publish_event("invoice.paid", {"number": 2}, user_id="alice")
            [two] = await take(log.events(), 1)
            assert two.cursor == second.cursor
            log.ack()
            async with Rest(server.url, token=server.token("alice")) as alice:
                async with asyncio.timeout(PATIENCE):
                    while [d.cursor for d in await alice.devices()] != [second.cursor]:
                        pass
        third = await backend.publish_event(
            "invoice.paid", {"number": 3}, user_id="alice", idempotency_key="three"
        )
        assert third == await backend.publish_event(
            "invoice.paid", {"number": 3}, user_id="alice", idempotency_key="three"
        )
        server.kill()
        server.restart()
        async with EventLog(server.url, **reader) as log:  # type: ignore[arg-type]
            [three] = await take(log.events(), 1)
            assert three.cursor == third.cursor
        async with Rest(server.url, token=server.token("alice")) as alice:
            logged = [one async for one in alice.logged_events(cursor=first.cursor - 1, limit=1)]
            assert [one.payload["number"] for one in logged] == [1, 2, 3]
