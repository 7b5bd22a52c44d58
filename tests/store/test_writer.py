"""Group commit: order, idempotence, refusals, and what happens when a batch breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from madang.model.nouns import Batch, Event
from madang.ports.store import Needs, Transaction, Write
from madang.protocol.codes import ErrorCode
from madang.protocol.errors import MadangError, NotAParticipant, Unavailable
from madang.store import writer as writer_module
from madang.store.opening import open_store
from madang.store.postgresql import PostgresStore
from madang.store.writer import Committed, GroupWriter
from tests.store.conftest import AnyStore, SteppedClock, statements
from tests.store.writes import SIZE, Break, Clash, Create, Join, Leave, Publish, React, Read, Send

ROOM = "room-1"


async def test_send_read_back_and_catch_up(store: AnyStore, writer: GroupWriter) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    sent = [await writer.write(Send(ROOM, "ann", f"text {n}")) for n in range(3)]

    page = await store.messages("default", ROOM, "ann")
    assert page is not None
    assert list(page.items) == sent
    assert not page.has_more
    assert await store.memberships("default", ["ann", "eve"]) == {"ann": [ROOM], "eve": []}
    events = await store.events_for_user("default", "ben", 0, None, 100)
    assert [e.type for e in events] == ["conversation.created"] + ["message.new"] * 3
    assert [e.seq for e in events] == [1, 2, 3, 4]
    assert [e.message for e in events[1:]] == sent
    assert await store.head("default") == events[-1].cursor
    assert await store.events_for_user("default", "eve", 0, None, 100) == []


async def test_numbers_are_dense_and_rising_under_many_writers_and_orgs(
    store: AnyStore, writer: GroupWriter, delivered: list[Event]
) -> None:
    orgs = ["default", "other"]
    rooms = {org: [f"{org}-{n}" for n in range(3)] for org in orgs}
    for org in orgs:
        for room in rooms[org]:
            await writer.write(Create(room, ["ann"], org_id=org))
    delivered.clear()

    async def talk(org: str, room: str) -> None:
        for n in range(20):
            await writer.write(Send(room, "ann", str(n), org_id=org))

    await asyncio.gather(*(talk(org, r) for org in orgs for r in rooms[org] for _ in range(3)))

    for org in orgs:
        log = await store.events_of_org(org, 0, None, 1000)
        cursors = [event.cursor for event in log]
        assert cursors == sorted(set(cursors))
        assert [e for e in delivered if e.org_id == org] == log[3:]
        for room in rooms[org]:
            seqs = [event.seq for event in log if event.conversation_id == room]
            assert seqs == list(range(1, 62))
    # The rows of one org do not exist for the other.
    with pytest.raises(NotAParticipant):
        await writer.write(Send("default-0", "ann", org_id="other"))
    assert await store.events_of_conversation("other", "default-0", 0, None, 10) == []


async def test_cursor_rises_when_the_clock_goes_back(
    writer: GroupWriter, clock: SteppedClock, delivered: list[Event]
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    start = clock.time
    clock.time += 1_000_000
    await writer.write(Send(ROOM, "ann"))
    clock.time -= 60_000_000
    await writer.write(Send(ROOM, "ann"))
    clock.time += 120_000_000
    await writer.write(Send(ROOM, "ann"))

    assert [event.cursor - start for event in delivered] == [0, 1_000_000, 1_000_001, 61_000_000]


async def test_a_repeat_has_one_effect_within_a_batch_and_across(
    store: AnyStore, writer: GroupWriter, delivered: list[Event]
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    first, again = await asyncio.gather(
        writer.write(Send(ROOM, "ann", "one", client_id="c1")),
        writer.write(Send(ROOM, "ann", "two", client_id="c1")),
    )
    later = await writer.write(Send(ROOM, "ann", "three", client_id="c1"))
    of_ben = await writer.write(Send(ROOM, "ben", "mine", client_id="c1"))

    assert first == again == later
    assert of_ben.content == "mine"
    assert [e.type for e in delivered] == ["conversation.created", "message.new", "message.new"]

    published = await asyncio.gather(
        *(writer.write(Publish(ROOM, "job", payload={"n": n}, key="k")) for n in range(3))
    )
    published.append(await writer.write(Publish(ROOM, "job", payload={"n": 9}, key="k")))
    assert [event.data for event in published] == [{"n": 0}] * 4
    assert len({event.cursor for event in published}) == 1

    keyed = await asyncio.gather(
        *(writer.write(Create(f"direct-{n}", ["ann", "ben"], direct_key="k")) for n in range(2))
    )
    keyed.append(await writer.write(Create("direct-3", ["ann", "ben"], direct_key="k")))
    assert {conversation.id for conversation in keyed} == {"direct-0"}


async def test_a_refusal_leaves_the_rest_of_the_batch(store: AnyStore, writer: GroupWriter) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    results = await asyncio.gather(
        writer.write(Send(ROOM, "ann", "1")),
        writer.write(Send(ROOM, "eve", "2")),
        writer.write(Send("nowhere", "ann", "3")),
        writer.write(Send(ROOM, "ann", "4")),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == [
        "Message",
        "NotAParticipant",
        "NotAParticipant",
        "Message",
    ]
    page = await store.messages("default", ROOM, "ann")
    assert page is not None
    assert [message.content for message in page.items] == ["1", "4"]


async def test_each_batch_says_its_place_in_the_log(store: AnyStore, clock: SteppedClock) -> None:
    batches: list[Batch] = []
    writer = GroupWriter(store, clock, batches.append)
    await writer.write(Create(ROOM, ["ann"]))
    taken = await writer.write(Send(ROOM, "ann"))
    with pytest.raises(NotAParticipant):
        await writer.write(Send(ROOM, "eve"))
    assert len(batches) == 2, "no batch without events"
    # One that breaks splits the batch; each part is a transaction and says its own place.
    writes: list[Write] = [Send(ROOM, "ann"), Send(ROOM, "ann"), Clash(ROOM, taken.id)]
    await asyncio.gather(
        *map(writer.write, [*writes, Send(ROOM, "ann")]),
        writer.write(Create("room-2", ["ann"], org_id="other")),
        return_exceptions=True,
    )
    of_default = [batch for batch in batches if batch.org_id == "default"]
    assert len(of_default) == 4
    assert [batch.after for batch in of_default] == [0, *(b.until for b in of_default[:-1])]
    for batch in batches:
        assert batch.until == batch.events[-1].cursor
        log = await store.events_of_org(batch.org_id, batch.after, batch.until, 100)
        assert [event.cursor for event in log] == [event.cursor for event in batch.events]
    assert [(b.org_id, b.after) for b in batches if b.org_id == "other"] == [("other", 0)]
    await writer.close()


@pytest.mark.parametrize("place", [0, 3, 7])
async def test_only_the_write_that_breaks_a_batch_fails(
    store: AnyStore, writer: GroupWriter, delivered: list[Event], place: int
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    taken = await writer.write(Send(ROOM, "ann", "taken"))
    writes: list[Any] = [Send(ROOM, "ann", str(n)) for n in range(8)]
    writes[place] = Clash(ROOM, taken.id)
    writes[place - 1] = Break()
    results: list[Any] = await asyncio.gather(*map(writer.write, writes), return_exceptions=True)

    for n, result in enumerate(results):
        if n in (place, (place - 1) % 8):
            assert isinstance(result, MadangError)
            assert result.code is ErrorCode.INTERNAL
            assert "UNIQUE" not in result.text
        else:
            assert result.content == str(n)
    log = await store.events_of_org("default", 0, None, 100)
    assert [event.seq for event in log] == list(range(1, 9))
    assert delivered[1:] == log[1:]


async def test_what_no_database_can_hold_fails_alone(
    store: AnyStore, writer: GroupWriter, capsys: pytest.CaptureFixture[str]
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    results: Any = await asyncio.gather(
        writer.write(Send(ROOM, "ann", "\ud800")),
        writer.write(Send(ROOM, "ann", "a\0b", client_id="x\0y")),
        return_exceptions=True,
    )
    surrogate, nul = results
    assert isinstance(surrogate, MadangError)
    page = await store.messages("default", ROOM, "ann")
    assert page is not None
    if isinstance(store, PostgresStore):
        # It holds no NUL; the surfaces let none in.
        assert isinstance(nul, MadangError)
        assert page.items == ()
        # What could not be written is not in the log of the program either.
        assert "ud800" not in capsys.readouterr().out
        return
    assert [message.content for message in page.items] == ["a\0b"]
    # A look-up that stopped at the NUL would find nothing, or another.
    assert await writer.write(Send(ROOM, "ann", "again", client_id="x\0y")) == nul
    assert (await writer.write(Send(ROOM, "ann", "other", client_id="x"))).content == "other"


async def test_acks_come_in_order_and_before_delivery(store: AnyStore, clock: SteppedClock) -> None:
    order: list[str] = []
    writer = GroupWriter(store, clock, lambda batch: order.extend(str(e.seq) for e in batch.events))
    await writer.write(Create(ROOM, ["ann"]))
    order.clear()
    for n in range(3):
        writer.submit(Send(ROOM, "ann"), lambda result, error, n=n: order.append(f"ack {n}"))  # type: ignore[misc]
    await writer.close()
    assert order == ["ack 0", "ack 1", "ack 2", "2", "3", "4"]


async def test_a_cancelled_waiter_does_not_undo_its_write(
    store: AnyStore, writer: GroupWriter
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    waiting = asyncio.create_task(writer.write(Send(ROOM, "ann", "kept")))
    await asyncio.sleep(0)
    waiting.cancel()
    await writer.close()
    page = await store.messages("default", ROOM, "ann")
    assert page is not None
    assert [message.content for message in page.items] == ["kept"]


async def test_close_finishes_what_was_submitted_and_refuses_the_rest(
    store: AnyStore, clock: SteppedClock
) -> None:
    writer = GroupWriter(store, clock, lambda batch: None)
    await writer.write(Create(ROOM, ["ann"]))
    sends = [asyncio.ensure_future(writer.write(Send(ROOM, "ann"))) for _ in range(2500)]
    await asyncio.sleep(0)
    await writer.close()
    assert [(await send).seq for send in sends] == list(range(2, 2502))
    with pytest.raises(Unavailable):
        await writer.write(Send(ROOM, "ann"))


async def test_the_queue_is_bounded_in_writes_and_bytes(
    writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.write(Create(ROOM, ["ann"]))
    monkeypatch.setattr(writer_module, "MAX_WAITING", 3)
    results = await asyncio.gather(
        *(writer.write(Send(ROOM, "ann")) for _ in range(5)), return_exceptions=True
    )
    assert [isinstance(result, Unavailable) for result in results] == [False] * 3 + [True] * 2
    monkeypatch.setattr(writer_module, "MAX_WAITING_BYTES", 2 * SIZE)
    results = await asyncio.gather(
        *(writer.write(Send(ROOM, "ann")) for _ in range(3)), return_exceptions=True
    )
    assert [isinstance(result, Unavailable) for result in results] == [False, False, True]
    await writer.write(Send(ROOM, "ann"))


async def test_a_failing_callback_does_not_keep_the_others_back(
    writer: GroupWriter, delivered: list[Event]
) -> None:
    await writer.write(Create(ROOM, ["ann"]))

    def fail(result: Any, error: MadangError | None) -> None:
        raise RuntimeError("the caller's mistake")

    writer.submit(Send(ROOM, "ann", "1"), fail)
    assert (await writer.write(Send(ROOM, "ann", "2"))).seq == 3
    assert [event.seq for event in delivered] == [1, 2, 3]


async def test_a_change_is_seen_by_the_next_write_of_the_same_batch(
    store: AnyStore, writer: GroupWriter
) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"]))
    results: Any = await asyncio.gather(
        writer.write(Join(ROOM, "cat")),
        writer.write(Send(ROOM, "cat")),
        writer.write(Leave(ROOM, "cat")),
        writer.write(Send(ROOM, "cat")),
        writer.write(Join(ROOM, "cat", "admin")),
        writer.write(Leave(ROOM, "ben")),
        return_exceptions=True,
    )
    joined, sent, left, refused, back, roster = results
    assert [p.user_id for p in joined] == ["ann", "ben", "cat"]
    assert sent.seq == 3
    assert [p.user_id for p in left] == ["ann", "ben"]
    assert isinstance(refused, NotAParticipant)
    assert [p.role for p in back] == ["admin", "member", "admin"]
    stored = await store.participants("default", ROOM, "ann")
    assert stored is not None
    assert tuple(roster) == stored.items


async def test_a_batch_of_any_size_has_the_same_number_of_statements(
    store: AnyStore, writer: GroupWriter
) -> None:
    rooms = [f"room-{n}" for n in range(20)]
    for room in rooms:
        await writer.write(Create(room, ["ann", "ben"]))
    counted: list[int] = []
    for size in (1, 20, 200):
        with statements(store.engines[0]) as seen:
            sent = await asyncio.gather(
                *(
                    writer.write(Send(rooms[n % 20], "ann", client_id=f"{size}-{n}"))
                    for n in range(size)
                )
            )
            await asyncio.gather(*(writer.write(Read(m.id, "ben")) for m in sent))
            await asyncio.gather(*(writer.write(React(m.id, "ben", "👍")) for m in sent))
        counted.append(len(seen))
    assert counted[0] == counted[1] == counted[2], counted


async def test_orgs_share_the_writer_fairly(store: AnyStore, clock: SteppedClock) -> None:
    order: list[str] = []
    writer = GroupWriter(store, clock, lambda batch: order.append(batch.org_id))
    for org in ("loud", "quiet"):
        await writer.write(Create(f"room-{org}", ["ann"], org_id=org))
    order.clear()
    loud = [
        asyncio.ensure_future(writer.write(Send("room-loud", "ann", org_id="loud")))
        for _ in range(5 * writer_module.MAX_BATCH)
    ]
    await asyncio.sleep(0)
    await writer.write(Send("room-quiet", "ann", org_id="quiet"))
    # Behind the batches that were under way, not behind all that waits.
    assert order.count("loud") <= 2
    await asyncio.gather(*loud)
    await writer.close()


async def test_a_commit_that_cannot_begin_is_unavailable_and_the_writer_goes_on(
    url: str, store: AnyStore, clock: SteppedClock
) -> None:
    closed = open_store(url, clock)
    await closed.close()
    writer = GroupWriter(closed, clock, lambda batch: None)
    for _ in range(2):
        results = await asyncio.wait_for(
            asyncio.gather(
                *(writer.write(Create(ROOM, ["ann"])) for _ in range(3)), return_exceptions=True
            ),
            5,
        )
        assert [type(result) for result in results] == [Unavailable] * 3
    await asyncio.wait_for(writer.close(), 5)


class _Interrupted:
    """A store whose first commits break off after they have begun."""

    def __init__(self, store: AnyStore, times: int) -> None:
        self._store = store
        self._times = times

    async def commit(self, org_id: str, writes: Sequence[Write], now: int) -> Committed:
        if self._times:
            self._times -= 1
            raise MemoryError
        return await self._store.commit(org_id, writes, now)


async def test_a_commit_that_breaks_off_answers_its_writers_and_the_next_one_goes_on(
    store: AnyStore, clock: SteppedClock, delivered: list[Event]
) -> None:
    writer = GroupWriter(
        _Interrupted(store, 2), clock, lambda batch: delivered.extend(batch.events)
    )
    for _ in range(2):
        with pytest.raises(MadangError) as failed:
            await asyncio.wait_for(writer.write(Create(ROOM, ["ann"])), 5)
        assert failed.value.code is ErrorCode.INTERNAL
    await writer.write(Create(ROOM, ["ann"]))
    assert [event.seq for event in delivered] == [1]
    await writer.close()


@dataclass(frozen=True, slots=True)
class _Count:
    """How many are in the room, at this place of the batch."""

    org_id: str = "default"
    size: int = SIZE

    def needs(self, needs: Needs) -> None:
        needs.conversations.add(ROOM)

    def apply(self, tx: Transaction) -> int:
        return tx.participant_count(ROOM)


async def test_participants_are_counted_with_what_the_batch_has_changed(
    writer: GroupWriter,
) -> None:
    writes: list[Write] = [
        Create(ROOM, ["ann", "ben"]),
        _Count(),
        Join(ROOM, "cat"),
        _Count(),
        Leave(ROOM, "ben"),
        Leave(ROOM, "cat"),
        _Count(),
    ]
    results = await asyncio.gather(*map(writer.write, writes))
    assert [result for result in results if isinstance(result, int)] == [2, 3, 1]
    later: list[Write] = [_Count(), Join(ROOM, "ben"), Leave(ROOM, "ann"), _Count()]
    later += [Join(ROOM, "ann"), _Count()]
    results = await asyncio.gather(*map(writer.write, later))
    assert [result for result in results if isinstance(result, int)] == [1, 1, 2]
