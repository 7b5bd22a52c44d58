"""Several writers on several connections: the order of cursors is the order of visibility."""

from __future__ import annotations

import asyncio

import pytest

from madang.model.nouns import Batch, Event
from madang.store.opening import open_store
from madang.store.writer import GroupWriter
from tests.store.conftest import AnyStore, SteppedClock
from tests.store.writes import Create, Send

NODES = 4
ROOMS = [f"room-{n}" for n in range(5)]


@pytest.fixture
async def start(writer: GroupWriter, store: AnyStore) -> int:
    """The head when everybody is in every room."""
    for room in ROOMS:
        await writer.write(Create(room, ["ann"]))
    return await store.head("default")


async def test_no_reader_sees_a_cursor_before_those_below_it(
    url: str, clock: SteppedClock, store: AnyStore, start: int
) -> None:
    nodes = [open_store(url, clock, 3) for _ in range(NODES)]
    batches: list[list[Batch]] = [[] for _ in nodes]
    writers = [
        GroupWriter(node, clock, into.append) for node, into in zip(nodes, batches, strict=True)
    ]
    writing = True
    seen: dict[str, list[Event]] = {}

    async def tail(name: str, node: AnyStore, user: str | None) -> None:
        into = seen[name] = []
        after = start
        while True:
            last_look = not writing
            if user is None:
                page = await node.events_of_org("default", after, None, 50)
            else:
                page = await node.events_for_user("default", user, after, None, 50)
            into += page
            if page:
                after = page[-1].cursor
            elif last_look:
                return

    async def write(writer: GroupWriter) -> None:
        for n in range(15):
            # The clock stands still: cursors are as close as they can be.
            await asyncio.gather(*(writer.write(Send(ROOMS[n % 5], "ann")) for _ in range(10)))

    tails = [
        asyncio.create_task(tail(f"{n} {user}", node, user))
        for n, node in enumerate(nodes[:2])
        for user in (None, "ann")
    ]
    await asyncio.gather(*map(write, writers))
    writing = False
    await asyncio.gather(*tails)

    log: list[Event] = []
    while page := await store.events_of_org("default", log[-1].cursor if log else start, None, 500):
        log += page
    assert len(log) == NODES * 150
    for name, events in seen.items():
        assert [e.cursor for e in events] == [e.cursor for e in log], name
    for room in ROOMS:
        seqs = [event.seq for event in log if event.conversation_id == room]
        assert seqs == list(range(2, len(seqs) + 2))
    # The nodes' batches, put in order, are the whole log without a gap.
    together = sorted((batch for some in batches for batch in some), key=lambda b: b.after)
    assert [batch.after for batch in together] == [start, *(b.until for b in together[:-1])]
    assert [e.cursor for batch in together for e in batch.events] == [e.cursor for e in log]
    for some in batches:
        assert [batch.after for batch in some] == sorted(batch.after for batch in some)
    for writer in writers:
        await writer.close()
    for node in nodes:
        await node.close()


async def test_nodes_that_repeat_each_other_have_one_effect(
    url: str, clock: SteppedClock, store: AnyStore, start: int
) -> None:
    nodes = [open_store(url, clock, 3) for _ in range(NODES)]
    writers = [GroupWriter(node, clock, lambda batch: None) for node in nodes]
    sent = await asyncio.gather(
        *(
            writer.write(Send(ROOMS[0], "ann", client_id=str(n)))
            for n in range(20)
            for writer in writers
        )
    )
    assert len({message.id for message in sent}) == 20
    made = await asyncio.gather(
        *(
            writer.write(Create(f"{n}", ["ann", "ben"], direct_key="ann ben", org_id="new"))
            for n, writer in enumerate(writers)
        )
    )
    assert len({conversation.id for conversation in made}) == 1
    for writer in writers:
        await writer.close()
    for node in nodes:
        await node.close()
