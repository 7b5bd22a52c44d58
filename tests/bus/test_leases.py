"""Leases of nodes that are gone: ended by the others, each turn given to one of them."""

from __future__ import annotations

import asyncio
from typing import Any

from madang.bus import redis_leases
from madang.model.presence import Status
from madang.ports.bus import Lease, Turn
from madang.testing.clock import JumpingClock
from tests.bus.conftest import Ends
from tests.valkey import Valkey

SHORT: dict[str, Any] = {"lease_seconds": 0.5, "renew_seconds": 0.1}
"""Of a node that is going to be taken for gone. The others' leases outlast any test."""


async def _turns(*ends: Any, count: int) -> list[Turn]:
    """Ask all ends at once until they were given so many turns; then once more, for nothing."""
    turns: list[Turn] = []
    async with asyncio.timeout(20):
        while len(turns) < count:
            for some in await asyncio.gather(*(end.expired() for end in ends)):
                turns += some
    for some in await asyncio.gather(*(end.expired() for end in ends)):
        turns += some
    return turns


def _online(name: str, status: Status = "online") -> Lease:
    return Lease("org", name, status, 1)


async def test_each_turn_of_a_node_that_is_gone_is_given_once(
    redis_ends: Ends, valkey: Valkey
) -> None:
    # A node whose clock stands still renews nothing: to the others it is gone.
    gone, _ = await redis_ends.start(JumpingClock(), **SHORT)
    others = [(await redis_ends.start())[0] for _ in range(3)]
    names = [f"user-{number}" for number in range(2000)]
    await others[0].hold([_online("user-0", "away"), _online("user-1", "dnd")])
    await gone.hold([_online(name) for name in names])
    turns = await _turns(*others, count=1999)
    assert sorted(turns, key=lambda turn: turn.user_id) == sorted(
        [Turn("org", "user-0", "online", "away")]
        + [Turn("org", name, "online", "offline") for name in names[2:]],
        key=lambda turn: turn.user_id,
    )
    assert await others[0].present("org", names) == {
        "user-0": _online("user-0", "away"),
        "user-1": _online("user-1", "dnd"),
    }
    # Nothing of it is left: neither who was there nor that it was.
    assert valkey.ask("EXISTS", "madang:presence:org:user-2") == 0
    assert valkey.ask("EXISTS", f"madang:node:{gone.node}:users") == 0
    assert valkey.ask("ZSCORE", "madang:nodes", gone.node) is None


async def test_leases_that_are_renewed_run_on(redis_ends: Ends, valkey: Valkey) -> None:
    one, _ = await redis_ends.start(lease_seconds=20, renew_seconds=0.1)
    await one.hold([_online("ann")])
    first = _expiry(valkey, one.node)
    async with asyncio.timeout(10):
        while _expiry(valkey, one.node) < first + 500:
            assert await one.present("org", ["ann"]) == {"ann": _online("ann")}
            assert await one.expired() == []


def _expiry(valkey: Valkey, node: str) -> int:
    return int(valkey.ask("HGET", "madang:presence:org:ann", node).split()[2])


async def test_a_node_that_was_taken_for_gone_and_is_back_says_so(redis_ends: Ends) -> None:
    clock = JumpingClock()
    still, _ = await redis_ends.start(clock, **SHORT)
    other, _ = await redis_ends.start()
    await still.hold([_online("ann"), _online("bob")])
    assert len(await _turns(other, count=2)) == 2
    back: list[Turn] = []
    async with asyncio.timeout(10):
        while len(back) < 2:
            clock.jump(0.1)  # It renews, and finds its leases ended.
            back += await still.expired()
        assert sorted(turn.user_id for turn in back) == ["ann", "bob"]
        assert {(turn.before, turn.now) for turn in back} == {("offline", "online")}
        while len(await other.present("org", ["ann", "bob"])) < 2:
            clock.jump(0.1)


async def test_who_ends_a_lease_that_ran_out_is_given_its_turn(redis_ends: Ends) -> None:
    still, _ = await redis_ends.start(JumpingClock(), **SHORT)
    other, _ = await redis_ends.start()
    await still.hold([_online("ann", "dnd")])
    async with asyncio.timeout(10):
        while await other.present("org", ["ann"]):
            pass
    # To others ann is still not to be disturbed: nobody has told them otherwise.
    assert await other.hold([_online("ann")]) == [Turn("org", "ann", "dnd", "online")]
    assert await _turns(other, count=0) == []


async def test_many_leases_are_ended_some_at_a_time(redis_ends: Ends) -> None:
    count = redis_leases.ENDED_AT_ONCE + 700
    still, _ = await redis_ends.start(JumpingClock(), **SHORT)
    other, _ = await redis_ends.start()
    await still.hold([_online(f"user-{number}") for number in range(count)])
    seen: list[int] = []
    async with asyncio.timeout(20):
        while sum(seen) < count:
            if turns := await other.expired():
                seen.append(len(turns))
    assert sum(seen) == count and len(seen) >= 2
    assert max(seen) < redis_leases.ENDED_AT_ONCE + 500


async def test_the_last_word_about_a_user_is_so_however_many_are_under_way(
    redis_ends: Ends, valkey: Valkey
) -> None:
    one, _ = await redis_ends.start()
    names = [f"user-{number}" for number in range(1500)]
    begun = [_online(name) for name in names]
    ended = [Lease("org", name, "offline", 0) for name in names]
    await asyncio.gather(one.hold(begun), one.hold(ended), one.hold(begun), one.hold(ended))
    assert await one.present("org", names) == {}
    assert valkey.ask("EXISTS", f"madang:node:{one.node}:users") == 0
    await asyncio.gather(one.hold(ended), one.hold(begun))
    assert len(await one.present("org", names)) == 1500
    assert valkey.ask("SCARD", f"madang:node:{one.node}:users") == 1500
