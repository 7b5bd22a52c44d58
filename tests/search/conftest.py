"""An index on a database of each kind, with everything that is said followed at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from madang.bus.memory import MemoryBus
from madang.clock import SystemClock
from madang.model.identity import Identity
from madang.model.nouns import File, Message
from madang.services.conversations import AddParticipants, CreateConversation, RemoveParticipant
from madang.services.files import AdvanceUpload, BeginUpload, FinishUpload
from madang.services.limits import RateLimit
from madang.services.messages import DeleteMessage, EditMessage, SendMessage
from madang.services.search.following import Follower
from madang.services.search.searching import Result, Search
from madang.store import migrate
from madang.store.opening import open_store
from madang.store.postgresql import PostgresStore
from madang.store.search import SqlSearchIndex
from madang.store.sqlite import SqliteStore
from madang.store.writer import GroupWriter
from tests.postgres import Postgres

ORG = "default"
KEEP = 3600 * 1_000_000
"""Microseconds that an unsent file is kept."""


class MovingClock(SystemClock):
    """The time of day is what a test says."""

    def __init__(self) -> None:
        self.time = 1_790_000_000_000_000

    def now(self) -> int:
        return self.time


@dataclass
class Archive:
    """A database with its index, and what tests do with them."""

    store: SqliteStore | PostgresStore
    clock: MovingClock
    writer: GroupWriter
    index: SqlSearchIndex
    follower: Follower
    search: Search

    async def room(self, creator: str, *others: str, org: str = ORG) -> str:
        write = CreateConversation(org, creator, "group", others, "Room")
        return str((await self.writer.write(write)).view.conversation.id)

    async def say(
        self,
        sender: str,
        room: str,
        content: str,
        *,
        files: tuple[str, ...] = (),
        org: str = ORG,
        **more: Any,
    ) -> Message:
        attachments: tuple[Mapping[str, Any], ...] = tuple(
            [{"file_id": await self.file(sender, room, name, org)} for name in files]
        )
        write = SendMessage(org, room, sender, content, attachments=attachments, **more)
        self.clock.time += 1000
        message: Message = (await self.writer.write(write)).message
        return message

    async def file(self, owner: str, room: str, name: str, org: str = ORG) -> str:
        """The id of a file of this name that was uploaded and is not sent."""
        begun: File = await self.writer.write(BeginUpload(org, room, owner, name, 1, {}, KEEP))
        await self.writer.write(AdvanceUpload(org, begun.id, owner, 0, 1, KEEP))
        await self.writer.write(FinishUpload(org, begun.id, owner, "application/pdf", None, KEEP))
        return begun.id

    async def say_many(self, room: str, said: Sequence[tuple[str, str]]) -> list[Message]:
        """(sender, text) each, in this order."""
        sent: list[Message] = []
        for start in range(0, len(said), 5000):
            part = said[start : start + 5000]
            done = await asyncio.gather(
                *(self.writer.write(SendMessage(ORG, room, who, text)) for who, text in part)
            )
            sent += (each.message for each in done)
        return sent

    async def edit(self, message: Message, content: str) -> None:
        write = EditMessage(message.org_id, message.id, message.sender_id, content)
        await self.writer.write(write)

    async def delete(self, message: Message) -> None:
        await self.writer.write(DeleteMessage(message.org_id, message.id, message.sender_id))

    async def invite(self, admin: str, room: str, user: str, org: str = ORG) -> None:
        await self.writer.write(AddParticipants(org, room, admin, (user,), "member"))

    async def remove(self, admin: str, room: str, user: str, org: str = ORG) -> None:
        await self.writer.write(RemoveParticipant(org, room, admin, user))

    async def results(
        self, user: str, text: str, *, org: str = ORG, limit: int = 100, **more: Any
    ) -> list[Result]:
        """All answers, of all pages."""
        caller = identity(user, org)
        found: list[Result] = []
        cursor: str | None = None
        while True:
            page = await self.search.find(caller, text, limit=limit, cursor=cursor, **more)
            found += page.results
            cursor = page.next
            if cursor is None:
                return found

    async def found(self, user: str, text: str, **more: Any) -> list[str]:
        """What all answers say."""
        return [result.message.content for result in await self.results(user, text, **more)]


def identity(user: str, org: str = ORG) -> Identity:
    return Identity(user, org, None, None, frozenset(), 2**40)


def archive_on(url: str, clock: MovingClock) -> Archive:
    store = open_store(url, clock)
    index = SqlSearchIndex(store, clock)
    return Archive(
        store,
        clock,
        GroupWriter(store, clock, lambda batch: None),
        index,
        Follower(index, MemoryBus(clock).end(), clock),
        Search(index, clock, RateLimit(None), seconds=30),
    )


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'madang.db'}"
    migrate.upgrade(url)
    return url


@pytest.fixture
def postgresql_urls(postgres: Postgres) -> Iterator[tuple[str, str]]:
    """(the owner's, a server's)"""
    urls = postgres.fresh_database()
    yield urls
    postgres.drop(urls[0])


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgresql_urls")[1])


@pytest.fixture
async def archive(url: str, clock: MovingClock) -> AsyncIterator[Archive]:
    opened = archive_on(url, clock)
    yield opened
    await opened.writer.close()
    await opened.store.close()
