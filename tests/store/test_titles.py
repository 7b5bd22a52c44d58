"""A session's title and the message that it was made of, on every database: nothing of it stays."""

from __future__ import annotations

import asyncio

from sqlalchemy import Connection, text

from madang.services.messages import DeleteMessage, Done, EditMessage, SendMessage
from madang.services.sessions import CreateSession
from madang.store.opening import open_store
from madang.store.scope import Scope
from madang.store.writer import GroupWriter
from tests.conftest import eventually
from tests.store.conftest import AnyStore, SteppedClock, on_disk

ORG = "default"
PATIENCE = 20.0


async def opened(writer: GroupWriter) -> str:
    created = await writer.write(CreateSession(ORG, "ann", "bot", answers="mentioned"))
    return str(created.conversation.id)


async def say(writer: GroupWriter, room: str, content: str) -> str:
    done: Done = await writer.write(SendMessage(ORG, room, "ann", content))
    return done.message.id


async def title(store: AnyStore, room: str) -> tuple[str | None, str | None]:
    """It, and the message that it was made of."""
    seen = await store.session(ORG, room, "ann")
    assert seen is not None
    return seen.view.conversation.title, seen.session.titled_by


async def test_changes_of_one_commit_see_each_other(store: AnyStore, writer: GroupWriter) -> None:
    room = await opened(writer)
    ids = [await say(writer, room, text) for text in ("one", "two", "three", " ", "five")]
    assert await title(store, room) == ("one", ids[0])
    await asyncio.gather(
        writer.write(DeleteMessage(ORG, ids[1], "ann")),
        writer.write(DeleteMessage(ORG, ids[2], "ann")),
        writer.write(DeleteMessage(ORG, ids[0], "ann")),
    )
    assert await title(store, room) == ("five", ids[4])
    sent, _ = await asyncio.gather(
        writer.write(SendMessage(ORG, room, "ann", "six")),
        writer.write(DeleteMessage(ORG, ids[4], "ann")),
    )
    assert await title(store, room) == ("six", sent.message.id)
    # What is edited to a blank has no first line, and the next one is taken.
    later = await say(writer, room, "seven")
    await writer.write(EditMessage(ORG, sent.message.id, "ann", " \n "))
    assert await title(store, room) == ("seven", later)
    await asyncio.gather(
        writer.write(EditMessage(ORG, later, "ann", "x" * 100)),
        writer.write(DeleteMessage(ORG, later, "ann")),
    )
    assert await title(store, room) == (None, None)


async def test_what_agents_say_gives_no_title(store: AnyStore, writer: GroupWriter) -> None:
    room = await opened(writer)
    first = await say(writer, room, "one")
    await writer.write(SendMessage(ORG, room, "bot", "an answer", "agent"))
    await writer.write(DeleteMessage(ORG, first, "ann"))
    assert await title(store, room) == (None, None)


def rows(connection: Connection) -> str:
    """All rows of the tables that hold words, as text."""
    tables = ("conversations", "sessions", "messages", "events", "runs")
    return "".join(str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in tables)


async def test_it_is_in_no_row(store: AnyStore, writer: GroupWriter) -> None:
    room = await opened(writer)
    first = await say(writer, room, "nobody may read this any more")
    # The message, and the title.
    assert (await store.read(Scope(ORG), rows)).count("nobody may read this") == 2
    await writer.write(DeleteMessage(ORG, first, "ann"))
    assert "nobody may" not in await store.read(Scope(ORG), rows)


async def test_it_leaves_the_disk_soon(sqlite_url: str, clock: SteppedClock) -> None:
    store = open_store(sqlite_url, clock)
    writer = GroupWriter(store, clock, lambda batch: None)
    room = await opened(writer)
    first = await say(writer, room, "nobody may read this any more")
    assert on_disk(sqlite_url, b"nobody may read this")
    await writer.write(EditMessage(ORG, first, "ann", "nor this that came then"))
    await eventually(lambda: not on_disk(sqlite_url, b"nobody may read this"), PATIENCE)
    assert on_disk(sqlite_url, b"nor this that came")
    await writer.write(DeleteMessage(ORG, first, "ann"))
    await eventually(lambda: not on_disk(sqlite_url, b"nor this that came"), PATIENCE)
    await writer.close()
    await store.close()
