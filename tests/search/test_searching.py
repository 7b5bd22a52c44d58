"""What a search answers: what it finds, to whom, in which order, and page by page."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode

import pytest
from sqlalchemy import Connection

from madang.model.analyzer import STEP
from madang.ports.search import Wanted
from madang.protocol.errors import Invalid, NotAParticipant, Unavailable
from madang.services.search.searching import MOST_LOOKS, WINDOW, Search
from madang.store.postings import BLOCK
from madang.store.queries.search import MOST_CHARACTERS, MOST_READ
from madang.store.sql_store import Scope
from tests.search.conftest import ORG, Archive, MovingClock, identity


async def test_words_phrases_and_what_is_left_out(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    for text in ("the plan is good", "plan the day", "회의록 초안", "전체회의 계획", "그 외"):
        await archive.say("ann", room, text)
    await archive.follower.look()
    assert set(await archive.found("bob", "plan")) == {"the plan is good", "plan the day"}
    assert await archive.found("bob", '"the plan"') == ["the plan is good"]
    assert await archive.found("bob", "plan -good") == ["plan the day"]
    assert set(await archive.found("bob", "회의")) == {"회의록 초안", "전체회의 계획"}
    assert set(await archive.found("bob", "회")) == {"회의록 초안", "전체회의 계획"}
    assert await archive.found("bob", "회의 -전체회의") == ["회의록 초안"]
    assert await archive.found("bob", "plan 회의") == []


async def test_filters(archive: Archive) -> None:
    first, second = await archive.room("ann", "bob"), await archive.room("bob", "ann")
    archive.clock.time = 1_790_000_000_000_000  # 2026-09-21
    await archive.say("ann", first, "report one")
    await archive.say("bob", second, "report two", files=("budget_2026.xlsx",))
    archive.clock.time += 3 * 24 * 3600 * 1_000_000
    await archive.say("bob", first, "report three")
    await archive.follower.look()
    found = archive.found
    assert await found("ann", "report from:ann") == ["report one"]
    assert set(await found("ann", "report from:bob")) == {"report two", "report three"}
    assert len(await found("ann", "report from:bob from:ann")) == 3
    assert set(await found("ann", f"report in:{first}")) == {"report one", "report three"}
    assert len(await found("ann", f"report in:{first} in:{second}")) == 3
    assert await found("ann", "report", conversation_id=second) == ["report two"]
    assert await found("ann", "has:file") == ["report two"]
    assert await found("ann", "report -has") == await found("ann", "report")
    assert await found("ann", "after:2026-09-23 report") == ["report three"]
    assert set(await found("ann", "before:2026-09-23 report")) == {"report one", "report two"}
    assert await found("ann", "after:2026-09-24 before:2026-09-24") == []
    assert len(await found("ann", "after:2026-09-01")) == 3


async def test_names_of_files_and_questions(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    await archive.say("ann", room, "see this", files=("회의록_final.pdf", "photo.png"))
    await archive.say("ann", room, "언제 시작하나요?", message_type="question")
    await archive.say("ann", room, "", files=("only-a-name.txt",))
    await archive.follower.look()
    (result,) = await archive.results("bob", "회의록 final see")
    assert [each.field for each in result.highlights] == ["content", "attachment"]
    name = result.highlights[1]
    assert name.text == "회의록_final.pdf"
    assert [name.text[a:b] for a, b in name.ranges] == ["회의록", "final"]
    assert await archive.found("bob", "시작") == ["언제 시작하나요?"]
    assert await archive.found("bob", "only-a-name.txt") == [""]
    # Words of different places are no phrase.
    assert await archive.found("bob", '"this 회의록"') == []


async def test_only_what_the_caller_may_see(archive: Archive) -> None:
    ours, theirs = await archive.room("ann", "bob"), await archive.room("eve", "cat")
    await archive.say("ann", ours, "secret of ours")
    await archive.say("eve", theirs, "secret of theirs")
    elsewhere = await archive.room("ann", "bob", org="rival")
    await archive.say("ann", elsewhere, "secret elsewhere", org="rival")
    await archive.follower.look()
    assert await archive.found("ann", "secret") == ["secret of ours"]
    assert await archive.found("eve", "secret") == ["secret of theirs"]
    assert await archive.found("nobody", "secret") == []
    assert await archive.found("ann", "secret", org="rival") == ["secret elsewhere"]
    for stranger, room in (("ann", theirs), ("eve", ours), ("ann", elsewhere), ("ann", "f" * 32)):
        place = room if len(room) == 36 else "0" * 8 + "-0000-7000-8000-" + "0" * 12
        with pytest.raises(NotAParticipant):
            await archive.results(stranger, f"secret in:{place}")
        with pytest.raises(NotAParticipant):
            await archive.results(stranger, "secret", conversation_id=place)


async def test_access_ends_at_once_and_comes_back_with_the_invitation(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    await archive.say("ann", room, "the secret")
    await archive.follower.look()
    assert await archive.found("bob", "secret") == ["the secret"]
    await archive.remove("ann", room, "bob")
    assert await archive.found("bob", "secret") == []
    await archive.invite("ann", room, "bob")
    assert await archive.found("bob", "secret") == ["the secret"]


async def test_edits_and_deletions_hold_before_the_index_knows(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    edited = await archive.say("ann", room, "first words")
    deleted = await archive.say("ann", room, "first mistake")
    await archive.follower.look()
    await archive.edit(edited, "other words")
    await archive.delete(deleted)
    assert await archive.found("bob", "first") == []
    assert await archive.found("bob", "words") == ["other words"]
    await archive.follower.look()
    assert await archive.found("bob", "first") == []
    assert await archive.found("bob", "other") == ["other words"]


async def test_inboxes_are_never_and_live_rooms_by_their_hosts_only(archive: Archive) -> None:
    kinds = ("live", "inbox", "agent", "direct")
    for kind in kinds:
        room = await archive.room("ann", "bob")
        await archive.say("bob", room, f"a question in {kind}", message_type="question")
        # As the surfaces of these kinds make them.
        sql = f"UPDATE conversations SET kind = '{kind}' WHERE id = '{room}'"
        await archive.store.write(Scope(ORG), Connection.exec_driver_sql, sql)
    await archive.follower.look()
    in_agent, in_direct = "a question in agent", "a question in direct"
    assert set(await archive.found("bob", "question")) == {in_agent, in_direct}
    assert set(await archive.found("ann", "question")) == {
        in_agent,
        in_direct,
        "a question in live",
    }
    (live,) = await archive.results("ann", "live")
    with pytest.raises(NotAParticipant):
        await archive.results("bob", "question", conversation_id=live.message.conversation_id)


async def test_relevance_first_then_time(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    filler = " and then we talked about something else for quite a while" * 3
    said = [
        "budget" + filler,
        "budget review: the budget is late, budget again",
        "the review came before any budget",
        "the budget review",
        "budget" + filler,
    ]
    messages = [await archive.say("ann", room, text) for text in said]
    await archive.follower.look()
    results = await archive.results("bob", "budget review")
    assert [result.message.content for result in results] == [said[1], said[3], said[2]]
    assert [r.relevance for r in results] == sorted((r.relevance for r in results), reverse=True)
    ids = [result.message.id for result in await archive.results("bob", "budget")]
    # The same words twice: the newer one first.
    assert ids.index(messages[4].id) < ids.index(messages[0].id)
    # What is much older falls behind what says it less well.
    archive.clock.time += 400 * 24 * 3600 * 1_000_000
    new = await archive.say("ann", room, "budget" + filler)
    await archive.follower.look()
    assert (await archive.results("bob", "budget"))[0].message.id == new.id


async def test_pages_show_each_answer_once(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    other = await archive.room("eve")
    count = 2 * WINDOW + 50
    said = [("ann", "word " * (n % 7 + 1) + str(n)) for n in range(count)]
    await archive.say_many(room, said[: count // 2])
    await archive.say_many(other, [("eve", f"word of others {n}") for n in range(count)])
    await archive.say_many(room, said[count // 2 :])
    await archive.follower.look()
    caller = identity("bob")
    seen: list[str] = []
    sizes: list[int] = []
    cursor = None
    while True:
        page = await archive.search.find(caller, "word", limit=33, cursor=cursor)
        seen += [result.message.content for result in page.results]
        sizes.append(len(page.results))
        cursor = page.next
        if cursor is None:
            break
        # What is said meanwhile is no part of it.
        await archive.say("ann", room, f"word later {len(sizes)}")
        await archive.follower.look()
    assert len(seen) == len(set(seen)) == count
    assert max(sizes) <= 33
    # Within a window by relevance, window after window by time.
    newest = {int(text.split()[-1]) for text in seen[:WINDOW]}
    assert newest == set(range(count - WINDOW, count))
    assert seen[:WINDOW] == sorted(seen[:WINDOW], key=lambda text: -text.count("word"))


async def test_a_page_ends_where_much_had_to_be_looked_through(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    most = MOST_READ * MOST_LOOKS + 1
    said = [("ann", "of the oldest")] + [("ann", f"the end of {n}") for n in range(most)]
    await archive.say_many(room, said)
    await archive.follower.look()
    caller = identity("bob")
    first = await archive.search.find(caller, '"of the"')
    assert not first.results
    assert first.next is not None
    second = await archive.search.find(caller, '"of the"', cursor=first.next)
    if not second.results:
        assert second.next is not None
        second = await archive.search.find(caller, '"of the"', cursor=second.next)
    assert [result.message.content for result in second.results] == ["of the oldest"]
    assert second.next is None


async def test_a_search_without_time_goes_on_with_the_next_page(archive: Archive) -> None:
    room = await archive.room("ann", "bob")
    for n in range(50):
        await archive.say("ann", room, f"word {n}")
    await archive.follower.look()
    hurried = Search(archive.index, archive.clock, archive.search.limit, seconds=0.0)
    found = 0
    cursor = None
    while True:
        page = await hurried.find(identity("bob"), "word", limit=10, cursor=cursor)
        found += len(page.results)
        cursor = page.next
        if cursor is None:
            break
    assert found == 50


class Counting(MovingClock):
    """Counts the turns of the loop that searches gave up, and how many did so in the same one."""

    turns = together = most = 0

    async def sleep(self, seconds: float) -> None:
        self.turns += 1
        self.together += 1
        self.most = max(self.most, self.together)
        await super().sleep(seconds)
        self.together -= 1


async def test_searches_at_the_same_time_take_turns(archive: Archive) -> None:
    """In one turn of the loop one of them judges a slice: everything else goes on between."""
    room = await archive.room("ann")
    for n in range(10):
        await archive.say("ann", room, f"{n} " + "word " * 2_000)
    await archive.follower.look()
    clock = Counting()
    search = Search(archive.index, clock, archive.search.limit, seconds=30)
    pages = await asyncio.gather(*(search.find(identity("ann"), "word") for _ in range(5)))
    assert [len(page.results) for page in pages] == [10] * 5
    # Two for each message, which is longer than a slice, and two for each result.
    assert (clock.turns, clock.most) == (5 * 40, 1)


async def test_a_window_that_was_shown_in_part_is_shown_to_its_end(archive: Archive) -> None:
    """However little time there is for it now: nothing comes twice."""
    room = await archive.room("ann", "bob")
    for n in range(30):
        # The oldest are the best.
        await archive.say("ann", room, "word " * (40 - n) + str(n))
    await archive.follower.look()
    hurried = Search(archive.index, archive.clock, archive.search.limit, seconds=0.0)
    first = await archive.search.find(identity("bob"), "word", limit=10)
    seen = [result.message.content for result in first.results]
    cursor = first.next
    while cursor is not None:
        page = await hurried.find(identity("bob"), "word", limit=10, cursor=cursor)
        seen += [result.message.content for result in page.results]
        cursor = page.next
    assert len(seen) == len(set(seen)) == 30


class TurningClock(MovingClock):
    """Each turn that is left to others takes a tenth of a second."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    def monotonic(self) -> float:
        return 1000 + self.turns / 10

    async def sleep(self, seconds: float) -> None:
        self.turns += 1
        await super().sleep(seconds)


LONG = "가" * 21_000
"""As long as a message may be: its one pair of characters stands everywhere in it."""


async def test_long_texts_are_judged_in_turns_and_only_as_long_as_there_is_time(
    archive: Archive,
) -> None:
    room = await archive.room("ann")
    for n in range(20):
        await archive.say("ann", room, f"{n} {LONG}")
    await archive.follower.look()
    clock = TurningClock()
    search = Search(archive.index, clock, archive.search.limit, seconds=1)
    seen: list[str] = []
    most = pages = 0
    cursor = None
    while True:
        before = clock.turns
        page = await search.find(identity("ann"), "가" * 499, cursor=cursor)
        most, pages = max(most, clock.turns - before), pages + 1
        seen += [result.message.content.split()[0] for result in page.results]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen, key=int) == [str(n) for n in range(20)]
    # A second to look, then one to read what was found (or the whole window again, once), and what
    # the last message took.
    assert pages > 1
    assert most <= 10 + 50 + 2 * len(LONG) // STEP


async def test_a_cursor_that_asks_for_too_much_is_refused(archive: Archive) -> None:
    room = await archive.room("ann")
    for n in range(30):
        await archive.say("ann", room, f"{n} {LONG}")
    await archive.follower.look()
    search = Search(archive.index, TurningClock(), archive.search.limit, seconds=1)
    everything = urlsafe_b64encode(b"1:29:1:9999999999999:29").decode().rstrip("=")
    with pytest.raises(Unavailable):
        await search.find(identity("ann"), "가", cursor=everything)


async def test_a_look_reads_only_so_much_text(archive: Archive) -> None:
    room = await archive.room("ann")
    long = "needle " + "x" * (MOST_CHARACTERS // 300)
    await archive.say_many(room, [("ann", f"{long} {n}") for n in range(500)])
    await archive.follower.look()
    wanted = Wanted(["needle"], (), (), None, None, None)
    found = await archive.index.candidates(ORG, "ann", wanted, 1000)
    assert found is not None
    assert [each.number for each in found.items] == list(range(499, found.oldest - 1, -1))
    assert found.oldest > 0
    results = await archive.found("ann", "needle")
    assert len(results) == len(set(results)) == 500


@pytest.mark.parametrize(
    "cursor", ["", "x", "MTox", "OjoyOjM6NA", "MToxOjE6MTotLQ", "MTotMTotMTo6MA", "é", "a" * 200]
)
async def test_a_cursor_that_was_not_given_out(archive: Archive, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor: not one"):
        await archive.search.find(identity("bob"), "x", cursor=cursor)


async def test_before_there_is_an_index(archive: Archive) -> None:
    room = await archive.room("ann")
    await archive.say("ann", room, "hello")
    assert await archive.found("ann", "hello") == []
    await archive.follower.look()
    assert await archive.found("ann", "hello") == ["hello"]


async def test_highlights_in_a_long_text(archive: Archive) -> None:
    room = await archive.room("ann")
    long = "😀 start " + "filler words here " * 40 + "the 👍 needle stands here " + "more " * 200
    await archive.say("ann", room, long)
    await archive.say("ann", room, "<b>needle</b> & <script>")
    await archive.follower.look()
    results = {r.message.content[0]: r for r in await archive.results("ann", "needle")}
    (content,) = results["😀"].highlights
    units = content.text.encode("utf-16-le")
    assert [units[2 * a : 2 * b].decode("utf-16-le") for a, b in content.ranges] == ["needle"]
    whole = long.encode("utf-16-le")
    assert whole[2 * content.offset :].startswith(units)
    assert len(content.text) <= 240
    (short,) = results["<"].highlights
    assert short.text == "<b>needle</b> & <script>"
    assert short.ranges == ((3, 9),)
    assert short.offset == 0


async def test_many_blocks(archive: Archive) -> None:
    """Across blocks, and in full ones, whose long lists are bits."""
    count = 2 * BLOCK + 500
    room, other = await archive.room("ann"), await archive.room("eve", "ann")
    said = [
        f"all {'odd' if n % 2 else 'even'} {'rare' if n % 1997 == 0 else 'usual'} {n}"
        for n in range(count)
    ]
    mine = [n for n in range(count) if n % 30]
    shared = [n for n in range(count) if n % 30 == 0]
    messages = dict(
        zip(mine, await archive.say_many(room, [("ann", said[n]) for n in mine]), strict=True)
    )
    told = await archive.say_many(other, [("eve", said[n]) for n in shared])
    messages |= zip(shared, told, strict=True)
    await archive.follower.look()

    async def numbers(user: str, text: str) -> set[int]:
        return {int(each.split()[-1]) for each in await archive.found(user, text)}

    everything = set(range(count))
    rare = {n for n in everything if n % 1997 == 0}
    assert await numbers("ann", "rare") == rare
    assert await numbers("ann", "rare odd") == {n for n in rare if n % 2}
    assert await numbers("eve", "all") == set(shared)
    assert await numbers("ann", f"odd in:{other}") == {n for n in shared if n % 2}
    assert await numbers("ann", "rare from:eve") == rare.intersection(shared)
    assert len(await numbers("ann", "even from:ann")) == sum(n % 2 == 0 for n in mine)
    for n in range(0, count, 1997):
        await (archive.delete(messages[n]) if n % 2 else archive.edit(messages[n], f"rare new {n}"))
    await archive.follower.look()
    assert await numbers("ann", "rare") == {n for n in rare if n % 2 == 0}
    assert await numbers("ann", "rare new") == {n for n in rare if n % 2 == 0}
    assert await numbers("ann", "rare even") == set()
