"""What a database address says. Loads no driver."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit


def is_postgresql(url: str) -> bool:
    """Whether the address is one of PostgreSQL's."""
    return url.partition(":")[0].partition("+")[0] in ("postgresql", "postgres")


def plain(url: str) -> str:
    """A PostgreSQL address as libpq knows it: which driver it names is ours to choose."""
    return "postgresql:" + url.partition(":")[2]


class Named(NamedTuple):
    """What an address names, for sentences: without the password."""

    user: str
    host: str
    database: str


def named(url: str) -> Named:
    """The parts of a PostgreSQL address; empty where it leaves them to the surroundings."""
    parts = urlsplit(plain(url))
    credentials, _, host = parts.netloc.rpartition("@")
    user = unquote(credentials.partition(":")[0])
    return Named(user, host or "this machine", unquote(parts.path.removeprefix("/")) or user)
