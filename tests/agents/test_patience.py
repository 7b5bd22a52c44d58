"""How long an agent is waited for, on a loop whose time is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from madang.agents.patience import Patience

IDLE, WHOLE = 10.0, 100.0


class Moved(asyncio.SelectorEventLoop):
    """Its time goes on in `jump` besides."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Agent:
    """What a test does between the beginning of a run and its end."""

    def __init__(self, loop: Moved, patience: Patience) -> None:
        self._loop = loop
        self.patience = patience

    async def jump(self, seconds: float) -> None:
        self._loop.ahead += seconds
        for _ in range(3):
            await asyncio.sleep(0)

    async def say(self, every: float, times: int) -> None:
        for _ in range(times):
            await self.jump(every)
            self.patience.heard()


def _run(script: Callable[[Agent], Awaitable[None]]) -> float:
    """The seconds that it took until the script's end. Raises `TimeoutError` as a run does."""

    async def run() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Moved)
        begun = loop.time()
        async with asyncio.timeout(None) as limit:
            patience = Patience(limit, IDLE, WHOLE)
            try:
                await script(Agent(loop, patience))
            finally:
                patience.end()
        await asyncio.sleep(0)
        return loop.time() - begun

    with asyncio.Runner(loop_factory=Moved) as runner:
        return runner.run(run())


def test_who_goes_on_speaking_is_not_silent() -> None:
    assert _run(lambda agent: agent.say(9.0, 11)) > 99


@pytest.mark.parametrize("spoken", [0, 5])
def test_silence_ends_it(spoken: int) -> None:
    reached: list[float] = []

    async def script(agent: Agent) -> None:
        await agent.say(5.0, spoken)
        await agent.jump(9.0)
        reached.append(9.0)
        await agent.jump(1.5)
        reached.append(10.5)

    with pytest.raises(TimeoutError):
        _run(script)
    assert reached == [9.0]


def test_who_speaks_for_too_long_is_ended_too() -> None:
    with pytest.raises(TimeoutError):
        _run(lambda agent: agent.say(9.0, 12))


def test_while_a_person_is_waited_for_neither_passes() -> None:
    async def script(agent: Agent) -> None:
        await agent.say(9.0, 10)
        with agent.patience.paused():
            await agent.jump(1000.0)
            with agent.patience.paused():
                await agent.jump(1000.0)
            await agent.jump(1000.0)
        await agent.jump(9.0)

    assert _run(script) > 3000

    async def too_long(agent: Agent) -> None:
        await agent.say(9.0, 10)
        with agent.patience.paused():
            await agent.jump(1000.0)
        await agent.say(9.0, 2)

    with pytest.raises(TimeoutError):
        _run(too_long)


def test_a_pause_that_ends_after_the_run_starts_nothing() -> None:
    loop = Moved()

    async def run() -> None:
        async with asyncio.timeout(None) as limit:
            patience = Patience(limit, IDLE, WHOLE)
            paused = patience.paused()
            paused.__enter__()
            await asyncio.sleep(0)
            patience.end()
        paused.__exit__(None, None, None)
        loop.ahead += 1000.0
        for _ in range(3):
            await asyncio.sleep(0)

    failed: list[object] = []
    loop.set_exception_handler(lambda _, context: failed.append(context))
    loop.run_until_complete(run())
    loop.close()
    assert not failed
