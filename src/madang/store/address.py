"""What a database address says. Loads no driver."""

from __future__ import annotations


def is_postgresql(url: str) -> bool:
    """Whether the address is one of PostgreSQL's."""
    return url.partition(":")[0].partition("+")[0] in ("postgresql", "postgres")


def plain(url: str) -> str:
    """A PostgreSQL address as libpq knows it: which driver it names is ours to choose."""
    return "postgresql:" + url.partition(":")[2]
