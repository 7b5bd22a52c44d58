"""Keeping the index of what was said: each function is one transaction's work, and moves the
cursor of its generation together with the rows, so that wherever it ends nothing is missed or
doubled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from madang.ports.search import Entry, Index, IndexState, place_term
from madang.store import bulk
from madang.store.postings import (
    BLOCK,
    LONGEST_LIST,
    as_bits,
    changed,
    listed,
    mask_of,
    numbers_of,
)
from madang.store.queries.reading import fetch, rows_query, values, values_query
from madang.store.tables import (
    orgs,
    search_blocks,
    search_entries,
    search_indexes,
    search_postings,
)

_LOCK_ORG = select(orgs.c.id).where(orgs.c.id == bindparam("org")).with_for_update()
_OF_ORG = select(search_indexes).where(search_indexes.c.org_id == bindparam("org"))
_LOCK_INDEX = _OF_ORG.where(search_indexes.c.generation == bindparam("number")).with_for_update()
_NUMBERS = rows_query(
    "s.message_id, s.number",
    "FROM w THEN JOIN search_entries AS s "
    "ON s.message_id = w.id AND s.generation = w.generation AND (s.org_id = :org) IS TRUE",
    before="WITH w (id, generation) AS MATERIALIZED ("
    "SELECT i.value, CAST(:generation AS bigint) FROM EACH(:ids) AS i) ",
    lists=["ids"],
)
_IN_BLOCK = "WHERE s.org_id = :org AND s.generation = :generation AND s.block = :block"
_POSTINGS_OF_BLOCK = values_query(
    f"SELECT s.term, s.documents FROM search_postings AS s {_IN_BLOCK}"
)
# Looked up one by one, as a search does.
_UNDER_TERMS = values_query(
    "SELECT x.block, x.documents FROM (SELECT b.value AS block, ("
    "SELECT s.documents FROM search_postings AS s WHERE s.org_id = :org "
    "AND s.generation = :generation AND s.block = b.value AND s.term = t.value) AS documents "
    "FROM NUMBERS(:blocks) AS b CROSS JOIN EACH(:terms) AS t LIMIT -1 OFFSET 0) AS x "
    "WHERE x.documents IS NOT NULL",
    lists=["blocks", "terms"],
)
_LONG_LISTS = values_query(
    f"SELECT s.term, s.documents FROM search_postings AS s {_IN_BLOCK} "
    "AND length(s.documents) > :longest"
)
_ADD_TO_LIST = "ON CONFLICT (org_id, generation, block, term) DO UPDATE SET documents = {added}"
_ADDED = {
    # SQLite joins bytes, and calls them text.
    "sqlite": _ADD_TO_LIST.format(
        added="CAST(search_postings.documents || excluded.documents AS BLOB)"
    ),
    "postgresql": _ADD_TO_LIST.format(added="search_postings.documents || excluded.documents"),
}
_WIDEN = {
    name: "ON CONFLICT (org_id, generation, block) DO UPDATE SET "
    f"first_at = {least}(search_blocks.first_at, excluded.first_at), "
    f"last_at = {most}(search_blocks.last_at, excluded.last_at)"
    for name, least, most in (("sqlite", "min", "max"), ("postgresql", "least", "greatest"))
}
_KEY = ("org_id", "generation", "block", "term")


def index_of(row: Sequence[Any]) -> Index:
    """A generation from its row."""
    return Index(row[0], row[1], row[2], row[3], row[4], row[5])


def begin(connection: Connection, org_id: str, state: IndexState, now: int) -> Index:
    """See `ports.search`. The org's lock keeps two who begin apart."""
    connection.execute(_LOCK_ORG, {"org": org_id})
    found = [index_of(row) for row in connection.execute(_OF_ORG, {"org": org_id})]
    if state == "serving":
        for index in found:
            if index.state == "serving":
                return index
    made = Index(
        org_id, max((index.generation for index in found), default=0) + 1, state, 0, 0, now
    )
    if state == "building":
        _set_state(connection, org_id, "building", "old")
    connection.execute(
        insert(search_indexes).values(
            org_id=org_id,
            generation=made.generation,
            state=state,
            cursor=0,
            documents=0,
            updated_at=now,
        )
    )
    return made


def _set_state(connection: Connection, org_id: str, before: IndexState, after: IndexState) -> None:
    connection.execute(
        update(search_indexes)
        .where(search_indexes.c.org_id == org_id, search_indexes.c.state == before)
        .values(state=after)
    )


def _one(org_id: str, generation: int) -> tuple[Any, ...]:
    return (search_indexes.c.org_id == org_id, search_indexes.c.generation == generation)


def serve(connection: Connection, org_id: str, generation: int, now: int) -> bool:
    """See `ports.search`."""
    connection.execute(_LOCK_ORG, {"org": org_id})
    row = connection.execute(_LOCK_INDEX, {"org": org_id, "number": generation}).one_or_none()
    if row is None or index_of(row).state == "old":
        return False
    if index_of(row).state == "serving":
        return True
    _set_state(connection, org_id, "serving", "old")
    connection.execute(
        update(search_indexes)
        .where(*_one(org_id, generation))
        .values(state="serving", updated_at=now)
    )
    return True


class _Block:
    """What a transaction adds to a block: numbers within it by their terms."""

    __slots__ = ("added", "first_at", "last_at")

    def __init__(self) -> None:
        self.added: defaultdict[str, list[int]] = defaultdict(list)
        self.first_at = 2**63 - 1
        self.last_at = 0


def add(
    connection: Connection,
    org_id: str,
    generation: int,
    after: int,
    cursor: int,
    entries: Sequence[Entry],
    gone: Sequence[str],
    erased: Sequence[str],
    now: int,
) -> bool:
    """See `ports.search`."""
    row = connection.execute(_LOCK_INDEX, {"org": org_id, "number": generation}).one_or_none()
    if row is None:
        return False
    index = index_of(row)
    if index.cursor != after or index.state == "old":
        return False
    ids = [*(entry.message_id for entry in entries), *gone]
    known: dict[str, int] = {
        row[0]: row[1]
        for row in fetch(connection, _NUMBERS, ids=ids, generation=generation, org=org_id)
    }
    blocks: defaultdict[int, _Block] = defaultdict(_Block)
    # By block: the terms each number shall stand under from now on.
    now_under: defaultdict[int, dict[int, AbstractSet[str]]] = defaultdict(dict)
    new: list[tuple[Any, ...]] = []
    number = index.documents
    for entry in entries:
        if entry.message_id in known:
            block, place = divmod(known[entry.message_id], BLOCK)
            now_under[block][place] = entry.terms
            continue
        number_in, place = divmod(number, BLOCK)
        to = blocks[number_in]
        for term in entry.terms:
            to.added[term].append(place)
        to.first_at = min(to.first_at, entry.created_at)
        to.last_at = max(to.last_at, entry.created_at)
        new.append((org_id, generation, number, entry.message_id))
        number += 1
    left = [(message_id, generation) for message_id in gone if message_id in known]
    for message_id, _ in left:
        block, place = divmod(known[message_id], BLOCK)
        now_under[block][place] = frozenset()
    erased_numbers = _of_conversations(connection, index, erased)
    for each in erased_numbers:
        now_under[each // BLOCK][each % BLOCK] = frozenset()

    bulk.insert(connection, search_entries, new)
    bulk.delete(connection, search_entries, ("message_id", "generation"), left)
    numbered = ("org_id", "generation", "number")
    bulk.delete(
        connection,
        search_entries,
        numbered,
        [(org_id, generation, each) for each in erased_numbers],
    )
    _append(connection, org_id, generation, blocks)
    for block, under in now_under.items():
        _rewrite(connection, org_id, generation, block, under)
    for block in range(index.documents // BLOCK, number // BLOCK):
        _pack(connection, org_id, generation, block)
    connection.execute(
        update(search_indexes)
        .where(*_one(org_id, generation))
        .values(cursor=cursor, documents=number, updated_at=now)
    )
    return True


def _of_conversations(
    connection: Connection, index: Index, conversation_ids: Sequence[str]
) -> list[int]:
    """The numbers of all that was said there: it stands under the place's term, and nothing else
    names it any more."""
    if not conversation_ids:
        return []
    found = values(
        connection,
        _UNDER_TERMS,
        org=index.org_id,
        generation=index.generation,
        blocks=list(range(index.documents // BLOCK + 1)),
        terms=[place_term(each) for each in conversation_ids],
    )
    return [block * BLOCK + place for block, documents in found for place in numbers_of(documents)]


def _append(
    connection: Connection, org_id: str, generation: int, blocks: Mapping[int, _Block]
) -> None:
    """New numbers to the ends of their lists, without reading any."""
    dialect = connection.dialect.name
    bulk.insert(
        connection,
        search_blocks,
        [(org_id, generation, block, to.first_at, to.last_at) for block, to in blocks.items()],
        _WIDEN[dialect],
    )
    bulk.insert(
        connection,
        search_postings,
        [
            (org_id, generation, block, term, listed(places))
            for block, to in blocks.items()
            # In the order of the index: a page is written once.
            for term, places in sorted(to.added.items())
        ],
        _ADDED[dialect],
    )


def _rewrite(
    connection: Connection,
    org_id: str,
    generation: int,
    block: int,
    now_under: Mapping[int, AbstractSet[str]],
) -> None:
    """Messages that were changed, under the terms they have now and no others.

    What they stood under is kept nowhere, so the whole block is looked through: nothing is left
    behind, whatever cut their text then.
    """
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for number, terms in now_under.items():
        for term in terms:
            wanted[term].add(number)
    numbers = frozenset(now_under)
    where = (org_id, generation, block)
    saved: list[tuple[Any, ...]] = []
    emptied: list[tuple[Any, ...]] = []
    found = values(connection, _POSTINGS_OF_BLOCK, org=org_id, generation=generation, block=block)
    for term, documents in found:
        should = frozenset(wanted.pop(term, ()))
        has = numbers.intersection(numbers_of(documents))
        if has != should:
            left = changed(documents, has - should, should - has)
            if left:
                saved.append((*where, term, left))
            else:
                emptied.append((*where, term))
    bulk.update(connection, search_postings, _KEY, ("documents",), saved)
    bulk.delete(connection, search_postings, _KEY, emptied)
    added = [(*where, term, listed(sorted(places))) for term, places in wanted.items()]
    bulk.insert(connection, search_postings, added)


def _pack(connection: Connection, org_id: str, generation: int, block: int) -> None:
    """A full block's long lists as bits."""
    found = values(
        connection,
        _LONG_LISTS,
        org=org_id,
        generation=generation,
        block=block,
        longest=LONGEST_LIST,
    )
    packed = [
        (org_id, generation, block, term, as_bits(mask_of(documents)))
        for term, documents in found
        if len(documents) % 2 == 0
    ]
    bulk.update(connection, search_postings, _KEY, ("documents",), packed)


def sweep(connection: Connection, org_id: str, abandoned: int, most: int) -> bool:
    """See `ports.search`: the newest block of a generation nobody asks, `most` blocks a call."""
    for row in connection.execute(_OF_ORG, {"org": org_id}).all():
        index = index_of(row)
        if index.state == "old" or (index.state == "building" and index.updated_at < abandoned):
            _sweep(connection, index, most)
            return True
    return False


def _sweep(connection: Connection, index: Index, most: int) -> None:
    # Whoever still builds it finds it given up.
    connection.execute(
        update(search_indexes).where(*_one(index.org_id, index.generation)).values(state="old")
    )
    last = connection.execute(
        select(func.max(search_blocks.c.block)).where(
            search_blocks.c.org_id == index.org_id,
            search_blocks.c.generation == index.generation,
        )
    ).scalar()
    if last is None:
        connection.execute(delete(search_indexes).where(*_one(index.org_id, index.generation)))
        return
    for block in range(last, max(last - most, -1), -1):
        for table, key in _of_block(block):
            connection.execute(
                delete(table).where(
                    table.c.org_id == index.org_id, table.c.generation == index.generation, *key
                )
            )


def _of_block(block: int) -> Iterable[tuple[Any, tuple[Any, ...]]]:
    yield search_postings, (search_postings.c.block == block,)
    numbers = search_entries.c.number
    yield search_entries, (numbers >= block * BLOCK, numbers < (block + 1) * BLOCK)
    yield search_blocks, (search_blocks.c.block == block,)
