"""The peers that come from PyPI, in a virtual environment of their own."""

import subprocess
import sys
from pathlib import Path

from bench.load.plan import Plan
from bench.paths import PEERS, REPOSITORY
from bench.peers.base import Peer, run_install, socketio_dialect, socketio_path

ROOT = PEERS / "venv"
PYTHON = ROOT / "bin" / "python"
PACKAGES = ("websockets>=15", "python-socketio>=5.11", "uvicorn>=0.35", "uvloop", "httptools")


class _PyPI(Peer):
    package: str
    script: str

    def install(self) -> None:
        done = ROOT / "installed"
        if done.exists():
            return
        PEERS.mkdir(parents=True, exist_ok=True)
        run_install([sys.executable, "-m", "venv", str(ROOT)], cwd=PEERS)
        run_install([str(PYTHON), "-m", "pip", "install", "-q", *PACKAGES], cwd=PEERS)
        done.touch()

    def version(self) -> str:
        code = f"from importlib.metadata import version; print(version({self.package!r}))"
        done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
        return f"{done.stdout.strip()} on Python {sys.version.split()[0]}"

    def command(self, port: int, work: Path) -> list[str]:
        return [str(PYTHON), "-m", f"bench.servers.{self.script}"]

    def environment(self, port: int, work: Path) -> dict[str, str]:
        return super().environment(port, work) | {"PYTHONPATH": str(REPOSITORY)}


class Websockets(_PyPI):
    name = "websockets"
    title = "websockets.broadcast"
    what = "asyncio server under uvloop"
    package = "websockets"
    script = "websockets_server"


class SocketIoPython(_PyPI):
    name = "socketio-python"
    title = "python-socketio"
    what = "emit(room=...) on uvicorn, WebSocket only"
    package = "python-socketio"
    script = "socketio_server"

    def path(self, user: str, *, sends: bool) -> str:
        return socketio_path(user, sends=sends)

    def dialect(self) -> Plan:
        return socketio_dialect()


class ByHand(_PyPI):
    name = "by-hand"
    title = "websockets, a send for each token"
    what = "asyncio server under uvloop, nothing kept"
    package = "websockets"
    script = "runs_websockets"
    only = ("runs",)
