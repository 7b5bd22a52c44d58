"""A list that comes in pages: awaited it is one page, iterated it is everything."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar

from madang.client.model import Page

T = TypeVar("T")
Query = dict[str, Any]


class Listing(Generic[T]):
    """`page = await listing` asks for the first page; `async for one in listing` for all of them.

    Nothing is asked of the server before one of the two.
    """

    __slots__ = ("_fetch", "_following", "_query")

    def __init__(
        self,
        fetch: Callable[[Query], Awaitable[Page[T]]],
        query: Query,
        following: Callable[[Query, Page[T]], Query | None],
    ) -> None:
        self._fetch = fetch
        self._query = query
        self._following = following

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._fetch(self._query).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        query: Query | None = self._query
        while query is not None:
            page = await self._fetch(query)
            for one in page:
                yield one
            query = self._following(query, page) if page.has_more and page else None
