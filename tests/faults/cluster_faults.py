"""What is done to PostgreSQL, to Valkey, and to the wires from nodes to them.

As in `faults`, the waits here are the faults' durations.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from tests.faults import faults
from tests.faults.cluster import Cluster, bare
from tests.faults.faults import ANY_NODE, a_node, lasting, one_way, slow
from tests.faults.proxy import Proxy
from tests.faults.world import Fault, Round

MANGLED_OF_A_HUNDRED = 1
"""Messages of the bus of each hundred that are lost, doubled or swapped, each."""


def cluster(round: Round) -> Cluster:
    assert isinstance(round.world, Cluster)
    return round.world


# PostgreSQL.


async def kill_postgres(round: Round) -> str:
    """The first process, kill -9; the others end by themselves."""
    world = cluster(round)
    await round.acks(round.chance.randrange(40), 2.0)
    os.kill(world.postgres.pid, signal.SIGKILL)
    await lasting(round, 0.3)
    await world.restart_postgres()
    return "kill -9 of PostgreSQL"


async def kill_backend(round: Round) -> str:
    """One process; PostgreSQL ends the others and recovers."""
    world = cluster(round)
    pids = await asyncio.to_thread(
        world.postgres.execute,
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
        "AND datname LIKE 'madang%'",
    )
    if pids:
        os.kill(round.chance.choice(pids)["pid"], signal.SIGKILL)
    return "kill -9 of a backend of PostgreSQL"


async def end_backends(round: Round) -> str:
    """As an administrator does."""
    world = cluster(round)
    await asyncio.to_thread(
        world.postgres.execute,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'madang%'",
    )
    return "all connections to PostgreSQL terminated"


async def freeze_postgres(round: Round) -> str:
    world = cluster(round)
    seconds = faults.frozen(round)
    world.freeze_postgres(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        world.freeze_postgres(signal.SIGCONT)
    return f"SIGSTOP of PostgreSQL for {seconds:.1f} s"


async def lose_commit_answers(round: Round) -> str:
    """COMMIT arrives, its answer does not: it happened, and the node cannot know."""
    wire, _ = bare(a_node(round))
    before = wire.answers_lost
    wire.lose_answer_to = lambda data: b"COMMIT" in data
    await lasting(round, 0.3)
    wire.lose_answer_to = None
    return f"{wire.answers_lost - before} answers to COMMIT lost on {wire.name}"


# Valkey.


async def kill_valkey(round: Round) -> str:
    world = cluster(round)
    world.valkey.kill()
    await lasting(round, 0.5)
    await asyncio.to_thread(world.valkey.start)
    return "kill -9 of Valkey"


async def flush_valkey(round: Round) -> str:
    await asyncio.to_thread(cluster(round).valkey.flush)
    return "FLUSHALL"


async def freeze_valkey(round: Round) -> str:
    world = cluster(round)
    seconds = faults.frozen(round)
    world.valkey.pause()
    try:
        await asyncio.sleep(seconds)
    finally:
        world.valkey.resume()
    return f"SIGSTOP of Valkey for {seconds:.1f} s"


async def mangle_messages(round: Round) -> str:
    """Some of what the bus brings is lost, doubled, swapped."""
    chances = cluster(round).chances
    before = (chances.was_lost, chances.was_doubled, chances.was_swapped)
    each = MANGLED_OF_A_HUNDRED / 100
    # A message of a hundred needs hundreds of them; so where there is less time, more of them.
    chances.lost = chances.doubled = chances.swapped = each if faults.LONG else 10 * each
    await round.acks(1000 if faults.LONG else 150, 5.0 if faults.LONG else 1.0)
    chances.none()
    now = (chances.was_lost, chances.was_doubled, chances.was_swapped)
    lost, doubled, swapped = (after - first for after, first in zip(now, before, strict=True))
    return f"{lost} messages of the bus lost, {doubled} doubled, {swapped} swapped"


# Wires.


def _a_wire(round: Round) -> Proxy:
    return round.chance.choice(bare(a_node(round)))


async def partition(round: Round) -> str:
    """Nothing passes, and nothing is refused; then all of it arrives."""
    wire = _a_wire(round)
    wire.forth.hold()
    wire.back.hold()
    await lasting(round, 1.0)
    wire.forth.free()
    wire.back.free()
    return f"{wire.name} held both ways"


async def partition_for_good(round: Round) -> str:
    """Nothing passes, and afterwards the connections are gone."""
    wire = _a_wire(round)
    wire.forth.hold()
    wire.back.hold()
    await lasting(round, 1.0)
    wire.cut()
    await wire.mend()
    return f"{wire.name} held both ways, then cut"


async def partition_one_way(round: Round) -> str:
    wire = _a_wire(round)
    line, words = one_way(round.chance, wire)
    line.hold()
    await lasting(round, 1.0)
    line.free()
    return f"{wire.name} held {words}"


async def half_open(round: Round) -> str:
    wire = _a_wire(round)
    wire.swallow()
    await lasting(round, 1.0)
    await wire.mend()
    return f"{wire.name} half open"


async def refuse(round: Round) -> str:
    wire = _a_wire(round)
    wire.refuse()
    wire.cut()
    await lasting(round, 0.7)
    await wire.mend()
    return f"{wire.name} refused"


async def cut(round: Round) -> str:
    wire = _a_wire(round)
    reset = round.chance.random() < 0.5
    wire.cut(reset=reset)
    return f"{wire.name} cut with {'RST' if reset else 'FIN'}"


async def cut_in_a_piece(round: Round) -> str:
    wire = _a_wire(round)
    line, words = one_way(round.chance, wire)
    size = round.chance.randrange(1, 5000)
    line.cut_after = size
    await lasting(round, 0.5)
    line.cut_after = None
    return f"{wire.name} cut after {size} bytes {words}"


async def slow_wire(round: Round) -> str:
    wire = _a_wire(round)
    await slow(round, wire, 0.7)
    return f"{wire.name} delayed"


# Clocks.


async def wrong_clock(round: Round) -> str:
    """A node comes back with its clock an hour off."""
    node = a_node(round)
    shift = round.chance.choice(("clock+3600", "clock-3600"))
    await asyncio.to_thread(node.server.terminate)
    bug = round.world.bug
    node.server.bug = shift if bug is None else f"{bug},{shift}"
    await node.start()
    return f"node {node.name} with {shift} s"


SEVERAL_NODES: Sequence[Fault] = (
    *ANY_NODE,
    kill_postgres,
    kill_backend,
    end_backends,
    freeze_postgres,
    lose_commit_answers,
    kill_valkey,
    flush_valkey,
    freeze_valkey,
    mangle_messages,
    partition,
    partition_for_good,
    partition_one_way,
    half_open,
    refuse,
    cut,
    cut_in_a_piece,
    slow_wire,
    wrong_clock,
)
"""What can befall nodes on PostgreSQL and Valkey."""
