"""nchan, the nginx module, from Debian's packages. They are unpacked, not installed, so that no
service of the machine changes."""

import re
import subprocess
from pathlib import Path

from bench.load.plan import Plan
from bench.paths import PEERS
from bench.peers.base import TEXT, TYPING, Peer, Unavailable, program, run_install

ROOT = PEERS / "deb"
NGINX = ROOT / "root/usr/sbin/nginx"
MODULE = ROOT / "root/usr/lib/nginx/modules/ngx_nchan_module.so"
STATE = Path("/var/lib/nginx")
PACKAGES = ("nginx", "libnginx-mod-nchan")

CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {work}/nginx.pid;
error_log {work}/error.log warn;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  nchan_max_reserved_memory 512M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /room {{
      nchan_subscriber websocket;
      nchan_channel_id room;
      nchan_websocket_ping_interval 25;
    }}
    location = /send {{
      nchan_publisher websocket;
      nchan_channel_id room;
      nchan_message_buffer_length 1000;
    }}
  }}
}}
"""


class Nchan(Peer):
    name = "nchan"
    title = "nchan (nginx)"
    what = "WebSocket publisher and subscribers, in memory"
    checks_tokens = False

    def install(self) -> None:
        # nchan makes nginx create its compiled-in body directory, whatever the configuration says.
        try:
            STATE.mkdir(parents=True, exist_ok=True)
        except PermissionError as error:
            raise Unavailable(f"{STATE} does not exist and cannot be made") from error
        if NGINX.exists() and MODULE.exists():
            return
        ROOT.mkdir(parents=True, exist_ok=True)
        run_install([program("apt-get"), "download", *PACKAGES], cwd=ROOT)
        for package in sorted(ROOT.glob("*.deb")):
            run_install([program("dpkg"), "-x", str(package), "root"], cwd=ROOT)

    def version(self) -> str:
        found = next(ROOT.glob("libnginx-mod-nchan_*.deb")).name
        asked = subprocess.run([str(NGINX), "-v"], capture_output=True, text=True, check=False)
        nginx = re.search(r"nginx/(\S+)", asked.stderr)
        return f"{found.split('_')[1].replace('%3a', ':')} on nginx {nginx[1] if nginx else '?'}"

    def command(self, port: int, work: Path) -> list[str]:
        configuration = work / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(module=MODULE, work=work, port=port))
        return [
            str(NGINX),
            "-c",
            str(configuration),
            "-p",
            str(work),
            "-e",
            str(work / "error.log"),
        ]

    def path(self, user: str, *, sends: bool) -> str:
        return "/send" if sends else "/room"

    def dialect(self) -> Plan:
        return Plan(classes=(TYPING,), count=0, message=TEXT)
