"""What Madang must reach, each checked against the records of a run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.records import Record


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target, the figure that was measured (None: not in this run) and whether it is met."""

    target: str
    measured: str | None
    met: bool | None


class Missing(Exception):
    """The run holds no record that the target needs."""


class Figures:
    """Looks records up by scenario, peer and metric."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = [r for r in records if not math.isnan(r.value)]

    def all(self, scenario: str, metric: str, peer: str = "madang", case: str = "") -> list[Record]:
        found = [
            r
            for r in self._records
            if (r.scenario, r.metric, r.peer) == (scenario, metric, peer) and case in r.case
        ]
        if not found:
            raise Missing(f"{scenario}: {metric} of {peer}")
        return found

    def best(self, scenario: str, metric: str, peer: str = "madang", case: str = "") -> float:
        values = [r.value for r in self.all(scenario, metric, peer, case)]
        more = self.all(scenario, metric, peer, case)[0].more_is_better
        return max(values) if more else min(values)

    def rate(self, peer: str) -> float:
        return self.best("fanout", "deliveries", peer, ", 64 in flight")


def _ratio(peer: str, times: float) -> Callable[[Figures], tuple[str, bool]]:
    def check(figures: Figures) -> tuple[str, bool]:
        ratio = figures.rate("madang") / figures.rate(peer)
        return f"{ratio:.2f} ×", ratio >= times

    return check


def _at_least(
    scenario: str, metric: str, least: float, unit: str
) -> Callable[[Figures], tuple[str, bool]]:
    def check(figures: Figures) -> tuple[str, bool]:
        value = figures.best(scenario, metric)
        return f"{value:,.0f} {unit}", value >= least

    return check


def _at_most(
    scenario: str, metric: str, most: float, unit: str, case: str = ""
) -> Callable[[Figures], tuple[str, bool]]:
    def check(figures: Figures) -> tuple[str, bool]:
        value = max(r.value for r in figures.all(scenario, metric, case=case))
        return f"{value:,.2f} {unit}", value <= most

    return check


def _never_above(
    scenario: str, metric: str, most: float, unit: str
) -> Callable[[Figures], tuple[str, bool]]:
    """As `_at_most`, in every single run."""

    def check(figures: Figures) -> tuple[str, bool]:
        value = max(one for r in figures.all(scenario, metric) for one in r.runs)
        return f"{value:,.0f} {unit}".rstrip(), value <= most

    return check


def _light(figures: Figures) -> tuple[str, bool]:
    ours, theirs = (figures.best("light", "last delivery p50", p) for p in ("madang", "nchan"))
    return f"{ours:.2f} ms, nchan {theirs:.2f} ms", ours <= theirs


def _growth(figures: Figures) -> tuple[str, bool]:
    def growth(peer: str, depth: int) -> float:
        records = figures.all("growth", "server CPU per delivery", peer, f", {depth} in flight")
        return records[-1].value / records[0].value - 1

    ours = {depth: growth("madang", depth) for depth in (1, 64)}
    told = []
    for depth, value in ours.items():
        try:
            floor = f" (a bare C server {growth('ceiling', depth):+.0%})"
        except Missing:
            floor = ""
        told.append(f"{value:+.0%} at {depth} in flight{floor}")
    return ", ".join(told), all(value < 0.20 for value in ours.values())


def _straight(what: str) -> Callable[[Figures], tuple[str, bool]]:
    def check(figures: Figures) -> tuple[str, bool]:
        ours = figures.best("postgres", "acked messages")
        theirs = figures.all("postgres", "acked messages", "asyncpg", f"one {what},")
        told = ", ".join(f"{ours / r.value:.1f} × {r.case.rpartition(', ')[2]}" for r in theirs)
        return told, ours >= 10 * max(r.value for r in theirs)

    return check


def _per_cpu(figures: Figures) -> tuple[str, bool]:
    metric = "acked messages per CPU second"
    one, two = (figures.best("two-nodes", metric, case=f"{n} node") for n in ("one", "two"))
    return f"{two / one:.2f} ({one:,.0f} and {two:,.0f} for a CPU second)", two / one >= 0.85


def _added(load: str) -> Callable[[Figures], tuple[str, bool]]:
    def check(figures: Figures) -> tuple[str, bool]:
        def delay(where: str, key: str) -> float:
            found = figures.all("two-nodes", f"delivery {key}", case=where)
            return next(r.value for r in found if r.case.endswith(load))

        p50, p99 = (
            delay("to the other node", key) - delay("within a node", key) for key in ("p50", "p99")
        )
        return f"{p50:.2f} ms, {p99:.2f} ms", p50 <= 1 and p99 <= 5

    return check


def _manager(figures: Figures) -> tuple[str, bool]:
    ours = figures.best("two-nodes", "deliveries", case="two nodes")
    ratio = ours / figures.best("two-nodes", "deliveries", "socketio-redis", "two nodes")
    return f"{ratio:.1f} ×", ratio >= 4


def _page(figures: Figures) -> tuple[str, bool]:
    ours, raw = (figures.best("history", "page p99", peer) for peer in ("madang", "asyncpg"))
    http = figures.best("history", "page over HTTP p99")
    told = f"{ours / raw:.2f} × ({ours:.2f} ms and {raw:.2f} ms; over HTTP {http:.2f} ms)"
    return told, ours <= 2 * raw


def _others(figures: Figures) -> tuple[str, bool]:
    metric = "the others' delivery p99"
    without = figures.best("stalled", metric, case="nobody")
    beside = figures.best("stalled", metric, case=" of ")
    return f"{beside / without:.2f} ×", beside <= 1.2 * without


def _indexed(figures: Figures) -> tuple[str, bool]:
    rates = [(r.case.rpartition(" ")[2], r.value) for r in figures.all("search", "indexed")]
    return ", ".join(f"{name} {rate:,.0f} /s" for name, rate in rates), all(
        rate >= 5000 for _, rate in rates
    )


def _refreshed(figures: Figures) -> tuple[str, bool]:
    metrics = (
        "texts that are not what the agent said",
        "texts on disk that are not",
        "answers that did not end as complete",
    )
    wrong = [max(n for r in figures.all("refresh", m) for n in r.runs) for m in metrics]
    refreshes = sum(len(r.runs) for r in figures.all("refresh", metrics[0]))
    told = f"{wrong[0]:,.0f} differ, {wrong[1]:,.0f} on disk, {wrong[2]:,.0f} broke off"
    return f"{told} (in each of {refreshes} runs)", not any(wrong)


def _grown(figures: Figures) -> tuple[str, bool]:
    # What anything grows by, stalled or not, is not the stalled ones'.
    grown = figures.best("stalled", "memory grown", case=" of ")
    grown = max(0.0, grown - figures.best("stalled", "memory grown", case="nobody"))
    cap = figures.best("stalled", "the cap, times the stalled", case=" of ")
    return f"{grown:.1f} MB of {cap:.1f} MB", grown <= cap


_TARGETS: tuple[tuple[str, Callable[[Figures], tuple[str, bool]]], ...] = (
    ("64 in flight to 1,000: at least 1.5 × uWebSockets in Bun", _ratio("uws", 1.5)),
    ("64 in flight to 1,000: at least 10 × nchan", _ratio("nchan", 10)),
    ("64 in flight to 1,000: at least 25 × ws on Node", _ratio("ws", 25)),
    (
        "durable, rooms of 100: at least 1,200,000 deliveries/s",
        _at_least("durable-rooms", "deliveries", 1_200_000, "/s"),
    ),
    (
        "durable, rooms of 10: at least 15,000 acked messages/s",
        _at_least("durable", "acked messages", 15_000, "/s"),
    ),
    ("durable, half of that rate: p99 under 30 ms", _at_most("durable", "ack p99", 30, "ms")),
    ("1 in flight to 1,000: the last delivery no later than nchan's", _light),
    (
        "idle connection: at most 3 KB",
        _at_most("memory", "memory per connection", 3, "KB", ", 0 conversations"),
    ),
    (
        "idle connection of a user in ten conversations: at most 5 KB",
        _at_most("memory", "memory per connection", 5, "KB", ", 10 conversations"),
    ),
    ("10,000 idle connections: at most 2 % of a core", _at_most("memory", "idle CPU", 2, "%")),
    (
        "at least 4,500 authenticated connects/s",
        _at_least("connects", "connects", 4500, "/s"),
    ),
    (
        "5,000 clients back with 20 missed events each: within 5 s",
        _at_most("resume", "until all are caught up", 5, "s"),
    ),
    ("cost per delivery, 100 to 15,000 connections: less than 20 % more", _growth),
    (
        "durable on PostgreSQL, rooms of 10: at least 9,000 acked messages/s",
        _at_least("postgres", "acked messages", 9000, "/s"),
    ),
    (
        "the same: at least 10 × one bare insert, one commit on that database",
        _straight("insert"),
    ),
    ("the same: at least 10 × one message (the same rows), one commit", _straight("message")),
    ("two nodes: at least 0.85 of one node's acked messages for a CPU second", _per_cpu),
    (
        "to the other node, nothing else: at most 1 ms more at p50, 5 ms at p99",
        _added("nothing else"),
    ),
    ("the same at half load", _added("messages/s")),
    ("two nodes: at least 4 × python-socketio with its Redis manager", _manager),
    (
        "5,000 clients move, 50 missed events in 100 conversations: within 8 s",
        _at_most("move", "until all are caught up", 8, "s"),
    ),
    (
        "the same: at most 2 reads of the log for each conversation",
        _at_most("move", "reads of the log per conversation", 2, "reads"),
    ),
    ("the store's page of 50 out of 1,000,000 messages: p99 at most 2 × the query's", _page),
    ("1 % of readers stalled: the others' p99 at most 1.2 × without", _others),
    ("the same: memory grows by at most the cap times the stalled", _grown),
    (
        "a file of 1 GB, up or down: less than 64 MB of memory more",
        _at_most("upload", "memory grown", 64, "MB"),
    ),
    (
        "200 pictures of 12 megapixels: p99 of messages meanwhile under 50 ms",
        _at_most("thumbnails", "message p99", 50, "ms", "beside"),
    ),
    (
        "2,000 join a live room in 10 s and vote in the next 5 s: nobody refused",
        _never_above("live-votes", "refused, or without an answer", 0, "refused"),
    ),
    (
        "the same: every vote counted once",
        _never_above("live-votes", "votes missed or counted twice", 0, "missed or twice"),
    ),
    (
        "the same: at most 10 frames/s of counts to any phone",
        _never_above("live-votes", "counts told to a phone, most in a second", 10, "/s"),
    ),
    (
        "the same: server core below 80 %",
        _at_most("live-votes", "server core, of the planned time", 80, "%", "s, and vote"),
    ),
    (
        "a live room of 5,000: chat has reached the last one within 250 ms at p99",
        _at_most("live-room", "the last one has it p99", 250, "ms"),
    ),
    ("the join page: under 100 KB", _at_most("live-page", "sent", 100, "KB")),
    (
        "1,000 agents at 50 tokens/s, two viewers each: 100,000 tokens/s (99 %: with questions)",
        _at_least("runs", "tokens delivered", 99_000, "/s"),
    ),
    (
        "200 of them: an answer's first token is there within 30 ms at p99",
        _at_most("runs", "first token p99", 30, "ms", "200 runs"),
    ),
    (
        "every frame is what the agent said, to the byte",
        _never_above("runs", "frames that were not what the agent said", 0, "other"),
    ),
    ("500 viewers refresh in the middle of an answer: the same text, to the byte", _refreshed),
    (
        "search over 1,000,000 messages on PostgreSQL: p99 under 100 ms",
        _at_most("search", "search p99", 100, "ms", "PostgreSQL"),
    ),
    ("the same on SQLite: p99 under 150 ms", _at_most("search", "search p99", 150, "ms", "SQLite")),
    ("indexing keeps up with 5,000 messages/s", _indexed),
    (
        "beside 5,000 acked messages/s on the same core: found within 5 s, every time",
        _never_above("indexing", "found after max", 5000, "ms"),
    ),
)


def verdicts(records: Sequence[Record]) -> list[Verdict]:
    """Every target, with what this run says about it."""
    figures = Figures(records)
    found = []
    for text, check in _TARGETS:
        try:
            measured, met = check(figures)
        except Missing:
            found.append(Verdict(text, None, None))
        else:
            found.append(Verdict(text, measured, met))
    return found
