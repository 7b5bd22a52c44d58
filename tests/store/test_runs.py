"""Sessions and runs on every database: written whole, counted within a commit, found by whoever
looks for those that nobody goes on with."""

from __future__ import annotations

import asyncio

from madang.model.nouns import Message
from madang.store.writer import GroupWriter
from tests.store.conftest import AnyStore, SteppedClock
from tests.store.writes import ChangeRun, CountRuns, Create, Send, StartRun

ROOM = "room-1"


async def room(writer: GroupWriter) -> None:
    await writer.write(Create(ROOM, ["ann", "ben"], kind="agent"))


async def test_a_run_is_read_as_it_was_written(store: AnyStore, writer: GroupWriter) -> None:
    await room(writer)
    run = await writer.write(StartRun(ROOM, "run-1", client_id="c"))
    assert (run.alternative_of, run.client_id) == ("run-0", "c")
    assert await store.run("default", "run-1", "ann") == run
    assert await store.run("default", "run-1", "eve") is None
    assert await store.run("rival", "run-1", "ann") is None
    assert list(await store.runs_under_way("default", ROOM)) == [run]
    ended = await writer.write(ChangeRun("run-1", "complete", ends=(1, 5, 5, 200)))
    assert await store.run("default", "run-1", "ben") == ended
    assert list(await store.runs_under_way("default", ROOM)) == []
    seen = await store.session("default", ROOM, "ann")
    assert seen is not None
    assert (seen.session.agent_id, seen.session.trace_id) == ("agent:echo", "0" * 32)
    assert await store.session("default", ROOM, "eve") is None
    sessions, total = await store.sessions("default", "ann", agent_id="echo")
    assert (len(sessions), total) == (1, 1)
    assert (await store.sessions("default", "ann", agent_id="other"))[1] == 0
    assert (await store.sessions("default", "ann", status="archived"))[1] == 0
    assert (await store.sessions("default", "eve"))[1] == 0


async def test_runs_are_counted_as_the_commit_changes_them(
    store: AnyStore, writer: GroupWriter
) -> None:
    await room(writer)
    await writer.write(StartRun(ROOM, "run-0"))
    # All of these are one commit: each sees what those before it did.
    outcomes = await asyncio.gather(
        writer.write(CountRuns("ann")),
        writer.write(StartRun(ROOM, "run-1")),
        writer.write(StartRun(ROOM, "run-2", "ben", status="waiting")),
        writer.write(CountRuns("ann")),
        writer.write(ChangeRun("run-0", "cancelled")),
        writer.write(ChangeRun("run-1", "complete")),
        writer.write(CountRuns("ann")),
        writer.write(ChangeRun("run-2", "streaming")),
        writer.write(CountRuns("ben")),
    )
    assert [outcomes[i] for i in (0, 3, 6, 8)] == [(1, 1), (2, 3), (0, 1), (1, 1)]
    # Counted only after changes were made in the same commit.
    *_, counted = await asyncio.gather(
        writer.write(StartRun(ROOM, "run-3")),
        writer.write(ChangeRun("run-2", "failed")),
        writer.write(CountRuns("ann")),
    )
    assert counted == (1, 1)
    assert await writer.write(CountRuns("ann")) == (1, 1)


async def test_who_nobody_goes_on_with_is_found(
    store: AnyStore, writer: GroupWriter, clock: SteppedClock
) -> None:
    await room(writer)
    begun = clock.time
    await writer.write(StartRun(ROOM, "run-1"))
    await writer.write(StartRun(ROOM, "run-2", status="waiting"))
    await writer.write(StartRun(ROOM, "run-3"))
    clock.time += 10
    await writer.write(ChangeRun("run-3", "streaming"))
    assert await store.unchecked_runs(begun, 10) == []
    assert await store.unchecked_runs(begun + 5, 10) == [("default", "run-1")]
    await writer.write(ChangeRun("run-2", "streaming"))
    await writer.write(ChangeRun("run-1", "interrupted"))
    assert sorted(await store.unchecked_runs(begun + 99, 10)) == [
        ("default", "run-2"),
        ("default", "run-3"),
    ]
    assert len(await store.unchecked_runs(begun + 99, 1)) == 1


async def test_answers_that_came_late(store: AnyStore, writer: GroupWriter) -> None:
    await room(writer)
    said: list[Message] = []
    for content, answers in (
        ("Q1", None),
        ("Q2", None),
        ("Q3", None),
        ("A2", 1),
        ("chat", None),
        ("A1", 0),
        ("A3", 2),
        ("B1", 0),
    ):
        question = None if answers is None else said[answers].id
        said.append(await writer.write(Send(ROOM, "ann", content, answers=question)))
    first, _, third, _, _, _, _, last = said

    async def late(
        user: str = "ann",
        org: str = "default",
        oldest: int = first.seq,
        before: int = last.seq + 1,
        limit: int = 9,
    ) -> list[str]:
        found = await store.late_answers(
            org,
            ROOM,
            user,
            oldest_seq=oldest,
            question_seq=third.seq,
            before_seq=before,
            limit=limit,
        )
        return [one.content for one in found]

    assert await late() == ["A2", "A1", "B1"]
    assert await late(limit=2) == ["A1", "B1"]
    assert await late(before=last.seq) == ["A2", "A1"]
    assert await late(oldest=first.seq + 1) == ["A2"]
    assert await late("eve") == []
    assert await late(org="rival") == []
