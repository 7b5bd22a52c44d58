"""Where the log of an org stands now: one read for all who ask in the meantime."""

from __future__ import annotations

import asyncio

from madang.ports.store import Store
from madang.tasks import Tasks


class Heads:
    """Reads heads. An answer is of a read that began after the question."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: dict[str, asyncio.Future[int]] = {}
        self._tasks = Tasks()

    async def now(self, org_id: str) -> int:
        """The cursor of the org's last event.

        Raises:
            Unavailable: the store is away.
        """
        asked = self._asked.get(org_id)
        if asked is None:
            asked = self._asked[org_id] = asyncio.get_running_loop().create_future()
            self._tasks.start(self._read(org_id, asked))
        return await asyncio.shield(asked)

    async def close(self) -> None:
        await self._tasks.close()

    async def _read(self, org_id: str, asked: asyncio.Future[int]) -> None:
        # It begins in the loop's next turn: who asks from here on needs another.
        del self._asked[org_id]
        try:
            asked.set_result(await self._store.head(org_id))
        except Exception as failure:
            asked.set_exception(failure)
            asked.exception()  # Whoever asked may be gone.
        finally:
            asked.cancel()
