"""The token in use, and where the next one comes from."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

TokenSource = str | Callable[[], str | Awaitable[str]]
"""A token, or a function (sync or async) that gives a fresh one each time it is called."""


class Token:
    """Asks its source once and keeps the answer until it is told that the token has expired."""

    __slots__ = ("_current", "_source")

    def __init__(self, source: TokenSource | None) -> None:
        self._source = source
        self._current = source if isinstance(source, str) else None

    @property
    def renewable(self) -> bool:
        """Whether there is a function to ask for another one."""
        return callable(self._source)

    async def current(self) -> str | None:
        """The token to show, or None where the client has none (a server in dev mode)."""
        if self._current is None and callable(self._source):
            given = self._source()
            self._current = await given if inspect.isawaitable(given) else given
        return self._current

    def expire(self) -> bool:
        """The token is of no use any more; False where there is no other to be had."""
        if not self.renewable:
            return False
        self._current = None
        return True

    def replace(self, token: str) -> None:
        """Use this one from now on."""
        self._current = token
