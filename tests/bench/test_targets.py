"""Targets of several machines, checked against records as the scenarios write them."""

import pytest

from bench.records import Record
from bench.targets import Verdict, verdicts

PER_CPU = "acked messages per CPU second"


def _record(
    scenario: str, case: str, metric: str, value: float, peer: str = "madang", more: bool = True
) -> Record:
    return Record(scenario, case, peer, metric, "", (value,), more)


def _verdict(part: str, *records: Record) -> Verdict:
    (found,) = [verdict for verdict in verdicts(records) if part in verdict.target]
    return found


@pytest.mark.parametrize(("two", "met"), [(17_000, True), (16_999, False)])
def test_two_nodes_are_held_to_one_nodes_work(two: float, met: bool) -> None:
    found = _verdict(
        "0.85",
        _record("two-nodes", "one node, 100 rooms of 10, 256 in flight", PER_CPU, 9000),
        _record("two-nodes", "one node, 100 rooms of 10, 1024 in flight", PER_CPU, 20_000),
        _record("two-nodes", "two nodes, 100 rooms of 10, 1024 in flight", PER_CPU, two),
    )
    assert found.met is met


def _delays(load: str, near: tuple[float, float], far: tuple[float, float]) -> list[Record]:
    return [
        _record("two-nodes", f"{where}, {load}", f"delivery {key}", value, more=False)
        for where, values in (("within a node", near), ("to the other node", far))
        for key, value in zip(("p50", "p99"), values, strict=True)
    ]


@pytest.mark.parametrize(
    ("far", "met"), [((3.0, 12.0), True), ((3.1, 12.0), False), ((2.0, 12.1), False)]
)
def test_what_the_other_node_adds_is_the_difference_at_the_same_load(
    far: tuple[float, float], met: bool
) -> None:
    records = _delays("nothing else", (2.0, 7.0), far)
    records += _delays("5,000 messages/s", (10.0, 20.0), (10.5, 21.0))
    assert _verdict("nothing else", *records).met is met
    assert _verdict("half load", *records).met is True


def test_inserts_count_with_as_many_connections_as_are_best_for_them() -> None:
    ours = _record("postgres", "100 rooms of 10, 1024 in flight", "acked messages", 10_000)
    theirs = [
        _record("postgres", f"one {what}, one commit, {n} connections", "acked messages", rate, p)
        for p in ["asyncpg"]
        for what, n, rate in [
            ("insert", 1, 900),
            ("insert", 32, 8000),
            ("message", 1, 300),
            ("message", 32, 1000),
        ]
    ]
    bare, whole = _verdict("bare insert", ours, *theirs), _verdict("same rows", ours, *theirs)
    assert (bare.met, whole.met) == (False, True)
    assert bare.measured == "11.1 × 1 connections, 1.2 × 32 connections"


@pytest.mark.parametrize(("grown", "met"), [(40.0, True), (41.0, False)])
def test_memory_that_grows_without_anybody_stalled_is_not_the_stalled_ones(
    grown: float, met: bool
) -> None:
    found = _verdict(
        "memory grows",
        _record("stalled", "nobody stalled", "memory grown", 30.0, more=False),
        _record("stalled", "10 of 1010 stalled", "memory grown", grown, more=False),
        _record("stalled", "10 of 1010 stalled", "the cap, times the stalled", 10.0, more=False),
    )
    assert found.met is met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert all(verdict.met is None for verdict in verdicts([]))


@pytest.mark.parametrize(
    ("sqlite", "postgresql", "met"),
    [(5000, 5000, True), (4999, 9000, False), (9000, 4999, False)],
)
def test_indexing_keeps_up_on_both_databases(sqlite: float, postgresql: float, met: bool) -> None:
    found = _verdict(
        "indexing keeps up",
        _record("search", "1,000,000 messages on SQLite", "indexed", sqlite),
        _record("search", "1,000,000 messages on PostgreSQL", "indexed", postgresql),
    )
    assert found.met is met


@pytest.mark.parametrize(("database", "most"), [("PostgreSQL", 100.0), ("SQLite", 150.0)])
def test_searches_have_a_limit_on_each_database(database: str, most: float) -> None:
    for value, met in ((most, True), (most + 1, False)):
        found = _verdict(
            "under 100 ms" if database == "PostgreSQL" else "under 150 ms",
            _record("search", f"1,000,000 messages on {database}", "search p99", value, more=False),
        )
        assert found.met is met
