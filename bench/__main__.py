"""`python -m bench`: measures what the suite lists, prints tables, keeps the figures.

A whole run (no part left out) also writes RESULTS.md; `--write` writes it after any run.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TypeVar

from rich.console import Console

from bench import records as kept
from bench.load.driver import LoadFailed
from bench.machine import describe
from bench.paths import REPORT, RESULTS
from bench.peers.base import Peer, Unavailable
from bench.processes import StartFailed, end_all
from bench.records import Record, failed
from bench.report import figure, markdown, show
from bench.scenarios.base import Effort, Scenario
from bench.suite import PEERS, SCENARIOS

Named = TypeVar("Named", Peer, Scenario)
QUICK = Effort(seconds=1.0, warm=0.5, repeats=1, scale=0.2)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help="scenarios, by name, separated by commas")
    parser.add_argument("--peers", default="", help="peers, by name, separated by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measured window")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each measurement")
    parser.add_argument("--quick", action="store_true", help="a look: small, short and once")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md after any run")
    parser.add_argument(
        "--from", dest="saved", nargs="+", default=[], metavar="JSON", help="report saved runs"
    )
    parser.add_argument("--list", action="store_true", help="print what there is, and stop")
    return parser.parse_args(argv)


def _chosen(names: str, all_of: Sequence[Named]) -> list[Named]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = set(wanted) - {one.name for one in all_of}
    if unknown:
        known = ", ".join(one.name for one in all_of)
        sys.exit(f"unknown: {', '.join(sorted(unknown))} (there are: {known})")
    return [one for one in all_of if not wanted or one.name in wanted]


def _installed(peers: Sequence[Peer], console: Console) -> tuple[list[Peer], dict[str, str]]:
    ready, absent = [], {}
    for peer in peers:
        with console.status(f"installing {peer.title}"):
            try:
                peer.install()
            except Unavailable as error:
                absent[peer.title] = str(error)
                console.print(f"[yellow]without {peer.title}[/]: {error}")
                continue
        ready.append(peer)
    return ready, absent


def _measure(
    scenarios: Sequence[Scenario], peers: Sequence[Peer], effort: Effort, console: Console
) -> Iterator[Record]:
    for scenario in scenarios:
        for peer in peers:
            if not scenario.takes(peer) or (peer.only and scenario.name not in peer.only):
                continue
            console.print(f"[bold]{scenario.name}[/] {peer.title}")
            try:
                for record in scenario.run(peer, effort):
                    shown = figure(record.value, record.unit)
                    console.print(f"    {record.case}: {record.metric} [cyan]{shown}[/]")
                    yield record
            except (LoadFailed, StartFailed, Unavailable, OSError) as error:
                console.print(f"    [red]failed[/] {error}")
                yield failed(scenario.name, "", peer.name, "failed", "", str(error)[:200])


def _report_saved(paths: Sequence[str], console: Console, *, write: bool) -> None:
    """Tables of earlier runs as one; of two figures for the same thing the later file's counts."""
    merged: dict[tuple[str, str, str, str], Record] = {}
    machine: dict[str, str] = {}
    for path in paths:
        found, described = kept.load(Path(path))
        machine |= described
        # What failed before and was measured since has not failed.
        again = {(r.scenario, r.peer) for r in found}
        merged = {
            key: r for key, r in merged.items() if r.runs or (r.scenario, r.peer) not in again
        }
        merged |= {(r.scenario, r.case, r.peer, r.metric): r for r in found}
    records = list(merged.values())
    show(records, console)
    if write:
        REPORT.write_text(markdown(records, machine))


def _stop(signal_number: int, frame: FrameType | None) -> None:
    end_all()
    sys.exit(128 + signal_number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; answers 0 when everything that was chosen could be measured."""
    options = _arguments(argv)
    # Tables are wider than a pipe's default of 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if options.list:
        console.print("scenarios:", ", ".join(s.name for s in SCENARIOS))
        console.print("peers:", ", ".join(p.name for p in PEERS))
        return 0
    if options.saved:
        _report_saved(options.saved, console, write=options.write)
        return 0
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _stop)
    effort = QUICK if options.quick else Effort(options.seconds, 1.5, options.repeats)
    scenarios = _chosen(options.only, SCENARIOS)
    peers, absent = _installed(_chosen(options.peers, PEERS), console)
    machine = describe(peers)
    machine["runs"] = f"{effort.repeats} of {effort.seconds:g} s each"
    machine |= {peer: f"not measured: {why}" for peer, why in absent.items()}
    found: list[Record] = []
    try:
        for record in _measure(scenarios, peers, effort, console):
            found.append(record)
    except KeyboardInterrupt:
        console.print("[yellow]stopped; what was measured so far:[/]")
    finally:
        end_all()
    show(found, console)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    kept.save(found, RESULTS / f"{stamp}.json", machine)
    whole = not (options.only or options.peers or options.quick)
    if options.write or whole:
        REPORT.write_text(markdown(found, machine))
        console.print(f"written: {REPORT.name}")
    return 1 if any(not record.runs for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
