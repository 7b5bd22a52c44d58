"""What was measured of one node, one database and one bus: what `bench.capacity` reckons with. Each
number's origin stands in docs/scaling.md; whoever measures on another machine changes them here.
"""

from dataclasses import dataclass

MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds of one core unless it says otherwise."""

    commit_fixed: float = 1.5e-3
    """Time that the org's lock is held for a commit, besides its messages (seconds)."""
    commit_each: float = 31.5 * MICRO
    """Time that each message adds to it."""
    batch_most: int = 1000
    """Messages that one commit takes at most."""
    commit_work: float = 640 * MICRO
    """A node's work for a commit of its own, besides its messages."""
    send: float = 54 * MICRO
    """A node's work for a message of its own client: in, checked, into the commit, acknowledged."""
    delivery: float = 4.2 * MICRO
    """A delivery to a connection that gets nothing else in that turn: one system call."""
    hear: float = 26 * MICRO
    """Nodes' work for telling one other node of a message, and hearing it, without deliveries."""
    note: float = 5.1 * MICRO
    """A node's work for another node's note of a commit."""
    connect: float = 98 * MICRO
    """An authenticated connection until its greeting."""
    catch_up: float = 1040 * MICRO
    """One client's catch-up of fifty events, its read included."""
    idle: float = 0.92 * MICRO
    """An idle connection, each second: heartbeats."""
    connection_bytes: int = 4860
    """A connection with ten conversations."""
    socket_bytes: int = 4030
    """The kernel's side of an idle connection."""
    database_commit: float = 440 * MICRO
    """The database's work for a commit, besides its messages."""
    database_send: float = 15 * MICRO
    """The database's work for each message in it."""
    bus_told: float = 7.7 * MICRO
    """The bus's work for an envelope that it is told."""
    bus_heard: float = 4.1 * MICRO
    """The bus's work for each node that an envelope goes to."""
    envelope_bytes: int = 505
    message_bytes: int = 970
    """On the database's disk: message, event and their index entries."""
    index_bytes: int = 503
    """Of these, what is in indexes."""


MEASURED = Figures()
