"""Faults, mixed by a printed seed, while people talk: nothing is lost, doubled or out of order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.faults import ONE_NODE, mixed
from tests.faults.world import Round, World


@pytest.mark.timeout(120)
async def test_faults_of_one_node(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with World(tmp_path, chance) as world:
        talk = Round(world, 1)
        found = await talk.run(mixed(chance, ONE_NODE, 12))
        (tmp_path / "history.jsonl").write_text("\n".join(talk.history.lines()))
        print([text for _, text in talk.history.faults])
        print(talk.history.count("ok"), talk.history.count("refused"), len(talk.history.calls))
    assert found == []
