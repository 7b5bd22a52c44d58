"""The simulation keeps to what can be reckoned without it, and the page quotes what it prints."""

import random
from dataclasses import replace
from pathlib import Path
from statistics import mean, pvariance

import pytest

from bench.capacity import SEED, fleet, tables
from bench.contention import batch_expected, lock_limit, node_failure, org_lock
from bench.figures import MEASURED
from bench.traffic import day, nodes_expected, nodes_heard, orgs, poisson

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
ROUND = replace(MEASURED, commit_fixed=2e-3, commit_each=50e-6, batch_most=500)


@pytest.mark.parametrize("nodes", [1, 2, 8, 64])
@pytest.mark.parametrize("members", [1, 2, 10, 200])
def test_the_nodes_that_hear_a_room_are_as_many_as_the_formula_says(
    members: int, nodes: int
) -> None:
    counted = nodes_heard(random.Random(SEED), members, nodes, 4000)
    assert counted == pytest.approx(nodes_expected(members, nodes), rel=0.02)
    assert nodes_expected(1, nodes) == pytest.approx(1)
    assert nodes_expected(members, nodes) <= min(members, nodes) + 1e-9


@pytest.mark.parametrize("nodes", [1, 4])
def test_an_overloaded_org_commits_full_batches_one_after_another(nodes: int) -> None:
    limit = lock_limit(ROUND)
    assert limit == pytest.approx(500 / (2e-3 + 500 * 50e-6))
    run = org_lock(random.Random(SEED), 2 * limit, nodes, ROUND, seconds=3)
    assert run.overloaded
    assert run.batch == pytest.approx(ROUND.batch_most, rel=0.05)
    assert run.throughput == pytest.approx(limit, rel=0.03)


@pytest.mark.parametrize("nodes", [1, 4, 16])
@pytest.mark.parametrize("part", [0.5, 0.75])
def test_batches_grow_until_commits_keep_up(nodes: int, part: float) -> None:
    rate = part * lock_limit(ROUND)
    run = org_lock(random.Random(SEED), rate, nodes, ROUND, seconds=4)
    assert not run.overloaded
    assert run.throughput == pytest.approx(rate, rel=0.03)
    assert run.batch == pytest.approx(batch_expected(rate, nodes, ROUND), rel=0.08)
    # Nobody waits for more than the commits of all nodes under way and all of the next.
    cycle = nodes * run.batch / rate
    assert cycle / 2 < run.p50 < 2 * cycle
    assert run.p99 < 3 * cycle


def test_a_message_that_comes_alone_waits_for_its_own_commit_only() -> None:
    run = org_lock(random.Random(SEED), 5, 3, ROUND, seconds=60)
    assert run.p50 == pytest.approx(ROUND.commit_fixed + ROUND.commit_each)
    assert run.batch == pytest.approx(1, abs=0.05)


def test_a_burst_below_the_limit_is_over_with_its_second() -> None:
    quarter = lock_limit(ROUND) / 4
    calm = org_lock(random.Random(SEED), quarter, 2, ROUND, seconds=4)
    lively = org_lock(random.Random(SEED), quarter, 2, ROUND, seconds=4, burst=3)
    assert not lively.overloaded
    assert lively.batch > calm.batch
    assert calm.p99 < lively.p99 < 10 * calm.p99


@pytest.mark.parametrize("rate", [0.5, 7.0, 49.0, 400.0])
def test_poisson_numbers_have_the_mean_and_variance_of_poisson(rate: float) -> None:
    rng = random.Random(SEED)
    drawn = [poisson(rng, rate) for _ in range(6000)]
    assert mean(drawn) == pytest.approx(rate, rel=0.05)
    assert pvariance(drawn) == pytest.approx(rate, rel=0.08)


def test_a_day_has_its_messages_and_its_height() -> None:
    found = day(random.Random(SEED), 8_640_000, swing=0.8, lively=0.01)
    assert found.mean == pytest.approx(100)
    # Hardly livelier than the wave: its height is the mean and the swing.
    assert found.minute == pytest.approx(180, rel=0.05)
    assert found.minute < found.second < 180 + 6 * 180**0.5


def test_a_storm_with_room_to_spare_lasts_as_long_as_its_jitter() -> None:
    storm = node_failure(random.Random(SEED), 1000, 50, 0.1, jitter=5)
    each = (MEASURED.connect + MEASURED.catch_up) / 0.9
    assert 4.9 < storm.until <= 5 + 10 * each


def test_a_storm_beyond_what_is_free_lasts_as_long_as_its_work() -> None:
    survivors, busy, connections = 4, 0.5, 100_000
    storm = node_failure(random.Random(SEED), connections, survivors, busy, jitter=1)
    each = (MEASURED.connect + MEASURED.catch_up) / (1 - busy)
    assert storm.until == pytest.approx(connections * each / survivors, rel=0.03)
    assert storm.slowest > storm.until - 1.1
    assert 1 <= storm.most_loaded < 1.05


@pytest.mark.parametrize("users", [1000, 123_456, 10_000_000])
def test_orgs_hold_all_users_and_none_is_larger_than_the_largest(users: int) -> None:
    found = list(orgs(users, 0.05))
    assert sum(one.count * one.users for one in found) == pytest.approx(users, rel=0.03)
    assert max(one.users for one in found) == max(50, int(users * 0.05))


def test_more_users_need_no_fewer_nodes_and_orgs_kept_together_are_told_less() -> None:
    kept = [fleet(users, together=True) for users in (10_000, 300_000, 3_000_000)]
    assert [one.nodes for one in kept] == sorted(one.nodes for one in kept)
    for one in kept[1:]:
        anywhere = fleet(one.users, together=False)
        assert one.notes < anywhere.notes
        assert one.heard.nodes < anywhere.heard.nodes
        assert one.nodes >= max(one.nodes_by.values())
        assert one.databases >= max(one.databases_by.values())


def test_a_seed_gives_the_same_tables_and_another_one_others() -> None:
    first = tables(1)
    assert first == tables(1)
    assert first != tables(2)


def test_the_page_quotes_what_the_simulation_prints() -> None:
    page = PAGE.read_text()
    for name, text in tables().items():
        assert text in page, f"run `python -m bench.capacity` again: {name} has changed"
