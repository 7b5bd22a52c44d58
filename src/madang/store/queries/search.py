"""Asking the index: candidates for a search, newest first, and the messages that were found.

Blocks are looked into from the newest on, four times as many each time, and no further than it
takes: a word that stands in every other message costs as much as one in a thousand. Numbers of a
block are the bits of an integer, so that what stands under several terms is an `&`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Connection, select

from madang.model.nouns import Message
from madang.ports.search import (
    LONGEST_TEXT,
    Behind,
    Candidate,
    Candidates,
    Index,
    LogPage,
    Said,
    Wanted,
    place_term,
)
from madang.store import rows
from madang.store.indexing import index_of
from madang.store.postings import BLOCK, descending, mask_of, union_of
from madang.store.queries import events
from madang.store.queries.conversations import memberships
from madang.store.queries.reading import (
    MESSAGE,
    NO_LIMIT,
    Row,
    fetch,
    rows_query,
    values,
    values_query,
)
from madang.store.tables import orgs, search_indexes

MOST_BLOCKS = 64
"""Blocks looked into with one query."""
MOST_READ = 2000
"""Messages read for one page at most, whoever may see them."""
MOST_CHARACTERS = 8 * 1024 * 1024
"""Of all the messages read for one look, about: they are in memory together."""
AT_ONCE = 200
"""Messages read with one query."""
FEW = 400
"""So few candidates are simply read, and those the user may not see left out."""
_PER_PLACE = 4
"""As many look-ups of where the user is are worth reading one message less."""

_ALL = (1 << BLOCK) - 1

_SERVING = rows_query(
    "i.generation, i.documents",
    "FROM search_indexes AS i WHERE i.org_id = :org AND i.state = 'serving' LIMIT 1",
)
_BLOCKS = rows_query(
    "b.block",
    "FROM search_blocks AS b WHERE b.org_id = :org AND b.generation = :generation "
    "AND b.block <= :newest AND b.last_at >= :after AND b.first_at < :before "
    "ORDER BY b.block DESC LIMIT -1",
)
# As a value of each row, and not joined: so that PostgreSQL looks them up one by one, and never
# reads a whole org for what it believes to be few rows. The limits say nothing; they keep it so.
_POSTINGS = values_query(
    "SELECT x.block, x.term, x.documents FROM (SELECT b.value AS block, t.value AS term, ("
    "SELECT s.documents FROM search_postings AS s WHERE s.org_id = :org "
    "AND s.generation = :generation AND s.block = b.value AND s.term = t.value) AS documents "
    "FROM NUMBERS(:blocks) AS b CROSS JOIN EACH(:terms) AS t LIMIT -1 OFFSET 0) AS x "
    "WHERE x.documents IS NOT NULL",
    lists=["blocks", "terms"],
)
_MAY_SEARCH = "(c.kind IN ('direct', 'group', 'agent') OR (c.kind = 'live' AND p.role = 'admin'))"
_SEEN = (
    "EXISTS (SELECT 1 FROM participants AS p JOIN conversations AS c ON c.id = p.conversation_id "
    "WHERE p.conversation_id = {conversation} AND p.user_id = :user "
    f"AND (p.org_id = :org) IS TRUE AND {_MAY_SEARCH} LIMIT -1 OFFSET 0)"
)
_LIVING = (
    "(m.org_id = :org) IS TRUE AND m.deleted_at IS NULL "
    f"AND {_SEEN.format(conversation='m.conversation_id')}"
)
_CANDIDATES = rows_query(
    "s.number, m.id, m.conversation_id, m.sender_id, m.content, m.attachments, m.created_at",
    "FROM w THEN JOIN search_entries AS s "
    "ON s.org_id = w.org_id AND s.generation = w.generation AND s.number = w.number "
    f"THEN JOIN messages AS m ON m.id = s.message_id WHERE {_LIVING} "
    "AND m.created_at >= :after AND m.created_at < :before",
    before="WITH w (org_id, generation, number) AS MATERIALIZED ("
    "SELECT CAST(:org AS text), CAST(:generation AS bigint), n.value "
    "FROM NUMBERS(:numbers) AS n) ",
    lists=["numbers"],
)
_FOUND = rows_query(
    MESSAGE,
    f"FROM EACH(:ids) AS i THEN JOIN messages AS m ON m.id = i.value WHERE {_LIVING}",
    lists=["ids"],
)
_PLACES = rows_query(
    "i.value", f"FROM EACH(:ids) AS i WHERE {_SEEN.format(conversation='i.value')}", lists=["ids"]
)


def candidates(
    connection: Connection, org_id: str, user_id: str, wanted: Wanted, most: int
) -> Candidates | None:
    """See `ports.search`."""
    serving = fetch(connection, _SERVING, org=org_id)
    if not serving:
        return None
    generation, documents = serving[0]
    newest = documents - 1 if wanted.newest is None else min(wanted.newest, documents - 1)
    look = _Look(connection, org_id, user_id, generation, newest, wanted)
    return Candidates(generation, newest, look.find(most), look.items)


class _Look:
    """One look for candidates."""

    def __init__(
        self,
        connection: Connection,
        org_id: str,
        user_id: str,
        generation: int,
        newest: int,
        wanted: Wanted,
    ) -> None:
        self._connection = connection
        self._where = {"org": org_id, "generation": generation}
        self._user_id = user_id
        self._newest = newest
        self._wanted = wanted
        self._after = -NO_LIMIT if wanted.after is None else wanted.after
        self._before = NO_LIMIT if wanted.before is None else wanted.before
        self._places: list[str] | None = None
        self._read = self._characters = 0
        self.items: list[Candidate] = []

    def find(self, most: int) -> int:
        """Look until there are `most`, or it has cost as much as it may; the number down to which
        all are there."""
        blocks = [
            row[0]
            for row in fetch(
                self._connection,
                _BLOCKS,
                **self._where,
                newest=self._newest // BLOCK,
                after=self._after,
                before=self._before,
            )
        ]
        at, take = 0, 1
        while at < len(blocks):
            masks = self._masks(blocks[at : at + take])
            at, take = at + take, min(4 * take, MOST_BLOCKS)
            enough = 2 * most
            while masks:
                numbers = self._numbers(_newest(masks, enough))
                enough *= 2
                while numbers:
                    missing = max(most - len(self.items), FEW // 4)
                    size = min(MOST_READ - self._read, missing, AT_ONCE)
                    looked_at, numbers = numbers[:size], numbers[size:]
                    self._take(looked_at)
                    if len(self.items) >= most or self._has_cost_enough():
                        return self._oldest(looked_at[-1], most)
        return 0

    def _has_cost_enough(self) -> bool:
        return self._read >= MOST_READ or self._characters >= MOST_CHARACTERS

    def _oldest(self, looked_at: int, most: int) -> int:
        if len(self.items) > most:
            del self.items[most:]
            return self.items[-1].number
        return looked_at

    def _numbers(self, masks: dict[int, int]) -> list[int]:
        """What may answer in these blocks, newest first."""
        count = sum(mask.bit_count() for mask in masks.values())
        if count > FEW and not any(self._wanted.any_of):
            masks = self._where_the_user_is(masks, count)
        return list(
            islice(
                (
                    block * BLOCK + number
                    for block in sorted(masks, reverse=True)
                    for number in descending(masks[block])
                ),
                # None of a round is left behind but by the limit, which ends the look.
                MOST_READ,
            )
        )

    def _masks(self, blocks: Sequence[int]) -> dict[int, int]:
        wanted = self._wanted
        asked = {*wanted.terms, *wanted.without, *(t for each in wanted.any_of for t in each)}
        under = self._under(blocks, asked) if asked else {}
        masks = {}
        for block in blocks:
            found = under.get(block, {})
            mask = _ALL
            for term in wanted.terms:
                mask &= found.get(term, 0)
            for group in wanted.any_of:
                mask &= _union(found.get(term, 0) for term in group)
            for term in wanted.without:
                mask &= ~found.get(term, 0)
            if block == self._newest // BLOCK:
                mask &= (1 << (self._newest % BLOCK + 1)) - 1
            if mask:
                masks[block] = mask
        return masks

    def _under(self, blocks: Sequence[int], terms: Iterable[str]) -> dict[int, dict[str, int]]:
        """By block and term, what stands under it."""
        found: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for block, term, documents in values(
            self._connection, _POSTINGS, **self._where, blocks=list(blocks), terms=list(terms)
        ):
            found[block][term] = mask_of(documents)
        return found

    def _where_the_user_is(self, masks: Mapping[int, int], count: int) -> dict[int, int]:
        """Leave out what stands in conversations of others, where that costs less than to read
        it."""
        if self._places is None:
            org_id, user_id = self._where["org"], self._user_id
            found = memberships(self._connection, str(org_id), [user_id])
            self._places = [place_term(each) for each in found[user_id]]
        if len(self._places) * len(masks) > _PER_PLACE * min(count, MOST_READ):
            return dict(masks)
        under: defaultdict[int, list[bytes]] = defaultdict(list)
        for block, _, documents in values(
            self._connection, _POSTINGS, **self._where, blocks=sorted(masks), terms=self._places
        ):
            under[block].append(documents)
        seen = {block: mask & union_of(under[block]) for block, mask in masks.items()}
        return {block: mask for block, mask in seen.items() if mask}

    def _take(self, numbers: Sequence[int]) -> None:
        self._read += len(numbers)
        found = fetch(
            self._connection,
            _CANDIDATES,
            **self._where,
            numbers=list(numbers),
            user=self._user_id,
            after=self._after,
            before=self._before,
        )
        found.sort(key=itemgetter(0), reverse=True)
        self._characters += sum(len(row[4]) for row in found)
        self.items += (
            Candidate(row[0], row[1], row[2], row[3], row[4], _attachments(row[5]), row[6])
            for row in found
        )


def _newest(masks: dict[int, int], enough: int) -> dict[int, int]:
    """Take out of them the newest blocks, as many as hold so many candidates."""
    taken: dict[int, int] = {}
    for block in sorted(masks, reverse=True):
        if enough <= 0:
            break
        taken[block] = masks.pop(block)
        enough -= taken[block].bit_count()
    return taken


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


def _attachments(text: str) -> tuple[Mapping[str, Any], ...]:
    return () if text == "[]" else tuple(orjson.loads(text))


def found(
    connection: Connection, org_id: str, user_id: str, message_ids: Sequence[str]
) -> dict[str, Message]:
    """See `ports.search`."""
    seen = fetch(connection, _FOUND, org=org_id, user=user_id, ids=list(message_ids))
    return {row[0]: rows.message_of(row, row[-1]) for row in seen}


def may_search(
    connection: Connection, org_id: str, user_id: str, conversation_ids: Sequence[str]
) -> bool:
    """See `ports.search`."""
    asked = set(conversation_ids)
    seen = fetch(connection, _PLACES, org=org_id, user=user_id, ids=sorted(asked))
    return {row[0] for row in seen} == asked


_BEHIND = rows_query(
    "o.id, i.generation, coalesce(i.cursor, 0), o.last_cursor",
    "FROM orgs AS o LEFT JOIN search_indexes AS i ON i.org_id = o.id AND i.state = 'serving' "
    "WHERE o.last_cursor > coalesce(i.cursor, 0) LIMIT :most",
)
_OF_ORG = select(search_indexes).order_by(search_indexes.c.generation)


def behind(connection: Connection, most: int) -> list[Behind]:
    """See `ports.search`."""
    return [Behind(*row) for row in fetch(connection, _BEHIND, most=most)]


def indexes(connection: Connection, org_id: str) -> list[Index]:
    """See `ports.search`."""
    return [
        index_of(row)
        for row in connection.execute(_OF_ORG.where(search_indexes.c.org_id == org_id))
    ]


def to_sweep(connection: Connection, abandoned: int) -> list[str]:
    """See `ports.search`."""
    index = search_indexes.c
    is_abandoned = (index.state == "building") & (index.updated_at < abandoned)
    found = select(index.org_id).where((index.state == "old") | is_abandoned).distinct()
    return list(connection.execute(found.order_by(index.org_id)).scalars())


def heads(connection: Connection) -> dict[str, int]:
    """The head of every org's log."""
    return {row[0]: row[1] for row in connection.execute(select(orgs.c.id, orgs.c.last_cursor))}


MOST_PAGE_CHARACTERS = 256 * 1024
"""Characters of the texts of a page of the log, about: so many take an indexer a second at most,
and then other orgs have their turn."""
FIRST_READ, MOST_EVENTS = 32, 256
"""Events read with one query: before it is known how long the texts are, and at most, so that those
which lie beyond the page are few, whatever they hold."""

# Reading and reacting change nothing that a message is found by.
_LOG = rows_query(
    "e.cursor, m.id, m.conversation_id, m.sender_id, "
    f"substr(m.content, 1, {LONGEST_TEXT}), m.attachments, m.created_at, "
    "CASE WHEN m.deleted_at IS NULL AND c.kind <> 'inbox' THEN 1 ELSE 0 END, "
    "CASE WHEN e.type = 'room.erased' THEN e.conversation_id END",
    "FROM events AS e LEFT JOIN messages AS m ON m.id = e.message_id "
    "AND e.type NOT IN ('message.read', 'reaction.added', 'reaction.removed') "
    "LEFT JOIN conversations AS c ON c.id = m.conversation_id "
    "WHERE e.org_id = :org AND e.cursor > :after ORDER BY e.cursor LIMIT :limit",
)


def log_page(connection: Connection, org_id: str, after: int, limit: int) -> LogPage:
    """See `ports.search`."""
    read, is_last = _read_log(connection, org_id, after, limit)
    # The end of the log may lie beyond its last event, after a new epoch.
    end = events.head(connection, org_id) if is_last else read[-1][0]
    # A message told of twice is read twice, and the same.
    told = {row[1]: row for row in read if row[1] is not None}
    said = [
        Said(row[1], row[2], row[3], row[4], _attachments(row[5]), row[6])
        for row in told.values()
        if row[7]
    ]
    gone = [row[1] for row in told.values() if not row[7]]
    erased = [row[8] for row in read if row[8] is not None]
    return LogPage(said, gone, max(end, after), len(read), is_last, erased)


def _read_log(
    connection: Connection, org_id: str, after: int, limit: int
) -> tuple[list[Row], bool]:
    """The rows of a page, and whether there are no more."""
    page: list[Row] = []
    characters, size = 0, FIRST_READ
    while True:
        size = min(size, limit - len(page))
        read = fetch(connection, _LOG, org=org_id, after=after, limit=size)
        for row in read:
            page.append(row)
            characters += len(row[4] or "")
            if characters >= MOST_PAGE_CHARACTERS:
                return page, False
        if len(read) < size:
            return page, True
        if len(page) >= limit:
            return page, False
        after = read[-1][0]
        # As many as will fill it, if they are like those before.
        left = MOST_PAGE_CHARACTERS - characters
        size = min(MOST_EVENTS, 1 + left * len(page) // max(characters, 1))
