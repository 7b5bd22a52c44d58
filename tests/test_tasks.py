"""What runs in the background is kept, heard of and ended."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from madang.tasks import Tasks


async def test_an_unexpected_error_is_logged_and_raised_to_who_awaits() -> None:
    tasks = Tasks()

    async def fail() -> None:
        raise LookupError("nobody expected this")

    with capture_logs() as logged:
        task = tasks.start(fail(), "failing")
        with pytest.raises(LookupError):
            await task
        await asyncio.sleep(0)
    assert [(entry["event"], entry["task"]) for entry in logged] == [
        ("background work failed", "failing")
    ]
    assert not len(tasks)


async def test_close_waits_until_all_have_ended_even_what_starts_meanwhile() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def last() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("last")

    async def first() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.start(last())
            await asyncio.sleep(0)
            ended.append("first")

    tasks.start(first())
    await asyncio.sleep(0)
    await tasks.close()
    assert "first" in ended and not len(tasks)


async def test_what_is_under_way_may_close_the_rest() -> None:
    tasks = Tasks()
    other = tasks.start(asyncio.Event().wait())
    await asyncio.wait_for(tasks.start(tasks.close()), 5)
    assert other.cancelled()
