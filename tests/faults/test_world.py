"""The short form of the fault suite: faults mixed by a seed while people talk. Nothing is lost,
doubled or out of order. `make faults` is the long form.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster
from tests.faults.cluster_faults import SEVERAL_NODES
from tests.faults.faults import ONE_NODE, mixed
from tests.faults.world import Fault, Round, World

FIXED = 1
"""One seed is always the same; the other is another each time, and printed."""


@pytest.fixture(params=["fixed", "random"])
def chance(request: pytest.FixtureRequest) -> random.Random:
    seed = FIXED if request.param == "fixed" else random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


async def _nothing_is_wrong(world: World, faults: list[Fault]) -> None:
    talk = Round(world, 1)
    found = await talk.run(faults)
    for _, text in talk.history.faults:
        print(text)
    path = world.directory / "history.jsonl"
    path.write_text("\n".join(talk.history.lines()), "utf-8")
    assert found == [], f"the history is in {path}"


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_faults_of_one_node(tmp_path: Path, chance: random.Random) -> None:
    async with World(tmp_path, chance) as world:
        await _nothing_is_wrong(world, mixed(chance, ONE_NODE, len(ONE_NODE)))


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_faults_of_two_nodes(tmp_path: Path, chance: random.Random) -> None:
    async with Cluster(tmp_path, chance) as world:
        await _nothing_is_wrong(world, mixed(chance, SEVERAL_NODES, 20))
