"""What was measured of one node, one database and one bus: what `bench.capacity` reckons with. Each
number's origin stands in docs/scaling.md; whoever measures on another machine changes them here.
"""

from dataclasses import dataclass

MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of one core unless it says otherwise."""

    commit_fixed: float = 1.2e-3
    """Time that the org's lock is held for a commit, besides its messages (seconds)."""
    commit_each: float = 52 * MICRO
    """Time that each message adds to it."""
    batch_most: int = 1000
    """Messages that one commit takes at most."""
    send: float = 62 * MICRO
    """A node's work for a message of its own client, commit included, without deliveries."""
    delivery: float = 5.5 * MICRO
    """A delivery to a connection that gets nothing else in that turn: one system call."""
    hear: float = 15 * MICRO
    """A node's work for an envelope of another node, without deliveries."""
    note: float = 25 * MICRO
    """A node's work for another node's note of a commit."""
    connect: float = 120 * MICRO
    """An authenticated connection until its greeting."""
    catch_up: float = 400 * MICRO
    """One client's catch-up of a few events, its share of a read included."""
    idle: float = 1 * MICRO
    """An idle connection, each second: heartbeats."""
    connection_bytes: int = 5000
    """A connection with ten conversations."""
    socket_bytes: int = 4000
    """The kernel's side of an idle connection."""
    database_send: float = 45 * MICRO
    """The database's work for a message, on all its cores."""
    bus_told: float = 2 * MICRO
    """The bus's work for an envelope that it is told."""
    bus_heard: float = 2 * MICRO
    """The bus's work for each node that an envelope goes to."""
    envelope_bytes: int = 700
    message_bytes: int = 1200
    """On the database's disk: message, event and their index entries."""
    index_bytes: int = 450
    """Of these, what is in indexes."""


MEASURED = Figures()
