"""The peers that come from npm: `ws`, Socket.IO, and uWebSockets inside Bun."""

import os
import shutil
from pathlib import Path

from bench.load.plan import Plan
from bench.paths import BENCH, PEERS, SERVERS
from bench.peers.base import (
    Peer,
    package_version,
    program,
    run_install,
    socketio_dialect,
    socketio_path,
)

ROOT = PEERS / "npm"
MODULES = ROOT / "node_modules"


class _Npm(Peer):
    package: str

    def install(self) -> None:
        program("node")
        if (MODULES / self.package / "package.json").exists():
            return
        ROOT.mkdir(parents=True, exist_ok=True)
        shutil.copy(BENCH / "peers" / "package.json", ROOT / "package.json")
        npm = program("npm")
        run_install([npm, "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=ROOT)

    def version(self) -> str:
        return package_version(MODULES / self.package)

    def environment(self, port: int, work: Path) -> dict[str, str]:
        return super().environment(port, work) | {"BENCH_NODE_MODULES": str(MODULES)}


class Ws(_Npm):
    name = "ws"
    title = "ws (Node)"
    what = "the send loop of its documentation"
    package = "ws"

    def version(self) -> str:
        return f"{super().version()} on Node {_node_version()}"

    def command(self, port: int, work: Path) -> list[str]:
        return [program("node"), str(SERVERS / "ws.mjs")]


class SocketIoNode(_Npm):
    name = "socketio-node"
    title = "Socket.IO (Node)"
    what = "io.to(room).emit, WebSocket only"
    package = "socket.io"

    def version(self) -> str:
        return f"{super().version()} on Node {_node_version()}"

    def command(self, port: int, work: Path) -> list[str]:
        return [program("node"), str(SERVERS / "socketio.mjs")]

    def path(self, user: str, *, sends: bool) -> str:
        return socketio_path(user, sends=sends)

    def dialect(self) -> Plan:
        return socketio_dialect()


class Uws(_Npm):
    name = "uws"
    title = "uWebSockets (Bun)"
    what = "topic publish in C++"
    package = "bun"

    def command(self, port: int, work: Path) -> list[str]:
        return [str(MODULES / ".bin" / "bun"), "run", str(SERVERS / "uws.mjs")]


def _node_version() -> str:
    with os.popen("node --version") as out:
        return out.read().strip().lstrip("v")
