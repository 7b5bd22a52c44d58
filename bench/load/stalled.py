"""Readers that stop reading: they connect, ask for as small a buffer as there is, and leave what is
sent to them where it is. Whoever is sent away comes back at once and stalls again."""

import base64
import os
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.processes import cores

_SMALLEST = 4096
"""Bytes of receive buffer: what the kernel takes instead of the server's queue is not measured."""
_LOOK_MS = 50


@dataclass(slots=True)
class Stalled:
    """How often they were sent away."""

    closed: int = 0
    open: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)


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
def stalling(port: int, paths: Sequence[str]) -> Iterator[Stalled]:
    """One reader for each path, until the block ends. They cost the load's core nothing."""
    told = Stalled()
    readers = {one.fileno(): (one, path) for path in paths for one in [_connect(port, path)]}
    told.open = len(readers)

    def watch() -> None:
        os.sched_setaffinity(0, {cores()[1]})
        poll = select.poll()
        for number in readers:
            poll.register(number, select.POLLERR | select.POLLHUP)
        while not told._stop.is_set():
            for number, _ in poll.poll(_LOOK_MS):
                one, path = readers.pop(number)
                poll.unregister(number)
                one.close()
                told.closed += 1
                with suppress(OSError):
                    again = _connect(port, path)
                    readers[again.fileno()] = (again, path)
                    poll.register(again.fileno(), select.POLLERR | select.POLLHUP)
            told.open = len(readers)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        told._stop.set()
        thread.join()
        for one, _ in readers.values():
            one.close()
