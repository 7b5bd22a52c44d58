"""A real nginx in front of nodes, with the configuration that is shipped in `deploy/`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import START_SECONDS, select_a_moment

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
UNPACKED = Path(sys.prefix) / "nginx" / "usr" / "sbin" / "nginx"
"""Where `make test` unpacks Debian's package if the machine has no nginx."""

AROUND = """
daemon off;
master_process off;
worker_rlimit_nofile 16000;
pid {work}/nginx.pid;
error_log {work}/error.log notice;
events {{ worker_connections 15000; }}
http {{
  access_log off;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  include {work}/madang.conf;
}}
"""


def program() -> str:
    """The nginx program; without one, the tests that need it fail."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None and UNPACKED.exists():
        found = str(UNPACKED)
    if found is None:
        raise RuntimeError("nginx is not here: `make nginx` unpacks Debian's package")
    return found


def configure(work: Path, listen: int, nodes: Sequence[int]) -> list[str]:
    """Write the shipped configuration, with these ports, into `work`; the command that runs it."""
    shipped = SHIPPED.read_text("utf-8")
    places = [f"server node-{number}:8000" for number in (1, 2)]
    assert all(shipped.count(place) == 1 for place in places)
    for place, port in zip(places, [*nodes, nodes[0]], strict=False):
        shipped = shipped.replace(place, f"server 127.0.0.1:{port}")
    if len(nodes) == 1:
        kept = f"server 127.0.0.1:{nodes[0]} max_fails=0;"
        shipped = shipped.replace(kept, "", 1)
    assert shipped.count("listen 80 ") == 1
    shipped = shipped.replace("listen 80 ", f"listen 127.0.0.1:{listen} ")
    work.mkdir(parents=True, exist_ok=True)
    (work / "madang.conf").write_text(shipped, "utf-8")
    (work / "nginx.conf").write_text(AROUND.format(work=work), "utf-8")
    return [program(), "-p", str(work), "-e", str(work / "error.log"), "-c", "nginx.conf"]


@contextmanager
def nginx(work: Path, nodes: Sequence[int]) -> Iterator[int]:
    """Run it in front of the nodes on these ports; gives the port it listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with subprocess.Popen(configure(work, port, nodes)) as process:
        try:
            for _ in range(round(START_SECONDS / 0.05)):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, (work / "error.log").read_text()
                    select_a_moment()
            yield port
        finally:
            process.terminate()
            process.wait(10)
