"""Rate limits keep few users in mind, and looking through them stays rare."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from typing import cast

import pytest

from madang.bus.memory import MemoryBus
from madang.ports.bus import Bus, Listener
from madang.protocol.errors import RateLimited, Unavailable
from madang.services.limits import RateLimit
from madang.services.sharing import GATHER_SECONDS, Sharing
from madang.testing.clock import JumpingClock


def test_a_minute_at_once_and_then_at_the_even_pace() -> None:
    limit = RateLimit(2)
    limit.check("o", "ann", 0.0)
    limit.check("o", "ann", 0.0)
    with pytest.raises(RateLimited) as refused:
        limit.check("o", "ann", 0.0)
    assert refused.value.retry_after == 30_000
    limit.check("o", "ben", 0.0)
    limit.check("o", "ann", 30.0)


def test_users_in_great_number_are_not_looked_through_at_each_check() -> None:
    limit = RateLimit(60)
    looked = 0
    kept = limit._due
    for n in range(40_000):
        limit.check("o", f"user-{n}", 0.0)
        if limit._due is not kept:
            kept = limit._due
            looked += 1
    assert looked <= 3
    # And whose allowance is full again is forgotten.
    for n in range(80_000):
        limit.check("o", f"later-{n}", 1000.0 + n)
    assert len(limit._due) <= 10_001


def test_what_is_refused_for_another_limit_is_not_counted() -> None:
    limit, other = RateLimit(2), RateLimit(1, "other")
    other.check("o", "ann", 0.0)
    for _ in range(5):
        with (
            pytest.raises(RateLimited) as refused,
            limit.counting("o", "ann", 0.0),
        ):
            other.check("o", "ann", 0.0)
        assert refused.value.retry_after == 60_000
    assert limit.left("o", "ann", 0.0) == (2, 0)
    for _ in range(2):
        with limit.counting("o", "ann", 0.0):
            pass
    # What it refuses itself was not counted, and is not given back.
    with pytest.raises(RateLimited), limit.counting("o", "ann", 0.0):
        pass
    assert limit.left("o", "ann", 0.0) == (0, 60)


async def test_what_is_given_back_is_taken_off_the_sum() -> None:
    clock = JumpingClock()
    bus = MemoryBus(clock)
    end, other = bus.end(), bus.end()
    limit, there = RateLimit(4), RateLimit(4)
    now = clock.monotonic()
    limit.check("o", "ann", now)
    limit.check("o", "ann", now)
    await limit.share(end, clock)
    limit.give_back("o", "ann")
    await limit.share(end, clock)
    there.check("o", "ann", now)
    await there.share(other, clock)
    # One here that counts, and one there.
    for one in (there, limit):
        await one.share(end, clock)
        left = one.left("o", "ann", now)
        assert left is not None and left[0] == 2
    there.give_back("o", "ann")
    limit.check("p", "ann", now)
    limit.give_back("p", "ann")
    await limit.share(end, clock)
    assert (await end.spend({"messages:p:ann": 0}, 15.0))["messages:p:ann"] == 0


async def test_nodes_share_one_allowance() -> None:
    clock = JumpingClock()
    bus = MemoryBus(clock)
    ends = [bus.end(), bus.end()]
    limits = [RateLimit(4), RateLimit(4)]

    async def share() -> None:
        for limit, end in zip(limits, ends, strict=True):
            await limit.share(end, clock)

    for limit in limits:
        limit.check("o", "ann", clock.monotonic())
        limit.check("o", "ann", clock.monotonic())
    await share()
    # The first one to add up has not seen what the second one added.
    for limit in limits:
        limit.check("o", "ben", clock.monotonic())
    with pytest.raises(RateLimited):
        limits[1].check("o", "ann", clock.monotonic())
    clock.jump(15)
    limits[1].check("o", "ann", clock.monotonic())
    with pytest.raises(RateLimited):
        limits[1].check("o", "ann", clock.monotonic())


async def test_what_is_used_elsewhere_a_moment_later_is_heard_of() -> None:
    """Also by a node whose user says nothing more there; and what a bus that was away was not told
    is told when it is back."""
    clock = JumpingClock()
    bus = MemoryBus(clock)
    ends = [bus.end(), bus.end()]
    one, other = RateLimit(4), RateLimit(4)
    other.check("o", "ann", clock.monotonic())
    await other.share(ends[1], clock)
    for _ in range(3):
        one.check("o", "ann", clock.monotonic())
    with pytest.raises(Unavailable):
        await one.share(cast(Bus, Gone()), clock)
    await one.share(ends[0], clock)
    await other.share(ends[1], clock)
    with pytest.raises(RateLimited):
        other.check("o", "ann", clock.monotonic())
    # It is not asked for ever about who says nothing.
    for _ in range(5):
        await other.share(ends[1], clock)
    await other.share(cast(Bus, Gone()), clock)


async def test_a_burst_on_two_nodes_is_added_up_at_once() -> None:
    """No turn of the clock is waited for."""
    clock = JumpingClock()
    bus = MemoryBus(clock)
    limits, tasks = [], []
    for end in (bus.end(), bus.end()):
        await end.start(cast(Listener, None))  # It hears nothing here.
        sharing, limit = Sharing(end, clock), RateLimit(60)
        sharing.add(RateLimit(None), limit)
        tasks.append(asyncio.create_task(sharing.hurry()))
        limits.append(limit)

    async def go_on() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        clock.jump(GATHER_SECONDS)
        for _ in range(10):
            await asyncio.sleep(0)

    async def passing(user: str, *used: RateLimit) -> int:
        """How many pass when these are used in turns."""
        for passed in itertools.count():
            try:
                used[passed % len(used)].check("o", user, clock.monotonic())
            except RateLimited:
                return passed
            await go_on()
        raise AssertionError

    try:
        both = await passing("ann", *limits)
        one, other = await passing("bob", limits[0]), await passing("bob", limits[1])
    finally:
        for task in tasks:
            task.cancel()
    # Each had used half and one more before it told the other; who told first learns it with the
    # next one that it uses.
    assert 60 <= both <= 63
    # Who comes from another node has nothing left, but for the first.
    assert 60 <= one <= 61
    assert other <= 2


async def test_what_a_bus_that_is_away_was_not_told_in_a_hurry_is_told_later() -> None:
    clock = JumpingClock()
    bus = MemoryBus(clock)
    one, other = RateLimit(4), RateLimit(4)
    hurries: list[None] = []
    one.hurry = lambda: hurries.append(None)
    # The first for a minute, one of no haste, and one beyond the half.
    for hurried, is_told in ((1, True), (1, False), (2, True)):
        one.check("o", "ann", clock.monotonic())
        assert len(hurries) == hurried
        with pytest.raises(Unavailable) if is_told else nullcontext():
            await one.share_hurried(cast(Bus, Gone()), clock)
    await one.share(bus.end(), clock)
    other.check("o", "ann", clock.monotonic())
    await other.share(bus.end(), clock)
    with pytest.raises(RateLimited):
        other.check("o", "ann", clock.monotonic())


class Gone:
    """A bus that is away."""

    async def spend(self, amounts: Mapping[str, int], interval: float) -> Mapping[str, float]:
        raise Unavailable
