"""Two models of things in each other's way: writers of one org at its lock, and clients of a dead
node at the others. For `bench.capacity`; every function takes its random generator.
"""

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass

from bench.figures import MEASURED, Figures


@dataclass(frozen=True, slots=True)
class LockRun:
    """What came of a time of commits: messages and commits a second, waiting until the commit's
    answer (seconds), and whether what waits kept growing."""

    throughput: float
    commits: float
    p50: float
    p99: float
    overloaded: bool

    @property
    def batch(self) -> float:
        """Messages in a commit, on average."""
        return self.throughput / self.commits if self.commits else 0.0


def org_lock(
    rng: random.Random,
    rate: float,
    nodes: int,
    figures: Figures = MEASURED,
    *,
    seconds: float = 3.0,
    burst: float = 1.0,
) -> LockRun:
    """One org's log, event by event: messages come to nodes at random (Poisson), each node commits
    what waits there as one batch as soon as it has the org's lock, which goes to nodes in the order
    in which they asked. A second in the middle gets `burst` times as many messages.

    The longer a commit takes, the more gathers for the next: that is the feedback that keeps an
    overloaded moment short, and why throughput is not one over the time of a commit.
    """
    waiting: list[deque[float]] = [deque() for _ in range(nodes)]
    asking: deque[int] = deque()
    free_at = now = 0.0
    waits: list[float] = []
    commits = 0
    warm = seconds / 10

    def commit(start: float) -> float:
        """The first that asked commits; answers when the lock is free again."""
        nonlocal commits
        node = asking.popleft()
        batch = [
            waiting[node].popleft() for _ in range(min(len(waiting[node]), figures.batch_most))
        ]
        end = start + figures.commit_fixed + figures.commit_each * len(batch)
        if end > warm:
            commits += 1
            waits.extend(end - came for came in batch)
        # What came meanwhile asks again when this commit is over; what was too much asks at once.
        heapq.heappush(again, (end, node))
        return end

    again: list[tuple[float, int]] = []
    busy: set[int] = set()
    while now < seconds:
        middle = abs(now - seconds / 2) < 0.5
        now += rng.expovariate(rate * (burst if middle else 1.0))
        # Commits that begin before this message comes.
        while True:
            while again and again[0][0] <= free_at:
                _, node = heapq.heappop(again)
                busy.discard(node)
                if waiting[node]:
                    busy.add(node)
                    asking.append(node)
            if not asking or free_at > now:
                break
            free_at = commit(free_at)
        node = rng.randrange(nodes)
        waiting[node].append(now)
        if node not in busy:
            busy.add(node)
            asking.append(node)
            free_at = max(free_at, now)
    waits.sort()
    left = sum(map(len, waiting))
    took = max(free_at, seconds) - warm
    if not waits:
        return LockRun(0.0, 0.0, math.inf, math.inf, True)
    # More than any commit takes with it is left: it grew all the time.
    grew = left > max(2 * figures.batch_most, rate * 0.25)
    middle_wait, late_wait = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    return LockRun(len(waits) / took, commits / took, middle_wait, late_wait, grew)


def lock_limit(figures: Figures = MEASURED) -> float:
    """Messages a second that one org's log takes at most: full batches, one after another."""
    most = figures.batch_most
    return most / (figures.commit_fixed + figures.commit_each * most)


def batch_expected(rate: float, nodes: int, figures: Figures = MEASURED) -> float:
    """The batch at which commits keep up, where every node always has something to commit: all of
    them take `nodes * fixed + each * rate * cycle`, and that is the cycle."""
    cycle = nodes * figures.commit_fixed / (1 - rate * figures.commit_each)
    return rate * cycle / nodes


@dataclass(frozen=True, slots=True)
class Storm:
    """Seconds until all are connected and caught up, and how long the slowest waited for it; the
    busiest survivor's share of the work."""

    until: float
    slowest: float
    most_loaded: float


def node_failure(
    rng: random.Random,
    connections: int,
    survivors: int,
    busy: float,
    figures: Figures = MEASURED,
    *,
    jitter: float = 5.0,
) -> Storm:
    """A node's connections come back to the others, each after a random part of `jitter` seconds.
    Survivors do it with what `busy` leaves of their core, first come, first served."""
    each = (figures.connect + figures.catch_up) / max(1e-9, 1 - busy)
    comes = sorted(rng.random() * jitter for _ in range(connections))
    free = [0.0] * survivors
    work = [0] * survivors
    slowest = 0.0
    for at in comes:
        node = rng.randrange(survivors)
        free[node] = max(free[node], at) + each
        work[node] += 1
        slowest = max(slowest, free[node] - at)
    return Storm(max(free), slowest, max(work) * survivors / max(1, connections))
