"""Lists of numbers as bytes: what goes in comes out, whatever their form."""

from __future__ import annotations

import random

import pytest

from madang.store.postings import BLOCK, as_bits, descending, listed, mask_of, union_of

SEED = 5


@pytest.mark.parametrize("count", [0, 1, 8, 9, 300, 512, 513, 4000, BLOCK])
def test_a_mask_holds_the_numbers_of_a_list(count: int) -> None:
    print(f"seed {SEED}")
    numbers = random.Random(SEED).sample(range(BLOCK), count)
    mask = mask_of(listed(numbers))
    assert list(descending(mask)) == sorted(numbers, reverse=True)
    assert mask_of(as_bits(mask)) == mask


def test_a_union_is_that_of_its_parts() -> None:
    print(f"seed {SEED}")
    dice = random.Random(SEED)
    for _ in range(50):
        parts = [
            dice.sample(range(BLOCK), dice.choice((0, 1, 5, 40, 600)))
            for _ in range(dice.randrange(6))
        ]
        written = [
            as_bits(mask_of(listed(part))) if dice.random() < 0.3 else listed(part)
            for part in parts
        ]
        assert set(descending(union_of(written))) == {n for part in parts for n in part}
