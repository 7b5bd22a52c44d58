"""Servers with a bug planted in them, while people talk and faults happen: the checker finds each,
in the words that say what is wrong. What it finds on a server without one is nothing: `test_world`.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.cluster_faults import mangle_messages
from tests.faults.faults import hang_up, kill_node
from tests.faults.world import Fault, Round, World

MOST_ROUNDS = 12
"""A bug may have no effect in a round; a bug without an effect in all of these went unnoticed."""


ALSO = {"publish-before-commit": ("twice: ",)}
"""What else a bug brings: an answer that is an event follows that event, told too early."""


async def _until_found(
    world: World, faults: list[Fault], words: tuple[str, ...], also: tuple[str, ...] = ()
) -> None:
    for number in range(MOST_ROUNDS):
        found = await Round(world, number, users=4, devices=5).run(faults)
        said = [one for one in found if one.startswith(words)]
        if said:
            print(f"round {number}: {len(found)} findings, as {said[0]}")
            return
        others = [one for one in found if not one.startswith(also)] if also else found
        assert others == [], "something else went wrong than what was planted"
    raise AssertionError("the bug went unnoticed")


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("bug", "fault", "words"),
    [
        ("ack-before-commit", kill_node, ("lost: ",)),
        ("publish-before-commit", kill_node, ("never written: ",)),
        ("told-twice", hang_up, ("twice: ",)),
        ("heard-after-leaving", hang_up, ("after access ended: ",)),
        ("resumed-in-part", hang_up, ("gap: ",)),
        ("swapped", hang_up, ("out of order: ",)),
    ],
)
async def test_a_bug_in_one_node_is_found(
    tmp_path: Path, bug: str, fault: Fault, words: tuple[str, ...]
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    async with World(tmp_path, random.Random(seed), bug=bug) as world:
        await _until_found(world, [fault] * 2, words, ALSO.get(bug, ()))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("bug", "fault", "words"),
    [
        ("ack-before-commit", kill_node, ("lost: ",)),
        ("bare-sequence", hang_up, ("the log has cursor", "gap: ", "out of order: ")),
        ("no-healing", mangle_messages, ("gap: ",)),
    ],
)
async def test_a_bug_in_two_nodes_is_found(
    tmp_path: Path, bug: str, fault: Fault, words: tuple[str, ...]
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    async with Cluster(tmp_path, random.Random(seed), bug=bug) as world:
        await _until_found(world, [fault] * 2, words)
