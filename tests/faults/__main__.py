"""The long form: `python -m tests.faults --faults 1000 --seed 7 --report FILE`.

Rounds of faults, most of them on several nodes with PostgreSQL and Valkey, every fifth on one node
with SQLite. Prints what was done and what was found as tables; ends with status 1 on a finding.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path

from tests.faults import faults
from tests.faults.cluster import Cluster
from tests.faults.cluster_faults import SEVERAL_NODES
from tests.faults.faults import ONE_NODE, mixed
from tests.faults.world import Round, World

FAULTS_A_ROUND = 27
ON_SQLITE = 5
"""One round of so many."""


class Sums:
    """What was done and seen in all rounds."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.faults: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self.began = time.monotonic()

    def add(self, round: Round, found: list[str]) -> None:
        history = round.history
        self.counts["rounds"] += 1
        self.counts["calls"] += len(history.calls)
        self.counts["confirmed"] += history.count("ok")
        self.counts["refused"] += history.count("refused")
        self.counts["without an answer"] += history.count("unknown")
        self.counts["sent again"] += sum(max(0, call.attempts - 1) for call in history.calls)
        self.counts["connections"] += len(history.connections)
        self.counts["resumed"] += sum(
            seen.reached is not None and seen.caught_up > 0 for seen in history.connections
        )
        self.counts["events seen"] += sum(len(seen.events) for seen in history.connections)
        self.findings += found

    def table(self) -> str:
        """As Markdown."""
        minutes = (time.monotonic() - self.began) / 60
        done = f"seed {self.seed}, {sum(self.faults.values())} faults in {minutes:.1f} minutes"
        lines = ["## What faults did", "", f"`make faults`, {date.today()}: {done}."]
        lines += ["", "| fault | times |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {n} |" for name, n in sorted(self.faults.items())]
        lines += ["", "| seen | count |", "|---|---|"]
        lines += [f"| {name} | {count:,} |" for name, count in self.counts.items()]
        lines += ["", f"Findings (lost, doubled, out of order, or else): {len(self.findings)}."]
        return "\n".join([*lines, *(f"- {finding}" for finding in self.findings[:50])])


async def run(wanted: int, seed: int, nodes: int, keep: Path, *, opening: bool) -> Sums:
    """Rounds until so many faults were done or something was found."""
    sums = Sums(seed)
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        several = await stack.enter_async_context(Cluster(keep / "several", chance, nodes=nodes))
        single = await stack.enter_async_context(World(keep / "single", chance))
        number = 0
        while (left := wanted - sum(sums.faults.values())) > 0 and not sums.findings:
            number += 1
            world, kinds = (
                (single, ONE_NODE) if number % ON_SQLITE == 0 else (several, SEVERAL_NODES)
            )
            chosen = mixed(chance, kinds, min(left, FAULTS_A_ROUND))
            talk = Round(world, number)
            talk.yard.opening = opening
            found = await talk.run(chosen)
            sums.faults.update(fault.__name__ for fault in chosen)
            sums.add(talk, found)
            print(
                f"round {number}: {len(chosen)} faults, {talk.history.count('ok')} confirmed, "
                f"{len(found)} findings; {sum(sums.faults.values())} faults so far",
                flush=True,
            )
            if found:
                path = keep / f"round-{number}.jsonl"
                path.write_text("\n".join(talk.history.lines()), "utf-8")
                print(f"its history: {path}", flush=True)
    return sums


def main() -> None:
    """See the module."""
    ask = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    ask.add_argument("--faults", type=int, default=1000)
    ask.add_argument("--seed", type=int, default=random.randrange(2**32))
    ask.add_argument("--nodes", type=int, default=2)
    ask.add_argument("--report", type=Path, help="a file for the tables")
    ask.add_argument("--keep", type=Path, help="a directory for logs and histories")
    ask.add_argument("--opening", action="store_true", help="open rooms while faults happen, too")
    asked = ask.parse_args()
    faults.LONG = True
    print(f"seed {asked.seed}", flush=True)
    keep = asked.keep or Path(tempfile.mkdtemp(prefix="madang-faults-"))
    keep.mkdir(parents=True, exist_ok=True)
    sums = asyncio.run(
        run(asked.faults, asked.seed, asked.nodes, keep.absolute(), opening=asked.opening)
    )
    print(sums.table())
    if asked.report is not None:
        asked.report.write_text(sums.table() + "\n", "utf-8")
    sys.exit(1 if sums.findings else 0)


if __name__ == "__main__":
    main()
