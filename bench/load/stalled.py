"""Readers that stop reading: they connect, ask for as small a buffer as there is, and leave what is
sent to them where it is. Whoever is sent away comes back at once and stalls again."""

import base64
import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.processes import cores

_SMALLEST = 4096
"""Bytes of receive buffer: what the kernel takes instead of the server's queue is not measured."""
_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class Stalled:
    """How often they were sent away."""

    closed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)


def _connect(port: int, path: str) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST)
    one.settimeout(10)
    one.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = one.recv(1)
        if not chunk:
            raise OSError("closed during the upgrade")
        head += chunk
    return one


@contextmanager
def stalling(port: int, paths: Sequence[str], sent_away: Callable[[], int]) -> Iterator[Stalled]:
    """One reader for each path, until the block ends. They cost the load's core nothing.

    Who does not read does not see that it was sent away: `sent_away` asks the server how many that
    were so far, and the longest there leave and come again.
    """
    told = Stalled()
    readers = deque((_connect(port, path), path) for path in paths)
    before = sent_away()

    def watch() -> None:
        os.sched_setaffinity(0, {cores()[1]})
        while not told.stop.wait(_LOOK_SECONDS):
            closed = sent_away() - before
            for _ in range(min(closed - told.closed, len(readers))):
                one, path = readers.popleft()
                one.close()
                with suppress(OSError):
                    readers.append((_connect(port, path), path))
            told.closed = closed

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told.stop.set()
        thread.join()
        for one, _ in readers:
            one.close()
