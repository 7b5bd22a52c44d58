"""Capacity on paper: a simulation of nodes, orgs, conversations, a bus and databases.

`python -m bench.capacity` prints the tables that docs/scaling.md quotes; the same seed prints the
same. It reckons with the figures of `bench.figures`, by the models of `bench.traffic` and
`bench.contention`, and knows nothing of Madang itself.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.contention import LockRun, Storm, batch_expected, lock_limit, node_failure, org_lock
from bench.figures import MEASURED, Figures
from bench.traffic import Day, Heard, audience, day, nodes_expected, nodes_heard, orgs

SEED = 20
USERS = (10_000, 100_000, 1_000_000, 10_000_000)


@dataclass(frozen=True, slots=True)
class People:
    """What people do, and how it is spread."""

    messages_a_day: float = 40.0
    """Of each of those who come on a day."""
    come: float = 2.0
    """So many come on a day for each that is connected at its height."""
    devices: float = 1.2
    """Connections of a connected user."""
    online: float = 0.35
    """Of a conversation's members, at the height."""
    largest_org: float = 0.05
    """Of all users."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one machine is allowed to carry."""

    busy: float = 0.5
    """Of a core in the busiest second: the other half is for storms and for a node that is away."""
    node_memory: float = 2e9
    node_files: int = 50_000
    """`WS_MAX_CONNECTIONS`."""
    database_cores: int = 16
    database_memory: float = 64e9
    database_disk: float = 8e12
    warm_days: int = 7
    """So many days' index entries are held in memory; what is older is read from the disk."""
    kept_days: int = 365
    org_on_a_node: int = 20_000
    """Connections of one org that a balancer brings to one node before it takes another, where it
    keeps orgs together."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What so many connected users need. `nodes_by` and `databases_by` tell each limit by itself:
    how many it would take if there were only that one. Work is in cores."""

    users: int
    peak: Day
    heard: Heard
    notes: float
    work: dict[str, float]
    nodes: int
    nodes_by: dict[str, float]
    databases: int
    databases_by: dict[str, float]
    bus_work: float
    bus_bytes: float
    buses: int
    disk: float
    org_rate: float
    org_nodes: int
    org: LockRun
    storm: Storm


def commits_of(rate: float, nodes: float, figures: Figures) -> float:
    """Commits a second of an org: one for each message, until they are so many that the next ones
    gather while others hold the lock."""
    return rate / max(1.0, batch_expected(rate, max(1, round(nodes)), figures))


def fleet(
    users: int,
    *,
    together: bool,
    seed: int = SEED,
    people: People = People(),
    sizes: Sizes = Sizes(),
    figures: Figures = MEASURED,
) -> Fleet:
    """How many nodes, buses and databases so many connected users need. `together`: the balancer
    keeps an org's users on as few nodes as carry them; otherwise they are anywhere.

    Nodes and what they hear depend on each other, more nodes hear a room where there are more: the
    number is sought until it is its own answer.
    """
    rng = random.Random(seed)
    peak = day(rng, users * people.come * people.messages_a_day)
    each = peak.second / users
    all_orgs = list(orgs(users, people.largest_org))
    connections = users * people.devices
    memory = connections * (figures.connection_bytes + figures.socket_bytes) / sizes.node_memory
    nodes, found = 2, Heard(0.0, 0.0)
    notes, commits, work, by = 0.0, 0.0, {"": 0.0}, {"": 0.0}

    def nodes_of(org_users: int) -> float:
        there = org_users * people.devices
        # Two at least, so that an org goes on when a node dies.
        few = max(2, math.ceil(there / sizes.org_on_a_node))
        return nodes_expected(there, min(nodes, few) if together else nodes)

    for _ in range(20):
        found = audience(
            random.Random(seed), all_orgs, nodes_of, online=people.online, devices=people.devices
        )
        notes = sum(
            org.count
            * commits_of(org.users * each, nodes_of(org.users), figures)
            * max(0.0, nodes_of(org.users) - 1)
            for org in all_orgs
        )
        commits = sum(
            org.count * commits_of(org.users * each, nodes_of(org.users), figures)
            for org in all_orgs
        )
        work = {
            "commits": commits * figures.commit_work,
            "sending": peak.second * figures.send,
            "deliveries": peak.second * figures.delivery * found.deliveries,
            "envelopes": peak.second * figures.hear * max(0.0, found.nodes - 1),
            "notes": notes * figures.note,
            "heartbeats": connections * figures.idle,
        }
        by = {
            "CPU": sum(work.values()) / sizes.busy,
            "memory": memory,
            "connections": connections / sizes.node_files,
        }
        # One more, so that any one may be away.
        wanted = max(2, math.ceil(max(by.values())) + 1)
        if wanted == nodes:
            break
        nodes = wanted
    largest = max(org.users for org in all_orgs)
    org_nodes = max(1, round(nodes_of(largest)))
    org = org_lock(rng, max(5.0, largest * each), org_nodes, figures, seconds=2.0)
    told = peak.second + notes / max(1.0, nodes - 1)
    heard = peak.second * max(0.0, found.nodes - 1) + notes
    bus_work = told * figures.bus_told + heard * figures.bus_heard
    a_day = peak.mean * 86_400
    database_work = commits * figures.database_commit + peak.second * figures.database_send
    databases_by = {
        "CPU": database_work / (sizes.busy * sizes.database_cores),
        "index memory": a_day * sizes.warm_days * figures.index_bytes / sizes.database_memory,
        "disk": a_day * sizes.kept_days * figures.message_bytes / sizes.database_disk,
    }
    storm = node_failure(
        rng,
        round(connections / max(1, nodes - 1)),
        nodes - 1,
        sum(work.values()) / nodes,
        figures,
    )
    return Fleet(
        users=users,
        peak=peak,
        heard=found,
        notes=notes,
        work=work,
        nodes=nodes,
        nodes_by=by,
        databases=max(1, math.ceil(max(databases_by.values()))),
        databases_by=databases_by,
        bus_work=bus_work,
        bus_bytes=(told + heard) * figures.envelope_bytes,
        buses=max(1, math.ceil(bus_work / sizes.busy)),
        disk=a_day * sizes.kept_days * figures.message_bytes,
        org_rate=largest * each,
        org_nodes=org_nodes,
        org=org,
        storm=storm,
    )


# -- tables ----------------------------------------------------------------------------------------

Column = tuple[str, Callable[[Fleet], str]]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---:|" * len(head)]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def lock_table(seed: int) -> str:
    """One org's log under more and more messages, from one node and from several."""
    rng = random.Random(seed)
    limit = lock_limit()
    rows: list[Sequence[object]] = []
    for part in (0.05, 0.25, 0.5, 0.75, 0.9):
        row: list[object] = [f"{limit * part:,.0f}"]
        for nodes in (1, 4, 16):
            run = org_lock(rng, limit * part, nodes, seconds=4.0)
            row += [f"{run.batch:.1f}", f"{_ms(run.p50)} / {_ms(run.p99)}"]
        rows.append(row)
    head = ["messages/s"]
    for which in ("1 node", "4 nodes", "16 nodes"):
        head += [f"{which}: in a commit", "p50 / p99 ms"]
    return table(head, rows)


def burst_table(seed: int) -> str:
    """A second with several times the messages, in an org at a quarter of what its lock takes."""
    rng = random.Random(seed)
    rows: list[Sequence[object]] = []
    for times in (1, 2, 3, 6):
        run = org_lock(rng, lock_limit() / 4, 4, burst=times, seconds=4.0)
        rows.append((times, f"{run.batch:.1f}", _ms(run.p50), _ms(run.p99)))
    return table(("times the messages", "in a commit", "p50 ms", "p99 ms"), rows)


def audience_table(seed: int) -> str:
    """Nodes that hear a message of a room of n connected members: placed, and by the formula."""
    rng = random.Random(seed)
    ks = (2, 8, 32, 128)
    rows = [
        (n, *(f"{nodes_heard(rng, n, k, 300):.1f} ({nodes_expected(n, k):.1f})" for k in ks))
        for n in (2, 10, 100, 1000)
    ]
    return table(("connected", *(f"{k} nodes" for k in ks)), rows)


def storm_table(seed: int) -> str:
    """A node with 50,000 connections dies; so many others take them, at work already."""
    rng = random.Random(seed)
    rows: list[Sequence[object]] = []
    for survivors in (1, 3, 10, 100):
        for busy in (0.25, 0.5, 0.75):
            storm = node_failure(rng, 50_000, survivors, busy)
            rows.append((survivors, f"{busy:.0%}", f"{storm.until:.1f}", f"{storm.slowest:.1f}"))
    return table(("others", "busy before", "all back after s", "slowest waited s"), rows)


def _by(limits: dict[str, float]) -> str:
    first, *others = sorted(limits, key=lambda name: -limits[name])
    rest = ", ".join(f"{name} {limits[name]:,.1f}" for name in others)
    return f"**{first} {limits[first]:,.1f}**, {rest}"


def _work(name: str) -> Callable[[Fleet], str]:
    return lambda f: f"{f.work[name]:,.2f}"


_LOAD: tuple[Column, ...] = (
    ("connected users", lambda f: f"{f.users:,}"),
    ("messages/s, mean", lambda f: f"{f.peak.mean:,.0f}"),
    ("busiest minute", lambda f: f"{f.peak.minute:,.0f}"),
    ("busiest second", lambda f: f"{f.peak.second:,.0f}"),
    ("deliveries/s then", lambda f: f"{f.peak.second * f.heard.deliveries:,.0f}"),
    ("disk a year, TB", lambda f: f"{f.disk / 1e12:,.2f}"),
)
_NEEDS: tuple[Column, ...] = (
    ("connected users", lambda f: f"{f.users:,}"),
    ("nodes", lambda f: f"{f.nodes}"),
    ("by each limit", lambda f: _by(f.nodes_by)),
    ("bus shards", lambda f: f"{f.buses}"),
    ("bus MB/s", lambda f: f"{f.bus_bytes / 1e6:,.1f}"),
    ("databases", lambda f: f"{f.databases}"),
    ("by each limit", lambda f: _by(f.databases_by)),
)
_WORK: tuple[Column, ...] = (
    ("connected users", lambda f: f"{f.users:,}"),
    *(
        (f"{name}, cores", _work(name))
        for name in ("commits", "sending", "deliveries", "envelopes", "notes", "heartbeats")
    ),
    ("nodes that hear a message", lambda f: f"{f.heard.nodes:.1f}"),
    ("notes heard/s", lambda f: f"{f.notes:,.0f}"),
    ("bus, cores", lambda f: f"{f.bus_work:,.2f}"),
    ("largest org: messages/s", lambda f: f"{f.org_rate:,.0f}"),
    ("on nodes", lambda f: f"{f.org_nodes}"),
    ("its commits p50 / p99 ms", lambda f: f"{_ms(f.org.p50)} / {_ms(f.org.p99)}"),
)


def tables(seed: int = SEED) -> dict[str, str]:
    """Every table by its name, as docs/scaling.md quotes it."""
    kept = [fleet(users, together=True, seed=seed) for users in USERS]
    spread = [fleet(users, together=False, seed=seed) for users in USERS]

    def of(columns: Sequence[Column], fleets: Sequence[Fleet]) -> str:
        return table(
            [name for name, _ in columns], [[f(one) for _, f in columns] for one in fleets]
        )

    return {
        "lock": lock_table(seed),
        "burst": burst_table(seed),
        "audience": audience_table(seed),
        "storm": storm_table(seed),
        "load": of(_LOAD, kept),
        "needs": of(_NEEDS, kept),
        "work, orgs kept together": of(_WORK, kept),
        "work, orgs anywhere": of(_WORK, spread),
    }


def main() -> None:
    for name, text in tables().items():
        print(f"### {name}\n\n{text}\n")


if __name__ == "__main__":
    main()
