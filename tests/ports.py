"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket

FIRST, LAST = 12_000, 32_000
"""Below those that the system gives to outgoing connections (from 32,768 on): thousands of clients
take one of those between the moment a port is found free and its server's start."""


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    while True:
        port = random.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
