"""The token in use, and where the next one comes from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable

from madang.client.errors import AuthError

TokenSource = str | Callable[[], str | Awaitable[str]]
"""A token, or a function (sync or async) that gives a fresh one each time it is called."""

_COULD_BE_ONE = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""`b64token`, RFC 6750, 2.1."""


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
        """The token to show, or None where the client has none (a server in dev mode).

        Raises:
            AuthError: it could not even travel in a header; no server needs to be asked.
        """
        if self._current is None and callable(self._source):
            given = self._source()
            self._current = await given if inspect.isawaitable(given) else given
        if self._current is not None and not _COULD_BE_ONE.fullmatch(self._current):
            raise AuthError("This is no token: a JWT is plain letters, digits, '-', '_' and dots")
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
