"""What an index holds, read with straight SQL: each message in it, and what it stands under."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, text

from madang.ports.search import SearchIndex
from madang.services.search.following import entry_of
from madang.store.postings import BLOCK, numbers_of
from madang.store.sql_store import Scope
from tests.search.conftest import ORG, Archive


def _standing(connection: Connection) -> dict[str, frozenset[str]]:
    where = "WHERE org_id = :org AND generation = (SELECT generation FROM search_indexes "
    where += "WHERE org_id = :org AND state = 'serving')"
    names: dict[int, str] = {}
    for number, message_id in connection.execute(
        text(f"SELECT number, message_id FROM search_entries {where}"), {"org": ORG}
    ):
        names[number] = message_id
    assert len(set(names.values())) == len(names), "a message has two numbers"
    found: defaultdict[str, set[str]] = defaultdict(set)
    for block, term, documents in connection.execute(
        text(f"SELECT block, term, documents FROM search_postings {where}"), {"org": ORG}
    ):
        numbers = numbers_of(documents)
        assert numbers, f"{term!r} stands for nothing"
        assert len(set(numbers)) == len(numbers), f"{term!r} names a message twice"
        for number in numbers:
            found[names[block * BLOCK + number]].add(term)
    return {message_id: frozenset(found[message_id]) for message_id in names.values()}


async def standing(archive: Archive) -> dict[str, frozenset[str]]:
    """Every message in the index that serves, and all it stands under."""
    return await archive.store.read(Scope(ORG), _standing)


async def should_stand(index: SearchIndex) -> dict[str, frozenset[str]]:
    """The same, of the messages as they are now."""
    found: dict[str, frozenset[str]] = {}
    cursor = 0
    while True:
        page = await index.log_page(ORG, cursor, 1_000_000)
        found |= {said.id: entry_of(said).terms for said in page.said}
        if page.cursor == cursor or not page.events:
            return found
        cursor = page.cursor
