"""Tables: on the terminal, and in RESULTS.md."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from bench.paths import FAULTS, UNREACHED
from bench.records import Record
from bench.suite import PEERS, SCENARIOS
from bench.targets import verdicts

_TITLES = {peer.name: peer.title for peer in PEERS}
_HEADINGS = {scenario.name: scenario.title for scenario in SCENARIOS}
_COLUMNS = ("", "median", "min to max", "Madang is", "of the ceiling", "server core", "load core")
_REFERENCE, _CEILING = "madang", "ceiling"
# Above this share of the server's core taken by other programs, a row says so.
CROWDED = 0.05


def figure(value: float, unit: str) -> str:
    """A number as people read it: thousands with commas, small ones with three digits."""
    if math.isnan(value):
        return "–"
    shown = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{shown}{unit}" if unit.startswith("/") else f"{shown} {unit}".rstrip()


def _divides(*records: Record) -> bool:
    """Whether their values can be held against each other: counts of mistakes are often none."""
    return all(record.value and not math.isnan(record.value) for record in records)


def _times(record: Record, madang: Record | None) -> str:
    if madang is None or record.peer in (_REFERENCE, _CEILING) or not _divides(madang, record):
        return ""
    ratio = madang.value / record.value
    if not record.more_is_better:
        ratio = 1 / ratio
    return f"{ratio:.2f} ×"


def _share(part: float | None) -> str:
    return "" if part is None or math.isnan(part) else f"{part:.0%}"


def _server_share(record: Record) -> str:
    own = _share(record.server_cpu)
    crowded = record.others is not None and record.others > CROWDED
    return f"{own} (others {_share(record.others)})" if crowded else own


def _cells(record: Record, by_peer: dict[str, Record]) -> tuple[str, ...]:
    title = _TITLES.get(record.peer, record.peer)
    if not record.runs:
        return (title, "–", record.note, "", "", "", "")
    ceiling = by_peer.get(_CEILING)
    of_ceiling = None
    if ceiling is not None and record.more_is_better and record.peer != _CEILING:
        of_ceiling = record.value / ceiling.value
    note = f" ({record.note})" if record.note else ""
    return (
        title + note,
        figure(record.value, record.unit),
        f"{figure(min(record.runs), '')} to {figure(max(record.runs), '')}",
        _times(record, by_peer.get(_REFERENCE)),
        _share(of_ceiling),
        _server_share(record),
        _share(record.load_cpu),
    )


def _tables(records: Sequence[Record]) -> Iterator[tuple[str, str, list[tuple[str, ...]]]]:
    """Scenario title, caption, rows: one table for each case and metric, in the suite's order."""
    order = {name: at for at, name in enumerate(_HEADINGS)}
    seen = {(r.scenario, r.case, r.metric): at for at, r in reversed(list(enumerate(records)))}

    def key(record: Record) -> tuple[int, int]:
        place = seen[(record.scenario, record.case, record.metric)]
        return order.get(record.scenario, len(order)), place

    for _, group in groupby(sorted(records, key=key), key=key):
        rows = list(group)
        by_peer = {row.peer: row for row in rows}
        rows.sort(key=lambda r: list(_TITLES).index(r.peer))
        caption = f"{rows[0].metric}: {rows[0].case}" if rows[0].case else rows[0].metric
        title = _HEADINGS.get(rows[0].scenario, rows[0].scenario)
        yield title, caption, [_cells(row, by_peer) for row in rows]


def show(records: Sequence[Record], console: Console) -> None:
    """Print every table and the targets."""
    last = ""
    for title, caption, rows in _tables(records):
        if title != last:
            console.rule(title)
            last = title
        table = Table(title=caption, title_justify="left")
        for at, column in enumerate(_COLUMNS):
            table.add_column(column, justify="left" if at == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    table = Table("target", "measured", "met", title="Targets", title_justify="left")
    marks = {True: "[green]yes[/]", False: "[red]no[/]", None: "–"}
    for verdict in verdicts(records):
        table.add_row(verdict.target, verdict.measured or "not measured", marks[verdict.met])
    console.print(table)


def markdown(records: Sequence[Record], machine: dict[str, str]) -> str:
    """RESULTS.md of one run, or of several as one."""
    lines = [
        "# What was measured",
        "",
        "Written by `python -m bench`; do not edit. Every server had one core to itself, the load",
        "generator another. Each figure is the median of its runs; a message has landed when",
        "every receiver has it.",
        "",
        "The machine has few cores: where there are a PostgreSQL and a Valkey, they share the load",
        "generator's core, and several nodes share the servers' core. What several nodes carry is",
        "therefore told for a second of CPU; their messages a second are those of one core.",
        "",
        "*(ceiling of the load)* is a C program that does nothing but write ready frames: what the",
        "load generator counts there is the most it could count anywhere. *Madang is* says how",
        "many times better Madang's figure is than the row's.",
        "",
        "## Machine and versions",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        "## Targets",
        "",
        "| target | measured | met |",
        "|---|---|---|",
    ]
    marks = {True: "yes", False: "**no**", None: "–"}
    for verdict in verdicts(records):
        measured = verdict.measured or "not measured"
        lines.append(f"| {verdict.target} | {measured} | {marks[verdict.met]} |")
    for page in (FAULTS, UNREACHED):
        if page.exists():
            lines += ["", page.read_text("utf-8").strip()]
    last = ""
    for title, caption, rows in _tables(records):
        if title != last:
            lines += ["", f"## {title}"]
            last = title
        lines += ["", f"**{caption}**", "", f"| {' | '.join(_COLUMNS)} |"]
        lines.append("|---|" + "---:|" * (len(_COLUMNS) - 1))
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"
