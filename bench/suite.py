"""The list of what is measured and against whom. A run takes a part of it by name."""

from bench.peers.base import Peer
from bench.peers.ceiling import Ceiling
from bench.peers.centrifugo import Centrifugo
from bench.peers.madang import Madang
from bench.peers.nchan import Nchan
from bench.peers.node import SocketIoNode, Uws, Ws
from bench.peers.nodes import SocketIoRedis, Straight
from bench.peers.python import ByHand, SocketIoPython, Websockets
from bench.scenarios.base import Scenario
from bench.scenarios.connections import Connects, Memory, Resume
from bench.scenarios.durable import Durable
from bench.scenarios.fanout import Fanout, Growth
from bench.scenarios.files import Pictures, Uploading
from bench.scenarios.indexing import Indexing
from bench.scenarios.live import Page, Talk, Votes
from bench.scenarios.nodes import Move, TwoNodes
from bench.scenarios.postgres import History, OnPostgres
from bench.scenarios.runs import Refreshing, Runs
from bench.scenarios.search import Searching
from bench.scenarios.stalled import Stalling

# Madang first: the other rows are given as a ratio of it.
PEERS: tuple[Peer, ...] = (
    Madang(),
    Uws(),
    Nchan(),
    Centrifugo(),
    Ws(),
    SocketIoNode(),
    Websockets(),
    SocketIoPython(),
    ByHand(),
    SocketIoRedis(),
    Straight(),
    Ceiling(),
)

SCENARIOS: tuple[Scenario, ...] = (
    Fanout(in_flight=(4, 64)),
    Fanout(
        name="light", title="One message at a time: the last delivery", in_flight=(1,), light=True
    ),
    Durable(size=10, in_flight=(64, 256, 1024, 4096)),
    Durable(
        name="durable-rooms",
        title="Durable messages in rooms of 100",
        size=100,
        in_flight=(64, 256, 1024),
    ),
    Memory(connections=10_000, conversations=(0, 10)),
    Connects(connections=5000),
    Resume(clients=5000, missed=20),
    Growth(sizes=(100, 1000, 5000, 15_000)),
    OnPostgres(),
    TwoNodes(),
    Move(),
    History(),
    Stalling(),
    Votes(),
    Talk(),
    Page(),
    Runs(),
    Refreshing(),
    Searching(),
    Indexing(),
    Uploading(),
    Pictures(),
)
