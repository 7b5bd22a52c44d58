"""Texts that are long, or made of nothing but different words, hold nobody up: of each only so much
is indexed, and only so many of them at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from madang.bus.memory import MemoryBus
from madang.model.analyzer import MAX_TERM, STRETCH, terms
from madang.ports.search import LONGEST_TEXT, Entry, Said
from madang.services.search.following import MOST_NAME_TERMS, MOST_TERMS, Follower, entry_of
from madang.store.queries.search import MOST_PAGE_CHARACTERS
from madang.store.search import SqlSearchIndex
from tests.search.conftest import ORG, Archive
from tests.search.standing import should_stand, standing

SYLLABLES = [chr(number) for number in range(0xAC00, 0xD7A4)]


def nonsense(dice: random.Random, size: int) -> str:
    """So many Korean characters, hardly a pair of which comes twice."""
    return "".join(dice.choices(SYLLABLES, k=size))


@pytest.mark.parametrize("size", [STRETCH - 1, STRETCH, STRETCH + 1, 3 * STRETCH + 7])
def test_nothing_is_lost_between_two_stretches(size: int) -> None:
    text = nonsense(random.Random(size), size)
    pairs = {text[at : at + 2] for at in range(size - 1)}
    assert terms(text) == set(text) | pairs
    # What may have too many is cut in stretches.
    assert terms(text, len(terms(text))) == terms(text)


def test_the_first_terms_count() -> None:
    korean = nonsense(random.Random(7), 20_000)
    english = " ".join(f"w{number:05}" for number in range(10_000))
    for text in (korean, english):
        found = terms(text, 1000)
        assert 1000 <= len(found) < 1000 + 2 * STRETCH + 2
        assert found < terms(text)
    assert korean[:2] in terms(korean, 1000) and korean[-2:] not in terms(korean, 1000)
    assert terms(english, 1000) == {f"w{number:05}" for number in range(1000)}
    assert terms("budget review", 1000) == {"budget", "review"}


def test_names_of_files_count_whatever_the_text_and_only_so_many() -> None:
    dice = random.Random(7)
    said = Said("m", "c", "ann", nonsense(dice, 60_000), ({"name": "budget.pdf"},), 0)
    assert {"budget", "pdf"} < entry_of(said).terms
    names = tuple({"name": nonsense(dice, 150)} for _ in range(400))
    said = Said("m", "c", "ann", "", names, 0)
    assert len(entry_of(said).terms) < MOST_NAME_TERMS + 2 * STRETCH + 10
    # One after the other they are no phrase.
    said = Said("m", "c", "ann", "", ({"name": "가"}, {"name": "나"}), 0)
    assert {"가", "나"} < entry_of(said).terms and "가나" not in entry_of(said).terms


async def test_a_page_of_the_log_holds_only_so_much_text(archive: Archive) -> None:
    room = await archive.room("ann")
    texts = ["short"] * 40 + [f"{number} " + "x" * LONGEST_TEXT for number in range(20)]
    texts += ["short"] * 40
    messages = await archive.say_many(room, [("ann", text) for text in texts])
    await archive.delete(messages[45])
    told: list[Said] = []
    gone: list[str] = []
    cursor = events = pages = 0
    while (page := await archive.index.log_page(ORG, cursor, 1000)).events:
        assert sum(len(said.content) for said in page.said) < MOST_PAGE_CHARACTERS + LONGEST_TEXT
        assert page.cursor > cursor
        told += page.said
        gone += page.gone
        cursor, events, pages = page.cursor, events + page.events, pages + 1
    assert pages > 4
    # One for the room, one for the deletion.
    assert events == len(texts) + 2
    assert [said.id for said in told] == [m.id for m in messages if m is not messages[45]]
    assert set(gone) == {messages[45].id}
    assert all(said.content == texts[n + (n >= 45)][:LONGEST_TEXT] for n, said in enumerate(told))
    for limit in (1, 31, 32, 33, 39):
        page = await archive.index.log_page(ORG, 0, limit)
        assert page.events == limit


class Noting(SqlSearchIndex):
    """Notes whose page is written, and how many terms with it."""

    def __init__(self, archive: Archive) -> None:
        super().__init__(archive.store, archive.clock)
        self.written: list[tuple[str, int]] = []

    async def add(
        self,
        org_id: str,
        generation: int,
        after: int,
        cursor: int,
        entries: Sequence[Entry],
        gone: Sequence[str],
        erased: Sequence[str] = (),
    ) -> bool:
        count = sum(len(entry.terms) for entry in entries)
        self.written.append((org_id, count))
        return await super().add(org_id, generation, after, cursor, entries, gone, erased)


async def test_a_flood_holds_up_nobody_for_long(archive: Archive) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    flooded = await archive.room("eve")
    await archive.say_many(flooded, [("eve", nonsense(dice, 20_000)) for _ in range(30)])
    here, elsewhere = await archive.room("ann"), await archive.room("ann", org="rival")
    await archive.say("ann", here, "zebracorn")
    await archive.say("ann", elsewhere, "zebracorn", org="rival")

    noting = Noting(archive)
    await Follower(noting, MemoryBus(archive.clock).end(), archive.clock).look()
    # In the same org: each of those before it costs only so much.
    assert sum(count for org, count in noting.written if org == ORG) < 31 * (MOST_TERMS + 600)
    # In another: its turn is after one page.
    page = MOST_PAGE_CHARACTERS // 20_000 + 1
    before = noting.written[: [org for org, _ in noting.written].index("rival")]
    assert sum(count for _, count in before) < (page + 1) * (MOST_TERMS + 600)
    for org in (ORG, "rival"):
        assert await archive.found("ann", "zebracorn", org=org) == ["zebracorn"]
    assert await standing(archive) == await should_stand(archive.index)


async def test_long_texts_are_found_by_their_beginnings(archive: Archive) -> None:
    room = await archive.room("ann")
    words = " ".join(f"w{number:05}" for number in range(MOST_TERMS + 500))
    text = f"zebracorn {words} quaggafish"
    message = await archive.say("ann", room, text)
    await archive.say("ann", room, "a b " * (MOST_TERMS * 2) + "quaggafish")
    await archive.say("ann", room, "x" * (MAX_TERM + 1) + " y" * LONGEST_TEXT + " quaggafish")
    await archive.follower.look()
    assert await archive.found("ann", '"zebracorn w00000"') == [text]
    assert await archive.found("ann", f"w{MOST_TERMS - 10:05}") == [text]
    # All of a long one whose words are few; neither of those in which it comes too late.
    assert [len(each) for each in await archive.found("ann", "quaggafish")] == [
        len("a b ") * MOST_TERMS * 2 + len("quaggafish")
    ]
    await archive.edit(message, "quaggafish")
    await archive.follower.look()
    assert await archive.found("ann", "zebracorn") == []
    assert len(await archive.found("ann", "quaggafish")) == 2
