"""Madang itself, spoken to only as any client would: REST to make rooms, WebSocket for the rest."""

import base64
import http.client
import json
import os
import secrets
import socket
import sys
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from bench.load.plan import Conn, Plan
from bench.paths import REPOSITORY
from bench.peers.base import FRAME_BYTES, TYPING, Peer, Unavailable
from bench.processes import Server
from bench.tokens import SECRET, mint

BASE = "/api/v1/messenger"
SYSTEM, NEW, SENT, RESUMED = (
    '{"type":"system"',
    '{"type":"message.new"',
    '{"type":"message.sent"',
    '{"type":"resumed"',
)
# A text as people write it.
CONTENT = "The lanterns are up: come by at seven, bring someone, stay for soup. 마당에서 봐요."
# Participants added with one request: far below any limit on a body.
BATCH = 500
# Members of each of the ten conversations of the memory scenario.
ROOM = 10


class Madang(Peer):
    name = "madang"
    title = "Madang"
    what = "the messenger, SQLite with synchronous=FULL"
    durable = True

    def __init__(self) -> None:
        self._program = Path(sys.executable).with_name("madang")

    def install(self) -> None:
        if not self._program.exists():
            raise Unavailable(f"no `madang` command beside {Path(sys.executable).name}")

    def version(self) -> str:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        number = project.get("version", "of this checkout")
        return f"{number} on Python {sys.version.split()[0]}"

    def command(self, port: int, work: Path) -> list[str]:
        options = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(work / "files")]
        return [str(self._program), "serve", *options]

    def environment(self, port: int, work: Path) -> dict[str, str]:
        settings = {
            "JWT_SECRET_KEY": SECRET,
            "RATE_LIMIT_ENABLED": "false",
            "WS_MAX_CONNECTIONS": "20000",
            "WS_HEARTBEAT_INTERVAL": "25",
        }
        return {f"MADANG_{name}": value for name, value in settings.items()}

    # -- plans ---------------------------------------------------------------------------------

    def room(self, server: Server, receivers: int, senders: int) -> Plan:
        # `typing.start` is a signal: the whole path of the messenger but the disk. What is
        # delivered names the sender, whose id is as long as makes the frame FRAME_BYTES.
        users = [f"user-{i}" for i in range(receivers)]
        typists = [_typist(i) for i in range(senders)]
        (room,) = make_rooms(server.port, [users + typists])
        conns = [Conn("R", ws_path(user), room) for user in users]
        conns += [Conn("S", ws_path(user), room) for user in typists]
        return Plan(
            classes=(TYPING, SYSTEM),
            count=0,
            ready=1,
            message='{"type":"typing.start","conversation_id":"%a"}',
            conns=tuple(conns),
        )

    def idle(self, server: Server, connections: int) -> Plan:
        return message_plan([Conn("R", ws_path(f"user-{i}")) for i in range(connections)])

    def idle_in_rooms(self, server: Server, connections: int, each: int) -> Plan:
        """Idle connections of users with `each` conversations of ten people."""
        make_rooms(server.port, mixed_rooms(connections, each))
        return self.idle(server, connections)

    def rooms(self, server: Server, rooms: int, size: int) -> Plan:
        members = [[f"user-{r}-{i}" for i in range(size)] for r in range(rooms)]
        made = make_rooms(server.port, members)
        pairs = zip(made, members, strict=True)
        return message_plan(
            [Conn("RS", ws_path(user), room) for room, users in pairs for user in users]
        )

    def storm(self, server: Server, clients: int, size: int = ROOM) -> tuple[Plan, Plan]:
        """Rooms of `size` clients, and one sender more in each: the plan of either."""
        rooms = max(1, clients // size)
        members = [[f"user-{r}-{i}" for i in range(size)] for r in range(rooms)]
        made = make_rooms(server.port, [[*m, f"sender-{r}"] for r, m in enumerate(members)])
        readers = [Conn("R", ws_path(user)) for users in members for user in users]
        senders = [Conn("S", ws_path(f"sender-{r}"), room) for r, room in enumerate(made)]
        return message_plan(readers), message_plan(senders)

    def talking(self, senders: Plan) -> Plan:
        """The senders again, with ids that none of their messages had before."""
        return message_plan(list(senders.conns))

    def resuming(self, readers: Plan, cursor: int) -> Plan:
        """The readers again; each is ready when its `resumed` is there."""
        return Plan(
            classes=(NEW, SYSTEM, RESUMED),
            count=0,
            ready=2,
            replies=((1, f'{{"type":"resume","cursor":{cursor}}}'),),
            conns=readers.conns,
        )


def message_plan(conns: list[Conn]) -> Plan:
    # The number begins anew with each load process, and an id used before is a retry: each plan has
    # ids of its own.
    ids = f'"client_id":"bench-{secrets.token_hex(4)}-%n"'
    head = '{"type":"message.send","conversation_id":"%a",' + ids + ',"content":'
    message = head + json.dumps(CONTENT, ensure_ascii=False) + "}"
    classes = (NEW, SENT, SYSTEM)
    return Plan(classes, count=0, ack=1, ready=2, message=message, conns=tuple(conns))


def ws_path(user: str) -> str:
    return f"{BASE}/ws?token={mint(user)}"


def _typist(index: int) -> str:
    head = f"typist-{index}-"
    frame = {"type": "typing.start", "user_id": "", "conversation_id": "0" * 36}
    left = FRAME_BYTES - len(json.dumps(frame, separators=(",", ":")))
    return head + "x" * (left - len(head))


def mixed_rooms(users: int, each: int) -> list[list[str]]:
    """Rooms of ten so that every user is in `each` of them, with other people in each.

    Layer `k` groups users who stand 7**k apart: 7 has no common factor with a round number, so a
    layer takes everyone once.
    """
    rooms = []
    for layer in range(each):
        order = [(i * 7**layer) % users for i in range(users)]
        groups = [order[at : at + ROOM] for at in range(0, users, ROOM)]
        rooms += [[f"user-{i}" for i in group] for group in groups]
    return rooms


# -- REST ------------------------------------------------------------------------------------


class _Rest:
    """One kept-alive connection of one admin."""

    def __init__(self, port: int, user: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {
            "Authorization": f"Bearer {mint(user)}",
            "Content-Type": "application/json",
        }

    def post(self, path: str, body: object) -> dict[str, object]:
        self._connection.request("POST", BASE + path, json.dumps(body), self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201, 204):
            raise Unavailable(f"POST {path}: {answer.status} {text[:200]!r}")
        return dict(json.loads(text)) if text else {}


def make_rooms(port: int, rooms: Sequence[list[str]]) -> list[str]:
    """Make one group conversation for each list of users; return their ids in the same order.
    The first user of a room is its admin."""

    def make(members: list[str]) -> str:
        rest = _Rest(port, members[0])
        body = {"kind": "group", "title": "bench", "participant_ids": members[1 : BATCH + 1]}
        made = str(rest.post("/conversations", body)["id"])
        for at in range(BATCH + 1, len(members), BATCH):
            added = {"user_ids": members[at : at + BATCH]}
            rest.post(f"/conversations/{quote(made)}/participants", added)
        return made

    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(make, rooms))


def current_cursor(port: int, user: str) -> int:
    """The log's head, as the first frame on a new connection tells it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {ws_path(user)} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        received = b""
        while b'"cursor":' not in received or not received.rstrip().endswith(b"}"):
            chunk = connection.recv(65536)
            if not chunk:
                raise Unavailable(f"no greeting: {received[:200]!r}")
            received += chunk
        digits = received.partition(b'"cursor":')[2]
        return int(digits[: len(digits) - len(digits.lstrip(b"0123456789"))])


def metric(port: int, series: str) -> float:
    """The sum of all series of `/metrics` whose text begins like this."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200:
        raise Unavailable(f"GET /metrics: {answer.status}")
    found = [line for line in text.splitlines() if line.startswith(series)]
    if not found:
        raise Unavailable(f"no {series} in /metrics")
    return sum(float(line.rpartition(" ")[2]) for line in found)
