"""What a measurement leaves behind: one record per peer, case and metric."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Record:
    """The runs of one metric. `server_cpu` and `load_cpu` are shares of their core, 0 to 1;
    `others` is what other programs took of the server's core meanwhile."""

    scenario: str
    case: str
    peer: str
    metric: str
    unit: str
    runs: tuple[float, ...]
    more_is_better: bool = True
    server_cpu: float | None = None
    load_cpu: float | None = None
    others: float | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median of the runs; NaN where the peer could not do it."""
        return statistics.median(self.runs) if self.runs else float("nan")


def failed(scenario: str, case: str, peer: str, metric: str, unit: str, why: str) -> Record:
    """The record of a measurement that could not be made, with the reason."""
    return Record(scenario, case, peer, metric, unit, (), note=why)


def save(records: Iterable[Record], path: Path, machine: dict[str, str]) -> None:
    """Write a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"machine": machine, "records": [asdict(record) for record in records]}
    path.write_text(json.dumps(body, indent=1) + "\n")


def load(path: Path) -> tuple[list[Record], dict[str, str]]:
    """Read a run that `save` wrote."""
    body = json.loads(path.read_text())
    rows = [Record(**(row | {"runs": tuple(row["runs"])})) for row in body["records"]]
    return rows, body["machine"]
