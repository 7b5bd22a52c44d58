"""What a node counts, written down for Prometheus when it asks. Reads the parts and changes
nothing in them; may import surfaces and what is below.

The table in docs/operations.md names every series, and a test holds the two together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from madang.delivery.catchup import Catchup
from madang.delivery.delivery import Delivery
from madang.gateways.entrance import Entrance
from madang.hub.connection import Connection
from madang.hub.frame import Dialect
from madang.hub.hub import Hub
from madang.metrics import Histogram, Tally
from madang.ports.bus import Bus
from madang.protocol.codes import CloseCode
from madang.store.sql_store import SqlStore
from madang.store.writer import GroupWriter
from madang.surfaces.agents.assembly import Agents

CONTENT_TYPE = CONTENT_TYPE_LATEST
CONNECTIONS_A_TURN = 2000
"""Connections that are looked at in one turn of the loop: about a millisecond."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The parts of a node that count."""

    node: str
    version: str
    entrance: Entrance
    hub: Hub
    writer: GroupWriter
    store: SqlStore
    delivery: Delivery
    catchup: Catchup
    bus: Bus
    answers: Tally
    """HTTP answers by class of status."""
    agents: Agents


async def exposition(measured: Measured) -> bytes:
    """All series as Prometheus reads them (text format 1.0.0), each with the label `node`."""
    here: Counter[tuple[str, str]] = Counter()
    unsent = 0
    connections = list(measured.entrance.connections)
    for start in range(0, len(connections), CONNECTIONS_A_TURN):
        for connection in connections[start : start + CONNECTIONS_A_TURN]:
            here[connection.gateway, _surface(connection)] += 1
            unsent += connection.unsent
        await asyncio.sleep(0)
    registry = CollectorRegistry(auto_describe=False)
    process = CollectorRegistry(auto_describe=False)
    for own in (ProcessCollector, PlatformCollector, GCCollector):
        own(registry=process)
    registry.register(_Labelled(measured.node, [*_families(measured, here, unsent)], process))
    return generate_latest(registry)


class _Labelled(Collector):
    """Gives every sample the node's name."""

    def __init__(self, node: str, own: Iterable[Metric], process: CollectorRegistry) -> None:
        self._node = node
        self._own = own
        self._process = process

    def collect(self) -> Iterator[Metric]:
        for family in (*self._own, *self._process.collect()):
            family.samples = [
                sample._replace(labels={"node": self._node, **sample.labels})
                for sample in family.samples
            ]
            yield family


def _surface(connection: Connection) -> str:
    return Dialect(connection.dialect).name.lower()


def _families(
    measured: Measured, here: Mapping[tuple[str, str], int], unsent: int
) -> Iterator[Metric]:
    entrance, hub, writer = measured.entrance, measured.hub, measured.writer
    delivery, catchup, bus = measured.delivery, measured.catchup, measured.bus
    build = GaugeMetricFamily("madang_build_info", "The version that runs.", labels=["version"])
    build.add_metric([measured.version], 1)
    yield build

    connections = GaugeMetricFamily(
        "madang_connections", "Connections that are open.", labels=["gateway", "surface"]
    )
    for labels, count in sorted({("websocket", "messenger"): 0, **here}.items()):
        connections.add_metric(labels, count)
    yield connections
    yield _counter("connections_opened", "Connections that came in.", entrance.opened)
    yield _counter("connections_refused", "Those told to try later (503).", entrance.refused)
    closes = CounterMetricFamily(
        "madang_connections_closed",
        "Connections that the server closed, by close code.",
        labels=["code", "reason"],
    )
    slow = str(int(CloseCode.TOO_SLOW))
    for code, count in sorted({slow: 0, **entrance.closes.counts}.items()):
        closes.add_metric([code, _reason(code)], count)
    yield closes
    yield _gauge("draining", "1 while the node sends its clients away.", entrance.draining)
    yield _gauge("unsent_bytes", "Bytes written to connections and not sent yet.", unsent)

    yield _gauge("users", "Users known here.", len(hub.members))
    yield _gauge("channels", "Conversations with somebody here.", len(hub.channels))
    yield _counter("deliveries", "Events sent to connections as they happened.", hub.delivered)
    yield _counter("signals", "Signals told to conversations here.", hub.signals)
    yield _histogram(
        "delivery_seconds",
        "From the beginning of an event's commit, on any node, until it is sent here.",
        hub.told_seconds,
    )

    yield _histogram("commit_seconds", "Time one commit took.", writer.commit_seconds)
    yield _histogram("commit_writes", "Writes in one commit.", writer.commit_writes)
    yield _histogram(
        "ack_seconds", "From a write coming in until it is acknowledged.", writer.ack_seconds
    )
    yield _gauge("writes_waiting", "Writes that wait for a commit.", writer.waiting)
    yield _by("writes_refused", "Writes that were not done, by error.", "code", writer.refused)
    yield _histogram(
        "store_read_seconds", "Time one read of the store took.", measured.store.read_seconds
    )

    yield _by("catchups", "Catch-ups that ended, by outcome.", "outcome", catchup.outcomes)
    yield _counter("catchup_events", "Events sent by catching up.", catchup.sent)
    yield _counter("gaps_healed", "Reads of the log for what the bus lost.", delivery.gaps_healed)

    yield _gauge("bus_up", "1 while the bus is within reach.", not bus.away)
    yield _gauge("bus_shared", "1 where there may be other nodes.", bus.shared)
    yield _histogram(
        "bus_lag_seconds",
        "From a commit on another node until this one was told of it, by both clocks.",
        delivery.lag_seconds,
    )
    runner, streams = measured.agents.runner, measured.agents.streams
    yield _gauge("runs", "Answers of agents that this node writes now.", len(runner))
    yield _by("runs_ended", "Answers that ended here, by status.", "status", runner.ended)
    yield _histogram(
        "first_token_seconds",
        "From a run's start until its agent said the first of it.",
        runner.first_seconds,
    )
    yield _counter("stream_chunks", "Pieces of answers told to sessions here.", streams.chunks)
    yield _by("http_responses", "HTTP answers, by class of status.", "status", measured.answers)


def _counter(name: str, sentence: str, value: float) -> Metric:
    return CounterMetricFamily(f"madang_{name}", sentence, value=value)


def _gauge(name: str, sentence: str, value: float) -> Metric:
    return GaugeMetricFamily(f"madang_{name}", sentence, value=float(value))


def _by(name: str, sentence: str, label: str, tally: Tally) -> Metric:
    family = CounterMetricFamily(f"madang_{name}", sentence, labels=[label])
    for value, count in sorted(tally.counts.items()):
        family.add_metric([value], count)
    return family


def _histogram(name: str, sentence: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(
        f"madang_{name}",
        sentence,
        buckets=list(histogram.cumulative()),
        sum_value=histogram.sum,
    )


def _reason(code: str) -> str:
    try:
        return CloseCode(int(code)).name.lower()
    except ValueError:
        return "other"
