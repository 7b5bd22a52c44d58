"""The sockets a server listens on, bound before anything else is opened or created: a port that is
taken changes no database."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from madang.cli.refusal import refuse


@contextmanager
def bound(host: str, port: int, *, shared: bool = False) -> Iterator[list[socket.socket]]:
    """Sockets bound to every address that `host` names, on one port; closed at the end. They do
    not listen yet.

    Args:
        port: 0 takes a free one.
        shared: others of this user may bind the port too. Who only binds gets no connection.
    """
    with ExitStack() as stack:
        try:
            sockets = _bind(stack, host, port, shared)
        except (OSError, UnicodeError) as error:
            refuse(_why(host, port, error))
        yield sockets


def _bind(stack: ExitStack, host: str, port: int, shared: bool) -> list[socket.socket]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    for family, kind, protocol, _, address in dict.fromkeys(found):
        one = stack.enter_context(socket.socket(family, kind, protocol))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if sockets:  # the second address of a name gets the port that the first one took
            address = (address[0], sockets[0].getsockname()[1], *address[2:])
        one.bind(address)
        sockets.append(one)
    return sockets


def _why(host: str, port: int, error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError):
        if error.errno == errno.EADDRINUSE:
            return (
                f"Port {port} of {host} is taken: something listens there already. Stop it, or "
                "give another port with --port."
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"Port {port} of {host} may not be used by you: give one above 1023 with --port."
        if error.errno != errno.EADDRNOTAVAIL and not isinstance(error, socket.gaierror):
            return f"Port {port} of {host} cannot be listened on ({error.strerror})."
    return (
        f"{host!r} is no address of this machine: give --host one that is, such as 127.0.0.1 for "
        "this machine alone or 0.0.0.0 for all."
    )
