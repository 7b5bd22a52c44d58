"""The checker finds every kind of error that is planted, and nothing where there is none."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import History, Listed, problems


def good() -> History:
    """Two senders, two rooms, three viewers; the last message of each sender was never acked."""
    listed = []
    attempted: dict[str, list[str]] = {"ann": [], "ben": []}
    acked = {}
    for room in ("one", "two"):
        for number in range(20):
            sender = ("ann", "ben")[number % 2]
            client_id = f"{room}-{number}"
            attempted[sender].append(client_id)
            message = Listed(room, number + 2, f"id-{room}-{number}", sender, client_id)
            listed.append(message)
            if number < 18:
                acked[sender, client_id] = [(message.id, message.seq)]
    attempted["ann"].append("never-arrived")
    return History(attempted, acked, listed, {"a": list(listed), "b": list(listed)})


def test_nothing_is_wrong_with_a_good_history() -> None:
    assert problems(good()) == []


def _lose(history: History) -> History:
    return replace(history, listed=[*history.listed[:4], *history.listed[5:]])


def _double(history: History) -> History:
    again = replace(history.listed[3], id="id-again", seq=22)
    return replace(history, listed=[*history.listed[:20], again, *history.listed[20:]])


def _reorder(history: History) -> History:
    first, second = history.listed[2], history.listed[4]
    swapped = list(history.listed)
    swapped[2] = replace(second, seq=first.seq)
    swapped[4] = replace(first, seq=second.seq)
    return replace(history, listed=swapped)


def _leave_a_gap(history: History) -> History:
    later = [replace(one, seq=one.seq + 1) if one.seq > 9 else one for one in history.listed]
    return replace(history, listed=later, acked={}, views={})


def _ack_twice(history: History) -> History:
    acked = {key: list(acks) for key, acks in history.acked.items()}
    acked["ann", "one-0"].append(("id-other", 99))
    return replace(history, acked=acked)


def _invent(history: History) -> History:
    last = history.listed[-1]
    foreign = Listed(last.conversation_id, last.seq + 1, "id-foreign", "ann", "foreign")
    return replace(history, listed=[*history.listed, foreign], views={})


def _view_misses_the_last(history: History) -> History:
    return replace(history, views={**history.views, "a": history.listed[:-1]})


def _view_doubles(history: History) -> History:
    seen = [*history.listed[:5], history.listed[4], *history.listed[5:]]
    return replace(history, views={**history.views, "a": seen})


def _view_swaps(history: History) -> History:
    seen = list(history.listed)
    seen[6], seen[7] = seen[7], seen[6]
    return replace(history, views={**history.views, "a": seen})


def _view_is_blind(history: History) -> History:
    seen = [one for one in history.listed if one.conversation_id == "one"]
    return replace(history, views={**history.views, "a": seen})


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (_lose, "lost: ('ann', 'one-4')"),
        (_double, "doubled: ('ben', 'one-3')"),
        (_reorder, "reordered: ann sent one-2"),
        (_leave_a_gap, "gap: one has seq 11 where 10 belongs"),
        (_ack_twice, "acknowledged as different messages"),
        (_invent, "nobody sent ('ann', 'foreign')"),
        (_view_misses_the_last, "a sees two otherwise: 19 messages where there are 20"),
        (_view_doubles, "a sees one otherwise: at 5 (6, 'id-one-4')"),
        (_view_swaps, "a sees one otherwise: at 6"),
        (_view_is_blind, "a sees nothing of two"),
    ],
)
def test_a_planted_error_is_found(plant: Callable[[History], History], found: str) -> None:
    assert any(found in problem for problem in problems(plant(good()))), problems(plant(good()))


def test_any_message_taken_away_is_found() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    history = good()
    for _ in range(200):
        listed = list(history.listed)
        del listed[chance.randrange(len(listed))]
        assert problems(replace(history, listed=listed)), "a missing message went unnoticed"
