"""What is done to servers and wires. Each fault acts on a running round, holds for as long as it
takes to be felt, undoes itself and says in a few words what it was.

The waits here are the faults' durations: some confirmations of other clients, or a time.
"""

from __future__ import annotations

import asyncio
import random
import resource
import signal
from collections.abc import Sequence

from tests.faults.proxy import Line, Proxy
from tests.faults.world import Fault, Node, Round

LONG = False
"""Set for the long form: then one freeze of ten lasts as long as the worst of them do."""
FROZEN_SECONDS = 1.0
LONG_FROZEN_SECONDS = 30.0


async def lasting(round: Round, seconds: float) -> None:
    """The duration of a fault: a hundred confirmations by those whom it does not stop, or a
    time."""
    await round.acks(100, seconds)


def frozen(round: Round) -> float:
    """Seconds for which something stands still."""
    if LONG and round.chance.random() < 0.1:
        return LONG_FROZEN_SECONDS
    return round.chance.uniform(0.2, FROZEN_SECONDS)


def a_node(round: Round) -> Node:
    return round.chance.choice(round.world.nodes)


# Nodes.


async def kill_node(round: Round) -> str:
    """The plug is pulled in the middle of talking."""
    node = a_node(round)
    await round.acks(round.chance.randrange(40), 2.0)
    node.server.kill()
    await lasting(round, 0.3)
    await node.start()
    return f"kill -9 of node {node.name}"


async def stop_node(round: Round) -> str:
    """As a rolling restart does."""
    node = a_node(round)
    await asyncio.to_thread(node.server.terminate)
    await node.start()
    return f"SIGTERM of node {node.name} and a start"


async def freeze_node(round: Round) -> str:
    node = a_node(round)
    seconds = frozen(round)
    node.server.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        node.server.signal(signal.SIGCONT)
    return f"SIGSTOP of node {node.name} for {seconds:.1f} s"


async def fill_the_disk(round: Round) -> str:
    """No file of the node may grow further; for a node that keeps its database in a file."""
    node = a_node(round)
    size = max(file.stat().st_size for file in node.server.directory.glob("madang.sqlite3*"))
    node.server.limit_files(size + round.chance.randrange(1, 100_000))
    await lasting(round, 0.5)
    node.server.limit_files(resource.RLIM_INFINITY)
    return f"the disk of node {node.name} full"


# Clients' wires.


async def cut_clients(round: Round) -> str:
    node = a_node(round)
    reset = round.chance.random() < 0.5
    node.door.cut(reset=reset)
    return f"all clients of node {node.name} cut with {'RST' if reset else 'FIN'}"


async def hang_up(round: Round) -> str:
    """Some clients move to wherever they are sent."""
    moving = round.chance.sample(round.devices, round.chance.randint(1, len(round.devices)))
    for device in moving:
        device.hang_up()
    return f"{len(moving)} clients hang up"


async def cut_clients_in_a_frame(round: Round) -> str:
    """After some bytes more: in the middle of a frame, in either direction."""
    node = a_node(round)
    there = round.chance.random() < 0.5
    line = node.door.forth if there else node.door.back
    size = round.chance.randrange(1, 2000)
    line.cut_after = size
    await lasting(round, 0.5)
    line.cut_after = None
    return f"a client of node {node.name} cut after {size} bytes {'forth' if there else 'back'}"


async def slow_clients(round: Round) -> str:
    node = a_node(round)
    await slow(round, node.door, 0.5)
    return f"clients of node {node.name} delayed"


async def half_open_clients(round: Round) -> str:
    node = a_node(round)
    node.door.swallow()
    await lasting(round, 0.5)
    await node.door.mend()
    return f"clients of node {node.name} half open"


async def one_way_clients(round: Round) -> str:
    node = a_node(round)
    line, words = one_way(round.chance, node.door)
    line.hold()
    await lasting(round, 0.7)
    line.free()
    return f"clients of node {node.name} held {words}"


# What all wires share.


async def slow(round: Round, wire: Proxy, seconds: float) -> None:
    for line in (wire.forth, wire.back):
        line.delay = round.chance.uniform(0, 0.05)
        line.jitter = round.chance.uniform(0, 0.1)
    await lasting(round, seconds)
    for line in (wire.forth, wire.back):
        line.delay = line.jitter = 0.0


def one_way(chance: random.Random, wire: Proxy) -> tuple[Line, str]:
    return chance.choice(((wire.forth, "forth"), (wire.back, "back")))


ANY_NODE: Sequence[Fault] = (
    kill_node,
    stop_node,
    freeze_node,
    cut_clients,
    hang_up,
    cut_clients_in_a_frame,
    slow_clients,
    half_open_clients,
    one_way_clients,
)
"""What can befall any node and the wires to it."""

ONE_NODE: Sequence[Fault] = (*ANY_NODE, fill_the_disk)
"""What can befall a node on a SQLite file."""


def mixed(chance: random.Random, kinds: Sequence[Fault], count: int) -> list[Fault]:
    """So many faults, each kind about as often as any other, in a random order."""
    whole, rest = divmod(count, len(kinds))
    chosen = [*list(kinds) * whole, *chance.sample(list(kinds), rest)]
    chance.shuffle(chosen)
    return chosen
