from __future__ import annotations

from madang.client.backoff import CAP, SOON, Backoff


def test_waits_double_up_to_the_cap_and_begin_small_again() -> None:
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.after_failure() for _ in range(9)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, CAP, CAP, CAP]
    backoff.reset()
    assert backoff.after_failure() == 0.5


def test_the_whole_of_each_wait_is_drawn() -> None:
    draws = iter([0.0, 0.25, 0.5])
    backoff = Backoff(lambda: next(draws))
    assert [backoff.after_failure() for _ in range(3)] == [0.0, 0.25, 1.0]
    assert Backoff(lambda: 0.5).soon() == SOON / 2
