"""A node's numbers as Prometheus reads them."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at `/metrics`: every sample by its name and labels."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]
    families: dict[str, str]
    """The type of each family."""

    @classmethod
    def of(cls, text: str) -> Reading:
        samples = {}
        families = {}
        for family in text_string_to_metric_families(text):
            families[family.name] = family.type
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                assert key not in samples, f"{key} is told twice"
                samples[key] = sample.value
        return cls(samples, families)

    def sum(self, name: str, **labels: str) -> float:
        """All samples of this name that have these labels, added up."""
        asked = labels.items()
        return sum(
            value for (found, has), value in self.samples.items() if found == name and asked <= has
        )

    def nodes(self) -> set[str | None]:
        """The values of the label `node`; None where a sample has none."""
        return {dict(has).get("node") for _, has in self.samples}


async def look(url: str) -> Reading:
    """Ask the server at `url` for its numbers."""
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(f"{url}/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Reading.of(answer.text)
