"""Models of what people do: how a day goes, how large orgs and conversations are, on how many nodes
those are who hear a message. For `bench.capacity`; every function takes its random generator.
"""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass


def nodes_expected(members: float, nodes: float) -> float:
    """How many of the nodes have at least one of so many connected members."""
    return nodes * (1 - math.pow(1 - 1 / nodes, members))


def nodes_heard(rng: random.Random, members: int, nodes: int, times: int) -> float:
    """The same, by placing them `times` times."""
    return sum(len({rng.randrange(nodes) for _ in range(members)}) for _ in range(times)) / times


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of conversation: its share of the messages, and members at least and at most (spread
    evenly by their logarithm)."""

    share: float
    least: int
    most: int


# People write mostly to one other and to small groups; few rooms are large.
CONVERSATIONS = (
    Kind(0.60, 2, 2),
    Kind(0.34, 3, 50),
    Kind(0.055, 50, 1000),
    Kind(0.005, 1000, 20_000),
)


@dataclass(frozen=True, slots=True)
class Orgs:
    """So many orgs of so many connected users each."""

    count: float
    users: int


def orgs(users: int, largest: float, least: int = 50) -> Iterator[Orgs]:
    """All orgs by size: the largest has the share `largest` of the users, the n-th an n-th of that
    (Zipf), down to `least` users; whoever is left over is in orgs of that size."""
    top = max(least, int(users * largest))
    rank, left = 1, float(users)
    while top // rank > least and left > 0:
        # Ranks from this to the double of it are told as one.
        last = min(2 * rank - 1, top // least)
        size = top / math.sqrt(rank * last)
        count = min(last - rank + 1, left / size)
        yield Orgs(count, round(size))
        left -= count * size
        rank = last + 1
    if left >= 1:
        yield Orgs(left / least, least)


@dataclass(frozen=True, slots=True)
class Heard:
    """For each message, on average: connections that get it, nodes that have one of them."""

    deliveries: float
    nodes: float


def audience(
    rng: random.Random,
    sizes: list[Orgs],
    nodes_of: Callable[[int], float],
    *,
    online: float,
    devices: float,
    draws: int = 600,
) -> Heard:
    """Draw as many conversations of each kind, weigh them by their share of the messages, place
    who is connected on the org's nodes, count. `nodes_of` tells on how many nodes an org of so many
    connected users is; `online` is the share of members that are connected, `devices` the
    connections of each of them."""
    weights = [one.count * one.users for one in sizes]
    deliveries = heard = 0.0
    for kind in CONVERSATIONS:
        for org in rng.choices(sizes, weights, k=draws):
            size = round(kind.least * (kind.most / kind.least) ** rng.random())
            # An org's connected users are as large a part of it as a conversation's.
            size = max(2, min(size, round(org.users / online)))
            exact = size <= 100
            there = sum(rng.random() < online for _ in range(size)) if exact else size * online
            connections = max(1.0, there * devices)
            share = kind.share / draws
            deliveries += share * connections
            heard += share * nodes_expected(connections, max(1.0, nodes_of(org.users)))
    return Heard(deliveries, heard)


@dataclass(frozen=True, slots=True)
class Day:
    """Messages a second: on average, in the busiest minute, and in the busiest second."""

    mean: float
    minute: float
    second: float


def day(rng: random.Random, per_day: float, *, swing: float = 0.8, lively: float = 0.15) -> Day:
    """A day of messages: a wave over the hours (`swing`: how far above and below the mean it goes),
    minutes livelier than others (gamma, relative deviation `lively`), seconds by Poisson."""
    mean = per_day / 86_400
    shape = 1 / lively**2
    minutes = [
        mean * (1 + swing * math.sin(2 * math.pi * at / 1440)) * rng.gammavariate(shape, 1 / shape)
        for at in range(1440)
    ]
    busiest = sorted(minutes)[-60:]
    second = max(poisson(rng, rate) for rate in busiest for _ in range(60))
    return Day(mean, busiest[-1], second)


def poisson(rng: random.Random, mean: float) -> int:
    """A Poisson number; from 50 on by the normal that it comes close to."""
    if mean >= 50:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count
