"""Work that nobody awaits: kept alive while it runs, heard of when it fails, ended on request.

`asyncio` keeps only weak references to tasks and tells of an unexpected error when the task is
collected, if ever. Whoever starts work in the background owns a `Tasks` and closes it. May import
nothing of Madang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from madang import logs

log = logs.get_logger(__name__)


class Tasks:
    """The background work of one part."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._running)

    def start(self, work: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """Run it in the background of the running loop. An error it ends with is logged; who
        awaits the task gets it too."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel all that is under way, and what that starts meanwhile, and wait for its end."""
        here = asyncio.current_task()
        while waiting := [task for task in self._running if task is not here]:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            log.error("background work failed", task=task.get_name(), exc_info=failure)
