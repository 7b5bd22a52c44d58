"""Centrifugo, built with Go where there is Go and its module can be had."""

import json
import os
import subprocess
from pathlib import Path

from bench.load.plan import Conn, Plan
from bench.paths import PEERS
from bench.peers.base import FRAME_BYTES, Peer, padded, program, run_install
from bench.processes import Server
from bench.tokens import SECRET, mint

ROOT = PEERS / "go"
BINARY = ROOT / "bin" / "centrifugo"
MODULE = "github.com/centrifugal/centrifugo/v6@latest"


class Centrifugo(Peer):
    name = "centrifugo"
    title = "Centrifugo"
    what = "client publish into a channel, in memory"

    def install(self) -> None:
        if BINARY.exists():
            return
        ROOT.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GOBIN": str(BINARY.parent)}
        run_install([program("go"), "install", MODULE], cwd=ROOT, env=environment)

    def version(self) -> str:
        asked = subprocess.run([str(BINARY), "version"], capture_output=True, text=True, check=True)
        return asked.stdout.split()[1]

    def command(self, port: int, work: Path) -> list[str]:
        settings = {
            "client": {"token": {"hmac_secret_key": SECRET}},
            "channel": {
                "without_namespace": {
                    "allow_subscribe_for_client": True,
                    "allow_publish_for_client": True,
                }
            },
            "http_server": {"address": "127.0.0.1", "port": str(port)},
            "log": {"level": "error"},
        }
        configuration = work / "centrifugo.json"
        configuration.write_text(json.dumps(settings))
        return [str(BINARY), "--config", str(configuration)]

    def environment(self, port: int, work: Path) -> dict[str, str]:
        return super().environment(port, work) | {"GOMAXPROCS": "1"}

    def room(self, server: Server, receivers: int, senders: int) -> Plan:
        users = [Conn("R", "/connection/websocket", mint(f"u{i}")) for i in range(receivers)]
        users += [Conn("S", "/connection/websocket", mint(f"s{i}")) for i in range(senders)]
        return self.dialect().with_conns(users)

    def idle(self, server: Server, connections: int) -> Plan:
        return self.room(server, connections, 0)

    def dialect(self) -> Plan:
        # A push names its publisher; the text is as long as makes the whole of it FRAME_BYTES.
        head = '{"push":{"channel":"r","pub":{"data":"'
        info = '","info":{"user":"s0","client":"' + "0" * 36 + '"}}}}'
        text = "x" * (len(padded(head, info, FRAME_BYTES)) - len(head) - len(info))
        return Plan(
            classes=('{"push"', '{"id":1,', '{"id":2,', "{}"),
            count=0,
            ready=2,
            hello='{"id":1,"connect":{"token":"%a"}}',
            replies=((1, '{"id":2,"subscribe":{"channel":"r"}}'), (3, "{}")),
            message='{"id":1%n,"publish":{"channel":"r","data":"' + text + '"}}',
            lines=True,
        )
